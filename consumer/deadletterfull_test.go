package consumer_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// deadLetterTrouble is why a dead-letter topic takes nothing, and how that ends.
type deadLetterTrouble struct {
	want  error
	begin func(t *testing.T, disk *partitiontest.Disk, dead *partition.Store)
	end   func(t *testing.T, disk *partitiontest.Disk, dead *partition.Store)
}

var deadLetterTroubles = map[string]deadLetterTrouble{
	"the disk is full": {
		want: partition.ErrNoSpace,
		begin: func(t *testing.T, disk *partitiontest.Disk, dead *partition.Store) {
			createDead(t, dead)
			disk.SetFree(0)
		},
		end: func(_ *testing.T, disk *partitiontest.Disk, _ *partition.Store) { disk.SetFree(-1) },
	},
	"a batch is written in part": {
		want: partition.ErrNoSpace,
		begin: func(t *testing.T, disk *partitiontest.Disk, dead *partition.Store) {
			createDead(t, dead)
			disk.SetFree(100)
		},
		end: func(_ *testing.T, disk *partitiontest.Disk, _ *partition.Store) { disk.SetFree(-1) },
	},
	"there is no topic": {
		want:  partition.ErrUnknownTopicOrPartition,
		begin: func(*testing.T, *partitiontest.Disk, *partition.Store) {},
		end:   func(t *testing.T, _ *partitiontest.Disk, dead *partition.Store) { createDead(t, dead) },
	},
}

func createDead(t *testing.T, store *partition.Store) {
	_, err := store.CreateTopic(context.Background(), "dead", partition.TopicConfig{})
	require.NoError(t, err)
}

// buried lists the dead letters of t by the offsets that they had.
func buried(t *testing.T, dead *partition.Store) (offsets []partition.Offset) {
	t.Helper()
	for l, err := range consumer.ListDeadLetters(t.Context(), dead, "dead") {
		require.NoError(t, err)
		require.Equal(t, at("t", 0), l.TopicPartition)
		require.Equal(t, strconv.Itoa(int(l.Offset)), string(l.Value))
		require.Equal(t, "poison", l.Error)
		offsets = append(offsets, l.Offset)
	}
	return offsets
}

// The dead letters have a disk of their own, which is full, or no topic. Work that stops there has not committed past the first record that
// could not be buried; when the trouble is over it goes on, and each record has been handled, or buried once.
func TestNothingIsLostWhileDeadLettersCannotBeWritten(t *testing.T) {
	poison := errors.New("poison")
	const n, bad = 40, 7 // every seventh record cannot be handled
	for name, trouble := range deadLetterTroubles {
		for policy, onError := range map[string]consumer.OnForwardError{"stop": consumer.StopWork, "retry": consumer.RetryForward} {
			t.Run(name+", "+policy, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					disk := partitiontest.NewDisk()
					dead, err := partition.Open("dead", partition.Config{FS: disk, LowSpaceBytes: partition.Unlimited})
					require.NoError(t, err)
					trouble.begin(t, disk, dead)
					store := newStore(t, "t", 1)
					keyed(t, store, "t", 0, n, "a", "b", "c", "")
					g := openGroup(t, store, group.Config{})
					var mu sync.Mutex
					handled, failed := map[partition.Offset]int{}, map[partition.Offset]int{}
					handler := func(_ context.Context, r consumer.Record) error {
						mu.Lock()
						defer mu.Unlock()
						if r.Offset%bad == bad-1 {
							failed[r.Offset]++
							return poison
						}
						handled[r.Offset]++
						return nil
					}
					config := consumer.WorkConfig{DeadLetter: "dead", Forwarder: toStore{dead}, OnForwardError: onError}
					join := func() *consumer.Consumer {
						c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Until: consumer.UntilEnd()})
						require.NoError(t, err)
						return c
					}

					c := join()
					if onError == consumer.StopWork {
						err := consumer.Work(t.Context(), c, handler, config)
						forward, ok := errors.AsType[*consumer.ForwardError](err)
						require.True(t, ok, err)
						require.ErrorIs(t, err, trouble.want)
						require.Equal(t, "dead", forward.To)
						require.Equal(t, poison, forward.Cause)
						require.EqualValues(t, bad-1, forward.Offset%bad)
						require.LessOrEqual(t, committedOf(t, g, 0), partition.Offset(bad-1))
						require.Zero(t, c.Stats().Work.DeadLetters)
						require.NoError(t, c.Close())
						require.LessOrEqual(t, committedOf(t, g, 0), partition.Offset(bad-1))
						trouble.end(t, disk, dead)
						require.Empty(t, buried(t, dead))
						c = join()
						require.NoError(t, consumer.Work(t.Context(), c, handler, config))
					} else {
						ended := make(chan error, 1)
						go func() { ended <- consumer.Work(t.Context(), c, handler, config) }()
						time.Sleep(10 * time.Minute)
						require.LessOrEqual(t, committedOf(t, g, 0), partition.Offset(bad-1))
						require.Greater(t, c.Stats().Work.ForwardErrors, int64(n/bad))
						trouble.end(t, disk, dead)
						require.NoError(t, <-ended)
						for o, times := range failed {
							require.Equal(t, 1, times, "offset %d: the handler is not called again", o)
						}
					}
					require.NoError(t, c.Close())
					require.Equal(t, partition.Offset(n), committedOf(t, g, 0))
					require.EqualValues(t, n/bad, c.Stats().Work.DeadLetters)
					require.ElementsMatch(t, []partition.Offset{6, 13, 20, 27, 34}, buried(t, dead))
					for o := range partition.Offset(n) {
						require.Equal(t, o%bad != bad-1, handled[o] > 0, "offset %d", o)
					}

					require.NoError(t, dead.Close()) // and they are on the disk
					dead, err = partition.Open("dead", partition.Config{FS: disk.Crash(1)})
					require.NoError(t, err)
					require.Len(t, buried(t, dead), n/bad)
					require.NoError(t, dead.Close())
				})
			})
		}
	}
}
