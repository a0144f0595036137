package tool

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

const perfHelp = `
Usage: partlogd perf produce --topic TOPIC --num-records N --record-size BYTES [flags]
       partlogd perf consume --topic TOPIC --messages N [flags]
       partlogd perf e2e --topic TOPIC --num-records N [--record-size BYTES] [flags]

Measures a broker, and prints what kafka-producer-perf-test, kafka-consumer-perf-test and kafka-e2e-latency print.

  partlogd perf produce --topic t --num-records 1000000 --record-size 100 --throughput -1 --producer-props acks=all
  partlogd perf consume --topic t --messages 1000000
  partlogd perf e2e --topic t --num-records 10000

Flags of produce:
  --num-records N, --record-size BYTES
  --payload-file FILE               records are its lines, in turn, instead of --record-size; --payload-delimiter TEXT
  --throughput N                    records a second at most; -1 (default): as fast as it goes
  --producer-props KEY=VALUE ...    properties of a Java producer: acks, linger.ms, batch.size, compression.type, ...
  --transactional-id ID, --transaction-duration-ms N
                                    transactions of so long each (3000)
  --warmup-records N                are not in the figures at the end
Flags of consume:
  --messages N (or --num-records N), --group GROUP, --from-latest, --timeout MS (default 10000: nothing comes)
  --show-detailed-stats, --reporting-interval MS (default 5000), --hide-header
Flags of e2e:
  --num-records N, --record-size BYTES (default 100), --producer-acks ACKS (default all)
` + connectionHelp

func perf(ctx context.Context, args []string, s Streams) error {
	kinds := map[string]func(context.Context, []string, Streams) error{"produce": perfProduce, "consume": perfConsume, "e2e": perfE2E}
	if len(args) > 0 {
		if run := kinds[args[0]]; run != nil {
			return run(ctx, args[1:], s)
		}
	}
	f := newFlags("perf", perfHelp)
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	return Usagef("perf measures one of %s\n(partlogd perf --help tells more)", strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
}

// takeProps moves KEY=VALUE words to the properties: --producer-props takes all that follow it.
func takeProps(f *flags, c *connection) {
	var rest []string
	for _, w := range f.words {
		if strings.Contains(w, "=") && !strings.HasPrefix(w, "-") {
			c.props.Set(w)
			continue
		}
		rest = append(rest, w)
	}
	f.words = rest
}

// elapsed is the time that has passed since some moment.
func elapsed() time.Duration { return clock.Elapsed(clock.System) }

// wait waits for d, or until ctx ends, which it reports.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	due := make(chan struct{})
	stop := clock.System.AfterFunc(d, func() { close(due) })
	defer stop()
	select {
	case <-due:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// latencies collects times that are told in milliseconds. It is safe for concurrent use.
type latencies struct {
	mu     sync.Mutex // guards all below
	all    []time.Duration
	sum    time.Duration
	most   time.Duration
	bytes  int64
	window struct {
		count, bytes int64
		sum, most    time.Duration
	}
}

// add adds one record.
func (l *latencies) add(d time.Duration, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
	l.sum, l.most, l.bytes = l.sum+d, max(l.most, d), l.bytes+int64(bytes)
	w := &l.window
	w.count, w.bytes, w.sum, w.most = w.count+1, w.bytes+int64(bytes), w.sum+d, max(w.most, d)
}

// forget begins anew, behind a warm-up.
func (l *latencies) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all, l.sum, l.most, l.bytes = l.all[:0], 0, 0, 0
}

func millisOf(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// recent is the line of the time since the last one, which took that long; empty if nothing happened.
func (l *latencies) recent(took time.Duration) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.window
	l.window.count, l.window.bytes, l.window.sum, l.window.most = 0, 0, 0, 0
	if w.count == 0 || took <= 0 {
		return ""
	}
	seconds := took.Seconds()
	return fmt.Sprintf("%d records sent, %.1f records/sec (%.2f MB/sec), %.1f ms avg latency, %.1f ms max latency.", w.count,
		float64(w.count)/seconds, float64(w.bytes)/seconds/(1<<20), millisOf(w.sum)/float64(w.count), millisOf(w.most))
}

// total is the line at the end.
func (l *latencies) total(took time.Duration) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, seconds := len(l.all), max(took, time.Microsecond).Seconds()
	slices.Sort(l.all)
	average := 0.0
	if n > 0 {
		average = millisOf(l.sum) / float64(n)
	}
	return fmt.Sprintf("%d records sent, %.1f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max latency, %d ms 50th, %d ms 95th, %d ms 99th, %d ms 99.9th.",
		n, float64(n)/seconds, float64(l.bytes)/seconds/(1<<20), average, millisOf(l.most),
		l.percentile(0.5).Milliseconds(), l.percentile(0.95).Milliseconds(), l.percentile(0.99).Milliseconds(), l.percentile(0.999).Milliseconds())
}

// percentile needs mu, and sorted latencies.
func (l *latencies) percentile(p float64) time.Duration {
	if len(l.all) == 0 {
		return 0
	}
	return l.all[min(int(float64(len(l.all))*p), len(l.all)-1)]
}
