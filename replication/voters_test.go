package replication

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func TestVotersComeAndGoByTheOperatorsWord(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		c.Observer = c.NodeID != 1
	}})
	ctx := patient(t)
	n := l.Node(3)
	voters := func() (ids []int32) {
		q, err := n.DescribeQuorum(ctx)
		require.NoError(t, err)
		require.Len(t, append(q.Voters, q.Observers...), 3, "who does not vote observes")
		for _, m := range q.Voters {
			ids = append(ids, m.NodeID)
		}
		return ids
	}
	require.Equal(t, []int32{1}, voters(), "nobody votes by itself")
	require.ErrorIs(t, n.AddVoter(ctx, 1), ErrDuplicateVoter)
	require.ErrorIs(t, n.AddVoter(ctx, 9), ErrUnknownNode)
	require.ErrorIs(t, n.RemoveVoter(ctx, 2), ErrVoterNotFound)
	require.ErrorIs(t, n.RemoveVoter(ctx, 1), ErrVoterChange, "the last one")
	require.NoError(t, n.AddVoter(ctx, 2))
	require.NoError(t, n.AddVoter(ctx, 3))
	require.Equal(t, []int32{1, 2, 3}, voters())
	votes, err := n.Voting(ctx)
	require.NoError(t, err)
	require.True(t, votes)

	// The leader goes: it hands the quorum over, and stays a node with all that it has.
	require.NoError(t, n.RemoveVoter(ctx, 1))
	require.Equal(t, []int32{2, 3}, voters())
	topic, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	require.Equal(t, int32(3), topic.Partitions())
	whole(ctx, t, l.Node(1), "orders")

	// What was said is so after a restart, for nodes whose Config says Observer.
	require.NoError(t, l.Stop(2))
	back, err := l.Start(2)
	require.NoError(t, err)
	require.NoError(t, back.Ready(ctx))
	until(ctx, t, n, "the quorum has a leader", func() bool { leader, _ := n.control.leader(); return leader != -1 })
	require.Equal(t, []int32{2, 3}, voters())
}
