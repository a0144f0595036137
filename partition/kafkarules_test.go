package partition

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
)

// Rules of a broker, one each, that show in a store only. spec_test.go says where the others are.

// Producer ids come in blocks of 1,000 from 0 on; what a process leaves of its block is never used.
func TestProducerIDsComeInBlocksOfAThousand(t *testing.T) {
	disk := vfs.NewCrashMem(vfs.Strict)
	s, err := Open("/s", Config{FS: disk})
	require.NoError(t, err)
	id := func() int64 {
		p, err := s.InitProducerID(t.Context(), "", 0, NoProducerID)
		require.NoError(t, err)
		require.Zero(t, p.Epoch)
		return p.ID
	}
	for i := range int64(1001) {
		require.Equal(t, i, id())
	}
	require.NoError(t, s.Close())
	s, err = Open("/s", Config{FS: disk})
	require.NoError(t, err)
	require.Equal(t, int64(2000), id())
	crashed := disk.KillClone()
	require.NoError(t, s.Close())
	s, err = Open("/s", Config{FS: crashed})
	require.NoError(t, err)
	defer s.Close()
	require.Equal(t, int64(3000), id())
}

// Retention is for topics with delete in their policy: without it only what lies below the log start goes.
func TestCompactedTopicIsNotSubjectToRetention(t *testing.T) {
	for policy, kept := range map[CleanupPolicy]bool{CleanupCompact: true, CleanupDelete: false, CleanupCompactDelete: false} {
		now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
		s := memory(t, Config{Clock: now, CleanerBackoff: Unlimited, RetentionCheckInterval: time.Minute})
		create(t, s, "keys", TopicConfig{CleanupPolicy: policy, RetentionAge: time.Hour, RetentionBytes: 1000, Extra: map[string]string{"internal.segment.bytes": "1024"}})
		for i := range 50 {
			putKey(t, s, string(rune('a'+i)), "value")
		}
		before := len(readKeys(t, s))
		now.Advance(24 * time.Hour)
		require.Equal(t, kept, len(readKeys(t, s)) == before, policy)
	}
}

// Of several partitions that are due the one with the largest part to clean comes first.
func TestDirtiestPartitionIsCompactedFirst(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	var order []int32
	s := memory(t, Config{Clock: now, CleanerThreads: 1, Events: Events{Compacted: func(tp TopicPartition, _ Compacted) { order = append(order, tp.Partition) }}})
	create(t, s, "keys", TopicConfig{Partitions: 3, CleanupPolicy: CleanupCompact, MinCleanableDirtyRatio: 0.01, Extra: map[string]string{"internal.segment.bytes": "1024"}})
	fill := func(counts ...int) {
		for p, n := range counts {
			for i := range n {
				appendTo(t, s, "keys", int32(p), strings.Repeat("x", 50+i%3))
			}
		}
	}
	fill(30, 30, 30)
	now.Advance(time.Minute)
	require.Len(t, order, 3)
	order = nil
	fill(20, 200, 60)
	now.Advance(time.Minute)
	require.Equal(t, []int32{1, 2, 0}, order)
}

// The marker of a clean shutdown is gone before anything is loaded, and comes back as the last thing of a clean close.
func TestMarkerOfACleanShutdownIsOnlyThereBetweenRuns(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	marked := func() bool {
		_, err := segment.ReadCleanShutdown(disk, "/s/data")
		return !errors.Is(err, fs.ErrNotExist)
	}
	s, err := Open("/s", Config{FS: disk})
	require.NoError(t, err)
	require.False(t, marked())
	create(t, s, "t", TopicConfig{})
	appendTo(t, s, "t", 0, "x")
	var after atomic.Bool // something of a log was changed behind the marker
	disk.OnOp(func(op vfs.Op) {
		if op.Kind&(vfs.OpWrite|vfs.OpCreate|vfs.OpRename) != 0 && strings.Contains(op.Path, "/t-0/") && marked() {
			after.Store(true)
		}
	})
	require.NoError(t, s.Close())
	disk.OnOp(nil)
	require.True(t, marked())
	require.False(t, after.Load())

	require.NoError(t, segment.WriteCleanShutdown(disk, "/s/data", 77)) // somebody else's, so that there is something to recover
	var loaded, early atomic.Bool
	disk.OnOp(func(op vfs.Op) {
		if strings.Contains(op.Path, "/t-0") {
			loaded.Store(true)
			early.Store(early.Load() || marked())
		}
	})
	s, err = Open("/s", Config{FS: disk})
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, fetchAll(t, s, "t", 0, 0))
	disk.OnOp(nil)
	require.True(t, loaded.Load())
	require.False(t, early.Load())
	require.NoError(t, s.Close())
}

// What a broker makes of __transaction_state is what a store makes of it.
func TestTransactionStateHasKafkasSettings(t *testing.T) {
	s := memory(t, Config{})
	newTxnClient(t, s, "a")
	d, err := s.DescribeTopic(t.Context(), txn.Topic)
	require.NoError(t, err)
	require.True(t, d.Internal)
	require.Equal(t, int32(50), d.Partitions)
	for key, want := range map[string]string{"cleanup.policy": "compact", "compression.type": "uncompressed", "segment.bytes": "104857600", "unclean.leader.election.enable": "false"} {
		require.Equal(t, want, d.Config[key], key)
	}
	require.Len(t, fetchAll(t, s, txn.Topic, 47, 0), 1, "abs(hash) mod 50")
}

// DeleteRecords: by offset, or everything readers may see; never in a topic that is compacted only.
func TestDeleteRecordsFollowsThePolicy(t *testing.T) {
	s := memory(t, Config{})
	for policy, want := range map[CleanupPolicy]error{CleanupDelete: nil, CleanupCompactDelete: nil, CleanupCompact: ErrPolicyViolation} {
		name := strings.ReplaceAll(string(policy), ",", "-")
		create(t, s, name, TopicConfig{CleanupPolicy: policy})
		appendTo(t, s, name, 0, "a", "b", "c")
		tp := TopicPartition{name, 0}
		if want != nil {
			_, err := s.DeleteRecords(t.Context(), tp, -1)
			require.ErrorIs(t, err, want)
			continue
		}
		for _, c := range []struct{ before, start Offset }{{1, 1}, {0, 1}, {-1, 3}} {
			start, err := s.DeleteRecords(t.Context(), tp, c.before)
			require.NoError(t, err)
			require.Equal(t, c.start, start)
		}
		for _, bad := range []Offset{4, -2, math.MaxInt64} {
			_, err := s.DeleteRecords(t.Context(), tp, bad)
			require.ErrorIs(t, err, ErrOffsetOutOfRange)
		}
	}
}
