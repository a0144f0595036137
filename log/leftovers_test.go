package log

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/segment"
)

// Files beside the records, which come and go with them as a broker's do.

// finished seals all that is rolled.
func finished(t *testing.T, l *Log) {
	t.Helper()
	for done := false; !done; {
		var err error
		done, err = l.Seal()
		require.NoError(t, err)
	}
}

// idempotentLog has segments of one batch of producer 5 each, with snapshots between them.
func idempotentLog(t *testing.T, batches int) (*disk, Config, *Log) {
	d, c := memConfig(t)
	c.Settings.ProducerExpiry = Unlimited
	l := open(t, c)
	for i := range batches {
		if i > 0 {
			require.NoError(t, l.Roll())
		}
		_, err := l.Append(makeIdempotent(5, 1, int32(i), 1, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
	}
	finished(t, l)
	return d, c, l
}

func snapshots(d *disk) (all []int64) {
	for _, name := range d.names() {
		if n := segment.ParseName(name); n.Kind == segment.KindSnapshot {
			all = append(all, n.Base)
		}
	}
	return all
}

func TestSnapshotsGoWithTheirSegments(t *testing.T) {
	d, c, l := idempotentLog(t, 4)
	require.Equal(t, []int64{1, 2, 3}, snapshots(d))
	_, err := l.DeleteRecords(2)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 3}, snapshots(d))
	require.NoError(t, l.Close())
	require.Equal(t, []int64{2, 3, 4}, snapshots(d), "a clean close leaves one of the end")

	// Of those that no segment begins with, an open keeps the newest.
	for _, at := range []string{segment.SnapshotName(1), segment.SnapshotName(9)} {
		d.write(at, d.read(segment.SnapshotName(3)))
	}
	d.remove(segment.SnapshotName(4))
	d.remove(segment.SnapshotName(3))
	c.LogStart = 2
	l = open(t, c)
	require.NotContains(t, snapshots(d), int64(1))
	require.NotContains(t, snapshots(d), int64(9), "of records that are not there")
	require.Contains(t, snapshots(d), int64(2))
	states, err := l.Producers()
	require.NoError(t, err)
	require.Equal(t, int32(3), states[0].LastSequence)
}

// A snapshot that cannot be read costs time: an older one, or none, and the batches behind it say the same.
func TestStateOfProducersComesFromAnOlderSnapshotIfTheNewestIsBad(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, bad := range [][]string{
			{segment.SnapshotName(4)},
			{segment.SnapshotName(4), segment.SnapshotName(3)},
			{segment.SnapshotName(4), segment.SnapshotName(3), segment.SnapshotName(2), segment.SnapshotName(1)},
		} {
			for _, change := range []func(b []byte) []byte{
				func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
				func(b []byte) []byte { b[1] = 9; return b },
				func(b []byte) []byte { return b[:len(b)-1] },
				func([]byte) []byte { return nil },
			} {
				d, c, l := idempotentLog(t, 4)
				require.NoError(t, l.Close())
				for _, name := range bad {
					d.write(name, change(d.read(name)))
				}
				c.Clean, c.CleanEnd, c.RecoveryPoint = clean, 4, 3
				l = open(t, c)
				states, err := l.Producers()
				require.NoError(t, err)
				require.Equal(t, []ProducerState{{ProducerID: 5, Epoch: 1, CoordinatorEpoch: -1, LastSequence: 3, LastOffset: 3, LastTimestamp: 1000, TxnStart: -1}}, states)
			}
		}
	}
}

// What a crash of a broker leaves: files marked as deleted, and indexes of segments that are not there.
func TestLeftoversOfOtherSegmentsGoAtOpen(t *testing.T) {
	for _, clean := range []bool{true, false} {
		d, c, l := idempotentLog(t, 3)
		_, err := l.DeleteRecords(1)
		require.NoError(t, err)
		require.NoError(t, l.Close())
		gone := []string{
			segment.LogName(0) + ".deleted", segment.IndexName(0) + ".deleted", segment.SnapshotName(2) + ".deleted",
			segment.IndexName(3), segment.TimeIndexName(3), segment.TxnIndexName(3), segment.IndexName(0), segment.TimeIndexName(70),
			segment.EpochCheckpointName + ".tmp",
		}
		for _, name := range gone {
			d.write(name, []byte("left behind, and no index"))
		}
		c.Clean, c.CleanEnd, c.RecoveryPoint, c.LogStart = clean, 3, 3, 1
		l = open(t, c)
		for _, name := range gone {
			require.NotContains(t, d.names(), name, "clean %v", clean)
		}
		require.NoError(t, l.Roll()) // where some of them were
		_, err = l.Append(makeIdempotent(5, 1, 3, 1, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
		require.NoError(t, l.Close())
		c.Clean, c.CleanEnd = true, 4
		l = open(t, c)
		got, _ := values(t, l, 1, 1000, false)
		require.Len(t, got, 3)
		require.Empty(t, l.Report().Findings)
	}
}

// Only what readers may see is deleted.
func TestRetentionLeavesWhatIsNotVisible(t *testing.T) {
	l, clk, _ := retained(t, Settings{RetentionAge: time.Hour, RetentionBytes: 1}, 1)
	_, err := l.Append(make1(clk.Now().UnixMilli(), 1, "v"), AppendOptions{Lazy: true}) // written, and not synced
	require.NoError(t, err)
	require.Less(t, l.Visible(), l.Written())
	clk.Advance(2 * time.Hour)
	require.Zero(t, retain(t, l, clk.Now()).Segments)
	require.NoError(t, l.Sync())
	require.Equal(t, 1, retain(t, l, clk.Now()).Segments)
	require.Equal(t, Offset(3), l.Start())
}

// A segment of records without timestamps is as old as its file.
func TestRecordsWithoutATimestampAreAsOldAsTheirSegment(t *testing.T) {
	l, clk, _ := retained(t, Settings{RetentionAge: 3 * time.Hour}, 0)
	for i := range 3 {
		_, err := l.Append(make1(-1, 1, "v"), AppendOptions{Durable: true})
		require.NoError(t, err)
		require.NoError(t, l.Roll())
		clk.Advance(time.Duration(1+i) * time.Hour) // they are 6, 5 and 3 hours old in the end
	}
	require.Equal(t, 2, retain(t, l, clk.Now()).Segments, "3 hours are not more than 3")
	clk.Advance(time.Millisecond)
	require.Equal(t, 1, retain(t, l, clk.Now()).Segments)
}
