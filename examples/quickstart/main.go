// Quickstart runs partlog's main job in one process, without a server: durable topics, keyed produce, a
// consumer group of two members, close, reopen, and everything still there.
//
//	go run ./examples/quickstart            # in a temporary directory, removed at the end
//	go run ./examples/quickstart -dir data  # keeps the store; run it again and it goes on where it was
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// Order is what the example stores, as JSON.
type Order struct {
	ID    int `json:"id"`
	Cents int `json:"cents"`
}

const (
	topic      = "orders"
	partitions = 8
	customers  = 20
)

func main() {
	dir := flag.String("dir", "", "directory of the store; empty: a temporary one")
	flag.Parse()
	if err := run(context.Background(), *dir); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	if dir == "" {
		temporary, err := os.MkdirTemp("", "partlog-quickstart-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}

	fmt.Println("open", dir)
	if err := session(ctx, dir, 0, 1000); err != nil {
		return err
	}
	fmt.Println("\nclose, and open again: the second group run begins after the committed offsets")
	return session(ctx, dir, 1000, 500)
}

// session opens the store, produces n orders, and lets a group of two members consume what is new to it.
func session(ctx context.Context, dir string, first, n int) error {
	store, err := partition.Open(dir, partition.Config{}) // zero Config: synced before it is acknowledged
	if err != nil {
		return err
	}
	defer store.Close()

	_, err = store.CreateTopic(ctx, topic, partition.TopicConfig{Partitions: partitions})
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return err
	}
	if err := produce(ctx, store, first, n); err != nil {
		return err
	}
	return consume(ctx, store)
}

func produce(ctx context.Context, store *partition.Store, first, n int) error {
	p, err := producer.New(store, producer.Config{}) // idempotent, acks=all
	if err != nil {
		return err
	}
	defer p.Close()

	started := time.Now()
	orders := producer.For(p, topic, producer.String, producer.JSON[Order])
	var mu sync.Mutex
	var failed error
	for i := range n {
		customer := fmt.Sprintf("customer-%02d", i%customers)
		orders.SendAsync(ctx, customer, Order{ID: first + i, Cents: 100 + i}, func(r producer.Result) {
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
	fmt.Printf("produced %d orders of %d customers to %d partitions, every one on disk, in %v\n",
		n, customers, partitions, time.Since(started).Round(time.Millisecond))
	return failed
}

// consume runs two members of one group up to the end as it is now, and prints what each of them saw.
func consume(ctx context.Context, store *partition.Store) error {
	billing, err := group.Open(store, "billing", group.Config{})
	if err != nil {
		return err
	}
	defer billing.Close()

	// Both join before either reads, so that the partitions are split between them.
	members := make([]*consumer.Consumer, 2)
	for i := range members {
		members[i], err = consumer.Join(ctx, billing, consumer.Config{Topics: []string{topic}, Until: consumer.UntilEnd()})
		if err != nil {
			return err
		}
		defer members[i].Close()
	}

	var wg sync.WaitGroup
	errs := make([]error, len(members))
	for i, c := range members {
		wg.Go(func() { errs[i] = member(ctx, i, c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func member(ctx context.Context, i int, c *consumer.Consumer) error {
	count, cents := 0, 0
	var seen []int32
	for rec, err := range consumer.Records(ctx, c, consumer.String, consumer.JSON[Order]) {
		if err != nil {
			return err
		}
		count, cents = count+1, cents+rec.Value.Cents // reaching the next iteration acknowledges rec
		if !slices.Contains(seen, rec.Partition) {
			seen = append(seen, rec.Partition)
		}
	}
	slices.Sort(seen)
	fmt.Printf("member %d: %d orders, %d cents, from partitions %v\n", i, count, cents, seen)
	return c.Close() // commits what the loop finished, leaves the group
}
