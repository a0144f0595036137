package log

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Without a sync for each write, space is found ahead of a segment that grows; its length never shows it, and a segment that is
// finished, by a roll or by Close, has given it back, also what a process that was killed had left.
func TestSpaceAheadOfASegmentIsReservedAndGivenBack(t *testing.T) {
	dir := t.TempDir()
	usage, err := vfs.OS.Usage(dir)
	require.NoError(t, err)
	if usage.Kind != "ext4" { // of others it is not known what they count as allocated
		t.Skip("on", usage.Kind)
	}
	sizes := func(base int64) (size, allocated int64) {
		var stat unix.Stat_t
		require.NoError(t, unix.Stat(filepath.Join(dir, segment.LogName(base)), &stat))
		return stat.Size, stat.Blocks * 512
	}
	const slack = 128 << 10 // last blocks, and what the file system keeps to find them
	require.Less(t, int64(slack), int64(leastReserve))
	c := testConfig(vfs.OS)
	c.Dir, c.Settings = dir, Settings{Sync: SyncNever, SegmentBytes: 8 << 20}
	l := open(t, c)
	value := string(make([]byte, 100<<10))
	appendOne := func(l *Log) {
		_, err := l.Append(make1(1, 1, value), AppendOptions{})
		require.NoError(t, err)
	}
	for range 12 {
		appendOne(l)
	}
	size, allocated := sizes(0)
	require.Equal(t, l.Stats().Bytes, size)
	if allocated < size+slack {
		t.Skip("this file system reserves nothing")
	}
	for l.Stats().Segments == 1 {
		appendOne(l)
	}
	size, allocated = sizes(0)
	require.Less(t, allocated, size+slack, "rolled")
	second := int64(l.End()) - 1
	for range 12 {
		appendOne(l)
	}
	require.NoError(t, l.Close())
	size, allocated = sizes(second)
	require.Less(t, allocated, size+slack, "closed")

	f, err := vfs.OS.OpenFile(filepath.Join(dir, segment.LogName(second)), unix.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, f.Reserve(size, 1<<20))
	require.NoError(t, f.Close())
	_, allocated = sizes(second)
	require.GreaterOrEqual(t, allocated, size+slack)
	path := filepath.Join(dir, segment.LogName(second))
	was := time.Now().Add(-time.Hour).Truncate(time.Second)
	require.NoError(t, os.Chtimes(path, was, was))
	l = open(t, c)
	_, err = l.Read(l.End()-1, 1, 1<<20)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, info.ModTime().Equal(was), "retention goes by the time of what has no timestamps")
	l = open(t, c)
	appendOne(l)
	require.NoError(t, l.Close())
	size, allocated = sizes(second)
	require.Less(t, allocated, size+slack, "killed")
}
