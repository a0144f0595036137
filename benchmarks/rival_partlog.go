package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// partlogStore appends with Partition.Append; each worker builds its batches itself, inside the timed loop.
type partlogStore struct {
	store *partition.Store
	lanes []partlogLane
}

type partlogLane struct {
	partition *partition.Partition
	builder   batch.Builder
	buffer    []byte
	_         [64]byte
}

const partlogTopic = "records"

func partlogConfig(sync bool) partition.Config {
	if sync {
		return partition.Config{}
	}
	return partition.Config{Sync: partition.SyncNever}
}

func openPartlog(dir string, s shape) (store, error) {
	st, err := partition.Open(filepath.Join(dir, "store"), partlogConfig(s.sync))
	if err != nil {
		return nil, err
	}
	topic, err := st.CreateTopic(context.Background(), partlogTopic, partition.TopicConfig{Partitions: int32(max(s.partitions, 1))})
	if err != nil {
		return nil, err
	}
	p := &partlogStore{store: st, lanes: make([]partlogLane, s.workers)}
	for w := range p.lanes {
		number := int32(0)
		if s.partitions > 0 {
			number = int32(w % s.partitions)
		}
		if p.lanes[w].partition, err = topic.Partition(number); err != nil {
			return nil, err
		}
		p.lanes[w].buffer = make([]byte, 0, 128+s.batch*(s.size+32))
	}
	return p, nil
}

func (p *partlogStore) append(w int, records [][]byte) error {
	l := &p.lanes[w]
	l.builder.Reset(l.buffer, batch.Options{})
	now := time.Now().UnixMilli()
	for _, r := range records {
		l.builder.Append(now, nil, r, nil)
	}
	b, err := l.builder.Finish()
	if err != nil {
		return err
	}
	_, err = l.partition.Append(context.Background(), b, partition.AcksAll)
	return err
}

func (p *partlogStore) close() error { return p.store.Close() }

func scanPartlog(dir string, s shape, visit func([]byte) error) error {
	st, err := partition.Open(filepath.Join(dir, "store"), partlogConfig(s.sync))
	if err != nil {
		return err
	}
	for i := range int32(max(s.partitions, 1)) {
		if err := fetchAll(st, i, func(r *batch.Record) error { return visit(r.Value) }); err != nil {
			return errors.Join(err, st.Close())
		}
	}
	return st.Close()
}

// fetchAll visits every record of one partition of partlogTopic, borrowed.
func fetchAll(st *partition.Store, number int32, visit func(*batch.Record) error) error {
	var it batch.Iterator
	var results []partition.FetchResult
	tp := partition.TopicPartition{Topic: partlogTopic, Partition: number}
	position := []partition.FetchPosition{{TopicPartition: tp, LeaderEpoch: partition.LeaderEpochUnknown, MaxBytes: 1 << 20}}
	for {
		var err error
		results, err = st.Fetch(context.Background(), partition.FetchRequest{Partitions: position, MaxBytes: 1 << 20, Reuse: results})
		if err != nil {
			return err
		}
		r := &results[0]
		if r.Err != nil {
			return r.Err
		}
		if len(r.Batches) == 0 {
			return nil
		}
		for rest := r.Batches; len(rest) > 0; {
			b, err := batch.Peek(rest)
			if err != nil {
				return err
			}
			b.Iterate(&it, 1<<30)
			for it.Next() {
				if err := visit(it.Record()); err != nil {
					return err
				}
			}
			if it.Err() != nil {
				return it.Err()
			}
			position[0].Offset = partition.Offset(b.NextOffset())
			rest = rest[len(b):]
		}
		r.Lease.Release()
	}
}

// newPartlogAgain opens the store that an earlier open in dir made.
func newPartlogAgain(dir string) (*partition.Store, error) {
	return partition.Open(filepath.Join(dir, "store"), partlogConfig(false))
}

// fetchCopies reads partition 0 in whole batches, each fetch copied to a buffer of its own.
func fetchCopies(st *partition.Store, visit func([]byte) error) error {
	topic, err := st.Topic(partlogTopic)
	if err != nil {
		return err
	}
	p, err := topic.Partition(0)
	if err != nil {
		return err
	}
	for offset := partition.Offset(0); ; {
		b, next, err := p.ReadCopy(make([]byte, 0, 1<<20), offset, 1<<20)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		if err := visit(b); err != nil {
			return err
		}
		offset = next
	}
}
