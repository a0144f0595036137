package kafka

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/partition"
)

func brokersIn(racks ...string) (out []*Broker) {
	for i, rack := range racks {
		out = append(out, &Broker{id: int32(i + 1), rack: &rack})
	}
	return out
}

// Each partition has the replicas asked for, on brokers that differ; brokers have as many leaders and replicas as others,
// give or take; racks are not repeated while there are others.
func TestReplicasAreSpreadEvenlyOverBrokersAndRacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perRack, racks := rapid.IntRange(1, 4).Draw(t, "brokers per rack"), rapid.IntRange(1, 4).Draw(t, "racks")
		var names []string
		for i := range perRack * racks {
			names = append(names, string(rune('a'+i%racks)))
		}
		brokers := brokersIn(names...)
		n, factor := rapid.IntRange(1, 40).Draw(t, "partitions"), rapid.IntRange(1, len(brokers)).Draw(t, "factor")
		lists := assignReplicas(brokers, n, factor, rapid.IntRange(0, 100).Draw(t, "first"), rapid.IntRange(0, 100).Draw(t, "shift"))
		require.Len(t, lists, n)
		leaders := map[int32]int{}
		for _, ids := range lists {
			require.Len(t, ids, factor)
			leaders[ids[0]]++
			seen := map[string]bool{}
			for _, id := range ids {
				seen[names[id-1]] = true
			}
			sorted := slices.Clone(ids)
			slices.Sort(sorted)
			require.Len(t, slices.Compact(sorted), factor)
			require.Len(t, seen, min(factor, racks))
		}
		for _, b := range brokers {
			require.InDelta(t, n/len(brokers), leaders[b.id], 1)
		}
	})
}

func TestReplicaListsAreReadAsTheyWereWritten(t *testing.T) {
	for _, lists := range [][][]int32{{{1}}, {{1, 2}, {2, 3}, {3, 1}}, {{0}, {2147483647, 5}}} {
		got, err := parseReplicas(formatReplicas(lists))
		require.NoError(t, err)
		require.Equal(t, lists, got)
	}
	for _, bad := range []string{"", "1;", "1,x", "99999999999"} {
		_, err := parseReplicas(bad)
		require.Error(t, err, "%q", bad)
	}
}

// sharedStore is why tests of layout are not for nodes.
const sharedStore = "of brokers that share a store; where replicas of nodes are is their controller's (internal/control, package replication)"

func (r *rig) at(topic *partition.Topic, i int32) placed {
	r.t.Helper()
	p, ok := r.server.layout.at(topic, i)
	require.True(r.t, ok)
	return p
}

// A broker that stops leaves the in-sync replicas and its partitions; those that nobody else has wait for it. It comes back
// in sync, and leads again what it alone has.
func TestLeadersMoveWhenABrokerStopsAndReplicasComeBack(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 3, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, r.server.layout.assign(t.Context(), topic, [][]int32{{1, 2}, {2, 3}, {2}}))
	require.Equal(t, []int32{1, 2, 2}, []int32{r.at(topic, 0).leader, r.at(topic, 1).leader, r.at(topic, 2).leader})
	before := []partition.LeaderEpoch{topic.LeaderEpoch(0), topic.LeaderEpoch(1), topic.LeaderEpoch(2)}

	b := r.server.brokerByID(2)
	require.NoError(t, b.Stop())
	require.NoError(t, b.Stop(), "twice is once")
	require.Equal(t, placed{leader: 1, replicas: []int32{1, 2}, isr: []int32{1}}, r.at(topic, 0))
	require.Equal(t, placed{leader: 3, replicas: []int32{2, 3}, isr: []int32{3}}, r.at(topic, 1))
	require.Equal(t, placed{leader: -1, replicas: []int32{2}, isr: []int32{2}}, r.at(topic, 2))
	require.Equal(t, []partition.LeaderEpoch{before[0], before[1] + 1, before[2] + 1}, []partition.LeaderEpoch{topic.LeaderEpoch(0), topic.LeaderEpoch(1), topic.LeaderEpoch(2)})

	require.NoError(t, b.Start())
	require.NoError(t, b.Start(), "twice is once")
	require.Equal(t, placed{leader: 1, replicas: []int32{1, 2}, isr: []int32{1, 2}}, r.at(topic, 0))
	require.Equal(t, placed{leader: 3, replicas: []int32{2, 3}, isr: []int32{3, 2}}, r.at(topic, 1))
	require.Equal(t, placed{leader: 2, replicas: []int32{2}, isr: []int32{2}}, r.at(topic, 2))
}

// A broker that is removed for good is replaced: the records are in the store.
func TestRemovedBrokersAreReplaced(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 2})
	require.NoError(t, r.server.layout.assign(t.Context(), topic, [][]int32{{1, 2}, {1}}))
	require.NoError(t, r.server.RemoveBroker(1))
	require.ErrorIs(t, r.server.RemoveBroker(1), ErrUnknownBroker)
	for i := range int32(2) {
		require.Equal(t, placed{leader: 2, replicas: []int32{2}, isr: []int32{2}}, r.at(topic, i))
	}
}

// Replica lists are the catalogue's: another server over the store has the same; brokers that it does not have are replaced.
func TestReplicaListsOutliveTheServer(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 3, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 3})
	lists := [][]int32{{3, 1}, {2, 3}, {3}}
	require.NoError(t, r.server.layout.assign(t.Context(), topic, lists))
	require.NoError(t, r.server.Close())

	for _, ids := range [][]int32{{1, 2, 3}, {1, 2}} {
		s, err := New(r.store, Config{})
		require.NoError(t, err)
		for _, id := range ids {
			_, err := s.AddBroker(BrokerConfig{ID: id, Listeners: []ListenerConfig{{Listener: listen(t)}}})
			require.NoError(t, err)
		}
		for i, want := range lists {
			got, ok := s.layout.at(topic, int32(i))
			require.True(t, ok)
			want = slices.DeleteFunc(slices.Clone(want), func(id int32) bool { return !slices.Contains(ids, id) })
			if len(want) > 0 {
				require.Equal(t, placed{leader: want[0], replicas: want, isr: want}, got)
			} else {
				require.Contains(t, ids, got.leader)
			}
		}
		require.NoError(t, s.Close())
	}
	require.NoError(t, r.store.DeleteTopic(t.Context(), "orders"))
	require.NoError(t, r.server.layout.forget(t.Context(), topic.ID()))
	require.Empty(t, r.store.Settings(placementPrefix))
}

// Topics that nobody has assigned are spread over the brokers, and always in the same way.
func TestTopicsWithoutReplicaListsAreSpread(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 3, Config{Properties: map[string]string{"default.replication.factor": "2"}})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 6})
	leaders := map[int32]int{}
	var first []placed
	for i := range int32(6) {
		p := r.at(topic, i)
		require.Len(t, p.replicas, 2)
		leaders[p.leader]++
		first = append(first, p)
	}
	require.Equal(t, map[int32]int{1: 2, 2: 2, 3: 2}, leaders)

	other, err := New(r.store, Config{Properties: map[string]string{"default.replication.factor": "2"}})
	require.NoError(t, err)
	defer other.Close()
	for range 3 {
		_, err := other.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Listener: listen(t)}}})
		require.NoError(t, err)
	}
	for i := range int32(6) {
		p, _ := other.layout.at(topic, i)
		require.Equal(t, first[i], p)
	}

	// More partitions follow the same pattern.
	require.NoError(t, r.store.CreatePartitions(t.Context(), "orders", 9))
	for i := range int32(9) {
		p := r.at(topic, i)
		if leaders[p.leader]++; i < 6 {
			require.Equal(t, first[i], p)
		}
	}
}

func TestMovesOfLeadersAndISRAreChecked(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	require.NoError(t, r.server.layout.assign(t.Context(), topic, [][]int32{{1}}))
	require.ErrorIs(t, r.server.MoveLeader(t.Context(), tpOf("orders", 0), 7), ErrUnknownBroker)
	require.ErrorIs(t, r.server.MoveLeader(t.Context(), tpOf("orders", 1), 1), partition.ErrUnknownTopicOrPartition)
	require.ErrorIs(t, r.server.SetISR(t.Context(), tpOf("nowhere", 0), 1), partition.ErrUnknownTopicOrPartition)
	require.ErrorIs(t, r.server.SetISR(t.Context(), tpOf("orders", 0), 2), partition.ErrInvalidConfig)
	epoch := topic.LeaderEpoch(0)
	require.NoError(t, r.server.MoveLeader(t.Context(), tpOf("orders", 0), 1))
	require.Equal(t, epoch, topic.LeaderEpoch(0), "it was there already")
	require.NoError(t, r.server.MoveLeader(t.Context(), tpOf("orders", 0), 2))
	require.Equal(t, epoch+1, topic.LeaderEpoch(0))
	leader, err := r.server.Leader(tpOf("orders", 0))
	require.NoError(t, err)
	require.Equal(t, int32(2), leader)
	require.NoError(t, r.server.brokerByID(1).Stop())
	require.ErrorIs(t, r.server.MoveLeader(t.Context(), tpOf("orders", 0), 1), ErrUnknownBroker, "it is stopped")
	require.NoError(t, r.server.SetISR(t.Context(), tpOf("orders", 0)))
	require.Equal(t, int32(-1), r.at(topic, 0).leader)
}

// Clients that ask before all brokers of a store that was opened again have been added change nothing: who comes later has
// the replicas of the lists, and leads what it is the first for.
func TestBrokersThatComeLaterHaveTheirReplicasBack(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 3, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 3})
	lists := [][]int32{{3, 1}, {2, 3}, {1, 2, 3}}
	require.NoError(t, r.server.layout.assign(t.Context(), topic, lists))
	require.NoError(t, r.server.Close())

	s, err := New(r.store, Config{})
	require.NoError(t, err)
	defer s.Close()
	for id := range int32(3) {
		_, err := s.AddBroker(BrokerConfig{ID: id + 1, Listeners: []ListenerConfig{{Listener: listen(t)}}})
		require.NoError(t, err)
		for i := range lists {
			at, _ := s.layout.at(topic, int32(i))
			require.Contains(t, at.replicas, at.leader)
		}
	}
	for i, want := range lists {
		got, _ := s.layout.at(topic, int32(i))
		require.ElementsMatch(t, want, got.isr)
		got.isr = nil
		require.Equal(t, placed{leader: want[0], replicas: want}, got)
	}
	// And so has one that was removed and is added again; replicas that were made by moving a leader stay.
	require.NoError(t, s.MoveLeader(t.Context(), tpOf("orders", 0), 2))
	require.NoError(t, s.RemoveBroker(3))
	_, err = s.AddBroker(BrokerConfig{ID: 3, Listeners: []ListenerConfig{{Listener: listen(t)}}})
	require.NoError(t, err)
	for i, want := range [][]int32{{3, 1, 2}, {2, 3}, {1, 2, 3}} {
		got, _ := s.layout.at(topic, int32(i))
		require.Equal(t, want, got.replicas)
	}
}

// A topic that is deleted past the listener while leaders move keeps no other topic from its new leader.
func TestADeletedTopicKeepsNoOtherFromItsNewLeader(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 2, Config{})
	var topics []*partition.Topic
	for _, name := range []string{"a", "b", "c"} {
		topic := r.topic(name, partition.TopicConfig{})
		require.NoError(t, r.server.layout.assign(t.Context(), topic, [][]int32{{1, 2}}))
		topics = append(topics, topic)
	}
	deleted := false
	require.NoError(t, r.server.layout.update(t.Context(), func(tp partition.TopicPartition, p placed) placed {
		if !deleted {
			deleted = true // after the topics have been looked for, and before their epochs are raised
			require.NoError(t, r.store.DeleteTopic(t.Context(), "b"))
		}
		p.leader = 2
		return p
	}))
	require.Equal(t, int32(2), r.at(topics[0], 0).leader)
	require.Equal(t, int32(2), r.at(topics[2], 0).leader)
}

// While a leader moves, the old one lets no fetch wait: nothing would wake it.
func TestNoFetchWaitsWhileLeadersMove(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	r.server.layout.moves.Add(1)
	req := r.fetchOf(0, tpOf("orders", 0))
	req.MaxWaitMillis = 60_000 // by a clock that stands
	_, ps := r.fetched(r.session(1), 12, req)
	require.Equal(t, []int16{codeNone}, []int16{ps[0].ErrorCode})
	require.Zero(t, r.store.Stats().ParkedFetches)
}

// Reassignments of different partitions of a topic at the same time leave each with what was asked for.
func TestReassignmentsAtTheSameTimeAreAllKept(t *testing.T) {
	onOneStore(t, sharedStore)
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 16})
	lists := make([][]int32, 16)
	for i := range lists {
		lists[i] = []int32{1}
	}
	require.NoError(t, r.server.layout.assign(t.Context(), topic, lists))
	var wg sync.WaitGroup
	for i := range int32(16) {
		wg.Go(func() {
			s := r.session(1)
			s.call.ctx = t.Context()
			if err := s.reassign(&s.call, topic, i, []int32{2}, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range int32(16) {
		require.Equal(t, []int32{2}, r.at(topic, i).replicas)
		require.Equal(t, []int32{2}, r.server.layout.stored(topic.ID())[i])
	}
}
