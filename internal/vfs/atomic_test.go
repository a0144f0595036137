package vfs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// A crash before every operation, and every state that it may leave: the old contents or the new, and the new once
// WriteFileAtomic has returned.
func TestWriteFileAtomicSurvivesPowerLossAnywhere(t *testing.T) {
	for _, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		m := vfs.NewCrashMem(profile)
		fault := vfs.NewFault(m)
		require.NoError(t, fault.Mkdir("d", 0o700))
		require.NoError(t, fault.SyncDir("/"))
		require.NoError(t, vfs.WriteFileAtomic(fault, "d/f", []byte("aaa")))
		durable, next := "a*3", "b*5000"
		look := func(at string) {
			require.True(t, m.EachCrash(10000, func(after *vfs.Mem, label string) bool {
				got := content(after, "d/f")
				require.True(t, got == durable || got == next, "before %s, %s: %s", at, label, got)
				return true
			}))
		}
		fault.OnOp(func(op vfs.Op) { look(op.String()) })
		require.NoError(t, vfs.WriteFileAtomic(fault, "d/f", []byte(strings.Repeat("b", 5000))))
		durable = next
		look("the end")
		next = "c*1"
		require.NoError(t, vfs.WriteFileAtomic(fault, "d/f", []byte("c")))
	}
}

// Every operation fails once: an error, and the old contents in place (or the new, where only the last sync failed).
func TestWriteFileAtomicFailsWholly(t *testing.T) {
	for nth := 1; ; nth++ {
		m := vfs.NewMem()
		require.NoError(t, vfs.WriteFileAtomic(m, "f", []byte("a")))
		fault := vfs.NewFault(m)
		rule := fault.Add(vfs.Rule{Nth: nth, Op: vfs.AnyOp &^ vfs.OpRemove})
		err := vfs.WriteFileAtomic(fault, "f", []byte("b"))
		if rule.Hits() == 0 {
			require.NoError(t, err)
			require.Equal(t, 7, nth, "open, write, sync, close, rename, sync of the directory")
			return
		}
		require.Error(t, err)
		want := "a*1"
		if nth == 6 {
			want = "b*1"
		}
		require.Equal(t, want, content(m, "f"))
		require.Equal(t, []string{"f"}, names(t, m, "/"), "nothing is left lying about")
		require.NoError(t, vfs.WriteFileAtomic(fault, "f", []byte("c")))
		require.Equal(t, "c*1", content(m, "f"))
	}
}
