package partition

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// Before every operation that a compaction makes on the disk of a store, the positions in the catalogue included, power is lost: the
// store that opens has the last value of each key, and none of a deleted one.
func TestNoCrashOfACompactionLosesAKey(t *testing.T) {
	for _, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		mem := vfs.NewCrashMem(profile)
		fault := vfs.NewFault(mem)
		s, m := compactedStore(t, fault, Config{CleanerBackoff: Unlimited})
		require.NoError(t, s.AlterTopicConfig(t.Context(), "keys", map[string]string{"delete.retention.ms": "1"}))
		last := map[string]string{}
		put := func(i int, key, value string) {
			putKey(t, s, key, value)
			last[key] = value
		}
		check := func(after *vfs.Mem, where string) {
			again, err := Open("/store", Config{FS: after, Clock: clock.NewManual(m.Now()), CleanerBackoff: Unlimited})
			require.NoError(t, err, where)
			got := map[string]string{}
			for _, r := range readKeys(t, again) {
				_, record, _ := strings.Cut(r, ":")
				key, value, _ := strings.Cut(record, "=")
				got[key] = value
			}
			for key, value := range last {
				require.Equal(t, value, got[key], "%s: key %s", where, key)
			}
			require.NoError(t, again.Close(), where)
		}
		states := 0
		for round := range 3 {
			for i := range 60 {
				value := fmt.Sprintf("v%d-%d", round, i)
				if i%7 == 0 {
					value = ""
				}
				put(i, fmt.Sprintf("k%d", i%13), value)
			}
			seen := map[uint64]bool{}
			fault.OnOp(func(op vfs.Op) {
				mem.EachCrash(3, func(after *vfs.Mem, label string) bool {
					if hash := after.Hash(); !seen[hash] {
						seen[hash] = true
						states++
						check(after, fmt.Sprintf("round %d, before %v, kept %s", round, op, label))
					}
					return true
				})
			})
			require.NoError(t, s.Compact(t.Context(), keysTP))
			fault.OnOp(nil)
			m.Advance(1000 * 1000 * 1000)
		}
		t.Logf("crash states: %d distinct, 0 lost", states)
		require.NoError(t, s.Close())
	}
}
