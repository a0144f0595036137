package partition

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
)

// txnClient is a transactional producer reduced to what it says to a store.
type txnClient struct {
	t   testing.TB
	s   *Store
	id  string
	pid ProducerID
	seq map[TopicPartition]int32
}

func newTxnClient(t testing.TB, s *Store, id string) *txnClient {
	c := &txnClient{t: t, s: s, id: id}
	c.init()
	return c
}

func (c *txnClient) init() {
	pid, err := c.s.InitProducerID(context.Background(), c.id, time.Minute, NoProducerID)
	require.NoError(c.t, err)
	c.pid, c.seq = pid, map[TopicPartition]int32{}
}

func (c *txnClient) batch(tp TopicPartition, values ...string) []byte {
	var w batch.Builder
	w.Reset(nil, batch.Options{Transactional: true, ProducerID: c.pid.ID, Epoch: c.pid.Epoch, BaseSequence: c.seq[tp]})
	for _, v := range values {
		w.Append(c.s.config.Clock.Now().UnixMilli(), nil, []byte(v), nil)
	}
	b, err := w.Finish()
	require.NoError(c.t, err)
	return b
}

func (c *txnClient) trySend(tp TopicPartition, values ...string) error {
	_, err := c.s.Append(context.Background(), AppendRequest{TopicPartition: tp, Batch: c.batch(tp, values...), Acks: AcksLeader, TransactionalID: c.id})
	if err == nil {
		c.seq[tp] += int32(len(values))
	}
	return err
}

func (c *txnClient) send(tp TopicPartition, values ...string) {
	c.t.Helper()
	require.NoError(c.t, c.trySend(tp, values...))
}

func (c *txnClient) tryEnd(commit bool) error {
	next, err := c.s.EndTxn(context.Background(), c.id, c.pid, commit)
	if err == nil {
		c.pid, c.seq = next, map[TopicPartition]int32{}
	}
	return err
}

func (c *txnClient) end(commit bool) {
	c.t.Helper()
	require.NoError(c.t, c.tryEnd(commit))
}

// settled waits until nothing is prepared, and nothing is left of what an open has found.
func settled(t testing.TB, s *Store) {
	t.Helper()
	c, err := s.transactions(context.Background())
	require.NoError(t, err)
	for {
		var wait *txnWaiters
		c.mu.Lock()
		c.m.Each(func(m txn.Meta) {
			if wait == nil && (m.State.Prepared() || slices.Contains(c.m.Doomed(), m.ID)) {
				wait, err = c.waitLocked(m.ID)
				require.NoError(t, err)
			}
		})
		if wait == nil && len(c.m.Unwritten()) > 0 {
			wait, err = c.waitLocked("") // what no id has
			require.NoError(t, err)
		}
		c.mu.Unlock()
		if wait == nil {
			return
		}
		<-wait.free
	}
}

// committed reads what a reader of committed records sees of a partition, and the offset at which it stops.
func committed(t testing.TB, s *Store, tp TopicPartition) (values []string, next Offset) {
	t.Helper()
	var reuse []FetchResult
	for {
		rs, err := s.Fetch(context.Background(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: tp, Offset: next, LeaderEpoch: -1}}, ReadCommitted: true, Reuse: reuse})
		require.NoError(t, err)
		r := &rs[0]
		require.NoError(t, r.Err)
		if len(r.Batches) == 0 {
			require.False(t, r.Lease.held, "%+v", r)
			require.Equal(t, next, r.LastStable)
			return values, next
		}
		got, end := visibleValues(t, r, next)
		values = append(values, got...)
		next = end
		r.Lease.Release()
		reuse = rs
	}
}

// visibleValues is a consumer's part of read_committed: Kafka's algorithm over FetchResult.Aborted.
func visibleValues(t testing.TB, r *FetchResult, from Offset) (values []string, next Offset) {
	aborted := r.Aborted
	skip := map[int64]bool{}
	var it batch.Iterator
	for rest := r.Batches; len(rest) > 0; {
		b, err := batch.Peek(rest)
		require.NoError(t, err)
		rest = rest[len(b):]
		next = Offset(b.LastOffset()) + 1
		for len(aborted) > 0 && aborted[0].FirstOffset <= Offset(b.LastOffset()) {
			skip[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		b.Iterate(&it, maxDecompressed)
		if b.IsControl() {
			require.True(t, it.Next())
			if c, err := batch.ParseControl(it.Record()); err == nil && c.Type == batch.ControlAbort {
				delete(skip, b.ProducerID())
			}
			continue
		}
		if b.IsTransactional() && skip[b.ProducerID()] {
			continue
		}
		for it.Next() {
			if Offset(it.Record().Offset) >= from {
				values = append(values, string(it.Record().Value))
			}
		}
	}
	return values, next
}

func openTxnStore(t testing.TB, fs vfs.FS, c Config, topics ...string) *Store {
	c.FS = fs
	s, err := Open("/s", c)
	require.NoError(t, err)
	for _, name := range topics {
		_, err := s.CreateTopic(context.Background(), name, TopicConfig{Partitions: 3})
		require.NoError(t, err)
	}
	return s
}

func TestCommittedAndAbortedTransactionsAreReadAsSuch(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	a, b := newTxnClient(t, s, "a"), newTxnClient(t, s, "b")
	t0, t1 := TopicPartition{"t", 0}, TopicPartition{"t", 1}
	a.send(t0, "a1", "a2")
	b.send(t0, "b1")
	a.send(t1, "a3")
	b.send(t0, "b2")
	values, next := committed(t, s, t0)
	require.Empty(t, values, "both are open")
	require.Zero(t, next)
	b.end(false)
	settled(t, s)
	values, _ = committed(t, s, t0)
	require.Empty(t, values, "a is open from the first offset on")
	a.end(true)
	settled(t, s)
	values, _ = committed(t, s, t0)
	require.Equal(t, []string{"a1", "a2"}, values)
	values, _ = committed(t, s, t1)
	require.Equal(t, []string{"a3"}, values)
	b.send(t0, "b3")
	b.end(true)
	settled(t, s)
	values, _ = committed(t, s, t0)
	require.Equal(t, []string{"a1", "a2", "b3"}, values)
	st := s.Stats().Transactions
	require.EqualValues(t, 2, st.Committed)
	require.EqualValues(t, 1, st.Aborted)
	require.Equal(t, 2, st.IDs)
	require.Zero(t, st.Ongoing)
}
