package replication

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// TestStatsSayWhatEachNodeIsAndHowFarItsFollowersAre: the figures of three nodes agree with each other and with the metadata, and tell of a node that is gone.
func TestStatsSayWhatEachNodeIsAndHowFarItsFollowersAre(t *testing.T) {
	l := local(t, LocalConfig{})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}, {2, 3, 1}, {3, 1, 2}}})
	require.NoError(t, err)
	for i := range 9 {
		send(ctx, t, l.Node(1), partition.TopicPartition{Topic: orders.Topic, Partition: int32(i % 3)}, fmt.Sprint(i))
	}
	eventually(ctx, t, "all are in sync, and all nodes say so", func() bool {
		leading := 0
		for _, n := range l.Nodes() {
			s := n.Stats()
			leading += s.Replicas.Leading
			if s.ActiveBrokerCount != 3 || s.FencedBrokerCount != 0 || s.OfflinePartitionsCount != 0 || s.Replicas.UnderReplicated != 0 || s.CurrentLeader < 1 || s.Fenced || s.Isolated {
				return false
			}
			require.Greater(t, s.HighWatermark, s.LastAppliedOffset, "what is applied is committed")
			if len(s.Partitions) != 3 || s.Replicas.Leading+s.Replicas.Following != 3 {
				return false
			}
			for _, p := range s.Partitions {
				if p.LogEnd != 3 || p.HighWatermark != 3 || len(p.ISR) != 3 || p.Leader < 1 || (p.Role == partition.RoleLeader) != (p.Leader == s.NodeID) {
					return false
				}
				for _, lag := range p.Lags {
					if lag.Records != 0 || !lag.InSync {
						return false
					}
				}
				if p.Role == partition.RoleLeader && len(p.Lags) != 2 {
					return false
				}
			}
		}
		return leading == 3
	})
	s := l.Node(2).Stats()
	require.EqualValues(t, 2, s.NodeID)
	require.Equal(t, 1, s.GlobalTopicCount)
	require.Equal(t, 3, s.GlobalPartitionCount)
	require.Positive(t, s.CurrentEpoch)
	require.Positive(t, s.LastAppliedOffset)
	q, err := l.Node(2).DescribeQuorum(ctx)
	require.NoError(t, err)
	eventually(ctx, t, "each node hears how far the quorum is", func() bool {
		return !slices.ContainsFunc(l.Nodes(), func(n *Node) bool { return n.Stats().HighWatermark < q.HighWatermark })
	})
	require.Positive(t, s.BrokerEpoch)
	require.Positive(t, s.Feature)
	require.Len(t, s.Peers, 2)
	require.Equal(t, []int32{1, 3}, []int32{s.Peers[0].NodeID, s.Peers[1].NodeID})
	require.Positive(t, s.Peers[0].BytesOut)
	require.Positive(t, s.Replicas.BytesIn+s.Replicas.BytesOut)

	require.NoError(t, l.Kill(3))
	eventually(ctx, t, "a node that is gone is counted, and its replicas", func() bool {
		one, two := l.Node(1).Stats(), l.Node(2).Stats()
		return one.FencedBrokerCount == 1 && one.ActiveBrokerCount == 2 && one.Replicas.UnderReplicated+two.Replicas.UnderReplicated == 3 &&
			one.AtMinIsrPartitionCount+two.AtMinIsrPartitionCount == 3 && one.PreferredReplicaImbalanceCount >= 1 && one.OfflinePartitionsCount == 0
	})
}
