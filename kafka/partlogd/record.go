package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

const recordHelp = `Usage: partlogd record --bootstrap-server HOST:PORT,... --output FILE [--ready-file FILE]
       partlogd replay FILE [--ready-file FILE]
       partlogd compare FILE --bootstrap-server HOST:PORT

record stands between clients and a real cluster and writes down what they say to each other, a line of JSON an exchange;
passwords are left out. replay answers clients with what a recording has. compare sends the requests of a recording to another
broker and prints where its answers differ; the exit status is 1 if any do. record and replay choose ports of loopback, tell
them by bootstrap.servers in the ready file and on standard error, and end at SIGTERM.
`

// recordOptions are the command line of record, replay and compare.
type recordOptions struct {
	brokers   []string
	output    string
	readyFile string
	files     []string

	mu sync.Mutex // held by counterpart
}

func parseRecord(args []string, out io.Writer) (*recordOptions, error) {
	o := &recordOptions{}
	fs := flag.NewFlagSet("record", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Func("bootstrap-server", "", func(s string) error {
		o.brokers = append(o.brokers, strings.Split(s, ",")...)
		return nil
	})
	fs.StringVar(&o.output, "output", "", "")
	fs.StringVar(&o.readyFile, "ready-file", "", "")
	for {
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, recordHelp)
			return nil, err
		} else if err != nil {
			return nil, tool.Usagef("%w\n(partlogd record --help tells what there is)", err)
		}
		if fs.NArg() == 0 {
			return o, nil
		}
		o.files = append(o.files, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// until tells where clients connect, waits for the end of ctx, and takes the ready file away.
func (o *recordOptions) until(ctx context.Context, s tool.Streams, addrs []string) error {
	bootstrap := strings.Join(addrs, ",")
	fmt.Fprintf(s.Err, "%s: clients connect to %s\n", programName, bootstrap)
	if o.readyFile != "" {
		if err := writeWhole(o.readyFile, "bootstrap.servers="+bootstrap+"\n"); err != nil {
			return fmt.Errorf("--ready-file: %w", err)
		}
		defer os.Remove(o.readyFile)
	}
	fmt.Fprintln(s.Out, readyMessage)
	<-ctx.Done()
	return nil
}

func record(ctx context.Context, args []string, s tool.Streams) (err error) {
	o, err := parseRecord(args, s.Out)
	if err != nil {
		return err
	}
	if len(o.brokers) == 0 || o.output == "" || len(o.files) > 0 {
		return tool.Usagef("want --bootstrap-server and --output: who is recorded, and where to?")
	}
	f, err := os.Create(o.output)
	if err != nil {
		return err
	}
	r, err := kafkatest.StartRecorder(kafkatest.RecorderConfig{Brokers: o.brokers, Output: f})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	err = o.until(ctx, s, r.Addrs())
	return errors.Join(err, r.Close(), f.Close())
}

// recording reads the file of the command line.
func (o *recordOptions) recording() ([]kafkatest.Exchange, error) {
	if len(o.files) != 1 {
		return nil, tool.Usagef("want the file of one recording")
	}
	f, err := os.Open(o.files[0])
	if err != nil {
		return nil, &tool.UsageError{Err: err}
	}
	defer f.Close()
	return kafkatest.ReadRecording(bufio.NewReader(f))
}

func replay(ctx context.Context, args []string, s tool.Streams) error {
	o, err := parseRecord(args, s.Out)
	if err != nil {
		return err
	}
	all, err := o.recording()
	if err != nil {
		return err
	}
	r, err := kafkatest.NewReplay(all)
	if err != nil {
		return err
	}
	err = o.until(ctx, s, []string{r.Addr()})
	for _, unknown := range r.Unknown() {
		fmt.Fprintf(s.Err, "%s: not in the recording: %s\n", programName, unknown)
	}
	return errors.Join(err, r.Close())
}

// counterpart is the broker that stands for one of the recording.
func (o *recordOptions) counterpart(at map[string]string, broker string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at[broker] == "" {
		at[broker] = o.brokers[len(at)%len(o.brokers)]
	}
	return at[broker]
}

// compare tells where a broker answers otherwise than a recording.
func compare(ctx context.Context, args []string, s tool.Streams) error {
	o, err := parseRecord(args, s.Out)
	if err != nil {
		return err
	}
	all, err := o.recording()
	if err != nil {
		return err
	}
	if len(o.brokers) == 0 {
		return tool.Usagef("want --bootstrap-server: whom is the recording compared with?")
	}
	at := map[string]string{} // brokers of the recording, in the order in which they appear, to those given
	found, err := kafkatest.Compare(ctx, all, kafkatest.CompareConfig{Dial: func(ctx context.Context, broker string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", o.counterpart(at, broker))
	}})
	if err != nil {
		return err
	}
	for _, d := range found {
		fmt.Fprintln(s.Out, d)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d of %d answers differ", len(found), len(all))
	}
	return nil
}
