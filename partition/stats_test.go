package partition

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/stretchr/testify/require"
)

func TestStatsCountWhatHappened(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{Partitions: 3, MaxMessageBytes: 500})
	b := len(records("a", "b"))
	for range 4 {
		appendTo(t, s, "t", 1, "a", "b")
	}
	_, err := s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 1}, Batch: records(strings.Repeat("x", 600))})
	require.ErrorIs(t, err, ErrMessageTooLarge)
	fetchAll(t, s, "t", 1, 0)
	rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 1}, LeaderEpoch: -1}}})
	require.NoError(t, err)
	st := s.Stats()
	require.Equal(t, 1, st.Topics)
	require.Equal(t, 3, st.Partitions)
	require.Equal(t, int64(3), st.Fetches)
	require.Len(t, st.ByPartition, 3)
	p := st.ByPartition[1]
	require.Equal(t, TopicPartition{"t", 1}, p.TopicPartition)
	require.Equal(t, int64(4), p.Appends)
	require.Equal(t, int64(8), p.Records)
	require.Equal(t, int64(4*b), p.BytesIn)
	require.Equal(t, int64(8*b), p.BytesOut)
	require.Equal(t, int64(4*b), p.Bytes)
	require.Equal(t, int64(1), p.FailedAppends)
	require.Positive(t, p.BytesRejected)
	require.Equal(t, 1, p.Segments)
	require.Equal(t, Offset(8), p.HighWatermark)
	require.Equal(t, Offset(8), p.LogEnd)
	require.Equal(t, int64(4), p.Syncs)
	require.Positive(t, p.SyncTime)
	require.LessOrEqual(t, p.MaxSyncTime, p.SyncTime)
	require.Equal(t, 1, p.Leases)
	require.False(t, p.Failed)
	require.Equal(t, p.Appends, st.Total.Appends)
	require.Positive(t, st.JournalAppends)
	releaseAll(rs)
	require.Zero(t, s.Stats().Total.Leases)
}

// volume is a file system of another kind.
type volume struct {
	vfs.FS
	usage vfs.Usage
}

func (v volume) Usage(string) (vfs.Usage, error) { return v.usage, nil }

func TestWeakFileSystemsAreWarnedOf(t *testing.T) {
	for word, u := range map[string]vfs.Usage{"nfs": {Kind: "nfs", Network: true}, "overlay": {Kind: "overlay", Overlay: true}, "": {Kind: "ext4"}} {
		u.Free = 1 << 40
		var warned []Warning
		s, err := Open("/store", Config{FS: volume{vfs.NewMem(), u}, Events: Events{Warning: func(w Warning) { warned = append(warned, w) }}})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		if word == "" {
			require.Empty(t, warned)
			continue
		}
		require.Len(t, warned, 1)
		require.Contains(t, warned[0].Text, word)
		require.Equal(t, "/store", warned[0].Path)
	}
}

func TestIdleFilesAreClosedAboveTheirLimit(t *testing.T) {
	fds := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("this system does not say which files are open")
		}
		return len(entries)
	}
	c := clock.NewManual(time.UnixMilli(900_000_000_000))
	s, err := Open(t.TempDir(), Config{Sync: SyncNever, MaxOpenFiles: 10, Clock: c})
	require.NoError(t, err)
	create(t, s, "t", TopicConfig{Partitions: 40})
	before := fds()
	for range 3 {
		for p := range int32(40) {
			appendTo(t, s, "t", p, "x")
		}
		c.Advance(2 * time.Second)
		require.LessOrEqual(t, fds(), before+10)
	}
	for p := range int32(40) {
		require.Equal(t, []string{"x", "x", "x"}, fetchAll(t, s, "t", p, 0))
	}
	require.NoError(t, s.Close())
}

func TestEventsMayCallTheStore(t *testing.T) {
	var s *Store
	var seen []string
	ask := func(what string) {
		seen = append(seen, what)
		if s != nil {
			_, err := s.CreateTopic(context.Background(), "from-event-"+what, TopicConfig{})
			if what == "created" && len(seen) == 1 {
				require.NoError(t, err)
			}
		}
	}
	s = memory(t, Config{Events: Events{
		TopicCreated: func(name string, _ TopicID) { ask("created") },
		TopicDeleted: func(string, TopicID) { ask("deleted") },
	}})
	create(t, s, "t", TopicConfig{})
	require.NoError(t, s.DeleteTopic(t.Context(), "t"))
	require.Contains(t, seen, "deleted")
}

// Everything at once, for the race detector; and what was acknowledged is there.
func TestEverythingAtOnce(t *testing.T) {
	s := memory(t, Config{Sync: SyncInterval(time.Millisecond), CheckpointInterval: time.Millisecond, RetentionCheckInterval: time.Millisecond,
		Topics: TopicConfig{Extra: map[string]string{keyInternalSegment: "4096"}}})
	create(t, s, "stays", TopicConfig{Partitions: 4})
	ctx, cancel := context.WithCancel(t.Context())
	var wg, readers sync.WaitGroup
	const n = 300
	for p := range int32(4) {
		for range 2 {
			wg.Go(func() {
				for range n {
					if _, err := s.Append(ctx, AppendRequest{TopicPartition: TopicPartition{"stays", p}, Batch: records("x")}); err != nil {
						panic(err)
					}
				}
			})
		}
		readers.Go(func() {
			var from Offset
			for from < 2*n {
				rs, err := s.Fetch(ctx, FetchRequest{MaxWait: time.Minute, Partitions: []FetchPosition{{TopicPartition: TopicPartition{"stays", p}, Offset: from, LeaderEpoch: -1}}})
				if err != nil || rs[0].Err != nil {
					panic(err)
				}
				from += Offset(len(values(t, rs[0].Batches)))
				releaseAll(rs)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if _, err := s.CreateTopic(ctx, "goes", TopicConfig{Partitions: 2}); err != nil {
				panic(err)
			}
			_, _ = s.Append(ctx, AppendRequest{TopicPartition: TopicPartition{"goes", 1}, Batch: records("x")})
			if err := s.DeleteTopic(ctx, "goes"); err != nil {
				panic(err)
			}
		}
	})
	wg.Go(func() {
		for range 200 {
			_, _ = s.Append(ctx, AppendRequest{TopicPartition: TopicPartition{"goes", 0}, Batch: records("x")})
			_, _ = s.Fetch(ctx, FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{"goes", 0}, LeaderEpoch: -1}}})
			_, _ = s.Metadata(ctx, nil)
			_, _ = s.InitProducerID(ctx, "", 0, NoProducerID)
			_, _ = s.Service("x", func() (io.Closer, error) { return closerFunc(func() error { return nil }), nil })
			s.Stats()
		}
	})
	wg.Go(func() {
		for i := range 20 {
			_ = s.AlterTopicConfig(ctx, "stays", map[string]string{keyFlushMessages: []string{"1", maxLong}[i%2]})
		}
	})
	wg.Wait()
	readers.Wait()
	cancel()
	for p := range int32(4) {
		require.Len(t, fetchAll(t, s, "stays", p, 0), 2*n)
	}
}
