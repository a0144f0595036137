package log

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

func TestDirectoryOfAnotherTopicIsRefused(t *testing.T) {
	c, d := damagedLog(t, SyncAlways, 0, nil)
	c.Clean, c.CleanEnd = true, logged
	mine := c.TopicID
	c.TopicID = [16]byte{9, 9, 9, 9, 9, 9}
	l := open(t, c)
	require.ErrorIs(t, tryAppend(l, 0), ErrForeign)
	_, err := l.Read(0, 100, 100)
	require.ErrorIs(t, err, ErrForeign)
	l.Abandon()
	// One wrong character is a flipped bit: the owner is believed.
	c.TopicID = mine
	text := string(d.read(segment.PartitionMetadataName))
	d.write(segment.PartitionMetadataName, []byte(text[:len(text)-3]+"x"+text[len(text)-2:]))
	l = open(t, c)
	requireDense(t, l, logged)
	require.NoError(t, tryAppend(l, logged))
	require.Equal(t, text, string(d.read(segment.PartitionMetadataName)))
}

func TestReadOnlyOpenChangesNothing(t *testing.T) {
	c, d := damagedLog(t, SyncAlways, 0, func(d *disk) { d.cut(segment.LogName(int64(lastSegment)), 6*batchSize-10) })
	before := map[string][]byte{}
	for _, n := range d.names() {
		before[n] = d.read(n)
	}
	c.ReadOnly = true
	l := open(t, c)
	requireDense(t, l, 29)
	require.ErrorIs(t, tryAppend(l, 29), ErrReadOnly)
	_, err := l.DeleteRecords(5)
	require.ErrorIs(t, err, ErrReadOnly)
	_, err = l.Verify(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	after := map[string][]byte{}
	for _, n := range d.names() {
		after[n] = d.read(n)
	}
	require.Equal(t, before, after)
}

// A base offset says which segment a file is; nothing else may be taken from the size of a number.
func TestOffsetsAboveThirtyOneBitsRoll(t *testing.T) {
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/data", 0o700))
	l := open(t, testConfig(m))
	for _, base := range []int64{0, 1<<31 - 1, 1 << 31, 1<<40 + 5, 1 << 62} {
		b := make1(1, 1, "far")
		batch.Batch(b).SetBaseOffset(base)
		_, err := l.Append(b, AppendOptions{Origin: OriginReplica})
		require.NoError(t, err)
	}
	require.Equal(t, Offset(1<<62+1), l.End())
	require.Len(t, l.segmentList(), 4)
	v, err := l.Read(1<<40+5, 1<<63-1, 1)
	require.NoError(t, err)
	require.Equal(t, uint64(1<<40+5), binary.BigEndian.Uint64(v.Bytes))
}
