package kafkatest

import (
	"context"
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// Record is a record of a topic, as tests write and read it beside the clients: Key and Value are nil where the record's are
// null, Timestamp is in milliseconds.
type Record = partitiontest.Record

// Header is a header of a record.
type Header = partition.Header

// Produce appends records to a partition, as one batch without compression, and returns the offset of the first. A record
// without a Timestamp gets the cluster's time; Offset is not looked at. Consumers that wait are woken. Errors: those of
// partition.Store.Append.
func (c *Cluster) Produce(ctx context.Context, topic string, p int32, records ...Record) (partition.Offset, error) {
	if len(records) == 0 {
		return 0, fmt.Errorf("produce to %s-%d: no records", topic, p)
	}
	now := c.clock.Now().UnixMilli()
	batch := slices.Clone(records)
	for i := range batch {
		if batch[i].Timestamp == 0 {
			batch[i].Timestamp = now
		}
	}
	r, err := c.Store().Append(ctx, partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: topic, Partition: p}, Batch: partitiontest.Batch(batch...)})
	return r.BaseOffset, err
}

// Records returns copies of all records of a partition below its high watermark, those of transactions that are open or were
// aborted included, control records not. Errors: those of partition.Store.Fetch, and of records that cannot be decoded.
func (c *Cluster) Records(topic string, p int32) ([]Record, error) {
	return c.read(topic, p, false)
}

// Committed is Records as a consumer with isolation.level=read_committed sees them: up to the last stable offset, without
// those of aborted transactions.
func (c *Cluster) Committed(topic string, p int32) ([]Record, error) {
	return c.read(topic, p, true)
}

func (c *Cluster) read(topic string, p int32, committed bool) (all []Record, err error) {
	ctx, s := context.Background(), c.Store()
	tp := partition.TopicPartition{Topic: topic, Partition: p}
	at, err := s.ListOffsets(ctx, tp, partition.TimestampEarliest)
	if err != nil {
		return nil, err
	}
	for {
		rs, err := s.Fetch(ctx, partition.FetchRequest{ReadCommitted: committed, Partitions: []partition.FetchPosition{{TopicPartition: tp, Offset: at, LeaderEpoch: partition.LeaderEpochUnknown}}})
		if err != nil {
			return nil, err
		}
		r := &rs[0]
		if r.Err != nil || len(r.Batches) == 0 {
			return all, r.Err
		}
		out, next, err := decode(all, r, at)
		r.Lease.Release()
		if err != nil {
			return nil, err
		}
		all, at = out, next
	}
}

// decode adds the records of a fetch to all, and returns the offset behind them.
func decode(all []Record, r *partition.FetchResult, from partition.Offset) ([]Record, partition.Offset, error) {
	aborted := map[int64]bool{} // producers whose transaction at this place was aborted
	ends := slices.Clone(r.Aborted)
	next := from
	for chunk := r.Batches; len(chunk) > 0; {
		b, err := batch.Peek(chunk)
		if err != nil {
			return nil, 0, err
		}
		chunk = chunk[len(b):]
		next = partition.Offset(b.LastOffset()) + 1
		for _, a := range ends {
			if a.FirstOffset <= partition.Offset(b.LastOffset()) {
				aborted[a.ProducerID] = true
			}
		}
		ends = slices.DeleteFunc(ends, func(a partition.AbortedTxn) bool { return a.FirstOffset <= partition.Offset(b.LastOffset()) })
		if b.IsControl() {
			delete(aborted, b.ProducerID())
			continue
		}
		if b.IsTransactional() && aborted[b.ProducerID()] {
			continue
		}
		records, err := partitiontest.Records(b)
		if err != nil {
			return nil, 0, err
		}
		for _, x := range records {
			if x.Offset >= from {
				all = append(all, x)
			}
		}
	}
	return all, next, nil
}
