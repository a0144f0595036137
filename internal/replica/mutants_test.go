//go:build mutants

package replica

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/mutant"
)

// broken stops a schedule at the first broken promise.
type broken struct{ why string }

func (b *broken) Errorf(format string, args ...any) { b.why = fmt.Sprintf(format, args...) }
func (b *broken) FailNow()                          { panic(b) }

// seedsToCatch returns how many schedules it takes until a promise is broken, 0 if most do not.
func seedsToCatch(most int) (seed int, why string) {
	for seed = 1; seed <= most; seed++ {
		if why = runSeed(uint64(seed)); why != "" {
			return seed, why
		}
	}
	return 0, ""
}

func runSeed(seed uint64) (why string) {
	b := &broken{}
	defer func() {
		if r := recover(); r != nil {
			if r != any(b) {
				panic(r)
			}
			why = b.why
		}
	}()
	r := rand.New(rand.NewPCG(seed, 1))
	s := newSchedule(b, func(_ string, n int) int { return r.IntN(n) })
	for range 150 {
		s.step()
	}
	s.end(b)
	return ""
}

// TestMutantsAreCaught puts each bug into the machines and sees that schedules find it, and that they find nothing without.
func TestMutantsAreCaught(t *testing.T) {
	seed, why := seedsToCatch(2000)
	require.Zero(t, seed, "without a bug: %s", why)
	for _, m := range []mutant.Name{mutant.TruncateToHighWatermark, mutant.TruncateWithoutLowerEpoch, mutant.AppendWithoutDivergence,
		mutant.LastReplicaStanding, mutant.StaleFollowerJoins, mutant.HighWatermarkAhead, mutant.IgnoreProposedISR,
		mutant.JoinBelowHighWatermark, mutant.JoinBelowEpochStart, mutant.StaleEpochFetch, mutant.AppendOtherEpoch} {
		t.Run(fmt.Sprint(m), func(t *testing.T) {
			mutant.Set(m)
			defer mutant.Set(mutant.None)
			seed, why := seedsToCatch(50_000)
			require.NotZero(t, seed, "not found")
			t.Logf("seed %d: %.200s", seed, why)
		})
	}
}
