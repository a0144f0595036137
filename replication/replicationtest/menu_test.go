package replicationtest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/replication/replicationtest"
)

// effects are what faults are counted as when they take effect, where that is not their name.
var effects = map[string]string{
	"clog": "clogged", "clog-clients": "clogged", "swizzle": "clogged", "weather": "loss", "fail-sync": "failed sync", "fail-write": "failed write",
	"full-disk": "full disk", "slow-disk": "slow sync", "corrupt": "corrupt sector",
}

// Every kind of fault, and of operators' commands, that is on the menu takes effect, in one of some seeds: what never does would be no test.
func TestAllOnTheMenuTakesEffect(t *testing.T) {
	kinds := map[string]bool{}
	for _, m := range replicationtest.Menu(5, 3, 3, 2, 2, 3) {
		if m.Chance == 1 || m.Kind == "describe-topic" {
			continue // clients, which are always there
		}
		name := effects[m.Kind]
		if name == "" {
			name = m.Kind
		}
		kinds[name] = false
	}
	left := len(kinds)
	for seed := uint64(1); left > 0; seed++ {
		require.Less(t, seed, uint64(200), "%v", kinds)
		r := replicationtest.Run(replicationtest.Options{Seed: seed, Trouble: 80 * time.Second, Reseed: reseed(t)})
		require.NoError(t, violation(&r), "seed %d", seed)
		for name, seen := range kinds {
			if !seen && r.Faults.Of(name) > 0 {
				kinds[name] = true
				left--
			}
		}
	}
}

// Plots come to their end, in one of some seeds that have them only.
func TestPlotsComeToTheirEnd(t *testing.T) {
	for _, m := range replicationtest.Plots(3, 1) {
		for seed := uint64(1); ; seed++ {
			require.Less(t, seed, uint64(100), m.Kind)
			r := replicationtest.Run(replicationtest.Options{Seed: seed, Reseed: reseed(t), Only: []string{m.Kind}})
			require.NoError(t, violation(&r), "%s, seed %d", m.Kind, seed)
			if r.Faults.Of(m.Kind) > 0 {
				break
			}
		}
	}
}
