package simulate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/simulate"
)

func TestEventsHappenInOrderOfTime(t *testing.T) {
	s := simulate.NewScheduler(1)
	rng := simulate.Stream(2, "times")
	var last time.Duration
	happened := 0
	var timers []*simulate.Timer
	for range 1000 {
		at := time.Duration(rng.IntN(500))
		timers = append(timers, s.At(at, func() {
			require.Equal(t, at, s.Now())
			require.GreaterOrEqual(t, at, last)
			last = at
			happened++
		}))
	}
	for i := 0; i < 1000; i += 3 {
		require.True(t, s.Stop(timers[i]))
		require.False(t, s.Stop(timers[i]))
	}
	s.RunUntil(time.Second)
	require.Equal(t, 666, happened)
	require.EqualValues(t, 666, s.Events())
	require.Equal(t, time.Second, s.Now())
	require.False(t, s.Step())
}

// Of two events of one instant, either is first, as the seed says: and always the same for one seed.
func TestSeedDecidesBetweenEventsOfOneInstant(t *testing.T) {
	run := func(seed uint64) (order string, hash uint64) {
		s := simulate.NewScheduler(seed)
		for _, name := range []string{"a", "b", "c"} {
			s.At(time.Second, func() {
				order += name
				s.MixString(name)
			})
		}
		s.RunUntil(time.Second)
		return order, s.Hash()
	}
	orders := map[string]bool{}
	for seed := range uint64(100) {
		order, hash := run(seed)
		again, hashAgain := run(seed)
		require.Equal(t, order, again)
		require.Equal(t, hash, hashAgain)
		orders[order] = true
	}
	require.Len(t, orders, 6)
}

func TestStreamsAreIndependentAndRepeatable(t *testing.T) {
	require.Equal(t, simulate.Stream(1, "a").Uint64(), simulate.Stream(1, "a").Uint64())
	require.NotEqual(t, simulate.Stream(1, "a").Uint64(), simulate.Stream(1, "b").Uint64())
	require.NotEqual(t, simulate.Stream(1, "a").Uint64(), simulate.Stream(2, "a").Uint64())
}

func BenchmarkScheduler(b *testing.B) {
	s := simulate.NewScheduler(1)
	var again func()
	again = func() { s.After(time.Millisecond, again) }
	for range 100 {
		again()
	}
	for b.Loop() {
		s.Step()
	}
}
