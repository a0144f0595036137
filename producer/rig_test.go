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
func start(t testing.TB, n int, c producer.Config) (*producer.Producer, *script, *partition.Store) {
	t.Helper()
	store := memory(t)
	create(t, store, "t", n)
	s := &script{Backend: store}
	p, err := producer.New(s, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p, s, store
}

// memory returns a store without topics that ends with the test.
func memory(t testing.TB) *partition.Store {
	t.Helper()
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func create(t testing.TB, s *partition.Store, topic string, n int) {
	t.Helper()
	_, err := s.CreateTopic(t.Context(), topic, partition.TopicConfig{Partitions: int32(n)})
	require.NoError(t, err)
}

// value is a record for the topic "t", partition 0.
func value(v string) producer.Record {
	return producer.Record{Topic: "t", Partition: producer.To(0), Value: []byte(v)}
}

// stored returns the records of one partition, whole.
func stored(t testing.TB, s *partition.Store, topic string, n int) []batch.Record {
	t.Helper()
	tp := partition.TopicPartition{Topic: topic, Partition: int32(n)}
	var out []batch.Record
	for {
		got, err := s.Fetch(t.Context(), partition.FetchRequest{Partitions: []partition.FetchPosition{{
			TopicPartition: tp, Offset: partition.Offset(len(out)), LeaderEpoch: partition.LeaderEpochUnknown, MaxBytes: 1 << 20,
		}}})
		require.NoError(t, err)
		require.NoError(t, got[0].Err)
		if len(got[0].Batches) == 0 {
			return out
		}
		for rest := got[0].Batches; len(rest) > 0; {
			b, err := batch.Peek(rest)
			require.NoError(t, err)
			require.NoError(t, b.CheckCRC())
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
			rest = rest[len(b):]
		}
		got[0].Lease.Release()
	}
}

// values returns the values of one partition of "t".
func values(t testing.TB, s *partition.Store, n int) []string {
	t.Helper()
	out := []string{}
	for _, r := range stored(t, s, "t", n) {
		out = append(out, string(r.Value))
	}
	return out
}
