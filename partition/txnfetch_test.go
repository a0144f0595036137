package partition

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
)

func logAppend(g log.TxnGuard) log.AppendOptions { return log.AppendOptions{Durable: true, Guard: g} }

// A parked fetch of committed records is not answered by what is still open, however many bytes that is; the end of the
// transaction wakes it.
func TestFetchOfCommittedRecordsWaitsForTheLastStableOffset(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	a := newTxnClient(t, s, "a")
	got := make(chan FetchResult, 1)
	go func() {
		rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: t0, LeaderEpoch: -1}}, ReadCommitted: true, MaxWait: time.Hour})
		if err == nil {
			got <- rs[0]
		}
	}()
	for s.Stats().ParkedFetches == 0 {
	}
	a.send(t0, "1")
	{ // makes it durable and visible, not stable
		_, err := s.Append(t.Context(), AppendRequest{TopicPartition: t0, Batch: a.batch(t0, "2"), Acks: AcksAll, TransactionalID: "a"})
		require.NoError(t, err)
	}
	rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: t0, LeaderEpoch: -1}}})
	require.NoError(t, err)
	require.NotEmpty(t, rs[0].Batches)
	require.Zero(t, rs[0].LastStable)
	require.EqualValues(t, 2, rs[0].HighWatermark)
	require.Empty(t, rs[0].Aborted)
	releaseAll(rs)
	select {
	case r := <-got:
		t.Fatalf("answered with %d bytes", len(r.Batches))
	default:
	}
	a.end(true)
	r := <-got
	values, next := visibleValues(t, &r, 0)
	require.Equal(t, []string{"1", "2"}, values)
	require.GreaterOrEqual(t, next, Offset(2)) // a fetch that has looked at the high watermark before the marker gets what it decides without it
	r.Lease.Release()
}

func TestListOffsetsKnowsTheLastStableOffset(t *testing.T) {
	s := openTxnStore(t, vfs.NewMem(), Config{}, "t")
	defer s.Close()
	stable := func() Offset {
		o, err := s.ListOffsets(t.Context(), t0, TimestampLastStable)
		require.NoError(t, err)
		return o
	}
	_, err := s.Append(t.Context(), AppendRequest{TopicPartition: t0, Batch: records("plain")})
	require.NoError(t, err)
	require.EqualValues(t, 1, stable())
	a := newTxnClient(t, s, "a")
	a.send(t0, "1")
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: t0, Batch: records("plain")})
	require.NoError(t, err)
	require.EqualValues(t, 1, stable())
	latest, err := s.ListOffsets(t.Context(), t0, TimestampLatest)
	require.NoError(t, err)
	require.EqualValues(t, 3, latest)
	a.end(false)
	settled(t, s)
	require.EqualValues(t, 4, stable())
}

// The list of aborted transactions comes in the storage of the answer before.
func TestAbortedTransactionsAreListedInReusedStorage(t *testing.T) {
	still := clock.NewManual(time.UnixMilli(1_700_000_000_000)) // a checkpoint allocates
	s := openTxnStore(t, vfs.NewMem(), Config{Clock: still}, "t")
	defer s.Close()
	a, b := newTxnClient(t, s, "a"), newTxnClient(t, s, "b")
	for range 10 {
		a.send(t0, "x")
		b.send(t0, "y")
		a.end(false)
		b.end(true)
		settled(t, s)
	}
	r := FetchRequest{Partitions: []FetchPosition{{TopicPartition: t0, LeaderEpoch: -1}}, ReadCommitted: true}
	fetch := func() {
		rs, err := s.Fetch(t.Context(), r)
		require.NoError(t, err)
		require.NoError(t, rs[0].Err)
		require.Len(t, rs[0].Aborted, 10)
		for i, x := range rs[0].Aborted {
			require.Equal(t, AbortedTxn{a.pid.ID, Offset(4 * i)}, x)
		}
		releaseAll(rs)
		r.Reuse = rs
	}
	fetch()
	fetch()
	r.Partitions[0].Offset = 20
	rs, err := s.Fetch(t.Context(), r)
	require.NoError(t, err)
	require.Len(t, rs[0].Aborted, 5, "only those that reach into what was asked for")
	releaseAll(rs)
	r.Reuse = rs
	r.ReadCommitted = false
	rs, err = s.Fetch(t.Context(), r)
	require.NoError(t, err)
	require.Empty(t, rs[0].Aborted)
	releaseAll(rs)
	r.ReadCommitted = true
	if !testing.Short() {
		allocs := testing.AllocsPerRun(100, func() {
			rs, _ := s.Fetch(t.Context(), r)
			releaseAll(rs)
			r.Reuse = rs
		})
		require.LessOrEqual(t, allocs, 1.0)
	}
}
