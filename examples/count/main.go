// Count is a consumer group that counts the values of one column of what ingest stored, and prints "value count" lines,
// sorted. Run again, it prints only what is new since: the group's committed offsets say where that begins.
//
//	go run ./examples/count -dir DIR -topic T -group G -by COLUMN [-members N]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

type options struct {
	dir, topic, group, by string
	members               int
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "directory of the store (required)")
	flag.StringVar(&o.topic, "topic", "", "topic to read (required)")
	flag.StringVar(&o.group, "group", "", "consumer group whose offsets say what is new (required)")
	flag.StringVar(&o.by, "by", "", "column whose values are counted (required)")
	flag.IntVar(&o.members, "members", 1, "members of the group that share the partitions")
	flag.Parse()
	if o.dir == "" || o.topic == "" || o.group == "" || o.by == "" || o.members < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, stdout io.Writer) (err error) {
	store, err := partition.Open(o.dir, partition.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if _, err := store.Topic(o.topic); err != nil {
		return err
	}
	g, err := group.Open(store, o.group, group.Config{})
	if err != nil {
		return err
	}
	defer g.Close()

	// Each member counts for itself; all have joined before any of them reads, so that they share from the start.
	members := make([]*consumer.Consumer, o.members)
	for i := range members {
		// UntilEnd: an iteration that finishes when everything that is there now has been read.
		members[i], err = consumer.Join(ctx, g, consumer.Config{Topics: []string{o.topic}, Until: consumer.UntilEnd()})
		if err != nil {
			return err
		}
		defer members[i].Close()
	}
	counts, errs := make([]map[string]int, len(members)), make([]error, len(members))
	var wg sync.WaitGroup
	for i, c := range members {
		wg.Go(func() {
			counts[i], errs[i] = count(ctx, c, o.by)
			errs[i] = errors.Join(errs[i], c.Close()) // commits, so that the others need not read it again
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	total := make(map[string]int)
	for _, m := range counts {
		for value, n := range m {
			total[value] += n
		}
	}
	for _, value := range slices.Sorted(maps.Keys(total)) {
		fmt.Fprintln(stdout, value, total[value])
	}
	return nil
}

func count(ctx context.Context, c *consumer.Consumer, by string) (map[string]int, error) {
	counts := make(map[string]int)
	for r, err := range consumer.Records(ctx, c, consumer.Bytes, consumer.JSON[map[string]json.RawMessage]) {
		if err != nil {
			return nil, err
		}
		field, ok := r.Value[by]
		if !ok {
			return nil, fmt.Errorf("%s-%d at offset %d has no field %q", r.Topic, r.Partition, r.Offset, by)
		}
		counts[text(field)]++
	}
	return counts, nil
}

// text returns a string's text, and the JSON of anything else.
func text(field json.RawMessage) string {
	var s string
	if json.Unmarshal(field, &s) == nil {
		return s
	}
	return string(field)
}
