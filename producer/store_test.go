package producer_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// on returns a producer on a store on the file system fs, with the topic "t" of one partition.
func on(t testing.TB, fs vfs.FS, c producer.Config) (*producer.Producer, *partition.Store) {
	t.Helper()
	store, err := partition.Open("/data", partition.Config{FS: fs})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	create(t, store, "t", 1)
	p, err := producer.New(store, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p, store
}

// In the bubble time passes only by waiting, so "at once" means at once.
func TestFullDiskFailsSendAtOnceAndSpaceMakesItWorkAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem()
		p, store := on(t, disk, producer.Config{})
		_, err := p.Send(t.Context(), value("before"))
		require.NoError(t, err)
		disk.SetFree(0)
		begin := time.Now()
		big := value(strings.Repeat("x", 900_000))
		for range 3 {
			_, err = p.Send(t.Context(), big)
			require.ErrorIs(t, err, partition.ErrNoSpace)
			_, uncertain := errors.AsType[*producer.UncertainError](err)
			require.False(t, uncertain)
		}
		got := results{}
		for range 10 {
			p.SendAsync(t.Context(), big, got.add)
		}
		require.NoError(t, p.Flush(t.Context()))
		require.Zero(t, time.Since(begin))
		for _, r := range got.list() {
			require.ErrorIs(t, r.Err, partition.ErrNoSpace)
		}
		disk.SetFree(1 << 30)
		r, err := p.Send(t.Context(), value("after"))
		require.NoError(t, err)
		require.EqualValues(t, 1, r.Offset)
		require.Equal(t, []string{"before", "after"}, values(t, store, 0))
	})
}

func TestFailedSyncLeavesRecordsUncertain(t *testing.T) {
	disk := vfs.NewMem()
	fault := vfs.NewFault(disk)
	p, _ := on(t, fault, producer.Config{})
	_, err := p.Send(t.Context(), value("before"))
	require.NoError(t, err)
	fault.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log", Forever: true})
	for range 2 {
		_, err = p.Send(t.Context(), value("x"))
		require.ErrorIs(t, err, partition.ErrStorage)
	}
	_, uncertain := errors.AsType[*producer.UncertainError](err)
	require.True(t, uncertain)
}

// Kafka's client fails the whole batch for one bad record.
func TestRecordWithABadTimestampFailsAlone(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{Linger: time.Hour})
	got := results{}
	for i := range 20 {
		rec := value(fmt.Sprint(i))
		if i == 7 {
			rec.Timestamp = time.Now().Add(48 * time.Hour)
		}
		p.SendAsync(t.Context(), rec, got.add)
	}
	require.NoError(t, p.Flush(t.Context()))
	for i, r := range got.list() {
		if i == 7 {
			require.ErrorIs(t, r.Err, partition.ErrInvalidTimestamp)
		} else {
			require.NoError(t, r.Err)
		}
	}
	require.Len(t, values(t, store, 0), 19)
	require.Less(t, len(s.seen()), 12)
}

func TestResultHasTheTimeOfTheLogInTopicsWithLogAppendTime(t *testing.T) {
	store := memory(t)
	_, err := store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1, TimestampType: partition.LogAppendTime})
	require.NoError(t, err)
	p, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	rec := value("x")
	rec.Timestamp = time.UnixMilli(1e12)
	before := time.Now().Truncate(time.Millisecond)
	r, err := p.Send(t.Context(), rec)
	require.NoError(t, err)
	require.False(t, r.Timestamp.Before(before))
	require.Equal(t, r.Timestamp.UnixMilli(), stored(t, store, "t", 0)[0].Timestamp)
	require.NoError(t, p.Close())
}

// Whoever closes first, everybody gets a result and nothing is left behind.
func TestStoreMayCloseUnderLiveSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, store := start(t, 4, producer.Config{BatchBytes: 500})
		var wg sync.WaitGroup
		var async results
		stop := make(chan struct{})
		for w := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					rec := value("x")
					rec.Partition = producer.To(int32((w + i) % 4))
					p.SendAsync(t.Context(), rec, async.add)
					if _, err := p.Send(t.Context(), rec); err != nil {
						require.ErrorIs(t, err, producer.ErrClosed)
						return
					}
					if w == 0 && i == 50 {
						close(stop)
					}
				}
			})
		}
		<-stop
		require.NoError(t, store.Close())
		wg.Wait()
		_ = p.Close()
		for _, r := range async.list() {
			if r.Err != nil {
				require.ErrorIs(t, r.Err, producer.ErrClosed)
			}
		}
	})
}
