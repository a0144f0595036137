package log

import (
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// More of the bugs listed in pitfalls_test.go: of files beside the records, of syncs, and of bounds.

// New segment not made durable [tidwall, diskqueue]: a record acknowledged in a new file survives, whatever names were not synced.
func TestNewSegmentIsDurableBeforeItsFirstAcknowledgement(t *testing.T) {
	m, _, c := faulty(t, SyncAlways)
	c.FS = m
	c.Settings.SegmentBytes = 2 * batchSize
	l := open(t, c)
	for i := range 7 {
		appendN(t, l, i, 1)
		m.EachCrash(50, func(after *vfs.Mem, label string) bool {
			c := c
			c.FS = after
			l := open(t, c)
			requireDense(t, l, i+1)
			l.Abandon()
			return true
		})
	}
}

// Checkpoint or metadata ahead of data [BookKeeper #3329; redpanda PR #10492]: a snapshot or epoch of records that are gone is not
// believed.
func TestMetadataAheadOfDataIsNotBelieved(t *testing.T) {
	d, c := memConfig(t)
	c.Settings.Sync = SyncNever
	l := open(t, c)
	for i := range 6 {
		if i == 4 {
			l.SetEpoch(7)
		}
		_, err := l.Append(makeIdempotent(3, 0, int32(i), 1, "v"), AppendOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close()) // a snapshot at 6, an epoch 7 from 4
	one := len(makeIdempotent(3, 0, 0, 1, "v"))
	d.cut(segment.LogName(0), int64(3*one))
	l = open(t, c)
	require.Equal(t, Offset(3), l.End())
	epoch, err := l.LastEpoch()
	require.NoError(t, err)
	require.Equal(t, LeaderEpoch(1), epoch)
	r, err := l.Append(makeIdempotent(3, 0, 3, 1, "v"), AppendOptions{}) // no duplicate: that one is lost
	require.NoError(t, err)
	require.Equal(t, AppendResult{Base: 3, Last: 3, LogAppendTime: -1}, r)
}

// Metadata behind data causes overwrite [diskqueue #28; nsqd PR #214]: the end comes from the files.
func TestMetadataBehindDataOverwritesNothing(t *testing.T) {
	for _, known := range []Offset{0, 3, -1} {
		_, c := memConfig(t)
		l := open(t, c)
		appendN(t, l, 0, 8)
		require.NoError(t, l.Close())
		c.Clean, c.CleanEnd = true, known
		l = open(t, c)
		appendN(t, l, 8, 1)
		requireDense(t, l, 9)
	}
}

// Empty or half checkpoint file blocks start [liftbridge #333; KAFKA-16541], index trusted or fatal [liftbridge #411; iggy PR #3970].
func TestEmptyOrHalfCachesBlockNothing(t *testing.T) {
	base, c := memConfig(t)
	c.Settings = Settings{SegmentBytes: 4 * batchSize, IndexInterval: 50}
	l := open(t, c)
	appendN(t, l, 0, 10)
	for done := false; !done; {
		var err error
		done, err = l.Seal()
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	for _, name := range base.names() {
		if n := segment.ParseName(name); n.Kind == segment.KindLog {
			continue
		}
		whole := base.read(name)
		for _, content := range [][]byte{nil, whole[:len(whole)/2], append(append([]byte(nil), whole...), whole...), make([]byte, len(whole)), []byte("nonsense")} {
			base.write(name, content)
			for _, clean := range []bool{true, false} {
				c.Clean, c.CleanEnd, c.RecoveryPoint = clean, 10, 10
				c.ReadOnly = true
				l := open(t, c)
				requireDense(t, l, 10)
				_, _, err := l.OffsetForTimestamp(1005)
				require.NoError(t, err)
				l.Abandon()
			}
		}
		base.write(name, whole)
	}
}

// One fsync per record under a lock [NATS, tidwall, dque, badger], and two files synced one after the other per acknowledgement [iggy PR
// #3970; kfake].
func TestQueuedAppendsShareOneSyncOfOneFile(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	f := vfs.NewFault(m)
	c := testConfig(f)
	l := open(t, c)
	appendN(t, l, 0, 1)
	const appenders = 32
	var syncs int
	f.OnOp(func(op vfs.Op) {
		if op.Kind != vfs.OpSync && op.Kind != vfs.OpSyncDir {
			return
		}
		if syncs++; syncs > 1 {
			return
		}
		for queued := 0; queued < appenders-1; { // the first sync takes until all others stand in the queue
			l.mu.Lock()
			queued = l.queue.n
			l.mu.Unlock()
		}
	})
	var wg sync.WaitGroup
	for i := range appenders {
		wg.Go(func() {
			if err := tryAppend(l, i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.OnOp(nil)
	require.Equal(t, 2, syncs)
	require.Equal(t, int64(appenders+1), l.Stats().Appends)
}

// Off by one in verification [EventStore PR #1653]: every byte of a sealed segment is covered.
func TestVerifyFindsEveryFlippedByte(t *testing.T) {
	d, c := memConfig(t)
	c.Settings.SegmentBytes = 4 * batchSize
	l := open(t, c)
	appendN(t, l, 0, 8)
	for done := false; !done; {
		var err error
		done, err = l.Seal()
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	o := VerifyOptions{Topic: c.Topic, TopicID: c.TopicID, End: 8}
	report, err := VerifyDir(t.Context(), c.FS, c.Dir, o)
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.Equal(t, int64(8), report.Records)
	for _, name := range []string{segment.LogName(0), segment.IndexName(0), segment.TimeIndexName(0), segment.SumName(0), segment.SnapshotName(4)} {
		whole := d.read(name)
		for i := range whole {
			d.flip(name, int64(i))
			report, err := VerifyDir(t.Context(), c.FS, c.Dir, o)
			require.NoError(t, err)
			require.NotEmpty(t, report.Findings, "%s, byte %d", name, i)
			require.Equal(t, name == segment.LogName(0), report.Damaged, "%s, byte %d: %+v", name, i, report.Findings)
			d.write(name, whole)
		}
	}
}

// Preallocation that keeps the size lost blocks behind it on old kernels [crashmonkey PR #70]: what is preallocated is written, and
// gone after a close.
func TestPreallocationIsWrittenAndTrimmed(t *testing.T) {
	c := testConfig(vfs.OS)
	c.Dir = filepath.Join(t.TempDir(), "topic-0")
	l := open(t, c)
	appendN(t, l, 0, 3)
	info, err := c.FS.Stat(filepath.Join(c.Dir, segment.LogName(0)))
	require.NoError(t, err)
	require.Equal(t, int64(batchSize+firstZeroFill), info.Size())
	require.NoError(t, l.Close())
	info, err = c.FS.Stat(filepath.Join(c.Dir, segment.LogName(0)))
	require.NoError(t, err)
	require.Equal(t, int64(3*batchSize), info.Size())
}

// A batch that no segment could hold is refused; none grows above 31 bits [raft-wal].
func TestSegmentsAndBatchesHaveACap(t *testing.T) {
	_, c := memConfig(t)
	c.Settings = Settings{SegmentBytes: math.MaxInt64}
	l := open(t, c)
	require.Equal(t, int64(MaxSegmentBytes), l.Settings().SegmentBytes)
	require.NoError(t, l.SetSettings(Settings{SegmentBytes: 1000, MaxMessageBytes: 1 << 30}))
	_, err := l.Append(make1(1, 1, string(make([]byte, 2000))), AppendOptions{})
	require.ErrorIs(t, err, ErrRecordListTooLarge)
	require.ErrorIs(t, err, ErrMessageTooLarge)
	require.NoError(t, l.SetSettings(Settings{MaxMessageBytes: 500}))
	_, err = l.Append(make1(1, 1, string(make([]byte, 2000))), AppendOptions{})
	require.ErrorIs(t, err, ErrMessageTooLarge)
	require.NotErrorIs(t, err, ErrRecordListTooLarge)
	appendN(t, l, 0, 1)
}

func TestBadBatchesAreRefusedAndChangeNothing(t *testing.T) {
	_, c := memConfig(t)
	l := open(t, c)
	good := make1(1000, 2, "v")
	for i, edit := range []func(b []byte) []byte{
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { return b[:60] },
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return append(b, 0) },
		func(b []byte) []byte { b[16] = 1; return b },           // magic
		func(b []byte) []byte { b[7] = 5; return b },            // base offset
		func(b []byte) []byte { b[22] |= 0x20; return b },       // control
		func(b []byte) []byte { b[60] = 3; return b },           // count
		func(b []byte) []byte { b[26] = 0xff; return b },        // last offset delta
		func(b []byte) []byte { b[22] |= 7; return b },          // codec
		func(b []byte) []byte { b[43], b[50] = 0, 1; return b }, // producer id without sequence
	} {
		_, err := l.Append(edit(append([]byte(nil), good...)), AppendOptions{})
		require.Error(t, err, fmt.Sprint(i))
	}
	require.Equal(t, Offset(0), l.End())
	_, err := l.Append(make1(1<<60, 1, "v"), AppendOptions{})
	require.ErrorIs(t, err, ErrInvalidTimestamp)
	require.NoError(t, l.SetSettings(Settings{TimestampBefore: 1}))
	_, err = l.Append(make1(1000, 1, "v"), AppendOptions{})
	require.ErrorIs(t, err, ErrInvalidTimestamp)
	_, err = l.Read(-1, 10, 10)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
	_, err = l.Read(1, 10, 10)
	require.ErrorIs(t, err, ErrOffsetOutOfRange)
}

// A clock that is set back must not refuse commits that were made before: they are written late on a full disk.
func TestCoordinatorsRecordsKeepTheirTimestampsWhateverTheClockSays(t *testing.T) {
	_, c := memConfig(t)
	l := open(t, c)
	_, err := l.Append(make1(1<<60, 1, "v"), AppendOptions{Origin: OriginCoordinator})
	require.NoError(t, err)
}
