package log

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// A process is killed that had space reserved behind its last segment. The next one finishes that segment before it has written anything to it: the space is given
// back all the same, by a truncation to the length that the file has. Where nothing is finished the file stays untouched, and its time with it.
func TestASegmentThatIsFinishedUntouchedGivesBackWhatWasReserved(t *testing.T) {
	for name, tc := range map[string]struct {
		mode     SyncMode
		parked   bool
		finished bool
		trimmed  bool
	}{
		"at once":                 {SyncNever, false, true, true},
		"after it had been idle":  {SyncNever, true, true, true},
		"not finished":            {SyncNever, true, false, false},
		"nothing is reserved":     {SyncAlways, false, true, false},
		"synced now and then":     {SyncInterval(time.Hour), false, true, true},
		"not finished, not idle":  {SyncInterval(time.Hour), false, false, false},
		"always synced, and idle": {SyncAlways, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			mem := memory(t)
			fault := vfs.NewFault(mem)
			c := testConfig(fault)
			c.Settings = Settings{Sync: tc.mode}
			l := open(t, c)
			_, err := l.Append(make1(1, 1, "first"), AppendOptions{})
			require.NoError(t, err)
			require.NoError(t, l.Sync())
			l.Abandon()
			l = open(t, c)
			trims := 0
			fault.OnOp(func(op vfs.Op) {
				if op.Kind == vfs.OpTruncate && filepath.Base(op.Path) == segment.LogName(0) {
					trims++
				}
			})
			_, err = l.Read(0, 1, 1<<20)
			require.NoError(t, err)
			require.NoError(t, l.touch())
			if tc.parked {
				require.NoError(t, l.Park())
			}
			if tc.finished {
				require.NoError(t, l.Roll())
				require.Equal(t, 2, l.Stats().Segments)
			}
			require.NoError(t, l.Close())
			fault.OnOp(nil)
			require.Equal(t, tc.trimmed, trims > 0)
			l = open(t, c)
			_, err = l.Read(0, 1, 1<<20)
			require.NoError(t, err)
			require.NoError(t, l.Close())
		})
	}
}
