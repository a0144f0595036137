package tool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producerPerf is what the command line of perf produce says.
type producerPerf struct {
	connection
	topic             string
	count, warmup     int64
	size              int
	file, delimiter   string
	throughput        float64
	txn               string
	txnMillis         int64
	payloads          [][]byte
	random            *rand.Rand
	latencies         latencies
	began, warm, last time.Duration

	mu     sync.Mutex // guards failed
	failed error
}

func perfProduce(ctx context.Context, args []string, s Streams) error {
	f := newFlags("perf", perfHelp)
	p := &producerPerf{random: rand.New(rand.NewPCG(0, 0))}
	p.addTo(f)
	f.StringVar(&p.topic, "topic", "", "")
	f.Int64Var(&p.count, "num-records", 0, "")
	f.Int64Var(&p.warmup, "warmup-records", 0, "")
	f.IntVar(&p.size, "record-size", 0, "")
	f.StringVar(&p.file, "payload-file", "", "")
	f.StringVar(&p.delimiter, "payload-delimiter", "\n", "")
	f.Float64Var(&p.throughput, "throughput", -1, "")
	f.Var(&p.props, "producer-props", "")
	f.StringVar(&p.txn, "transactional-id", "", "")
	f.Int64Var(&p.txnMillis, "transaction-duration-ms", 0, "")
	f.Bool("print-metrics", false, "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	takeProps(f, &p.connection)
	if err := errors.Join(f.noWords(), p.check()); err != nil {
		return &UsageError{err}
	}
	client, err := p.open(p.options()...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	return p.run(ctx, client, s)
}

func (p *producerPerf) check() error {
	switch {
	case p.topic == "":
		return errors.New("--topic is missing")
	case p.count < 1:
		return errors.New("--num-records is missing: how many?")
	case (p.size > 0) == (p.file != ""):
		return errors.New("want one of --record-size and --payload-file: what is to be sent?")
	case p.warmup >= p.count || p.warmup < 0:
		return errors.New("--warmup-records is to be less than --num-records")
	case p.throughput == 0:
		return errors.New("--throughput 0 would never end; -1 is as fast as it goes")
	}
	if p.txn == "" && p.txnMillis > 0 {
		p.txn = "performance-producer"
	}
	if p.txn != "" && p.txnMillis == 0 {
		p.txnMillis = 3000
	}
	if p.file == "" {
		return nil
	}
	b, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(b), p.delimiter), p.delimiter) {
		p.payloads = append(p.payloads, []byte(line))
	}
	return nil
}

func (p *producerPerf) options() []kgo.Opt {
	opts := []kgo.Opt{kgo.AllowAutoTopicCreation()}
	if p.props["linger.ms"] == "" {
		opts = append(opts, kgo.ProducerLinger(5*time.Millisecond)) // as the Java producer of 4.0
	}
	if p.props["compression.type"] == "" {
		opts = append(opts, kgo.ProducerBatchCompression(kgo.NoCompression()))
	}
	if p.txn != "" {
		opts = append(opts, kgo.TransactionalID(p.txn))
	}
	return opts
}

// payload is the value of the next record.
func (p *producerPerf) payload() []byte {
	if len(p.payloads) > 0 {
		return p.payloads[p.random.IntN(len(p.payloads))]
	}
	b := make([]byte, p.size)
	for i := range b {
		b[i] = byte('A' + p.random.IntN(26))
	}
	return b
}

func (p *producerPerf) run(ctx context.Context, client *kgo.Client, s Streams) error {
	p.began = elapsed()
	p.warm, p.last = p.began, p.began
	inTxn, txnBegan := false, time.Duration(0)
	for i := int64(0); i < p.count && p.error() == nil && ctx.Err() == nil; i++ {
		if p.txn != "" && !inTxn {
			if err := client.BeginTransaction(); err != nil {
				return err
			}
			inTxn, txnBegan = true, elapsed()
		}
		if i == p.warmup && p.warmup > 0 {
			if err := client.Flush(ctx); err != nil {
				return err
			}
			p.latencies.forget()
			p.warm = elapsed()
		}
		p.send(ctx, client)
		p.report(s, false)
		if inTxn && elapsed()-txnBegan >= time.Duration(p.txnMillis)*time.Millisecond {
			if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
				return err
			}
			inTxn = false
		}
		if p.throughput > 0 {
			due := p.began + time.Duration(float64(i+1)/p.throughput*float64(time.Second))
			if err := wait(ctx, due-elapsed()); err != nil {
				break
			}
		}
	}
	err := client.Flush(ctx)
	if inTxn && err == nil {
		err = client.EndTransaction(ctx, kgo.TryCommit)
	}
	p.report(s, true)
	return errors.Join(unless(ctx, err), unless(ctx, p.error()))
}

func (p *producerPerf) send(ctx context.Context, client *kgo.Client) {
	r := &kgo.Record{Topic: p.topic, Value: p.payload()}
	at := elapsed()
	client.Produce(ctx, r, func(r *kgo.Record, err error) {
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.failed == nil {
				p.failed = err
			}
			return
		}
		p.latencies.add(elapsed()-at, len(r.Value))
	})
}

func (p *producerPerf) error() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// report prints a line each five seconds, and the one at the end.
func (p *producerPerf) report(s Streams, end bool) {
	now := elapsed()
	if !end && now-p.last < 5*time.Second {
		return
	}
	if end {
		fmt.Fprintln(s.Out, p.latencies.total(now-p.warm))
		return
	}
	if line := p.latencies.recent(now - p.last); line != "" {
		fmt.Fprintln(s.Out, line)
	}
	p.last = now
}
