package producer_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// script stands between a producer and a store. It writes down what is appended, and a test's functions decide what
// else happens: what comes before an append, and what the producer is told of it.
type script struct {
	producer.Backend
	before func(n int, r partition.AppendRequest) error // n counts appends from 1; an error keeps the store from seeing it
	after  func(n int, r partition.AppendRequest, err error) error

	mu      sync.Mutex
	appends []appended
	running int
	most    int // appends that ran at the same time
}

type appended struct {
	partition.TopicPartition
	id      partition.ProducerID
	seq     int32
	records int
	bytes   int
	acks    partition.Acks
	codec   partition.Codec
}

func (s *script) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	b := batch.Batch(r.Batch)
	s.mu.Lock()
	s.appends = append(s.appends, appended{
		TopicPartition: r.TopicPartition, id: partition.ProducerID{ID: b.ProducerID(), Epoch: b.ProducerEpoch()},
		seq: b.BaseSequence(), records: int(b.Count()), bytes: len(b), acks: r.Acks, codec: b.Codec(),
	})
	n := len(s.appends)
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
	}()
	if s.before != nil {
		if err := s.before(n, r); err != nil {
			return partition.AppendResult{}, err
		}
	}
	res, err := s.Backend.Append(ctx, r)
	if s.after != nil {
		if told := s.after(n, r, err); told != nil {
			return partition.AppendResult{}, told
		}
	}
	return res, err
}

func (s *script) seen() []appended {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]appended(nil), s.appends...)
}

// gate holds appends until it is opened, and says when one has come.
type gate struct {
	come chan struct{}
	open chan struct{}
}

func newGate() *gate { return &gate{come: make(chan struct{}, 1000), open: make(chan struct{})} }

func (g *gate) hold() {
	g.come <- struct{}{}
	<-g.open
}

// results collects what callbacks are told.
type results struct {
	mu  sync.Mutex
	all []producer.Result
}

func (r *results) add(x producer.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
}

func (r *results) list() []producer.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]producer.Result(nil), r.all...)
}

// start returns a producer on a store with the topic "t" of n partitions, and what stands between them.
func start(t testing.TB, n int, c producer.Config) (*producer.Producer, *script, *fakeStore) {
	t.Helper()
	store := newFake()
	store.create("t", n)
	s := &script{Backend: store}
	p, err := producer.New(s, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p, s, store
}

// value is a record for the topic "t", partition 0.
func value(v string) producer.Record {
	return producer.Record{Topic: "t", Partition: producer.To(0), Value: []byte(v)}
}

// stored returns the records of one partition, whole.
func stored(t testing.TB, s *fakeStore, topic string, n int) []batch.Record {
	t.Helper()
	p := s.topics[topic].parts[n]
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []batch.Record
	for _, b := range p.data {
		var it batch.Iterator
		b.Iterate(&it, 1<<30)
		for it.Next() {
			r := *it.Record()
			if r.Key != nil {
				r.Key = append([]byte{}, r.Key...)
			}
			if r.Value != nil {
				r.Value = append([]byte{}, r.Value...)
			}
			r.Headers = append([]batch.Header(nil), r.Headers...)
			require.EqualValues(t, len(out), r.Offset)
			out = append(out, r)
		}
		require.NoError(t, it.Err())
	}
	return out
}

// values returns the values of one partition of "t".
func values(t testing.TB, s *fakeStore, n int) []string {
	t.Helper()
	out := []string{}
	for _, r := range stored(t, s, "t", n) {
		out = append(out, string(r.Value))
	}
	return out
}
