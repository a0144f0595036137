package control

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A store becomes the first node of a cluster: after a clean start it leads everything, each partition in an epoch above that of the store.
func TestStoreBecomesTheFirstNode(t *testing.T) {
	only := Node{ID: 1, DirectoryID: [16]byte{1}, MinFeature: MinLevel, MaxFeature: MaxLevel}
	topics := []BootstrapTopic{
		{ID: topicID("u"), Name: "u", Partitions: []BootstrapPartition{{0}}},
		{ID: topicID("t"), Name: "t", Config: TopicConfig{MinISR: 1, Unclean: Yes}, Partitions: []BootstrapPartition{{4}, {7}}},
	}
	m, err := Restore(Bootstrap(only, ClusterConfig{}, topics).Snapshot())
	require.NoError(t, err)
	checkInvariants(t, m)
	require.Equal(t, 3, m.Leaderless())
	r := m.Apply(1, Register{ID: 1, Incarnation: [16]byte{1}, DirectoryID: only.DirectoryID, MinFeature: MinLevel, MaxFeature: MaxLevel})
	require.Equal(t, OK, r.Code)
	r = m.Apply(2, Unfence{1, r.Epoch})
	require.Len(t, r.Changed, 3)
	for _, c := range r.Changed {
		require.False(t, c.Unclean)
		require.Equal(t, c.Before.LeaderEpoch+1, c.After.LeaderEpoch)
		require.Equal(t, NodeID(1), c.After.Leader)
	}
	require.Equal(t, 3, m.Leads(1))
	id, n, ok := m.TopicID("t")
	require.True(t, ok)
	require.EqualValues(t, 2, n)
	p, ok := m.Partition(id, 1)
	require.True(t, ok)
	require.EqualValues(t, 8, p.LeaderEpoch)
	require.True(t, m.Unclean(id))
	require.False(t, m.Unclean(topicID("u")))
	require.Equal(t, ClusterConfig{MinISR: 1}, m.Config())
}

// What a store lost before the cluster began is not taken for whole.
func TestStoreThatWasNotShutDownCleanlyLeadsAsLastKnown(t *testing.T) {
	m := Bootstrap(Node{ID: 1}, ClusterConfig{}, []BootstrapTopic{{ID: topicID("t"), Name: "t", Partitions: []BootstrapPartition{{0}}}})
	r := m.Apply(1, Register{ID: 1, Incarnation: [16]byte{1}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: NoEpoch})
	r = m.Apply(2, Unfence{1, r.Epoch})
	require.Len(t, r.Changed, 1)
	require.True(t, r.Changed[0].Unclean)
}

// What a query returned stays as it was.
func TestTopicsAreOfTheMoment(t *testing.T) {
	m := populated(t)
	before, ok := m.TopicByName("t")
	require.True(t, ok)
	same, ok := m.Topic(before.ID)
	require.True(t, ok)
	require.Equal(t, before, same)
	leader := before.Partitions()[1].Leader
	n, _ := m.Node(leader)
	m.Apply(m.Applied()+1, Fence{leader, n.Epoch})
	require.Equal(t, leader, before.Partitions()[1].Leader)
	after := m.Topics()[0]
	require.NotEqual(t, leader, after.Partitions()[1].Leader)
	_, ok = m.Topic(topicID("v"))
	require.False(t, ok)
	_, ok = m.TopicByName("v")
	require.False(t, ok)
	require.EqualValues(t, 1, m.MinISR(topicID("v"), 0))
	p, _ := m.Partition(before.ID, 1)
	require.Equal(t, []NodeID{2, 1, 3}, p.Original())
	require.Equal(t, []NodeID{4, 2, 1}, p.Target())
}

// A cluster can begin at an earlier level, and does what that level does; levels that this build does not know are not to be had.
func TestStateBeginsAtAnEarlierLevel(t *testing.T) {
	require.Equal(t, MaxLevel, New().Feature())
	require.Equal(t, MinLevel, NewAt(0).Feature())
	require.Equal(t, MaxLevel, NewAt(MaxLevel+1).Feature())
	m := NewAt(LevelBase)
	require.Equal(t, LevelBase, m.Feature())
	require.Equal(t, OK, m.Apply(1, Register{ID: 1, MinFeature: LevelBase, MaxFeature: LevelBase, PreviousEpoch: NoEpoch, Replaces: NoEpoch}).Code)
	require.Equal(t, InvalidUpdateVersion, m.Apply(2, SetFeature{LevelELR}).Code)
}

// At every level the store leads all that it has after a clean start, and an election after another one is told as unclean, where that is known.
func TestStoreBecomesTheFirstNodeAtAnEarlierLevel(t *testing.T) {
	for level := MinLevel; level <= MaxLevel; level++ {
		for previous, clean := range map[int64]bool{0: true, NoEpoch: false} {
			topics := []BootstrapTopic{{ID: topicID("t"), Name: "t", Partitions: []BootstrapPartition{{0}, {4}}}}
			m, err := Restore(BootstrapAt(level, Node{ID: 1, MinFeature: MinLevel, MaxFeature: MaxLevel}, ClusterConfig{}, topics).Snapshot())
			require.NoError(t, err)
			require.Equal(t, level, m.Feature())
			checkInvariants(t, m)
			r := m.Apply(1, Register{ID: 1, Incarnation: [16]byte{1}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: previous})
			require.Equal(t, OK, r.Code)
			r = m.Apply(2, Unfence{1, r.Epoch})
			checkInvariants(t, m)
			require.Equal(t, 2, m.Leads(1))
			for _, c := range r.Changed { // without ELR the last of an ISR stays in it, whatever it has lost
				require.Equal(t, !clean && level >= LevelELR, c.Unclean, "level %d, clean %v", level, clean)
			}
			raised := m.Apply(3, SetFeature{MaxLevel})
			require.Equal(t, OK, raised.Code)
			require.Equal(t, MaxLevel, m.Feature())
			checkInvariants(t, m)
		}
	}
}
