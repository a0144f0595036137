package log

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Bugs that other logs have shipped, each with the test that keeps it out of this one. Besides those below:
//
//	fsync error ignored or retried [badger, prometheus, diskqueue]        TestAppendAfterFailedSyncIsRefused
//	write error leaves memory and file out of step [tidwall, rosedb]      TestFailedWriteTakesBackProducerState, TestGarbageOfAFailedWrite…
//	data after ENOSPC acknowledged then lost [prometheus #13027]          TestFullDiskRefusesAppendsUntilThereIsSpace
//	SIGBUS [badger #1682, liftbridge #315]                                TestFileShrunkUnderAMappingIsATypedError
//	crash in the middle of repair [tidwall, iggy PR #3946, sled #851]     TestCrashStatesOfRandomScriptsRecover (interrupts recovery)
//	tail truncation breaks sealed segments [raft-wal #31, KAFKA-10706]    TestTruncationLeavesTheLogUpToThere
//	lock leaked on an error path [NATS #8386]                             TestNoFaultLeavesALockHeld
//	acknowledged before durable [NATS #7564]                              TestEveryCrashStateOfShortScriptsRecovers
//	orphan detection deletes live data [NATS #7556, BookKeeper #4607]     TestUnknownFilesSurviveEverything
//	positions and offsets overflow [liftbridge, badger]                   TestOffsetsAboveThirtyOneBitsRoll
//	reader sees an evicted buffer [tidwall, badger, NATS]                 TestEverythingAtOnceKeepsEveryRecordInOrder
//	-race is blind on mapped memory                                       the same, on heap files

func memConfig(t *testing.T) (*disk, Config) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	c := testConfig(m)
	return &disk{t: t, fs: m, dir: c.Dir}, c
}

// [tidwall #21; etcd #11220] Cut anywhere, the log opens, with a prefix of what was in it.
func TestTornTailNeverMakesTheLogUnopenable(t *testing.T) {
	name := segment.LogName(0)
	d, c := memConfig(t)
	l := open(t, c)
	appendN(t, l, 0, 5)
	l.Abandon()
	whole := d.read(name)[:5*batchSize]
	for size := range whole {
		d.write(name, whole[:size])
		l, _, err := Open(c)
		require.NoError(t, err)
		require.Equal(t, Offset(size/batchSize), l.End())
		requireDense(t, l, size/batchSize)
		appendN(t, l, size/batchSize, 2)
		requireDense(t, l, size/batchSize+2)
		l.Abandon()
	}
}

// [tidwall; dque; lavinmq PR #384; prometheus] Zeros are never a record, nor an index entry; and SEEK_HOLE or the file's size are not
// the end.
func TestZerosAreNoRecords(t *testing.T) {
	for _, zeros := range []int{1, 11, 12, 60, 61, 512, 4096, 100_000} {
		for _, clean := range []bool{true, false} {
			d, c := memConfig(t)
			l := open(t, c)
			appendN(t, l, 0, 3)
			require.NoError(t, l.Close())
			d.add(segment.LogName(0), make([]byte, zeros)...)
			c.Clean, c.CleanEnd = clean, 3
			l = open(t, c)
			require.Equal(t, Offset(3), l.End())
			requireDense(t, l, 3)
			appendN(t, l, 3, 3)
			requireDense(t, l, 6)
			require.NoError(t, l.Close())
		}
	}
}

// [redpanda #4113] A record whose fields are all zero is one.
func TestRecordOfZerosIsARecord(t *testing.T) {
	_, c := memConfig(t)
	c.LeaderEpoch = 0
	l := open(t, c)
	var b batch.Builder
	for range 3 {
		b.Reset(nil, batch.Options{Idempotent: true})
		b.Append(0, []byte{}, []byte{}, nil)
		one, err := b.Finish()
		require.NoError(t, err)
		_, err = l.Append(one, AppendOptions{Origin: OriginCoordinator})
		require.NoError(t, err)
	}
	l.Abandon()
	l = open(t, c)
	require.Equal(t, Offset(3), l.End())
	got, _ := values(t, l, 0, 100, false)
	require.Len(t, got, 3)
}

// [NATS; Kafka v2] What the checksum of a batch leaves out is checked by other means, in every configuration [pebble PR #6031: a guard
// that an unrelated option switched off].
func TestLengthAndOffsetsAreCheckedInEveryConfiguration(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, sealed := range []bool{true, false} {
			for _, s := range []Settings{{}, {Sync: SyncNever}, {Sync: SyncInterval(1)}, {NoPreallocation: true}, {LogAppendTime: true}, {IndexInterval: 50}} {
				for _, maps := range []int{0, 10} {
					d, c := memConfig(t)
					s.SegmentBytes = 5 * batchSize
					c.Settings, c.Maps = s, mmap.NewBudget(maps)
					l := open(t, c)
					appendN(t, l, 0, 9)
					for done := !sealed; !done; {
						var err error
						done, err = l.Seal()
						require.NoError(t, err)
					}
					require.NoError(t, l.Close())
					for _, position := range []int64{0, 7, 11, 15, 16, 70} {
						if position == 15 && !sealed {
							continue // the epoch of a batch in an unsealed file is bounded by its neighbours only
						}
						before := d.read(segment.LogName(0))
						d.flip(segment.LogName(0), 2*batchSize+position)
						c.Clean, c.CleanEnd, c.RecoveryPoint = clean, 9, 9
						l := open(t, c)
						_, err := l.Read(2, 100, 100)
						require.ErrorIs(t, err, ErrCorrupt, "byte %d, %+v, clean %v, sealed %v, maps %d", position, s, clean, sealed, maps)
						l.Abandon()
						d.write(segment.LogName(0), before)
					}
				}
			}
		}
	}
}

// [NATS #7549; Kafka LogLoader; prometheus #7245, #16074] Bad bytes cost the records they hold, not those behind them.
func TestRecordsBehindABadOneAreServed(t *testing.T) {
	c, _ := damagedLog(t, SyncAlways, 0, func(d *disk) {
		d.flip(segment.LogName(0), 70)
		d.flip(segment.LogName(0), 5*batchSize+3)
		d.flip(segment.LogName(12), 11*batchSize+79)
	})
	l := open(t, c)
	got, _ := values(t, l, 0, 1000, true)
	require.Len(t, got, logged-3)
}

// [pebble #453; etcd manifest #4560] A tail that is gone, at a batch's border, is no clean end when the owner knows better.
func TestSilentTruncationIsNoCleanEnd(t *testing.T) {
	for _, clean := range []bool{true, false} {
		d, c := memConfig(t)
		l := open(t, c)
		appendN(t, l, 0, 5)
		require.NoError(t, l.Close())
		d.cut(segment.LogName(0), 3*batchSize)
		c.Clean, c.CleanEnd, c.RecoveryPoint = clean, 5, 5
		l = open(t, c)
		got, _ := values(t, l, 0, 1000, true)
		require.Len(t, got, 3)
		_, err := l.Read(3, 100, 100)
		var e *CorruptionError
		require.ErrorAs(t, err, &e)
		require.Equal(t, Offset(5), e.NextOffset)
		r, err := l.Append(make1(1, 1, "on"), AppendOptions{})
		require.NoError(t, err)
		require.Equal(t, Offset(5), r.Base) // lost offsets are not given to other records
		report, err := l.Verify(t.Context())
		require.NoError(t, err)
		require.True(t, report.Damaged)
	}
}

// Stale bytes of a recycled file read as new [pebble's log number, raft-wal's segment id].
func TestOldBatchesBehindTheEndAreNotRead(t *testing.T) {
	d, c := memConfig(t)
	l := open(t, c)
	appendN(t, l, 0, 6)
	l.Abandon()
	name := segment.LogName(0)
	old := d.read(name)[:6*batchSize]
	// A file of three batches behind which old ones stand, of offsets 1 to 3.
	d.write(name, append(append([]byte(nil), old[:3*batchSize]...), old[batchSize:4*batchSize]...))
	l = open(t, c)
	require.Equal(t, Offset(3), l.End())
	requireDense(t, l, 3)
}
