package partitiontest

import (
	"fmt"
	"math"

	"github.com/partlog/partlog/partition"
)

func offsetsByTime(c *check) {
	c.append("a", "b", "c")
	for ts, want := range map[int64]partition.Offset{
		partition.TimestampEarliest: 0, partition.TimestampLatest: 3, partition.TimestampMax: 2,
		0: 0, conformanceTime + 1: 1, conformanceTime + 3: partition.OffsetUnknown,
	} {
		o, err := c.b.ListOffsets(c.Context(), c.tp, ts)
		c.ok(err, "list offsets")
		equal(c, o, want, fmt.Sprint("offset of timestamp ", ts))
	}
	_, err := c.b.ListOffsets(c.Context(), partition.TopicPartition{Topic: "no-such-topic"}, partition.TimestampLatest)
	c.is(err, partition.ErrUnknownTopicOrPartition, "list offsets of a topic that is not there")
}

func (c *check) lookUp(timestamp int64) partition.FoundOffset {
	c.Helper()
	return c.lookUpIn(c.tp, timestamp)
}

func (c *check) lookUpIn(tp partition.TopicPartition, timestamp int64) partition.FoundOffset {
	c.Helper()
	found, err := c.s.LookUpOffset(c.Context(), tp, timestamp, partition.LeaderEpochUnknown, false)
	c.ok(err, "look up offset")
	return found
}

func lookUpOffset(c *check) {
	c.append("a", "b", "c")
	epoch := c.lookUp(partition.TimestampLatest).LeaderEpoch
	equal(c, epoch >= 0, true, "a leader epoch")
	for ts, want := range map[int64]partition.FoundOffset{
		partition.TimestampLatest:   {Offset: 3, Timestamp: -1, LeaderEpoch: epoch},
		partition.TimestampEarliest: {Offset: 0, Timestamp: -1, LeaderEpoch: epoch},
		conformanceTime + 1:         {Offset: 1, Timestamp: conformanceTime + 1, LeaderEpoch: epoch},
		conformanceTime + 9:         {Offset: partition.OffsetUnknown, Timestamp: -1, LeaderEpoch: partition.LeaderEpochUnknown},
	} {
		equal(c, c.lookUp(ts), want, fmt.Sprint("timestamp ", ts))
	}
}

func maxTimestamp(c *check) {
	for _, ts := range []int64{5, 9, 9, 2} {
		_, err := c.put(c.tp, Batch(Record{Timestamp: conformanceTime + ts, Value: []byte("x")}))
		c.ok(err, "append")
	}
	found := c.lookUp(partition.TimestampMax)
	equal(c, found.Offset, 1, "the first of the largest")
	equal(c, found.Timestamp, conformanceTime+9, "its time")
	equal(c, c.lookUp(conformanceTime+3).Offset, 0, "the first that is as young")
	equal(c, c.lookUp(conformanceTime+6).Offset, 1, "the first that is as young")
}

func emptyPartitionOffsets(c *check) {
	for _, ts := range []int64{0, conformanceTime, math.MaxInt64, partition.TimestampMax} {
		equal(c, c.lookUp(ts).Offset, partition.OffsetUnknown, fmt.Sprint("timestamp ", ts))
	}
	equal(c, c.start(c.tp), 0, "log start offset")
	equal(c, c.end(c.tp), 0, "high watermark")
}

func meaninglessTimestamps(c *check) {
	for _, ts := range []int64{-9, math.MinInt64} {
		_, err := c.s.ListOffsets(c.Context(), c.tp, ts)
		c.is(err, partition.ErrUnsupported, "list offsets")
		c.is(err, partition.ErrInvalidConfig, "list offsets")
		_, err = c.s.LookUpOffset(c.Context(), c.tp, ts, partition.LeaderEpochUnknown, false)
		c.is(err, partition.ErrUnsupported, "look up offset")
	}
}

func epochEnd(c *check) {
	epoch := c.lookUp(partition.TimestampLatest).LeaderEpoch
	c.append("a", "b")
	for asked, want := range map[partition.LeaderEpoch]struct {
		epoch partition.LeaderEpoch
		end   partition.Offset
	}{epoch: {epoch, 2}, epoch + 1: {-1, -1}} {
		e, end, err := c.s.EpochEnd(c.Context(), c.tp, asked)
		c.ok(err, "epoch end")
		equal(c, e, want.epoch, fmt.Sprint("epoch that ends, of epoch ", asked))
		equal(c, end, want.end, fmt.Sprint("its end, of epoch ", asked))
	}
	_, _, err := c.s.EpochEnd(c.Context(), c.at(99), 0)
	c.is(err, partition.ErrUnknownTopicOrPartition, "of no partition")
}

func size(c *check) {
	n, err := c.s.Size(c.Context(), c.tp)
	c.ok(err, "size")
	equal(c, n, 0, "size of nothing")
	c.append("a")
	n, err = c.s.Size(c.Context(), c.tp)
	c.ok(err, "size")
	equal(c, n, int64(len(valued("a"))), "size of one batch")
	_, err = c.s.Size(c.Context(), c.at(99))
	c.is(err, partition.ErrUnknownTopicOrPartition, "of no partition")
}
