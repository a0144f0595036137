package producer_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// coordinator stands between a transactional producer and a store: it writes down what the coordinator is asked, and a
// test's functions decide what else happens. Numbers count calls from 1.
type coordinator struct {
	*script
	beforeEnd func(n int, commit bool) error // an error keeps the store from being asked
	afterEnd  func(n int, commit bool, err error) error
	afterInit func()
	old       bool // the epoch stays from one transaction to the next (transaction.version 1)

	mu    sync.Mutex
	ends  []ended
	inits []partition.ProducerID
}

type ended struct {
	id     partition.ProducerID
	commit bool
}

func (c *coordinator) InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error) {
	c.mu.Lock()
	c.inits = append(c.inits, last)
	c.mu.Unlock()
	id, err := c.script.InitProducerID(ctx, txnID, timeout, last)
	if c.afterInit != nil {
		c.afterInit()
	}
	return id, err
}

func (c *coordinator) EndTxn(ctx context.Context, txnID string, id partition.ProducerID, commit bool) (partition.ProducerID, error) {
	c.mu.Lock()
	c.ends = append(c.ends, ended{id, commit})
	n := len(c.ends)
	c.mu.Unlock()
	if c.beforeEnd != nil {
		if err := c.beforeEnd(n, commit); err != nil {
			return partition.NoProducerID, err
		}
	}
	next, err := c.script.EndTxn(ctx, txnID, id, commit)
	if c.afterEnd != nil {
		if told := c.afterEnd(n, commit, err); told != nil {
			return partition.NoProducerID, told
		}
	}
	if c.old && err == nil {
		return id, nil
	}
	return next, err
}

func (c *coordinator) asked() []ended {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]ended(nil), c.ends...)
}

func (c *coordinator) initialized() []partition.ProducerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]partition.ProducerID(nil), c.inits...)
}

// transactional returns a producer with the transactional id "tx" on a store with the topic "t" of n partitions, and
// what stands between them.
func transactional(t testing.TB, n int, c producer.Config) (*producer.Producer, *coordinator, *partition.Store) {
	t.Helper()
	store := memory(t)
	create(t, store, "t", n)
	k := &coordinator{script: &script{Backend: store}}
	c.TransactionalID = "tx"
	p, err := producer.New(k, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p, k, store
}

// committed returns the values in one partition of "t" that a reader of committed records sees, once everything that has
// been decided is visible.
func committed(t testing.TB, s *partition.Store, n int) []string {
	t.Helper()
	settled(t, s)
	r := reader{store: s, tp: partition.TopicPartition{Topic: "t", Partition: int32(n)}}
	all := []string{}
	for {
		got, err := r.next(t.Context())
		require.NoError(t, err)
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
	}
}

// reader reads the committed records of one partition, as a consumer does.
type reader struct {
	store *partition.Store
	tp    partition.TopicPartition
	at    partition.Offset
}

// next returns the values of the next fetch that has any; none at the last stable offset.
func (r *reader) next(ctx context.Context) (values []string, err error) {
	for len(values) == 0 {
		got, err := r.store.Fetch(ctx, partition.FetchRequest{ReadCommitted: true, Partitions: []partition.FetchPosition{{
			TopicPartition: r.tp, Offset: r.at, LeaderEpoch: partition.LeaderEpochUnknown, MaxBytes: 1 << 20,
		}}})
		if err == nil {
			err = got[0].Err
		}
		if err != nil || len(got[0].Batches) == 0 {
			return nil, err
		}
		values, err = r.decode(&got[0])
		got[0].Lease.Release()
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

func (r *reader) decode(got *partition.FetchResult) (values []string, err error) {
	aborted := map[int64]bool{}
	todo := got.Aborted
	for rest := got.Batches; len(rest) > 0; {
		b, err := batch.Peek(rest)
		if err != nil {
			return nil, err
		}
		for len(todo) > 0 && todo[0].FirstOffset <= partition.Offset(b.LastOffset()) {
			aborted[todo[0].ProducerID] = true
			todo = todo[1:]
		}
		switch {
		case b.IsControl():
			delete(aborted, b.ProducerID())
		case b.IsTransactional() && aborted[b.ProducerID()]:
		default:
			var it batch.Iterator
			b.Iterate(&it, 1<<30)
			for it.Next() {
				values = append(values, string(it.Record().Value))
			}
			if err := it.Err(); err != nil {
				return nil, err
			}
		}
		r.at = partition.Offset(b.NextOffset())
		rest = rest[len(b):]
	}
	return values, nil
}

// settled waits until every transaction that has been decided has its markers: a newer instance of each waits for that.
func settled(t testing.TB, s *partition.Store) {
	t.Helper()
	for {
		all, err := s.ListTransactions(t.Context(), partition.TransactionFilter{
			States: []partition.TransactionState{partition.TransactionPrepareCommit, partition.TransactionPrepareAbort},
		})
		require.NoError(t, err)
		if len(all) == 0 {
			return
		}
	}
}

// source is an OffsetSource that says what a test wants, and remembers what it is told.
type source struct {
	group   *group.ConsumerGroup
	offsets map[partition.TopicPartition]group.CommittedOffset
	err     error

	mu   sync.Mutex
	told []bool
}

func (s *source) TxnOffsets() (*group.ConsumerGroup, group.Membership, map[partition.TopicPartition]group.CommittedOffset, error) {
	return s.group, group.Membership{Generation: group.NoGeneration}, s.offsets, s.err
}

func (s *source) TxnEnded(committed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, committed)
}

func (s *source) outcomes() []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]bool(nil), s.told...)
}
