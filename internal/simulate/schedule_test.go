package simulate_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/simulate"
)

var menu = []simulate.Menu{
	{Kind: "always", Every: time.Second, Chance: 1, A: 3},
	{Kind: "often", Every: time.Second, Chance: 0.9, A: 3, B: 5, Least: time.Millisecond, Most: time.Minute},
	{Kind: "rare", Every: 5 * time.Second, Chance: 0.3},
}

func TestSwarmDrawsSomeKindsForEachSeed(t *testing.T) {
	with := map[string]int{}
	for seed := range uint64(200) {
		s := simulate.Swarm(seed, menu, time.Second, time.Minute)
		require.Equal(t, s, simulate.Swarm(seed, menu, time.Second, time.Minute))
		require.True(t, slices.IsSortedFunc(s, func(a, b simulate.Action) int { return int(a.At - b.At) }))
		kinds := map[string]bool{}
		for _, a := range s {
			kinds[a.Kind] = true
			require.GreaterOrEqual(t, a.At, time.Second)
			require.Less(t, a.At, time.Minute)
			require.Less(t, a.A, 3)
			require.LessOrEqual(t, a.For, time.Minute)
		}
		for kind := range kinds {
			with[kind]++
		}
	}
	require.Equal(t, 200, with["always"])
	require.InDelta(t, 180, with["often"], 20)
	require.InDelta(t, 60, with["rare"], 30)
}

// Leaving a kind out changes nothing of the others.
func TestKindsAreDrawnApart(t *testing.T) {
	all := simulate.Swarm(7, menu, 0, time.Minute)
	rest := slices.DeleteFunc(slices.Clone(all), func(a simulate.Action) bool { return a.Kind == "often" })
	require.Equal(t, rest, simulate.Swarm(7, []simulate.Menu{menu[0], menu[2]}, 0, time.Minute))
}

func TestScheduleIsReadAsItWasWritten(t *testing.T) {
	s := simulate.Swarm(1, menu, 0, time.Minute)
	var b strings.Builder
	b.WriteString("# a comment\n\n")
	require.NoError(t, s.Write(&b))
	again, err := simulate.ReadSchedule(strings.NewReader(b.String()))
	require.NoError(t, err)
	require.Equal(t, s, again)
	for _, bad := range []string{"x", "1s", "1x kind", "1s kind a=x", "1s kind b=", "1s kind for=1", "1s kind force=x", "1s kind draw=-1", "1s kind c=1"} {
		_, err := simulate.ReadSchedule(strings.NewReader(bad))
		require.Error(t, err, bad)
	}
}

// Of a thousand actions it takes three to fail: a crash of node 1, after it a cut, and after both a write.
func TestShrinkFindsWhatItTakesToFail(t *testing.T) {
	rng := simulate.Stream(1, "shrink")
	var s simulate.Schedule
	for i := range 1000 {
		kind := []string{"crash", "cut", "write", "noise"}[rng.IntN(4)]
		s = append(s, simulate.Action{At: time.Duration(i), Kind: kind, A: rng.IntN(5)})
	}
	fails := func(s simulate.Schedule) bool {
		state := 0
		for _, a := range s {
			switch {
			case state == 0 && a.Kind == "crash" && a.A == 1, state == 1 && a.Kind == "cut", state == 2 && a.Kind == "write":
				state++
			}
		}
		return state == 3
	}
	require.True(t, fails(s))
	least, used := simulate.Shrink(s, 500, fails)
	require.Len(t, least, 3)
	require.True(t, fails(least))
	require.LessOrEqual(t, used, 500)

	least, used = simulate.Shrink(s, 5, fails)
	require.Equal(t, 5, used)
	require.True(t, fails(least), "it may be stopped at any time")
}

// Nothing at all is enough for some failures.
func TestShrinkEndsWithNothing(t *testing.T) {
	least, _ := simulate.Shrink(simulate.Swarm(1, menu, 0, time.Minute), 100, func(simulate.Schedule) bool { return true })
	require.Empty(t, least)
}

func TestTraceKeepsItsLastLines(t *testing.T) {
	s := simulate.NewScheduler(1)
	var w strings.Builder
	trace := simulate.NewTrace(s, &w, 2)
	for i := range 3 {
		s.RunUntil(time.Duration(i) * time.Second)
		trace.Say("node", "says %d", i)
	}
	require.Equal(t, 3, strings.Count(w.String(), "\n"))
	require.Equal(t, "   1.000000s  node       says 1\n   2.000000s  node       says 2", trace.Last())
	var none *simulate.Trace
	none.Say("nobody", "nothing")
	require.False(t, none.On())
	require.Empty(t, none.Last())
}
