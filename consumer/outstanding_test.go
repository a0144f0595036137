package consumer

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func newOut() *cursor {
	return newCursor(partition.TopicPartition{Topic: "t"}, partition.TopicID{1}, 0, noBound)
}

func finishedOf(k *cursor) partition.Offset {
	f, _, _ := k.ledger()
	return f
}

// Whatever the order in which records are finished: what may be committed is the end of the prefix, and never goes back.
func TestOnlyTheFinishedPrefixMayBeCommitted(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		k := newOut()
		var tickets []ticket
		var ends []partition.Offset // by ticket; gaps belong to the ticket before
		done := make(map[int]bool)
		next := partition.Offset(0)
		for range 200 {
			switch rng.IntN(5) {
			case 0, 1:
				next++
				tickets = append(tickets, k.handOut(next, 3))
				ends = append(ends, next)
			case 2:
				if len(tickets) > 0 {
					next += 2
					if k.position = next; k.out.pass(next, 3) {
						ends[len(ends)-1] = next
					} else {
						k.finish(next, 3)
						ends[len(ends)-1] = next
					}
				}
			default:
				if len(tickets) > 0 {
					i := rng.IntN(len(tickets))
					require.Equal(t, !done[i], tickets[i].done())
					done[i] = true
				}
			}
			want := partition.Offset(-1)
			for i := 0; i < len(tickets) && done[i]; i++ {
				want = ends[i]
			}
			require.Equal(t, want, finishedOf(k), "seed %d", seed)
		}
		for i := range tickets {
			tickets[i].done()
		}
		require.Zero(t, k.out.count())
	}
}

func TestTicketsOfBeforeASeekAreVoid(t *testing.T) {
	k := newOut()
	before := k.handOut(1, 0)
	k.begin(50)
	behind := k.handOut(51, 0)
	require.False(t, before.done())
	require.EqualValues(t, -1, finishedOf(k))
	require.True(t, behind.done())
	require.EqualValues(t, 51, finishedOf(k))
	require.False(t, behind.done(), "once")
}

func TestRecordsAreFinishedByManyAtATime(t *testing.T) {
	k := newOut()
	var wg sync.WaitGroup
	for i := range partition.Offset(2000) {
		ticket := k.handOut(i+1, 0)
		wg.Go(func() { ticket.done() })
	}
	wg.Wait()
	require.EqualValues(t, 2000, finishedOf(k))
	require.Zero(t, k.out.count())
}
