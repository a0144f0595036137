package log

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func filesystems(t *testing.T, f func(t *testing.T, c Config)) {
	t.Run("memory", func(t *testing.T) { f(t, testConfig(vfs.NewMem())) })
	t.Run("os", func(t *testing.T) {
		c := testConfig(vfs.OS)
		c.Dir = t.TempDir() + "/topic-0"
		f(t, c)
	})
}

func TestAppendedBatchesAreReadInOrder(t *testing.T) {
	filesystems(t, func(t *testing.T, c Config) {
		for _, mode := range []SyncMode{SyncAlways, SyncNever, SyncInterval(1)} {
			c.Dir += "x"
			c.Settings.Sync = mode
			l := open(t, c)
			appendN(t, l, 0, 300)
			requireDense(t, l, 300)
			require.Equal(t, Offset(300), l.End())
			require.Equal(t, Offset(300), l.Visible())
			require.NoError(t, l.Close())
		}
	})
}

func TestLogIsTheSameAfterCleanClose(t *testing.T) {
	filesystems(t, func(t *testing.T, c Config) {
		c.Settings.SegmentBytes = 4000
		l := open(t, c)
		appendN(t, l, 0, 300)
		require.NoError(t, l.Close())
		c.Clean, c.CleanEnd = true, 300
		l = open(t, c)
		require.False(t, l.Stats().Loaded)
		requireDense(t, l, 300)
		appendN(t, l, 300, 50)
		requireDense(t, l, 350)
		require.NoError(t, l.Close())
		require.Empty(t, l.Report().Findings)
	})
}

func TestLogIsTheSameAfterUncleanOpen(t *testing.T) {
	filesystems(t, func(t *testing.T, c Config) {
		for _, mode := range []SyncMode{SyncAlways, SyncNever} {
			c.Dir += "x"
			c.Settings.Sync = mode
			c.Settings.SegmentBytes = 4000
			l := open(t, c)
			appendN(t, l, 0, 300)
			l.Abandon()
			l = open(t, c)
			requireDense(t, l, 300)
			appendN(t, l, 300, 50)
			requireDense(t, l, 350)
			require.NoError(t, l.Close())
			t.Log(l.Report())
		}
	})
}
