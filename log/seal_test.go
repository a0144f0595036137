package log

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// A segment may be rolled after Seal has looked for rolled ones. Its sum must not be there before its records are on the disk: after a
// loss of power the sum would make a lost tail look like damage.
func TestSegmentThatIsRolledWhileSealIsAtWorkIsSyncedBeforeItsSum(t *testing.T) {
	for _, mode := range []SyncMode{SyncNever, SyncInterval(1)} {
		fault := vfs.NewFault(vfs.NewMem())
		c := testConfig(fault)
		c.Settings = Settings{Sync: mode, SegmentBytes: 4 * batchSize}
		l := open(t, c)
		appendN(t, l, 0, 5) // one segment is finished
		sealAll(t, l)
		l.SetEpoch(2)
		appendN(t, l, 5, 1) // Seal has the epochs to write, between its look and the sums
		synced, rolled, summed := false, false, false
		fault.OnOp(func(op vfs.Op) {
			switch {
			case op.Kind == vfs.OpSync && filepath.Base(op.Path) == segment.LogName(4):
				synced = true
			case op.Kind == vfs.OpRename && filepath.Base(op.To) == segment.EpochCheckpointName && !rolled:
				rolled = true
				appendN(t, l, 6, 3)
			case op.Kind == vfs.OpRename && filepath.Base(op.To) == segment.SumName(4):
				summed = true
				require.True(t, synced, "the sum of records that may be lost")
			}
		})
		sealAll(t, l)
		require.True(t, rolled && summed)
		fault.OnOp(nil)
	}
}
