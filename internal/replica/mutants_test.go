//go:build mutants

package replica

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
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

func runSeed(seed uint64) string {
	return breaks(func(b *broken) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newSchedule(b, func(_ string, n int) int { return r.IntN(n) })
		for range 150 {
			s.step()
		}
		s.end(b)
	})
}

func breaks(run func(*broken)) (why string) {
	b := &broken{}
	defer func() {
		if r := recover(); r != nil {
			if r != any(b) {
				panic(r)
			}
			why = b.why
		}
	}()
	run(b)
	return ""
}

// TestMutantsBreakTheirHistory: bugs that random schedules find seldom have a schedule of their own, in testdata/history.
func TestMutantsBreakTheirHistory(t *testing.T) {
	for m, name := range map[mutant.Name]string{mutant.JoinBelowEpochStart: "epoch_start", mutant.StaleEpochFetch: "stale_epoch",
		mutant.TruncateToHighWatermark: "kip101", mutant.TruncateWithoutLowerEpoch: "kip279", mutant.AppendWithoutDivergence: "kip320",
		mutant.LastReplicaStanding: "kip966", mutant.StaleFollowerJoins: "kip903"} {
		history := func(b *broken) {
			script, err := os.ReadFile("testdata/history/" + name)
			require.NoError(t, err)
			var c *cluster
			commands := true
			for _, line := range strings.Split(string(script), "\n") {
				fields := strings.Fields(line)
				switch {
				case line == "":
					commands = true
				case line == "----":
					commands = false
				case !commands || fields[0] == "#":
				case fields[0] == "cluster":
					_, a := parse(fields[1:])
					c = newCluster(b, a.nodes(b, "nodes"), int(a.number(b, "min-isr", 1)))
				default:
					c.run(b, new(strings.Builder), fields)
				}
			}
		}
		require.Empty(t, breaks(history), name)
		mutant.Set(m)
		why := breaks(history)
		mutant.Set(mutant.None)
		require.NotEmpty(t, why, name)
	}
}

// TestMutantsAreCaught puts each bug into the machines and sees that schedules find it, and that they find nothing without.
func TestMutantsAreCaught(t *testing.T) {
	seed, why := seedsToCatch(2000)
	require.Zero(t, seed, "without a bug: %s", why)
	for _, m := range []mutant.Name{mutant.TruncateToHighWatermark, mutant.TruncateWithoutLowerEpoch, mutant.AppendWithoutDivergence,
		mutant.LastReplicaStanding, mutant.StaleFollowerJoins, mutant.HighWatermarkAhead, mutant.IgnoreProposedISR,
		mutant.JoinBelowHighWatermark} {
		t.Run(fmt.Sprint(m), func(t *testing.T) {
			mutant.Set(m)
			defer mutant.Set(mutant.None)
			seed, why := seedsToCatch(50_000)
			require.NotZero(t, seed, "not found")
			t.Logf("seed %d: %.200s", seed, why)
		})
	}
}
