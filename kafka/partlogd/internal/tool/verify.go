package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

const verifyHelp = `
Usage: partlogd verify DIR [--json]
       partlogd verify [--topic REGEX] --bootstrap-server HOST:PORT [--json]

Reads every byte of a store and checks it: checksums, offsets, indexes, small files. Nothing is changed, no lock is taken,
and a partlogd may be running on it meanwhile. Or reads every batch that a running broker has, of whatever make, and
checks checksums, records and offsets. The exit status is 1 if anything is damaged.

  partlogd verify ./data
  partlogd verify --bootstrap-server 127.0.0.1:9092 --topic orders

Flags:
  --json                            the report as JSON
  --topic REGEX                     of a running broker; default all topics
` + connectionHelp

// errDamaged is what verify ends with when it has told about damage.
var errDamaged = errors.New("there is damage")

func verify(ctx context.Context, args []string, s Streams) error {
	f := newFlags("verify", verifyHelp)
	var c connection
	c.addTo(f)
	asJSON := f.Bool("json", false, "")
	topic := f.String("topic", "", "")
	dir := f.String("dir", "", "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if *dir != "" {
		f.words = append(f.words, *dir)
	}
	online := len(c.brokers) > 0 || *topic != ""
	switch {
	case online && len(f.words) > 0:
		return Usagef("want a directory or --bootstrap-server, not both")
	case online:
		return verifyBroker(ctx, &c, *topic, *asJSON, s)
	case len(f.words) != 1:
		return Usagef("want the directory of one store, or --bootstrap-server: what is to be verified?")
	}
	return verifyStore(ctx, f.words[0], *asJSON, s)
}

func verifyStore(ctx context.Context, dir string, asJSON bool, s Streams) (err error) {
	store, err := partition.OpenReadOnly(dir, partition.Config{})
	if errors.Is(err, partition.ErrNotStore) {
		if _, serr := os.Stat(filepath.Join(dir, "meta.properties")); serr == nil {
			return fmt.Errorf("%w; it is a log directory of Apache Kafka, of which partlogd dump shows the files", err)
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	report, err := store.Verify(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		err = e.Encode(report)
	} else {
		err = printReport(s.Out, report)
	}
	if err == nil && report.Damaged() {
		return errDamaged
	}
	return err
}

// printReport tells people: what was found by its places, then the totals.
func printReport(w io.Writer, r *partition.VerifyReport) error {
	var batches, records, bytes int64
	for _, p := range r.Partitions {
		batches, records, bytes = batches+p.Batches, records+p.Records, bytes+p.Bytes
		for _, f := range p.Findings {
			if f.Kind == log.CleanEnd || f.Kind == log.ZeroTail {
				continue
			}
			fmt.Fprintf(w, "%s-%d: %s: %s at byte %d (%d bytes), offsets %d to %d", p.Topic, p.Partition, f.Kind, f.Path, f.Position, f.Bytes, f.Offset, f.NextOffset)
			if f.Detail != "" {
				fmt.Fprintf(w, ": %s", f.Detail)
			}
			fmt.Fprintln(w)
		}
	}
	for _, name := range sortedKeys(r.Unreadable) {
		fmt.Fprintf(w, "%s: unreadable: %s\n", name, r.Unreadable[name])
	}
	for _, name := range r.Foreign {
		fmt.Fprintf(w, "not ours, left alone: %s\n", name)
	}
	verdict := "no damage"
	if r.Damaged() {
		verdict = "DAMAGED"
	}
	_, err := fmt.Fprintf(w, "%s: %d topics, %d partitions, %d batches, %d records, %d bytes: %s\n", r.Dir, r.Topics, len(r.Partitions), batches, records, bytes, verdict)
	return err
}

// brokerReport is what verify found on a running broker.
type brokerReport struct {
	Partitions []partitionReport `json:"partitions"`
	Batches    int64             `json:"batches"`
	Records    int64             `json:"records"`
	Bytes      int64             `json:"bytes"`
	Damaged    bool              `json:"damaged"`
}

type partitionReport struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Start     int64    `json:"start"` // first offset seen, -1: none
	End       int64    `json:"end"`   // behind the last one
	Batches   int64    `json:"batches"`
	Records   int64    `json:"records"`
	Bytes     int64    `json:"bytes"`
	Damage    []string `json:"damage,omitempty"`
}

func verifyBroker(ctx context.Context, c *connection, topic string, asJSON bool, s Streams) error {
	re, err := regexp.Compile("^(?:" + strings.ReplaceAll(topic, ",", "|") + ")$")
	if err != nil {
		return Usagef("--topic: %w", err)
	}
	client, err := c.open()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	all, err := metadata(ctx, client)
	if err != nil {
		return err
	}
	p := newProgress(s.Err, "batches checked")
	var r brokerReport
	for _, m := range all {
		if topic != "" && !re.MatchString(*m.Topic) {
			continue
		}
		for _, part := range m.Partitions {
			one := partitionReport{Topic: *m.Topic, Partition: part.Partition, Start: -1}
			err := walk(ctx, client, &m, part, func(b batch.Batch, _ int64) error {
				one.check(b)
				p.set(r.Batches + one.Batches)
				return nil
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				one.Damage = append(one.Damage, err.Error())
			}
			r.Partitions = append(r.Partitions, one)
			r.Batches, r.Records, r.Bytes = r.Batches+one.Batches, r.Records+one.Records, r.Bytes+one.Bytes
			r.Damaged = r.Damaged || len(one.Damage) > 0
		}
	}
	p.end()
	if len(r.Partitions) == 0 && topic != "" {
		return fmt.Errorf("topic %q does not exist", topic)
	}
	return r.tell(asJSON, s.Out)
}

// check looks at one batch, which is to continue those before.
func (r *partitionReport) check(b batch.Batch) {
	bad := func(err error) {
		r.Damage = append(r.Damage, fmt.Sprintf("batch at offset %d: %v", b.BaseOffset(), err))
	}
	if r.Start < 0 {
		r.Start = b.BaseOffset()
	} else if b.BaseOffset() < r.End {
		bad(fmt.Errorf("comes behind offset %d", r.End-1))
	}
	r.End = b.NextOffset()
	r.Batches, r.Records, r.Bytes = r.Batches+1, r.Records+int64(b.Count()), r.Bytes+int64(b.Length())
	if err := b.CheckCRC(); err != nil {
		bad(err)
		return
	}
	var it batch.Iterator
	for b.Iterate(&it, batch.DefaultMaxBytes); it.Next(); {
	}
	if err := it.Err(); err != nil {
		bad(err)
	}
}

func (r *brokerReport) tell(asJSON bool, w io.Writer) (err error) {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		for _, p := range r.Partitions {
			for _, d := range p.Damage {
				fmt.Fprintf(w, "%s-%d: %s\n", p.Topic, p.Partition, d)
			}
		}
		verdict := "no damage"
		if r.Damaged {
			verdict = "DAMAGED"
		}
		_, err = fmt.Fprintf(w, "%d partitions, %d batches, %d records, %d bytes: %s\n", len(r.Partitions), r.Batches, r.Records, r.Bytes, verdict)
	}
	if err == nil && r.Damaged {
		return errDamaged
	}
	return err
}
