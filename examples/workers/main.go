// Workers handles orders in parallel: those of one customer one after the other, different customers at the same time. Some
// orders are poison and can never be handled, some fail the first time: the workers try again, then bury the poison in a
// dead-letter topic, and lose nothing. At the end a summary is printed.
//
//	go run ./examples/workers [-orders N] [-customers N] [-workers N]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

type options struct{ orders, customers, workers int }

type order struct {
	Number int `json:"number"`
	Cents  int `json:"cents"`
}

func main() {
	var o options
	flag.IntVar(&o.orders, "orders", 2000, "orders to handle")
	flag.IntVar(&o.customers, "customers", 20, "customers, whose orders are handled in order")
	flag.IntVar(&o.workers, "workers", 8, "orders that are handled at the same time")
	flag.Parse()
	if o.orders < 0 || o.customers < 1 || o.workers < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "workers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, stdout io.Writer) (err error) {
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for topic, partitions := range map[string]int32{"orders": 4, "orders-dead": 1} {
		if _, err := store.CreateTopic(ctx, topic, partition.TopicConfig{Partitions: partitions}); err != nil {
			return err
		}
	}
	p, err := producer.New(store, producer.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := produce(ctx, p, o); err != nil {
		return err
	}

	g, err := group.Open(store, "billing", group.Config{})
	if err != nil {
		return err
	}
	defer g.Close()
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"orders"}, Until: consumer.UntilEnd()})
	if err != nil {
		return err
	}
	b := &billing{last: make(map[string]int), tried: make(map[int]bool)}
	err = consumer.Work(ctx, c, consumer.Typed(consumer.String, consumer.JSON[order], b.charge), consumer.WorkConfig{
		Workers:    o.workers,
		Retry:      consumer.Retry{Attempts: 3, Backoff: time.Millisecond},
		DeadLetter: "orders-dead",
		Forwarder:  p,
	})
	if err := errors.Join(err, c.Close()); err != nil { // commits
		return err
	}

	s := c.Stats().Work
	fmt.Fprintf(stdout, "%d orders of %d customers charged, %d cents in all, %d out of order\n", b.charged, len(b.last), b.cents, b.disordered)
	fmt.Fprintf(stdout, "%d errors, %d orders that were no orders, %d panics, %d retries\n", s.HandlerErrors, s.DecodeErrors, s.Panics, s.Retries)
	fmt.Fprintf(stdout, "%d dead letters:\n", s.DeadLetters)
	shown := make(map[consumer.FailureKind]bool)
	for l, err := range consumer.ListDeadLetters(ctx, store, "orders-dead") {
		if err != nil {
			return err
		}
		if !shown[l.Kind] { // the first of each kind
			fmt.Fprintf(stdout, "  %s of %s, attempt %d: %s\n", l.Value, l.Key, l.Attempts, l.Error)
		}
		shown[l.Kind] = true
	}
	return nil
}

// produce writes the orders. Every 100th cannot be read, and every 100th, but others, will make the handler panic.
func produce(ctx context.Context, p *producer.Producer, o options) error {
	var failed error
	var mu sync.Mutex
	for i := range o.orders {
		value := fmt.Appendf(nil, `{"number":%d,"cents":%d}`, i, 100+i%7)
		switch i % 100 {
		case 42:
			value = []byte("poison")
		case 77:
			value = fmt.Appendf(nil, `{"number":%d,"cents":-1}`, i)
		}
		p.SendAsync(ctx, producer.Record{Topic: "orders", Key: fmt.Append(nil, "customer-", i%o.customers), Value: value}, func(r producer.Result) {
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, r.Err)
		})
	}
	if err := p.Flush(ctx); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return failed
}

// billing is what the handler works on.
type billing struct {
	mu                         sync.Mutex // many workers call charge
	last                       map[string]int
	tried                      map[int]bool
	charged, cents, disordered int
}

// charge is the handler. Every tenth order fails the first time.
func (b *billing) charge(_ context.Context, r consumer.TypedRecord[string, order]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := r.Value
	if o.Cents < 0 {
		panic("a negative amount")
	}
	if o.Number%10 == 0 && !b.tried[o.Number] {
		b.tried[o.Number] = true
		return errors.New("the bank does not answer")
	}
	if last, ok := b.last[r.Key]; ok && o.Number < last {
		b.disordered++
	}
	b.last[r.Key] = o.Number
	b.charged++
	b.cents += o.Cents
	return nil
}
