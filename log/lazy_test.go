package log

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func lazily(t testing.TB, l *Log, value string) {
	_, err := l.Append(make1(1000, 1, value), AppendOptions{Lazy: true})
	require.NoError(t, err)
}

func TestLazyAppendIsSyncedWithTheNextOne(t *testing.T) {
	c := testConfig(vfs.NewMem())
	notified := 0
	c.Notify = func() { notified++ }
	l := open(t, c)
	appendN(t, l, 0, 1)
	syncs := l.Stats().Syncs
	lazily(t, l, "a")
	lazily(t, l, "b")
	require.Equal(t, syncs, l.Stats().Syncs)
	require.EqualValues(t, 1, l.Visible())
	require.EqualValues(t, 3, l.Written())
	appendN(t, l, 3, 1)
	require.Equal(t, syncs+1, l.Stats().Syncs)
	require.EqualValues(t, 4, l.Visible())

	lazily(t, l, "c")
	notified = 0
	require.NoError(t, l.Sync())
	require.EqualValues(t, 5, l.Visible())
	require.Equal(t, 1, notified, "readers are told")
	require.NoError(t, l.Sync())
	require.Equal(t, syncs+2, l.Stats().Syncs)
}

func TestLazyAppendsAreSyncedBeforeThereAreTooMany(t *testing.T) {
	c := testConfig(vfs.NewMem())
	c.Settings.MaxMessageBytes = 1 << 20
	l := open(t, c)
	big := strings.Repeat("x", 1<<19)
	for range 20 {
		lazily(t, l, big)
	}
	require.GreaterOrEqual(t, int64(l.Durable()), int64(8), "recovery believes that no more than 4 MiB can be torn")
}

func TestRollSyncsWhatWasAppendedLazily(t *testing.T) {
	c := testConfig(vfs.NewMem())
	c.Settings.SegmentBytes = 1000
	l := open(t, c)
	for range 30 {
		lazily(t, l, strings.Repeat("x", 100))
	}
	list := l.segmentList()
	require.Greater(t, len(list), 1)
	require.GreaterOrEqual(t, l.Durable(), list[len(list)-1].base, "all before the active segment")
	require.NoError(t, l.Close())
}
