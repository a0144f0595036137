package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// A partition that a member keeps goes on being read while the rebalance waits for another member, and keeps its pause, its
// position and what was fetched of it.
func TestKeptPartitionsAreReadThroughARebalance(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 100)
	write(t, store, "t", 1, 100, 100)
	backend := &spy{Store: store}
	var mu sync.Mutex
	var fetches []partition.FetchPosition
	backend.fetched = func(r partition.FetchRequest, _ []partition.FetchResult) {
		mu.Lock()
		defer mu.Unlock()
		fetches = append(fetches, r.Partitions...)
	}
	g := backend.group(t, group.Config{})
	var revoked []partition.TopicPartition
	a := join(t, g, consumer.Config{Listener: consumer.Listener{
		Revoked: func(tps []partition.TopicPartition) { revoked = append(revoked, tps...) },
	}, MaxPollRecords: 10})
	require.Len(t, poll(t, a), 10)

	// An eager member of another process is in the way of the next generation: it joins, and never again.
	coordinator, err := g.Coordinator(t.Context())
	require.NoError(t, err)
	slow := &manual{Coordinator: coordinator, g: g, lastOf: group.NoGeneration}
	slow.enter(t)
	until(t, a.Wanted)
	poll(t, a) // lets go of what it has to give up
	until(t, func() bool { return len(a.Assignment()) == 1 })
	slow.enter(t)
	kept := a.Assignment()[0]
	require.Len(t, revoked, 1)
	require.NotEqual(t, kept, revoked[0])

	third := make(chan *consumer.Consumer, 1)
	go func() {
		c, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}})
		if err != nil {
			t.Error(err)
		}
		third <- c
	}()
	described(t, g, group.PreparingRebalance, 3) // and there it stays, for slow does not come
	mu.Lock()
	fetches = nil
	mu.Unlock()
	for range 5 {
		records, err := a.Poll(t.Context())
		require.NoError(t, err)
		for _, r := range records {
			require.Equal(t, kept, at(r.Topic, r.Partition))
		}
	}
	require.Empty(t, third)
	mu.Lock()
	require.Empty(t, fetches, "what was fetched of it is not fetched again")
	mu.Unlock()
	require.NoError(t, a.Commit(t.Context()), "the generation goes on until the next is there")
	require.NoError(t, a.Pause(kept))
	require.NoError(t, coordinator.Leave(t.Context(), "g", group.LeavingMember{MemberID: slow.joined.MemberID}))
	c := <-third
	until(t, func() bool { return a.Stats().Rebalances > 2 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if slices.Contains(a.Assignment(), kept) {
		_, err = a.Poll(ctx)
		require.ErrorIs(t, err, context.Canceled, "it is still paused")
	}
	require.NoError(t, c.Close())
}

// manual is a member without anything that takes part in rebalances.
type manual struct {
	group.Coordinator
	g      *group.ConsumerGroup
	joined group.JoinResult
	has    []partition.TopicPartition
	lastOf group.Generation
}

// enter takes part in one generation.
func (m *manual) enter(t *testing.T) {
	t.Helper()
	for {
		joined, err := m.Join(t.Context(), group.JoinRequest{
			Group: m.g.ID(), MemberID: m.joined.MemberID, Local: true, RebalanceTimeout: time.Hour, ProtocolType: group.ProtocolTypeConsumer,
			Protocols: m.g.Protocols(group.Subscription{Topics: []string{"t"}, Owned: m.has, Generation: m.lastOf}),
		})
		require.NoError(t, err)
		m.joined = joined
		request := group.SyncRequest{Membership: joined.Membership}
		if joined.IsLeader() {
			request.Assignments, _, err = m.g.Assign(t.Context(), joined)
			require.NoError(t, err)
		}
		synced, err := m.Sync(t.Context(), request)
		if err != nil {
			continue
		}
		assignment, err := group.DecodeAssignment(synced.Assignment)
		require.NoError(t, err)
		m.has, m.lastOf = assignment.Partitions, joined.Generation
		return
	}
}

// Kafka's rules for the listener (kafka-spec 03 §1.3), as one history of two members.
func TestListenerIsToldAsKafkaTells(t *testing.T) {
	for _, v := range []struct {
		assignors []group.Assignor
		want      []string
	}{
		{cooperative, []string{
			"a assigned 4", // Join
			"a revoked 2",  // for b, in b's first generation; b has nothing yet
			"a assigned 0", // after every completed rebalance
			"a assigned 0",
			"b assigned 2",
			"b revoked 2", // Close
			"a assigned 2",
			"a revoked 4",
		}},
		{eager, []string{
			"a assigned 4",
			"a revoked 4",
			"a assigned 2", "b assigned 2",
			"b revoked 2",
			"a revoked 2", "a assigned 4",
			"a revoked 4",
		}},
	} {
		t.Run(v.assignors[0].Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := partition.OpenMemory(partition.Config{})
				require.NoError(t, err)
				_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 4})
				require.NoError(t, err)
				g, err := group.Open(store, "g", group.Config{Assignors: v.assignors})
				require.NoError(t, err)
				var mu sync.Mutex
				var told []string
				member := func(name string) *consumer.Consumer {
					tell := func(what string) func([]partition.TopicPartition) {
						return func(tps []partition.TopicPartition) {
							mu.Lock()
							defer mu.Unlock()
							if name == "b" && len(tps) == 0 {
								return // if it comes to that before a has given up what it has to
							}
							told = append(told, fmt.Sprint(name, " ", what, " ", len(tps)))
						}
					}
					c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Listener: consumer.Listener{
						Assigned: tell("assigned"), Revoked: tell("revoked"), Lost: tell("lost"),
					}})
					require.NoError(t, err)
					synctest.Wait()
					return c
				}
				a := member("a")
				b := member("b")
				require.NoError(t, b.Close())
				synctest.Wait()
				require.NoError(t, a.Close())
				mu.Lock()
				defer mu.Unlock()
				require.ElementsMatch(t, v.want, told)
				require.NoError(t, store.Close())
			})
		})
	}
}

// Inside Revoked the partitions are still the member's: a Commit counts, and whoever has them next begins there.
func TestCommitInsideRevokedCounts(t *testing.T) {
	for _, assignors := range [][]group.Assignor{eager, cooperative} {
		t.Run(assignors[0].Name(), func(t *testing.T) {
			store := newStore(t, "t", 2)
			write(t, store, "t", 0, 0, 10)
			write(t, store, "t", 1, 100, 10)
			g := openGroup(t, store, group.Config{Assignors: assignors})
			var a *consumer.Consumer
			config := consumer.Config{Topics: []string{"t"}, Commit: consumer.CommitManual, MaxPollRecords: 5, Listener: consumer.Listener{
				Revoked: func(tps []partition.TopicPartition) {
					for _, tp := range tps {
						require.NoError(t, a.CommitOffsets(context.Background(), map[partition.TopicPartition]group.CommittedOffset{
							tp: {Offset: 7, LeaderEpoch: partition.LeaderEpochUnknown, Metadata: "by hand"},
						}))
					}
				},
			}}
			var err error
			a, err = consumer.Join(t.Context(), g, config)
			require.NoError(t, err)
			b := join(t, g, consumer.Config{})
			until(t, func() bool { return len(b.Assignment()) == 1 })
			got := b.Assignment()[0]
			position, _ := b.Position(got)
			require.EqualValues(t, 7, position)
			offsets, err := b.Committed(t.Context(), got)
			require.NoError(t, err)
			require.Equal(t, "by hand", offsets[got].Metadata)
			require.NoError(t, a.Close())
		})
	}
}

// A member that is removed without being asked has lost its partitions: it is told Lost, not Revoked, and comes back.
func TestMemberThatWasRemovedIsToldLostAndComesBack(t *testing.T) {
	for _, v := range []struct {
		assignors []group.Assignor
		lost      string // what is told, without a Lost what Revoked is
	}{{eager, "lost 2"}, {cooperative, "lost 2"}, {eager, "revoked 2"}, {cooperative, "revoked 2"}} {
		t.Run(v.assignors[0].Name()+" "+v.lost, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, err := partition.OpenMemory(partition.Config{})
				require.NoError(t, err)
				_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
				require.NoError(t, err)
				g, err := group.Open(store, "g", group.Config{Assignors: v.assignors})
				require.NoError(t, err)
				var mu sync.Mutex
				var told []string
				tell := func(what string) func([]partition.TopicPartition) {
					return func(tps []partition.TopicPartition) {
						mu.Lock()
						defer mu.Unlock()
						told = append(told, fmt.Sprint(what, " ", len(tps)))
					}
				}
				listener := consumer.Listener{Assigned: tell("assigned"), Revoked: tell("revoked"), Lost: tell("lost")}
				if v.lost == "revoked 2" {
					listener.Lost = nil
				}
				c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Listener: listener})
				require.NoError(t, err)
				d, err := g.Describe(t.Context())
				require.NoError(t, err)
				coordinator, err := g.Coordinator(t.Context())
				require.NoError(t, err)
				require.NoError(t, coordinator.Leave(t.Context(), "g", group.LeavingMember{MemberID: d.Members[0].MemberID}))
				synctest.Wait()
				mu.Lock()
				require.Equal(t, []string{"assigned 2", v.lost, "assigned 2"}, told)
				mu.Unlock()
				require.NoError(t, c.Close())
				require.NoError(t, store.Close())
			})
		})
	}
}

// A member that must give up a partition whose record it holds too long is expelled, and the others go on.
func TestMemberThatHoldsARecordOfARevokedPartitionIsExpelled(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 10)
	write(t, store, "t", 1, 0, 10)
	time := clock.NewManual(timeZero)
	g := openGroup(t, store, group.Config{})
	lost := 0
	a := join(t, g, consumer.Config{Clock: time, Listener: consumer.Listener{
		Lost: func(tps []partition.TopicPartition) { lost += len(tps) },
	}})
	var last error
	for _, err := range a.Records(t.Context()) {
		if last = err; err != nil {
			break
		}
		b := join(t, g, consumer.Config{})
		require.Empty(t, b.Assignment(), "what the other holds is not given away")
		passing(t, time, 5*60e9/16, func() bool { return len(b.Assignment()) == 2 })
	}
	require.ErrorIs(t, last, consumer.ErrExpelled)
	require.Equal(t, 2, lost)
}

// A bounded member that has nothing yet, because another still has to give it up, is not at its end.
func TestBoundedMemberWaitsForPartitionsOnTheirWay(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 10)
	write(t, store, "t", 1, 100, 10)
	g := openGroup(t, store, group.Config{})
	a := join(t, g, consumer.Config{MaxPollRecords: 5})
	got := poll(t, a) // holds the partition that it may have to give up
	b := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
	read := make(chan []string, 1)
	go func() {
		var values []string
		for r, err := range b.Records(context.Background()) {
			if err != nil {
				t.Error(err)
				break
			}
			values = append(values, string(r.Value))
		}
		read <- values
	}()
	until(t, a.Wanted)
	require.Empty(t, read)
	for len(read) == 0 || len(got) < 10 {
		got = append(got, poll(t, a)...)
		if len(got) >= 10 {
			break
		}
	}
	require.NoError(t, a.Close())
	fromB := <-read
	require.GreaterOrEqual(t, len(fromB), 10)
	require.NoError(t, b.Close())
}

// Close while an entry into the next generation waits for another member commits, and takes nothing away from anybody.
func TestCloseWhileEnteringCommitsWhatIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := partition.OpenMemory(partition.Config{})
		require.NoError(t, err)
		_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
		require.NoError(t, err)
		write(t, store, "t", 0, 0, 10)
		write(t, store, "t", 1, 0, 10)
		g, err := group.Open(store, "g", group.Config{})
		require.NoError(t, err)
		a, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, CommitInterval: consumer.NoInterval, MaxPollRecords: 4})
		require.NoError(t, err)
		poll(t, a)
		poll(t, a)
		coordinator, err := g.Coordinator(t.Context())
		require.NoError(t, err)
		stuck, err := group.Open(store, "g", group.Config{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { // joins, so that all have to join; and never syncs, so that nobody gets an assignment
			_, _ = coordinator.Join(ctx, group.JoinRequest{
				Group: "g", Local: true, RebalanceTimeout: time.Hour, ProtocolType: group.ProtocolTypeConsumer, RequireKnownMemberID: true,
				SessionTimeout: time.Minute,
				Protocols:      stuck.Protocols(group.Subscription{Topics: []string{"t"}, Generation: group.NoGeneration}),
			})
		}()
		synctest.Wait()
		b := make(chan error, 1)
		go func() {
			_, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}})
			b <- err
		}()
		synctest.Wait() // the rebalance waits for the pending member
		d, err := g.Describe(t.Context())
		require.NoError(t, err)
		require.Equal(t, group.PreparingRebalance, d.State)
		require.NoError(t, a.Close())
		require.EqualValues(t, 4, committed(t, g)[at("t", 0)]+committed(t, g)[at("t", 1)])
		cancel()
		<-b
		require.NoError(t, store.Close())
	})
}

// A consumer with everything paused learns of the end of its store, as one that reads does.
func TestConsumerWithEverythingPausedLearnsOfTheEndOfItsStore(t *testing.T) {
	for _, joined := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store, c := open(t, joined, consumer.Config{})
			require.NoError(t, c.Pause(c.Assignment()...))
			last := make(chan error, 1)
			go func() {
				_, err := c.Poll(context.Background())
				last <- err
			}()
			synctest.Wait()
			write(t, store, "t", 0, 0, 1) // wakes nobody
			synctest.Wait()
			require.Empty(t, last)
			require.NoError(t, store.Close())
			require.ErrorIs(t, <-last, consumer.ErrClosed)
			_ = c.Close()
		})
	}
}
