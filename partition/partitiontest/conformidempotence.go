package partitiontest

import (
	"fmt"
	"math"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// idempotent builds a batch of one record of an idempotent producer.
func idempotent(p partition.ProducerID, sequence int32, v string) []byte {
	var w batch.Builder
	w.Reset(nil, batch.Options{Idempotent: true, ProducerID: p.ID, Epoch: p.Epoch, BaseSequence: sequence})
	w.Append(conformanceTime, nil, []byte(v), nil)
	b, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

func (c *check) producer() partition.ProducerID {
	c.Helper()
	p, err := c.b.InitProducerID(c.Context(), "", 0, partition.NoProducerID)
	c.ok(err, "init producer id")
	return p
}

func (c *check) send(p partition.ProducerID, sequence int32) (partition.AppendResult, error) {
	return c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, Batch: idempotent(p, sequence, fmt.Sprint(sequence))})
}

func retryIsDuplicate(c *check) {
	p := c.producer()
	for i := range int32(5) {
		r, err := c.send(p, i)
		c.ok(err, "first send")
		equal(c, r.BaseOffset, partition.Offset(i), "base offset")
	}
	for i := range int32(5) {
		r, err := c.send(p, i)
		c.ok(err, "retry")
		equal(c, r.BaseOffset, partition.Offset(i), "the first one's offset")
	}
	records, _ := c.fetch(0, 0)
	equal(c, c.end(c.tp), 5, "high watermark")
	if len(records) == 0 {
		c.Fatal("nothing to read")
	}
}

func sequenceAndEpoch(c *check) {
	p := c.producer()
	_, err := c.send(p, 0)
	c.ok(err, "first send")
	_, err = c.send(p, 2)
	c.is(err, partition.ErrOutOfOrderSequence, "a skipped sequence")
	newer := p
	newer.Epoch++
	_, err = c.send(newer, 1)
	c.is(err, partition.ErrOutOfOrderSequence, "a new epoch that does not begin at 0")
	_, err = c.send(newer, 0)
	c.ok(err, "a new epoch begins at 0")
	_, err = c.send(p, 1)
	c.is(err, partition.ErrInvalidProducerEpoch, "an old epoch")
	_, err = c.send(newer, 1)
	c.ok(err, "the new one goes on")
}

func sequenceWraps(c *check) {
	p := c.producer()
	_, err := c.send(p, math.MaxInt32)
	c.ok(err, "a producer that is not known here may begin anywhere")
	_, err = c.send(p, 1)
	c.is(err, partition.ErrOutOfOrderSequence, "1 after the largest")
	_, err = c.send(p, 0)
	c.ok(err, "0 after the largest")
	equal(c, c.end(c.tp), 2, "high watermark")
}

func producerIDs(c *check) {
	seen := map[int64]bool{}
	for range 100 {
		p := c.producer()
		equal(c, p.Epoch, 0, "epoch")
		equal(c, seen[p.ID], false, "a producer id given twice")
		seen[p.ID] = true
	}
}

func sequencesPerPartition(c *check) {
	p := c.producer()
	for i := range int32(3) {
		for sequence := range i + 1 {
			r, err := c.put(c.at(i), idempotent(p, sequence, "x"))
			c.ok(err, "append")
			equal(c, r.BaseOffset, partition.Offset(sequence), "base offset")
			equal(c, r.Duplicate, false, "duplicate")
		}
	}
}

func fiveBatches(c *check) {
	p := c.producer()
	for i := range int32(6) {
		_, err := c.send(p, i)
		c.ok(err, "send")
	}
	for i := range int32(5) {
		r, err := c.send(p, i+1)
		c.ok(err, "one of the last five again")
		equal(c, r.Duplicate, true, "duplicate")
		equal(c, r.BaseOffset, partition.Offset(i+1), "the first one's offset")
	}
	_, err := c.send(p, 0)
	c.is(err, partition.ErrOutOfOrderSequence, "the one before them again")
	equal(c, c.end(c.tp), 6, "high watermark")
}

func describeProducers(c *check) {
	p := c.producer()
	for i := range int32(3) {
		_, err := c.send(p, i)
		c.ok(err, "send")
	}
	all, err := c.s.DescribeProducers(c.Context(), c.tp)
	c.ok(err, "describe producers")
	equal(c, len(all), 1, "producers")
	equal(c, all[0].Producer, p, "producer")
	equal(c, all[0].LastSequence, 2, "last sequence")
	equal(c, all[0].TxnStart, -1, "open transaction")
	_, err = c.s.DescribeProducers(c.Context(), c.at(99))
	c.is(err, partition.ErrUnknownTopicOrPartition, "producers of no partition")
}
