package partitiontest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/partlog/partlog/partition"
)

func fetchStopsAtHighWatermark(c *check) {
	c.append("a", "b")
	records, res := c.fetch(0, 0)
	equal(c, len(records), 2, "records")
	equal(c, res.HighWatermark, 2, "high watermark")
	equal(c, res.LogStart, 0, "log start offset")
	records, res = c.fetch(2, 0)
	c.ok(res.Err, "fetch at the high watermark")
	equal(c, len(records), 0, "records at the high watermark")
}

func fetchWaits(c *check) {
	got := c.waiting(partition.FetchRequest{MaxWait: 10 * time.Minute, Partitions: []partition.FetchPosition{position(c.tp, 0)}})
	c.append("late")
	f := <-got
	c.ok(f.err, "fetch")
	same(c, valuesOf(f.records), []string{"late"}, "what the waiting fetch returned")
}

func fetchWaitsForMinBytes(c *check) {
	got := c.waiting(partition.FetchRequest{
		MinBytes: len(valued("first")) + len(valued("second")), MaxWait: 10 * time.Minute, Partitions: []partition.FetchPosition{position(c.tp, 0)},
	})
	c.append("first")
	c.append("second")
	f := <-got
	c.ok(f.err, "fetch")
	same(c, valuesOf(f.records), []string{"first", "second"}, "an answer of as many bytes as were asked for")
}

func fetchWithinBatch(c *check) {
	c.append("a", "b", "c")
	c.append("d")
	records, res := c.fetch(1, 0)
	c.ok(res.Err, "fetch")
	if len(records) < 2 || string(records[0].Value) != "b" || records[0].Offset != 1 {
		c.Fatalf("from offset 1: %v", described(records))
	}
}

func errorsInResults(c *check) {
	c.append("a")
	rs, err := c.b.Fetch(c.Context(), partition.FetchRequest{MaxWait: time.Minute, Partitions: []partition.FetchPosition{
		position(c.tp, 0), position(c.tp, 99), position(c.tp, -5), position(partition.TopicPartition{Topic: "no-such-topic"}, 0), position(c.at(99), 0),
	}})
	c.ok(err, "a fetch of good and bad partitions")
	c.ok(rs[0].Err, "the good one")
	for i, want := range []error{1: partition.ErrOffsetOutOfRange, 2: partition.ErrOffsetOutOfRange, 3: partition.ErrUnknownTopicOrPartition, 4: partition.ErrUnknownTopicOrPartition} {
		if i > 0 {
			c.is(rs[i].Err, want, fmt.Sprint("result ", i))
		}
	}
	for i := range rs {
		rs[i].Lease.Release()
	}
	_, err = c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "no-such-topic"}, Batch: valued("x")})
	c.is(err, partition.ErrUnknownTopicOrPartition, "append to a topic that is not there")
}

func cancelled(c *check) {
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	_, err := c.b.Append(ctx, partition.AppendRequest{TopicPartition: c.tp, Batch: valued("x")})
	c.is(err, context.Canceled, "append")
	_, err = c.b.Fetch(ctx, partition.FetchRequest{MaxWait: time.Minute, Partitions: []partition.FetchPosition{position(c.tp, 0)}})
	c.is(err, context.Canceled, "fetch")
	equal(c, c.end(c.tp), 0, "high watermark")
}

func fetchBounds(c *check) {
	big := strings.Repeat("x", 1000)
	var r partition.FetchRequest
	for p := range int32(3) {
		for range 2 {
			_, err := c.put(c.at(p), valued(big))
			c.ok(err, "append")
		}
		at := position(c.at(p), 0)
		at.MaxBytes = 10
		r.Partitions = append(r.Partitions, at)
	}
	count := func() (n []int) {
		rs, err := c.b.Fetch(c.Context(), r)
		c.ok(err, "fetch")
		for i := range rs {
			c.ok(rs[i].Err, "fetch")
			records, err := Records(rs[i].Batches)
			c.ok(err, "decode")
			n = append(n, len(records))
			rs[i].Lease.Release()
		}
		return n
	}
	same(c, count(), []int{1, 0, 0}, "batches where none fits: the first one comes")
	for i := range r.Partitions {
		r.Partitions[i].MaxBytes = 1500
	}
	same(c, count(), []int{1, 1, 1}, "batches where one of each partition fits")
	r.MaxBytes = 2600
	same(c, count(), []int{1, 1, 0}, "batches where two fit the answer")
}

func fetchEnds(c *check) {
	done := c.waiting(partition.FetchRequest{MaxWait: 20 * time.Millisecond, Partitions: []partition.FetchPosition{position(c.tp, 0)}})
	c.soon("the fetch ends", func() bool {
		c.on.Clock.Advance(20 * time.Millisecond) // a node goes by the system's clock between nodes, and by this one at home
		select {
		case f := <-done:
			c.ok(f.err, "fetch")
			c.ok(f.result.Err, "a fetch that found nothing")
			equal(c, len(f.records), 0, "records")
			equal(c, f.result.HighWatermark, 0, "high watermark")
			return true
		default:
			return false
		}
	})
}

func fetchEpoch(c *check) {
	c.append("a")
	epoch := c.lookUp(partition.TimestampLatest).LeaderEpoch
	for under, want := range map[partition.LeaderEpoch]error{epoch: nil, epoch + 1: partition.ErrUnknownLeaderEpoch} {
		at := position(c.tp, 0)
		at.LeaderEpoch = under
		records, res := c.fetchAs(partition.FetchRequest{Partitions: []partition.FetchPosition{at}})
		if want != nil && c.on.Differs.LaterEpochsAreAwaited {
			c.ok(res.Err, "fetch under a later epoch")
			equal(c, len(records), 0, "records under a later epoch")
			continue
		}
		c.is(res.Err, want, fmt.Sprint("fetch under epoch ", under))
		_, err := c.s.LookUpOffset(c.Context(), c.tp, partition.TimestampLatest, under, false)
		c.is(err, want, fmt.Sprint("offset under epoch ", under))
	}
}
