package partitiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// check is one check of conformance while it runs.
type check struct {
	*testing.T
	b  Backend
	tp partition.TopicPartition // the middle one of three, of a topic of the check's own

	// Of StoreConformance only.
	s  Store
	on *Subject
}

func newCheck(t *testing.T, b Backend, topic string) *check {
	return &check{T: t, b: b, tp: partition.TopicPartition{Topic: topic, Partition: 1}}
}

const conformanceTime = 900_000_000_000 // milliseconds, of records whose time does not matter

func (c *check) ok(err error, what string) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

func (c *check) is(err, want error, what string) {
	c.Helper()
	if !errors.Is(err, want) {
		c.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

func equal[V comparable](c *check, got, want V, what string) {
	c.Helper()
	if got != want {
		c.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func same[V comparable](c *check, got, want []V, what string) {
	c.Helper()
	if !slices.Equal(got, want) {
		c.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// soon asks until something is true that becomes true without a further call, as the markers of a transaction that was committed. On a machine with nothing else
// to do that is at once.
func (c *check) soon(what string, is func() bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Minute)
	defer cancel()
	for !is() {
		c.ok(ctx.Err(), what)
		pause(ctx)
	}
}

func pause(ctx context.Context) {
	over := make(chan struct{})
	defer clock.System.AfterFunc(time.Millisecond, func() { close(over) })()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// create makes a topic on the subject's replicas.
func (c *check) create(name string, config partition.TopicConfig) *partition.Topic {
	c.Helper()
	topic, err := c.s.CreateTopic(c.Context(), name, c.placed(config))
	c.ok(err, "create topic")
	return topic
}

// placed puts the partitions of a topic where the subject wants them.
func (c *check) placed(config partition.TopicConfig) partition.TopicConfig {
	for range max(config.Partitions, 1) {
		if c.on.Replicas != nil {
			config.Assignment = append(config.Assignment, c.on.Replicas)
		}
	}
	return config
}

// topic makes another topic of the check's own, with one partition.
func (c *check) topic(suffix string, config partition.TopicConfig) partition.TopicPartition {
	c.Helper()
	tp := partition.TopicPartition{Topic: c.tp.Topic + "." + suffix}
	c.create(tp.Topic, config)
	return tp
}

// at is another partition of the check's topic.
func (c *check) at(p int32) partition.TopicPartition {
	return partition.TopicPartition{Topic: c.tp.Topic, Partition: p}
}

// now is the subject's time in milliseconds.
func (c *check) now() int64 { return c.on.Clock.Now().UnixMilli() }

// put appends one batch with acks=all.
func (c *check) put(tp partition.TopicPartition, b []byte) (partition.AppendResult, error) {
	return c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: tp, Batch: b, Foreign: true})
}

func valued(vs ...string) []byte {
	var rs []Record
	for i, v := range vs {
		rs = append(rs, Record{Timestamp: conformanceTime + int64(i), Value: []byte(v)})
	}
	return Batch(rs...)
}

// append appends one batch of these values to the check's partition.
func (c *check) append(vs ...string) partition.AppendResult {
	c.Helper()
	r, err := c.put(c.tp, valued(vs...))
	c.ok(err, "append")
	return r
}

// position is where a fetch of one partition begins.
func position(tp partition.TopicPartition, from partition.Offset) partition.FetchPosition {
	return partition.FetchPosition{TopicPartition: tp, Offset: from, LeaderEpoch: partition.LeaderEpochUnknown}
}

// fetch reads the check's partition once.
func (c *check) fetch(from partition.Offset, wait time.Duration) ([]Record, partition.FetchResult) {
	c.Helper()
	return c.fetchAs(partition.FetchRequest{MaxWait: wait, Partitions: []partition.FetchPosition{position(c.tp, from)}})
}

// fetchAs reads one partition once. The bytes of the result are given back; the records are copies.
func (c *check) fetchAs(r partition.FetchRequest) ([]Record, partition.FetchResult) {
	c.Helper()
	f := fetchOnce(c.Context(), c.b, r)
	c.ok(f.err, "fetch")
	return f.records, f.result
}

// waiting is fetchAs beside the check, which looks for the result itself.
func (c *check) waiting(r partition.FetchRequest) <-chan fetched {
	done := make(chan fetched, 1)
	go func() { done <- fetchOnce(c.Context(), c.b, r) }()
	return done
}

// fetched is the outcome of a fetch of one partition.
type fetched struct {
	records []Record
	result  partition.FetchResult
	err     error
}

func fetchOnce(ctx context.Context, b Backend, r partition.FetchRequest) (f fetched) {
	rs, err := b.Fetch(ctx, r)
	if err == nil && len(rs) != 1 {
		err = fmt.Errorf("%d results of a fetch of one partition", len(rs))
	}
	if err != nil {
		return fetched{err: err}
	}
	f.result = rs[0]
	f.records, f.err = Records(rs[0].Batches)
	f.records = slices.DeleteFunc(f.records, func(got Record) bool { return got.Offset < r.Partitions[0].Offset })
	rs[0].Lease.Release()
	return f
}

// read reads a partition to its high watermark.
func (c *check) read(tp partition.TopicPartition) (all []Record) {
	c.Helper()
	at, err := c.b.ListOffsets(c.Context(), tp, partition.TimestampEarliest)
	c.ok(err, "list offsets")
	end := c.end(tp)
	for at < end {
		rs, err := c.b.Fetch(c.Context(), partition.FetchRequest{Partitions: []partition.FetchPosition{position(tp, at)}})
		c.ok(err, "fetch")
		c.ok(rs[0].Err, "fetch")
		if len(rs[0].Batches) == 0 {
			c.Fatalf("nothing at offset %d of %d", at, end)
		}
		records, err := Records(rs[0].Batches)
		c.ok(err, "decode what was fetched")
		all = append(all, slices.DeleteFunc(records, func(r Record) bool { return r.Offset < at })...)
		at = nextOffset(rs[0].Batches)
		rs[0].Lease.Release()
	}
	return all
}

// nextOffset is the offset behind whole batches.
func nextOffset(b []byte) (next partition.Offset) {
	for len(b) > 0 {
		one, err := batch.Peek(b)
		if err != nil {
			panic("BUG: " + err.Error()) // they have been decoded before
		}
		next, b = partition.Offset(one.NextOffset()), b[len(one):]
	}
	return next
}

func (c *check) end(tp partition.TopicPartition) partition.Offset {
	c.Helper()
	o, err := c.b.ListOffsets(c.Context(), tp, partition.TimestampLatest)
	c.ok(err, "list offsets")
	return o
}

func (c *check) start(tp partition.TopicPartition) partition.Offset {
	c.Helper()
	o, err := c.b.ListOffsets(c.Context(), tp, partition.TimestampEarliest)
	c.ok(err, "list offsets")
	return o
}

func valuesOf(rs []Record) (vs []string) {
	for _, r := range rs {
		vs = append(vs, string(r.Value))
	}
	return vs
}

// described are records as offset:key=value.
func described(rs []Record) (all []string) {
	for _, r := range rs {
		v := string(r.Value)
		if r.Value == nil {
			v = "null"
		}
		all = append(all, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, v))
	}
	return all
}
