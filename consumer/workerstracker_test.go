package consumer

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

func newTracked(t *testing.T) (*workers, *cursor) {
	config := WorkConfig{Clock: clock.System}.withDefaults()
	w := newWorkers(t.Context(), func(context.Context, Record) error { return nil }, config, new(workCounters))
	t.Cleanup(w.cancel)
	k := newCursor(partition.TopicPartition{Topic: "t"}, partition.TopicID{1}, 0, noBound)
	w.track(k)
	return w, k
}

func finishedOf(k *cursor) partition.Offset {
	f, _, _ := k.ledger()
	return f
}

// Whatever the order in which records are done, and whatever gaps lie between them: what may be committed is the end of
// the prefix that is done, with its leader epoch, and never goes back.
func TestOnlyTheFinishedPrefixMayBeCommitted(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w, k := newTracked(t)
		var tasks []*task
		var ends []partition.Offset // by task; gaps belong to the task before
		done := make(map[int]bool)
		next, want := partition.Offset(0), partition.Offset(-1)
		for range 400 {
			switch rng.IntN(5) {
			case 0, 1:
				one := &task{of: k.tracker, after: int64(next) + 1, rec: Record{Offset: next, LeaderEpoch: partition.LeaderEpoch(next / 10)}}
				next++
				if rng.IntN(2) == 0 { // a gap that is seen before the batch is queued
					k.tracker.last = one
					next += 3
					k.tracker.pass(next, one.rec.LeaderEpoch)
					k.tracker.last = nil
				}
				k.tracker.add(one)
				tasks, ends = append(tasks, one), append(ends, next)
			case 2:
				if len(tasks) > 0 {
					next += 2
					k.tracker.pass(next, k.epoch)
					ends[len(ends)-1] = next
				}
			default:
				if len(tasks) > 0 {
					if i := rng.IntN(len(tasks)); !done[i] {
						done[i] = true
						k.tracker.finish(tasks[i])
						k.tracker.advance()
					}
				}
			}
			for i := 0; i < len(tasks) && done[i]; i++ {
				want = ends[i]
			}
			require.Equal(t, want, finishedOf(k), "seed %d", seed)
		}
		k.detach(true)
		for i, one := range tasks {
			if !done[i] {
				one.of.finish(one)
				one.of.advance()
			}
		}
		require.Equal(t, want, finishedOf(k), "what was in flight before a Seek says nothing of the new place")
		require.Empty(t, w.trackers)
	}
}
