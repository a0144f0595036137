package consumer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// txn is a transactional producer by hand.
type txn struct {
	store *partition.Store
	name  string
	id    partition.ProducerID
	next  map[partition.TopicPartition]int32
}

func newTxn(t testing.TB, store *partition.Store, name string) *txn {
	t.Helper()
	id, err := store.InitProducerID(context.Background(), name, time.Minute, partition.NoProducerID)
	require.NoError(t, err)
	return &txn{store: store, name: name, id: id, next: make(map[partition.TopicPartition]int32)}
}

func (x *txn) write(t testing.TB, number int32, values ...string) {
	t.Helper()
	tp := at("t", number)
	var b batch.Builder
	b.Reset(nil, batch.Options{
		Transactional: true, ProducerID: x.id.ID, Epoch: x.id.Epoch, BaseSequence: x.next[tp],
	})
	for _, v := range values {
		b.Append(timeZero.UnixMilli(), nil, []byte(v), nil)
	}
	built, err := b.Finish()
	require.NoError(t, err)
	_, err = x.store.Append(context.Background(), partition.AppendRequest{TopicPartition: tp, Batch: built, TransactionalID: x.name, Acks: partition.AcksAll})
	require.NoError(t, err)
	x.next[tp] += int32(len(values))
}

func (x *txn) end(t testing.TB, commit bool) {
	t.Helper()
	id, err := x.store.EndTxn(context.Background(), x.name, x.id, commit)
	require.NoError(t, err)
	x.id, x.next = id, make(map[partition.TopicPartition]int32)
}

// committedReaders read everything that a consumer with a bound gives.
var committedReaders = map[string]func(*testing.T, *consumer.Consumer) []string{
	"records": all,
	"poll": func(t *testing.T, c *consumer.Consumer) (got []string) {
		for {
			records, err := c.Poll(t.Context())
			if err != nil {
				require.EqualError(t, err, "EOF")
				return got
			}
			got = append(got, values(records)...)
		}
	},
	"borrowed": func(t *testing.T, c *consumer.Consumer) (got []string) {
		for {
			run, err := c.PollBorrowed(t.Context())
			if err != nil {
				require.EqualError(t, err, "EOF")
				return got
			}
			for r, err := range run.All() {
				require.NoError(t, err)
				got = append(got, string(r.Value))
			}
			run.Release()
		}
	},
}

func TestReadCommittedLeavesOutAbortedTransactions(t *testing.T) {
	store := newStore(t, "t", 1)
	a, b := newTxn(t, store, "a"), newTxn(t, store, "b")
	writeAt(t, store, "t", 0, timeZero, "plain 0")
	a.write(t, 0, "a0 aborted", "a1 aborted")
	b.write(t, 0, "b0")
	writeAt(t, store, "t", 0, timeZero, "plain 1")
	a.end(t, false)
	b.write(t, 0, "b1")
	a.write(t, 0, "a2")
	b.end(t, true)
	a.end(t, true)
	b.write(t, 0, "b2 aborted")
	b.end(t, false)
	until(t, func() bool { // markers are written behind the answer
		o, err := store.ListOffsets(t.Context(), at("t", 0), partition.TimestampLastStable)
		require.NoError(t, err)
		return o == 12
	})
	want := []string{"plain 0", "b0", "plain 1", "b1", "a2"}
	for name, read := range committedReaders {
		for _, small := range []int{1, 1 << 20} { // a batch a fetch, and all in one
			c := assign(t, store, consumer.Config{Isolation: consumer.ReadCommitted, MaxPartitionBytes: small},
				consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
			require.Equal(t, want, read(t, c), name)
			position, ok := c.Position(at("t", 0))
			require.True(t, ok)
			require.EqualValues(t, 12, position, "the position has passed what was left out, and markers")
		}
		c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
		require.Len(t, read(t, c), 8, "read_uncommitted sees all, but markers")
		c = assign(t, store, consumer.Config{Isolation: consumer.ReadCommitted}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilOffset(12)})
		require.Equal(t, want, read(t, c), "a bound behind the last marker")
	}
}

// An open transaction stops a reader of committed records, and its end wakes it.
func TestReadCommittedWaitsAtTheLastStableOffset(t *testing.T) {
	store := newStore(t, "t", 1)
	x := newTxn(t, store, "x")
	writeAt(t, store, "t", 0, timeZero, "before")
	x.write(t, 0, "in it")
	writeAt(t, store, "t", 0, timeZero, "behind")
	c := assign(t, store, consumer.Config{Isolation: consumer.ReadCommitted}, consumer.Assignment{TopicPartition: at("t", 0)})
	require.Equal(t, []string{"before"}, poll(t, c))
	ends, err := c.EndOffsets(t.Context(), at("t", 0))
	require.NoError(t, err)
	require.EqualValues(t, 1, ends[at("t", 0)])
	got := make(chan []string, 1)
	go func() {
		records, err := c.Poll(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- values(records)
	}()
	until(t, func() bool { return store.Stats().ParkedFetches > 0 })
	lag, ok := c.Lag(at("t", 0))
	require.True(t, ok)
	require.Zero(t, lag)
	x.end(t, true)
	require.Equal(t, []string{"in it", "behind"}, <-got)
}

// A bounded iteration of committed records ends also where there is nothing, or nothing but aborted records, before its
// bound, and in a group that is committed as read.
func TestUntilEndIsReachedOverAnEmptyOrAbortedTail(t *testing.T) {
	store := newStore(t, "t", 3)
	x, open := newTxn(t, store, "x"), newTxn(t, store, "open")
	writeAt(t, store, "t", 1, timeZero, "one")
	x.write(t, 1, "aborted")
	x.end(t, false)
	until(t, func() bool {
		o, err := store.ListOffsets(t.Context(), at("t", 1), partition.TimestampLastStable)
		require.NoError(t, err)
		return o == 3
	})
	open.write(t, 2, "open")
	for name, read := range committedReaders {
		config := consumer.Config{Isolation: consumer.ReadCommitted}
		c := assign(t, store, config,
			consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()},
			consumer.Assignment{TopicPartition: at("t", 1), Until: consumer.UntilEnd()},
			consumer.Assignment{TopicPartition: at("t", 2), Until: consumer.UntilEnd()})
		require.Equal(t, []string{"one"}, read(t, c), name)
		g, err := group.Open(store, name, group.Config{})
		require.NoError(t, err)
		config.Topics, config.Until = []string{"t"}, consumer.UntilEnd()
		c, err = consumer.Join(t.Context(), g, config)
		require.NoError(t, err)
		require.Equal(t, []string{"one"}, read(t, c), name)
		require.NoError(t, c.Close())
		require.EqualValues(t, 3, committed(t, g)[at("t", 1)])
	}
	open.end(t, false)
}

// Random transactions of several producers, some plain records between them: a reader of committed records gets exactly
// those that were committed, in the order of the log, however much a fetch brings.
func TestReadCommittedIsTheModelOfAnyHistory(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 8 {
		store := newStore(t, "t", 1)
		producers := make([]*txn, 4)
		pending := make([][]int, len(producers)) // indexes into all
		for i := range producers {
			producers[i] = newTxn(t, store, fmt.Sprint(i))
		}
		type record struct {
			value     string
			committed bool
		}
		var all []record
		for i := range 200 {
			p := rng.IntN(len(producers) + 1)
			if p == len(producers) {
				writeAt(t, store, "t", 0, timeZero, fmt.Sprint(i))
				all = append(all, record{fmt.Sprint(i), true})
				continue
			}
			if len(pending[p]) > 0 && rng.IntN(3) == 0 {
				commit := rng.IntN(2) == 0
				producers[p].end(t, commit)
				for _, r := range pending[p] {
					all[r].committed = commit
				}
				pending[p] = nil
				continue
			}
			producers[p].write(t, 0, fmt.Sprint(i))
			pending[p] = append(pending[p], len(all))
			all = append(all, record{fmt.Sprint(i), false})
		}
		for p, rs := range pending {
			if len(rs) > 0 {
				producers[p].end(t, true)
				for _, r := range rs {
					all[r].committed = true
				}
			}
		}
		var want []string
		for _, r := range all {
			if r.committed {
				want = append(want, r.value)
			}
		}
		var end partition.Offset
		until(t, func() bool {
			stable, err := store.ListOffsets(t.Context(), at("t", 0), partition.TimestampLastStable)
			require.NoError(t, err)
			end, err = store.ListOffsets(t.Context(), at("t", 0), partition.TimestampLatest)
			require.NoError(t, err)
			return stable == end
		})
		for name, read := range committedReaders {
			c := assign(t, store, consumer.Config{Isolation: consumer.ReadCommitted, MaxPartitionBytes: 1 << (6 + 2*(round%5))},
				consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
			require.Equal(t, want, read(t, c), name)
		}
	}
}
