package partitiontest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/partition"
)

func deleteRecords(c *check) {
	for i := range 5 {
		c.append(fmt.Sprint(i))
	}
	deleted := func(before, want partition.Offset) {
		c.Helper()
		start, err := c.s.DeleteRecords(c.Context(), c.tp, before)
		c.ok(err, "delete records")
		equal(c, start, want, "the answer")
		equal(c, c.start(c.tp), want, "log start offset")
	}
	deleted(2, 2)
	deleted(1, 2) // it never goes back
	_, res := c.fetch(1, 0)
	c.is(res.Err, partition.ErrOffsetOutOfRange, "fetch below the log start offset")
	same(c, valuesOf(c.read(c.tp)), []string{"2", "3", "4"}, "what is left")
	equal(c, c.append("5").LogStart, 2, "log start offset of an append")
	for _, before := range []partition.Offset{99, -2} {
		_, err := c.s.DeleteRecords(c.Context(), c.tp, before)
		c.is(err, partition.ErrOffsetOutOfRange, fmt.Sprint("delete records before ", before))
	}
	deleted(-1, 6)
	equal(c, c.append("6").BaseOffset, 6, "offset of the next record")
	_, err := c.s.DeleteRecords(c.Context(), c.at(99), 0)
	c.is(err, partition.ErrUnknownTopicOrPartition, "of no partition")
}

// putKey appends a record with a key at the subject's time; without values it is a tombstone.
func (c *check) putKey(tp partition.TopicPartition, key string, value ...string) {
	c.Helper()
	r := Record{Timestamp: c.now(), Key: []byte(key)}
	if len(value) > 0 {
		r.Value = []byte(value[0])
	}
	_, err := c.put(tp, Batch(r))
	c.ok(err, "append")
}

func (c *check) compact(tp partition.TopicPartition) {
	c.Helper()
	c.ok(c.on.Compact(c.Context(), tp), "compact")
}

func deleteCompacted(c *check) {
	tp := c.topic("keys", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	c.putKey(tp, "a", "1")
	_, err := c.s.DeleteRecords(c.Context(), tp, 1)
	c.is(err, partition.ErrPolicyViolation, "delete records")
	equal(c, c.start(tp), 0, "log start offset")
}

func compaction(c *check) {
	tp := c.topic("keys", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	for i := range 6 {
		c.putKey(tp, string("aab"[i%3]), fmt.Sprint(i))
	}
	c.putKey(tp, "c", "once")
	c.compact(tp)
	same(c, described(c.read(tp)), []string{"4:a=4", "5:b=5", "6:c=once"}, "what is left")
	equal(c, c.end(tp), 7, "high watermark")
	records, res := c.fetchAs(partition.FetchRequest{Partitions: []partition.FetchPosition{position(tp, 1)}})
	c.ok(res.Err, "fetch at an offset that is gone")
	same(c, described(records), []string{"4:a=4", "5:b=5", "6:c=once"}, "the next one that is there")
	c.putKey(tp, "b", "again")
	c.compact(tp)
	same(c, described(c.read(tp)), []string{"4:a=4", "6:c=once", "7:b=again"}, "what is left")
}

func tombstones(c *check) {
	tp := c.topic("keys", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact, DeleteRetention: time.Minute})
	c.putKey(tp, "a", "1")
	c.putKey(tp, "b", "2")
	c.putKey(tp, "a")
	c.compact(tp)
	same(c, described(c.read(tp)), []string{"1:b=2", "2:a=null"}, "a tombstone stays for a while")
	c.on.Clock.Advance(2 * time.Minute)
	c.putKey(tp, "b", "3") // something to compact
	c.compact(tp)
	same(c, described(c.read(tp)), []string{"3:b=3"}, "and goes")
}

func compactedWantKeys(c *check) {
	tp := c.topic("keys", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	_, err := c.put(tp, valued("no key"))
	c.is(err, partition.ErrInvalidRecord, "a record without a key")
	equal(c, c.end(tp), 0, "high watermark")
}

// retained appends until there are several segments, and waits until the oldest are gone.
func (c *check) retained(config partition.TopicConfig, apart time.Duration) partition.TopicPartition {
	c.Helper()
	config.SegmentBytes = 1 << 20
	tp := c.topic("old", config)
	value := strings.Repeat("x", 400_000)
	for i := range 8 { // two in a segment
		r := Record{Timestamp: c.now(), Key: fmt.Append(nil, i), Value: []byte(value)}
		_, err := c.put(tp, Batch(r))
		c.ok(err, "append")
		c.on.Clock.Advance(apart)
	}
	c.soon("old segments go", func() bool {
		c.on.Clock.Advance(time.Minute)
		return c.start(tp) > 0
	})
	_, res := c.fetchAs(partition.FetchRequest{Partitions: []partition.FetchPosition{position(tp, 0)}})
	c.is(res.Err, partition.ErrOffsetOutOfRange, "fetch of what is gone")
	return tp
}

func retentionByAge(c *check) {
	tp := c.retained(partition.TopicConfig{RetentionAge: time.Hour}, time.Second)
	c.soon("all go", func() bool { // but for those of the active segment, until it is old enough
		c.on.Clock.Advance(10 * time.Minute)
		return c.start(tp) == c.end(tp)
	})
	equal(c, c.end(tp), 8, "high watermark")
	r, err := c.put(tp, Batch(Record{Timestamp: c.now(), Value: []byte("next")}))
	c.ok(err, "append")
	equal(c, r.BaseOffset, 8, "offset of the next record")
}

func retentionBySize(c *check) {
	tp := c.retained(partition.TopicConfig{RetentionBytes: 2 << 20}, 0)
	equal(c, c.start(tp)%2, 0, "whole segments")
	n, err := c.s.Size(c.Context(), tp)
	c.ok(err, "size")
	equal(c, n >= 1<<20, true, "as much as is to be kept")
	all := c.read(tp)
	equal(c, slices.IsSortedFunc(all, func(a, b Record) int { return int(a.Offset - b.Offset) }), true, "order")
	equal(c, partition.Offset(len(all)), 8-c.start(tp), "records that are left")
}
