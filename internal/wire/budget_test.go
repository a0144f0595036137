package wire

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Connections that reserve in steps, charge, give up and release, in any order: what is used is what they hold, no more is
// used than the limit and one holder's, nobody waits when there is room, and in the end everybody got theirs.
func TestABudgetIsNeitherExceededNorLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) [3]int {
			return [3]int{rapid.IntRange(0, 3).Draw(rt, "action"), rapid.IntRange(0, 5).Draw(rt, "holder"), rapid.IntRange(0, 120).Draw(rt, "bytes")}
		}), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			b := NewBudget(100)
			type holder struct {
				hold    hold
				charged int64
				cancel  context.CancelCauseFunc
				asked   bool // a reserve is under way
				failed  error
			}
			gone := errors.New("gone")
			var holders [6]holder
			check := func() {
				synctest.Wait()
				var sum, charged, most int64
				waiting := 0
				for i := range holders {
					h := &holders[i]
					sum, charged, most = sum+h.hold.bytes, charged+h.charged, max(most, h.hold.bytes)
					if h.asked {
						waiting++
					}
				}
				require.Equal(t, sum, b.Used())
				require.LessOrEqual(t, b.Used(), 100+charged+most)
				require.Len(t, b.waiting, waiting)
				if waiting > 0 {
					require.NotNil(t, b.beyond, "who waits does so for somebody")
				}
			}
			for _, step := range steps {
				h := &holders[step[1]]
				switch {
				case step[0] == 0 && !h.asked:
					ctx, cancel := context.WithCancelCause(context.Background())
					h.asked, h.cancel = true, cancel
					go func() {
						h.failed = b.reserve(ctx, &h.hold, int64(step[2]))
						h.asked = false
					}()
				case step[0] == 1 && !h.asked:
					b.charge(&h.hold, int64(step[2]))
					h.charged += int64(step[2])
				case step[0] == 2 && h.asked:
					h.cancel(gone)
					synctest.Wait()
					require.Equal(t, gone, h.failed)
				case !h.asked:
					b.release(&h.hold)
					h.charged = 0
				}
				check()
			}
			for range len(holders) { // each who holds releases; then those who waited hold
				for i := range holders {
					if !holders[i].asked {
						b.release(&holders[i].hold)
						holders[i].charged = 0
						check()
					}
				}
			}
			require.Zero(t, b.Used())
			require.Empty(t, b.waiting)
			require.Nil(t, b.beyond)
		})
	})
}

func TestClassesOfMemoryHoldWhatIsAskedFor(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 5120, 5121, 6000, 8191, 8192, 8193, 10240, 10241, 1 << 20, 1<<20 + 1, 16 << 20} {
		class := classFor(n)
		require.GreaterOrEqual(t, classSize(class), n)
		if class > 0 {
			require.Less(t, classSize(class-1), n)
			require.LessOrEqual(t, classSize(class), n+n/4)
		}
		b := take(n)
		require.GreaterOrEqual(t, len(b.b), blockBytes(n)) // more where it once grew by append
		give(b)
	}
	require.Len(t, take(16<<20+1).b, 16<<20+1)
	for _, odd := range []int{1, 4095, 4500, 70_001, 1 << 25} { // memory that grew by append
		give(&block{make([]byte, 0, odd)})
		require.GreaterOrEqual(t, len(take(odd).b), odd)
	}
}

// Requests of many lengths take turns on a connection without a block for each length. What is in the pools is nobody's to rely
// on, hence the tries.
func TestALargerBlockThatIsFreeServesInsteadOfNewMemory(t *testing.T) {
	const large, small = 5 << 20, 3 << 20
	require.Greater(t, classFor(large), classFor(small))
	for range 100 {
		b := take(large)
		give(b)
		if take(small) == b {
			return
		}
	}
	t.Fatal("never")
}
