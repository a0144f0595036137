package replica

import (
	"testing"

	"pgregory.net/rapid"
)

// TestNoScheduleLosesWhatIsCommitted draws schedules for three replicas: appends at whoever believes to lead, requests and answers that arrive
// late, twice, out of order or never, metadata that nodes hear of at different times, AlterPartition without an answer, fences, moves of
// the leadership, restarts, and losses of what was not synced by fewer nodes than min.insync.replicas at a time. After each step cluster.note
// checks: no committed record is gone from the leader, logs are equal below the high watermark, which never goes back, and no follower
// cuts below it. In the end everything heals, all replicas are equal, in the ISR, and everything is committed.
func TestNoScheduleLosesWhatIsCommitted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSchedule(t, func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) })
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			s.step()
		}
		s.end(t)
	})
}
