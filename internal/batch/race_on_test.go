//go:build race

package batch

// Under the race detector a sync.Pool drops things at random, so counting
// allocations says nothing.
const raceEnabled = true
