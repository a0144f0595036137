// Changelog keeps a service's state in a compacted topic and has it back as a table: each change is a record, a restart reads
// the last record of each key, and compaction removes the rest.
//
//	go run ./examples/changelog            # in a temporary directory, removed at the end
//	go run ./examples/changelog -dir data  # keeps the store; run it again and the table is restored from it
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// Stock is what the service knows of a product.
type Stock struct {
	Pieces int    `json:"pieces"`
	Shelf  string `json:"shelf"`
}

const (
	topic    = "stock"
	products = 500
	changes  = 20_000
)

func main() {
	dir := flag.String("dir", "", "directory of the store; empty: a temporary one")
	flag.Parse()
	if err := run(context.Background(), *dir, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "changelog:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, out io.Writer) error {
	if dir == "" {
		temporary, err := os.MkdirTemp("", "partlog-changelog-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}
	for i, name := range []string{"open", "close, and open again"} {
		fmt.Fprintln(out, name)
		if err := session(ctx, dir, out, i*changes); err != nil {
			return err
		}
	}
	return nil
}

// session opens the store, restores the table, changes it, and has the topic compacted.
func session(ctx context.Context, dir string, out io.Writer, first int) (err error) {
	store, err := partition.Open(dir, partition.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = store.CreateTopic(ctx, topic, partition.TopicConfig{
		Partitions: 2, CleanupPolicy: partition.CleanupCompact, SegmentBytes: 1 << 20, // of each key the last record stays
	})
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return err
	}

	started := time.Now()
	table, err := consumer.OpenTable(ctx, store, topic, consumer.String, consumer.JSON[Stock], consumer.TableConfig{MaxBytes: 64 << 20})
	if err != nil {
		return err
	}
	defer table.Close()
	if err := table.CaughtUp(ctx); err != nil {
		return err
	}
	s := table.Stats()
	fmt.Fprintf(out, "  restored %d products from %d records in %v\n", s.Keys, s.Records, time.Since(started).Round(time.Millisecond))

	p, err := producer.New(store, producer.Config{})
	if err != nil {
		return err
	}
	defer p.Close()
	stock := producer.For(p, topic, producer.String, producer.JSON[Stock])
	failed := make(chan error, 1)
	for i := range changes {
		n := first + i
		stock.SendAsync(ctx, fmt.Sprintf("product-%03d", n%products), Stock{Pieces: n, Shelf: fmt.Sprint("shelf ", n%7)}, func(r producer.Result) {
			if r.Err != nil {
				select {
				case failed <- r.Err:
				default:
				}
			}
		})
	}
	if _, err := stock.Delete(ctx, "product-000"); err != nil { // a tombstone: the key goes
		return err
	}
	if err := p.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
	}

	if err := table.CaughtUp(ctx); err != nil { // sees everything that was sent before
		return err
	}
	_, there := table.Get("product-000")
	last, _ := table.Get("product-007")
	fmt.Fprintf(out, "  %d changes later: %d products, product-000 there: %v, product-007: %d pieces on %s\n",
		changes, table.Stats().Keys, there, last.Pieces, last.Shelf)

	before := size(store)
	for i := range int32(2) {
		// The store's cleaner does this by itself when half of a log is dirty; here we do not want to wait.
		if err := store.Compact(ctx, partition.TopicPartition{Topic: topic, Partition: i}); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "  compacted from %d KB to %d KB\n", before>>10, size(store)>>10)
	return nil
}

// size is how many bytes the topic has on disk.
func size(store *partition.Store) (bytes int64) {
	for _, p := range store.Stats().ByPartition {
		if p.Topic == topic {
			bytes += p.Bytes
		}
	}
	return bytes
}
