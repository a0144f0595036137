package producer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

type fakeStore struct {
	mu     sync.Mutex
	topics map[string]*fakeTopic
	nextID int64
	closed bool
}

type fakeTopic struct {
	id    partition.TopicID
	parts []*fakePart
	max   int
	codec partition.Codec
}

type fakePart struct {
	mu    sync.Mutex
	next  int64
	data  []batch.Batch
	state map[int64]fakeState
}

type fakeState struct {
	epoch int16
	last  []fakeSeq
}

type fakeSeq struct {
	first, last int32
	base        int64
}

func newFake() *fakeStore { return &fakeStore{topics: map[string]*fakeTopic{}} }

func (s *fakeStore) create(name string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	t := &fakeTopic{max: 1048588, codec: partition.CodecProducer}
	t.id[0], t.id[1] = byte(s.nextID), 1
	for range n {
		t.parts = append(t.parts, &fakePart{state: map[int64]fakeState{}})
	}
	s.topics[name] = t
}

func (s *fakeStore) Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, partition.ErrClosed
	}
	out := make([]partition.Metadata, len(topics))
	for i, n := range topics {
		out[i].Topic = n
		t := s.topics[n]
		if t == nil {
			out[i].Err = partition.ErrUnknownTopicOrPartition
			continue
		}
		out[i].Internal = n == internalTopic
		out[i].ID, out[i].MaxMessageBytes, out[i].Compression = t.id, t.max, t.codec
		out[i].Partitions = make([]partition.PartitionMetadata, len(t.parts))
	}
	return out, nil
}

func (s *fakeStore) InitProducerID(context.Context, string, time.Duration, partition.ProducerID) (partition.ProducerID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	return partition.ProducerID{ID: s.nextID}, nil
}

func (s *fakeStore) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	s.mu.Lock()
	t := s.topics[r.Topic]
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return partition.AppendResult{}, partition.ErrClosed
	case t == nil || int(r.Partition) >= len(t.parts):
		return partition.AppendResult{}, partition.ErrUnknownTopicOrPartition
	case !r.TopicID.IsZero() && r.TopicID != t.id:
		return partition.AppendResult{}, partition.ErrUnknownTopicID
	}
	b, err := batch.Peek(r.Batch)
	if err == nil {
		err = errors.Join(b.CheckCRC(), b.CheckShape())
	}
	if err != nil {
		return partition.AppendResult{}, fmt.Errorf("%w: %w", partition.ErrInvalidRecord, err)
	}
	if len(b) > t.max {
		return partition.AppendResult{}, partition.ErrMessageTooLarge
	}
	p := t.parts[r.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if id := b.ProducerID(); id >= 0 {
		st, ok := p.state[id]
		if ok && b.ProducerEpoch() < st.epoch {
			return partition.AppendResult{}, partition.ErrInvalidProducerEpoch
		}
		if ok && b.ProducerEpoch() == st.epoch {
			for _, d := range st.last {
				if d.first == b.BaseSequence() && d.last == b.LastSequence() {
					return partition.AppendResult{BaseOffset: partition.Offset(d.base), LogAppendTime: -1, Duplicate: true}, nil
				}
			}
			if want := batch.AddSequence(st.last[len(st.last)-1].last, 1); b.BaseSequence() != want {
				return partition.AppendResult{}, fmt.Errorf("%w: got %d want %d", partition.ErrOutOfOrderSequence, b.BaseSequence(), want)
			}
		} else {
			if ok && b.BaseSequence() != 0 {
				return partition.AppendResult{}, partition.ErrOutOfOrderSequence
			}
			st = fakeState{epoch: b.ProducerEpoch()}
		}
		st.last = append(st.last, fakeSeq{b.BaseSequence(), b.LastSequence(), p.next})
		if len(st.last) > 5 {
			st.last = st.last[1:]
		}
		p.state[id] = st
	}
	c := slices.Clone(b)
	c.SetBaseOffset(p.next)
	base := p.next
	p.next += int64(b.Count())
	p.data = append(p.data, c)
	return partition.AppendResult{BaseOffset: partition.Offset(base), LogAppendTime: -1}, nil
}
