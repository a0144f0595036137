package consumer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// staticRig is a store with a topic of four partitions.
func staticRig(t *testing.T) *partition.Store {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 4})
	require.NoError(t, err)
	return store
}

func staticMember(t *testing.T, store *partition.Store, instance string, assignors []group.Assignor) *consumer.Consumer {
	g, err := group.Open(store, "g", group.Config{InstanceID: instance, Assignors: assignors, SessionTimeout: 10 * time.Second})
	require.NoError(t, err)
	c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
	require.NoError(t, err)
	synctest.Wait()
	return c
}

// A static member that comes back within its session has its partitions again, and nobody rebalances (KIP-345).
func TestStaticMemberThatComesBackHasItsPartitionsWithoutARebalance(t *testing.T) {
	for _, assignors := range [][]group.Assignor{eager, cooperative} {
		for _, leads := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				store := staticRig(t)
				a := staticMember(t, store, "a", assignors)
				b := staticMember(t, store, "b", assignors)
				goes, stays, name := b, a, "b"
				if leads {
					goes, stays, name = a, b, "a"
				}
				had, rebalances := goes.Assignment(), stays.Stats().Rebalances
				require.Len(t, had, 2)
				require.NoError(t, goes.Close())
				time.Sleep(9 * time.Second)
				again := staticMember(t, store, name, assignors)
				require.ElementsMatch(t, had, again.Assignment())
				require.Equal(t, rebalances, stays.Stats().Rebalances)
				require.Len(t, stays.Assignment(), 2)

				// A leader that has come back still watches the topics.
				require.NoError(t, store.CreatePartitions(t.Context(), "t", 6))
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Len(t, append(stays.Assignment(), again.Assignment()...), 6)

				require.NoError(t, again.Close())
				time.Sleep(11 * time.Second)
				synctest.Wait()
				require.Len(t, stays.Assignment(), 6, "it has not come back in time")
				require.NoError(t, stays.Close())
				require.NoError(t, store.Close())
			})
		}
	}
}

// Partitions that come while a static leader is away are assigned when it is back.
func TestStaticLeaderThatComesBackSeesWhatHasComeMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := staticRig(t)
		a := staticMember(t, store, "a", cooperative)
		b := staticMember(t, store, "b", cooperative)
		require.NoError(t, a.Close())
		require.NoError(t, store.CreatePartitions(t.Context(), "t", 6))
		a = staticMember(t, store, "a", cooperative)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, append(a.Assignment(), b.Assignment()...), 6)
		require.NoError(t, a.Close())
		require.NoError(t, b.Close())
		require.NoError(t, store.Close())
	})
}

// Of two that have the same name the younger is the member; the older is told that it has lost everything.
func TestSecondMemberOfTheSameNameFencesTheFirst(t *testing.T) {
	for _, assignors := range [][]group.Assignor{eager, cooperative} {
		synctest.Test(t, func(t *testing.T) {
			store := staticRig(t)
			g, err := group.Open(store, "g", group.Config{InstanceID: "a", Assignors: assignors})
			require.NoError(t, err)
			lost := 0
			first, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Listener: consumer.Listener{
				Lost: func(tps []partition.TopicPartition) { lost += len(tps) },
			}})
			require.NoError(t, err)
			last := make(chan error, 1)
			go func() {
				_, err := first.Poll(context.Background())
				last <- err
			}()
			synctest.Wait()
			second, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
			require.NoError(t, err)
			synctest.Wait()
			require.ErrorIs(t, <-last, group.ErrFencedInstanceID)
			require.Equal(t, 4, lost)
			require.Len(t, second.Assignment(), 4)
			require.NoError(t, first.Close())
			require.Len(t, second.Assignment(), 4)
			require.NoError(t, second.Close())
			require.NoError(t, store.Close())
		})
	}
}
