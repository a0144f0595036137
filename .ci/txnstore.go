// Txnstore writes a store for .ci/interop: transactions that were committed, aborted, and open when the store was closed and so
// aborted by the next open, of two producers and a plain one that take turns; a table, compacted; and consumer groups that
// committed in transactions and outside. It writes down what partlog's own consumer sees of it.
//
//	go run .ci/txnstore.go DIR        DIR/store, DIR/bank.expected, DIR/table.expected
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: txnstore DIR")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "txnstore:", err)
		os.Exit(1)
	}
}

var errAborted = errors.New("aborted on purpose")

func run(ctx context.Context, dir string) error {
	config := partition.Config{CleanerBackoff: partition.Unlimited}
	store, err := partition.Open(filepath.Join(dir, "store"), config)
	if err != nil {
		return err
	}
	small := partition.TopicConfig{Partitions: 2, SegmentBytes: 1 << 20}
	if _, err := store.CreateTopic(ctx, "bank", small); err != nil {
		return err
	}
	table := partition.TopicConfig{Partitions: 1, SegmentBytes: 1 << 20, CleanupPolicy: partition.CleanupCompact}
	if _, err := store.CreateTopic(ctx, "table", table); err != nil {
		return err
	}
	if err := write(ctx, store); err != nil {
		return err
	}
	// A transaction that nobody ends.
	open, err := producer.New(store, producer.Config{TransactionalID: "open"})
	if err != nil {
		return err
	}
	stuck := make(chan struct{})
	end := make(chan error)
	go func() {
		end <- open.Transact(ctx, func(tx *producer.Tx) error {
			for p := range int32(2) {
				if _, err := tx.Send(ctx, record("bank", p, "", "never")); err != nil {
					return err
				}
			}
			close(stuck)
			<-ctx.Done()
			return nil
		})
	}()
	select {
	case <-stuck:
	case err := <-end:
		return fmt.Errorf("the open transaction: %w", err)
	}
	if err := store.Close(); err != nil {
		return err
	}

	if store, err = partition.Open(filepath.Join(dir, "store"), config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for _, tp := range []partition.TopicPartition{{Topic: "bank"}, {Topic: "bank", Partition: 1}} {
		for { // the open aborts what was open
			stable, err := store.ListOffsets(ctx, tp, partition.TimestampLastStable)
			latest, err2 := store.ListOffsets(ctx, tp, partition.TimestampLatest)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if stable == latest {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if err := store.Compact(ctx, partition.TopicPartition{Topic: "table"}); err != nil {
		return err
	}
	for topic, partitions := range map[string]int32{"bank": 2, "table": 1} {
		if err := expect(ctx, store, topic, partitions, filepath.Join(dir, topic+".expected")); err != nil {
			return err
		}
	}
	return err
}

func record(topic string, p int32, key, value string) producer.Record {
	r := producer.Record{Topic: topic, Partition: producer.To(p), Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	return r
}

// write makes 200 transactions of two producers, a plain record after every third, and commits offsets of two groups.
func write(ctx context.Context, store *partition.Store) (err error) {
	var ps []*producer.Producer
	for _, c := range []producer.Config{{TransactionalID: "a"}, {TransactionalID: "b", Compression: partition.CodecZstd}, {}} {
		p, err := producer.New(store, c)
		if err != nil {
			return err
		}
		defer p.Close()
		ps = append(ps, p)
	}
	inside, err := group.Open(store, "inside", group.Config{})
	if err != nil {
		return err
	}
	defer inside.Close()
	for i := range 200 {
		err := ps[i%2].Transact(ctx, func(tx *producer.Tx) error {
			for j := range int32(1 + i%4) {
				if _, err := tx.Send(ctx, record("bank", j%2, "", fmt.Sprintf("transfer %d.%d of some length %s", i, j, strings.Repeat("x", 80*i)))); err != nil {
					return err
				}
				if _, err := tx.Send(ctx, record("table", 0, fmt.Sprint("account-", i%10), fmt.Sprint("balance after ", i))); err != nil {
					return err
				}
			}
			offsets := map[partition.TopicPartition]group.CommittedOffset{{Topic: "bank"}: {Offset: partition.Offset(i), LeaderEpoch: partition.LeaderEpochUnknown, Metadata: "in a transaction"}}
			if err := tx.CommitGroupOffsets(ctx, inside, group.Membership{Group: "inside", Generation: group.NoGeneration}, offsets); err != nil {
				return err
			}
			if i%3 == 1 {
				return errAborted
			}
			return nil
		})
		if err != nil && !errors.Is(err, errAborted) {
			return err
		}
		if i%3 == 0 {
			if _, err := ps[2].Send(ctx, record("bank", int32(i%2), "", fmt.Sprint("plain ", i))); err != nil {
				return err
			}
		}
	}
	outside, err := group.Open(store, "outside", group.Config{})
	if err != nil {
		return err
	}
	defer outside.Close()
	c, err := consumer.Join(ctx, outside, consumer.Config{Topics: []string{"bank"}, Isolation: consumer.ReadCommitted, Reset: consumer.ResetEarliest})
	if err != nil {
		return err
	}
	n := 0
	for _, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		if n++; n == 100 {
			break
		}
	}
	return c.Close()
}

// expect writes down what a reader of committed records sees, one record a line, sorted.
func expect(ctx context.Context, store *partition.Store, topic string, partitions int32, name string) error {
	var lines []string
	for p := range partitions {
		tp := partition.TopicPartition{Topic: topic, Partition: p}
		end, err := store.ListOffsets(ctx, tp, partition.TimestampLatest)
		if err != nil {
			return err
		}
		c, err := consumer.Assign(ctx, store, []consumer.Assignment{{TopicPartition: tp, Until: consumer.UntilOffset(end)}}, consumer.Config{Isolation: consumer.ReadCommitted})
		if err != nil {
			return err
		}
		for r, err := range c.Records(ctx) {
			if err != nil {
				return err
			}
			key := "null"
			if r.Key != nil {
				key = string(r.Key)
			}
			lines = append(lines, fmt.Sprintf("Partition:%d\tOffset:%d\t%s\t%s\n", p, r.Offset, key, r.Value))
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	sort.Strings(lines)
	return os.WriteFile(name, []byte(strings.Join(lines, "")), 0o600)
}
