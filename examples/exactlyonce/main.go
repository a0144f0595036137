// Exactlyonce reads flights, as ingest stores them, and writes their delays per carrier to another topic: each update in
// one transaction with the offsets of the flights that it sums. So whatever is killed whenever, every flight is in the
// sums once. It prints "carrier minutes flights" lines when it has read everything.
//
//	go run ./examples/ingest      -dir DIR -topic flights -key origin flights.csv
//	go run ./examples/exactlyonce -dir DIR [-in flights] [-out delays] [-kill [-kills 50]]
//
// With -kill it runs itself as a child, kills that at random 50 times, and lets the last one finish.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

type options struct {
	dir, in, out string
	batch, kills int
	kill         bool
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "directory of the store (required)")
	flag.StringVar(&o.in, "in", "flights", "topic to read")
	flag.StringVar(&o.out, "out", "delays", "topic to write; created if it is not there")
	flag.IntVar(&o.batch, "batch", 100, "most flights in a transaction")
	flag.BoolVar(&o.kill, "kill", false, "kill the work at random, again and again, before it may finish")
	flag.IntVar(&o.kills, "kills", 50, "how often")
	flag.Parse()
	if o.dir == "" || o.batch < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	var err error
	if o.kill {
		err = killAgainAndAgain(o, os.Stderr)
	}
	if err == nil {
		err = run(context.Background(), o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "exactlyonce:", err)
		os.Exit(1)
	}
}

// flight is what is read of a row, delay what is written for a carrier: in sum, or since the update before.
type flight struct {
	Carrier string `json:"carrier"`
	Delay   string `json:"arr_delay"` // minutes; NA if it never arrived
}

type delay struct{ Minutes, Flights int }

func run(ctx context.Context, o options, stdout io.Writer) (err error) {
	store, err := partition.Open(o.dir, partition.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = store.CreateTopic(ctx, o.out, partition.TopicConfig{})
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return err
	}
	if err := process(ctx, store, o); err != nil {
		return err
	}
	totals, err := sums(ctx, store, o.out)
	for _, carrier := range slices.Sorted(maps.Keys(totals)) {
		fmt.Fprintln(stdout, carrier, totals[carrier].Minutes, totals[carrier].Flights)
	}
	return err
}

// process reads what is new, until the end as it is now, and writes the delays.
func process(ctx context.Context, store *partition.Store, o options) (err error) {
	// The transactional id is the same in every run: New ends what the run before has left open.
	p, err := producer.New(store, producer.Config{TransactionalID: o.out + "-writer"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	g, err := group.Open(store, o.out+"-writers", group.Config{})
	if err != nil {
		return err
	}
	defer g.Close()
	c, err := consumer.Join(ctx, g, consumer.Config{
		Topics: []string{o.in}, Until: consumer.UntilEnd(), MaxPollRecords: o.batch,
		Isolation: consumer.ReadCommitted, Commit: consumer.CommitManual, // the transactions do
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	delays := producer.For(p, o.out, producer.String, producer.JSON[delay])
	for {
		flights, err := c.Poll(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		err = p.TransactFrom(ctx, c, func(tx *producer.Tx) error { // commits c's offsets with what is sent
			updates, err := add(flights)
			for carrier, d := range updates {
				delays.In(tx).SendAsync(ctx, carrier, d, nil)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}

// add sums the delays of some flights per carrier.
func add(flights []consumer.Record) (map[string]delay, error) {
	updates := map[string]delay{}
	for _, r := range flights {
		f, err := consumer.JSON[flight](r.Value, nil)
		if err != nil {
			return nil, fmt.Errorf("%s-%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if f.Delay == "NA" {
			continue
		}
		minutes, err := strconv.Atoi(f.Delay)
		if err != nil {
			return nil, fmt.Errorf("%s-%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		d := updates[f.Carrier]
		updates[f.Carrier] = delay{d.Minutes + minutes, d.Flights + 1}
	}
	return updates, nil
}

// sums adds up all committed updates. It reads to the last offset that there is, and so waits until what was committed
// just now is visible.
func sums(ctx context.Context, store *partition.Store, topic string) (map[string]delay, error) {
	tp := partition.TopicPartition{Topic: topic}
	end, err := store.ListOffsets(ctx, tp, partition.TimestampLatest)
	if err != nil {
		return nil, err
	}
	c, err := consumer.Assign(ctx, store, []consumer.Assignment{
		{TopicPartition: tp, Until: consumer.UntilOffset(end)},
	}, consumer.Config{Isolation: consumer.ReadCommitted})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	totals := map[string]delay{}
	for r, err := range consumer.Records(ctx, c, consumer.String, consumer.JSON[delay]) {
		if err != nil {
			return nil, err
		}
		d := totals[r.Key]
		totals[r.Key] = delay{d.Minutes + r.Value.Minutes, d.Flights + r.Value.Flights}
	}
	return totals, nil
}
