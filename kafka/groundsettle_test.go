package kafka

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// settle waits until all nodes know the same partitions, whose replicas are in sync and whose leaders lead.
func (g *ground) settle() {
	if g.local == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	ctx := eventually(g.t)
	for {
		n := g.local.Node(1)
		version := n.MetadataVersion()
		if version == g.settled {
			return
		}
		var all []replication.PartitionInfo
		g.await(n, func() bool {
			var err error
			all, err = n.PartitionsOf(ctx)
			require.NoError(g.t, err)
			running := map[int32]bool{}
			for _, b := range g.server.alive() {
				running[b.id] = true
			}
			return !slices.ContainsFunc(all, func(p replication.PartitionInfo) bool {
				canLead := slices.ContainsFunc(p.ISR, func(id int32) bool { return running[id] })
				return len(p.Adding)+len(p.Removing) > 0 || p.Leader < 0 && canLead ||
					slices.ContainsFunc(p.Replicas, func(id int32) bool { return canLead && running[id] && !slices.Contains(p.ISR, id) })
			})
		})
		for _, p := range all {
			if p.Leader < 0 {
				continue
			}
			topic, err := g.local.Node(p.Leader).Store().TopicByID(p.TopicID)
			for err != nil || topic.LeaderEpoch(p.Partition) != p.LeaderEpoch { // the leader has yet to hear of it
				require.NoError(g.t, ctx.Err())
				<-time.After(100 * time.Microsecond)
				topic, err = g.local.Node(p.Leader).Store().TopicByID(p.TopicID)
			}
			_, err = n.ListOffsets(ctx, p.TopicPartition, partition.TimestampLatest)
			require.NoError(g.t, err)
		}
		g.settled = version
	}
}

// replicated waits until all followers have what their leaders have, and the leaders know it: with acks 1 that comes after the answer.
func (g *ground) replicated() {
	ctx := eventually(g.t)
	all, err := g.local.Node(1).PartitionsOf(ctx)
	require.NoError(g.t, err)
	for _, p := range all {
		leader := g.local.Node(p.Leader)
		if leader == nil || len(p.ISR) < int(p.MinISR) { // nothing is visible before there are enough
			continue
		}
		r, err := leader.Store().Replica(p.TopicPartition, p.TopicID)
		require.NoError(g.t, err)
		for r.HighWatermark() < r.End() {
			require.NoError(g.t, ctx.Err())
			<-time.After(100 * time.Microsecond)
		}
	}
}

// settleAfter waits for what a request has begun, for whoever has the server only: tests go on where one store would be then.
func settleAfter(s *Server, req kmsg.Request) {
	g, ok := grounds.Load(s)
	if !ok || g.(*ground).local == nil {
		return
	}
	g.(*ground).settle()
	switch req.Key() {
	case keyProduce, 26, 27: // EndTxn, WriteTxnMarkers
		g.(*ground).replicated()
	}
}
