package replicationtest_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/replication/replicationtest"
)

// Two runs of a seed are the same, event by event: whatever a seed has found is found again. PARTLOG_TWICE is how many seeds are run so.
func TestSeedsRepeatThemselves(t *testing.T) {
	n, err := strconv.ParseUint(os.Getenv("PARTLOG_TWICE"), 10, 64)
	if err != nil {
		n = 8
		if testing.Short() {
			n = 2
		}
	}
	hashes := map[uint64]uint64{}
	for seed := uint64(1); seed <= n; seed++ {
		o := replicationtest.Options{Seed: seed, Reseed: reseed(t)}
		first, second := replicationtest.Run(o), replicationtest.Run(o)
		require.Equal(t, first.Events, second.Events, "seed %d", seed)
		require.Equal(t, first.Hash, second.Hash, "seed %d", seed)
		require.Equal(t, first.Faults, second.Faults, "seed %d", seed)
		require.Equal(t, first.Acked, second.Acked, "seed %d", seed)
		require.Zero(t, hashes[first.Hash], "seeds %d and %d are alike", seed, hashes[first.Hash])
		hashes[first.Hash] = seed
	}
}

// A story does not change what it tells.
func TestTraceChangesNothing(t *testing.T) {
	o := replicationtest.Options{Seed: 5, Reseed: reseed(t)}
	plain := replicationtest.Run(o)
	o.Keep = 1000
	told := replicationtest.Run(o)
	require.Equal(t, plain.Hash, told.Hash)
	require.NotEmpty(t, told.Trace)
	require.Empty(t, plain.Trace)
}

// Leaving actions out leaves the others as they were: a replayed schedule is the run, and a part of it is a run of its own that repeats itself too.
func TestScheduleIsReplayedExactly(t *testing.T) {
	o := replicationtest.Options{Seed: 3, Reseed: reseed(t)}
	whole := replicationtest.Run(o)
	o.Schedule, o.Replay = whole.Schedule, true
	again := replicationtest.Run(o)
	require.Equal(t, whole.Hash, again.Hash)
	o.Schedule = whole.Schedule[:len(whole.Schedule)/2]
	part, partAgain := replicationtest.Run(o), replicationtest.Run(o)
	require.NotEqual(t, whole.Hash, part.Hash)
	require.Equal(t, part.Hash, partAgain.Hash)
}
