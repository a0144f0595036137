package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/internal/clock"
)

// consumerPerf is what the command line of perf consume says.
type consumerPerf struct {
	connection
	topic, group       string
	count              int64
	latest             bool
	timeout, interval  int64
	detailed, noHeader bool
}

func perfConsume(ctx context.Context, args []string, s Streams) error {
	f := newFlags("perf", perfHelp)
	p := &consumerPerf{}
	p.addTo(f)
	f.StringVar(&p.topic, "topic", "", "")
	f.StringVar(&p.group, "group", "", "")
	f.Int64Var(&p.count, "messages", 0, "")
	f.Int64Var(&p.count, "num-records", 0, "")
	f.BoolVar(&p.latest, "from-latest", false, "")
	f.Int64Var(&p.timeout, "timeout", 10000, "")
	f.Int64Var(&p.interval, "reporting-interval", 5000, "")
	f.BoolVar(&p.detailed, "show-detailed-stats", false, "")
	f.BoolVar(&p.noHeader, "hide-header", false, "")
	f.Bool("print-metrics", false, "")
	f.Var(&p.props, "consumer-props", "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	takeProps(f, &p.connection)
	if err := f.noWords(); err != nil {
		return err
	}
	if p.topic == "" || p.count < 1 {
		return Usagef("--topic and --messages are needed")
	}
	opts := []kgo.Opt{kgo.ConsumeTopics(p.topic)}
	if !p.latest && p.props["auto.offset.reset"] == "" {
		opts = append(opts, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	if p.group == "" {
		p.group = "perf-consumer-" + strconv.FormatInt(clock.System.Now().UnixNano()%100000, 10)
	}
	joined := make(chan time.Duration, 1)
	opts = append(opts, kgo.ConsumerGroup(p.group), kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
		select {
		case joined <- elapsed():
		default:
		}
	}))
	client, err := p.open(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	return p.run(ctx, client, joined, s)
}

// javaTime writes a time as Kafka's tool does.
func javaTime(t time.Time) string {
	return strings.Replace(t.Format("2006-01-02 15:04:05.000"), ".", ":", 1)
}

func (p *consumerPerf) run(ctx context.Context, client *kgo.Client, joined <-chan time.Duration, s Streams) error {
	start, began := clock.System.Now(), elapsed()
	var n, bytes, lastN, lastBytes int64
	last, lastWall := began, start
	if !p.noHeader {
		if p.detailed {
			fmt.Fprintln(s.Out, "time, threadId, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec")
		} else {
			fmt.Fprintln(s.Out, "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec")
		}
	}
	behind := elapsed()
	for n < p.count && ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, time.Duration(p.timeout)*time.Millisecond)
		fetches := client.PollFetches(poll)
		cancel()
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
				return about(fmt.Sprintf("%s-%d", e.Topic, e.Partition), e.Err)
			}
		}
		if fetches.NumRecords() == 0 {
			fmt.Fprintf(s.Err, "WARNING: Exiting before consuming the expected number of messages: timeout (%d ms) exceeded. You can use the --timeout option to increase the timeout.\n", p.timeout)
			break
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			bytes += int64(len(r.Key) + len(r.Value))
		})
		behind = elapsed()
		if p.detailed && behind-last >= time.Duration(p.interval)*time.Millisecond {
			p.figures(s.Out, javaTime(clock.System.Now())+", 0", bytes-lastBytes, n-lastN, behind-last, 0)
			last, lastBytes, lastN, lastWall = behind, bytes, n, clock.System.Now()
		}
	}
	rebalance := time.Duration(0)
	select {
	case at := <-joined:
		rebalance = max(at-began, 0)
	default:
	}
	if p.detailed {
		p.figures(s.Out, javaTime(lastWall.Add(behind-last))+", 0", bytes-lastBytes, n-lastN, behind-last, rebalance)
		return nil
	}
	p.figures(s.Out, javaTime(start)+", "+javaTime(clock.System.Now()), bytes, n, behind-began, rebalance)
	return nil
}

// figures prints a line: what, how much of it, and how fast with and without the time of the rebalance.
func (p *consumerPerf) figures(w io.Writer, what string, bytes, n int64, took, rebalance time.Duration) {
	mb, seconds := float64(bytes)/(1<<20), max(took, time.Millisecond).Seconds()
	fetch := max(took-rebalance, time.Millisecond)
	fmt.Fprintf(w, "%s, %.4f, %.4f, %d, %.4f, %d, %d, %.4f, %.4f\n", what, mb, mb/seconds, n, float64(n)/seconds,
		rebalance.Milliseconds(), fetch.Milliseconds(), mb/fetch.Seconds(), float64(n)/fetch.Seconds())
}
