package replication

import (
	"cmp"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/partition"
)

// Stats is what an operator wants to know of a node, at one moment. Counters count since Start. Where Apache Kafka has a metric of the same meaning, the name is
// that of its MBean's attribute or object, which the comment has.
type Stats struct {
	NodeID      int32
	BrokerEpoch int64 // of the registration that holds; -1: none yet
	// Fenced: the node is registered and fenced, or not registered; Isolated: it fences itself, as it has not reached the controller for its session.
	Fenced, Isolated bool
	Feature          int16 // the cluster's feature level

	// The controller (kafka.server:type=raft-metrics, kafka.controller:type=KafkaController), as this node knows it.
	CurrentLeader     int32  // current-leader: the active controller, -1 if none is known
	CurrentEpoch      uint64 // current-epoch: raft's term
	HighWatermark     uint64 // high-watermark: index behind the last entry that this node knows to be committed; it has applied, or is about to apply, those before
	LastAppliedOffset uint64 // last-applied-record-offset: index of the last entry that this node has applied, which is committed

	// The cluster as this node knows it (kafka.controller:type=KafkaController).
	ActiveBrokerCount              int
	FencedBrokerCount              int
	GlobalTopicCount               int
	GlobalPartitionCount           int
	OfflinePartitionsCount         int // without a leader
	PreferredReplicaImbalanceCount int // led by another than the first replica
	ReassigningPartitions          int
	UncleanRecovering              int // led by a leader that was elected unclean, and its ISR has not changed since

	// Replicas of this node (kafka.server:type=ReplicaManager): LeaderCount is Leading, PartitionCount is Leading and Following, OfflineReplicaCount is Failed,
	// UncleanLeaderElectionsPerSec is UncleanElections. Lags is left out: Partitions has them.
	Replicas               ReplicaStats
	AtMinIsrPartitionCount int // that this node leads, and one more loss stops what is acks=all

	// Peers are the connections to other nodes, by node.
	Peers []PeerStats
	// Partitions are those that have a replica here, by topic and partition.
	Partitions []PartitionStats
}

// PeerStats are figures of this node's connection to another node.
type PeerStats struct {
	NodeID     int32
	Address    string
	Connected  bool
	RoundTrip  time.Duration // of the last ping; 0 before there was one
	Connects   uint64
	Failures   uint64 // attempts to connect that failed
	Calls      uint64 // that were sent
	InFlight   int    // calls that wait for an answer
	Dropped    uint64 // messages of raft that were not sent, because too many waited
	BytesIn    uint64 // read from the connections that this node has opened
	BytesOut   uint64
	LastFailed error // why it is not connected; nil if it is
}

// PartitionStats are figures of a partition with a replica on the node.
type PartitionStats struct {
	partition.TopicPartition
	Leader         int32 // -1: none
	LeaderEpoch    partition.LeaderEpoch
	PartitionEpoch int32
	Replicas, ISR  []int32
	MinISR         int32
	Role           partition.Role // of this node
	Failed         bool           // this node's replica has failed, and is being repaired

	// Of this node's copy; -1 without one.
	LogStart, HighWatermark, LogEnd partition.Offset
	// Lags are the followers', if this node leads; kafka.server:type=FetcherLagMetrics has them at the followers.
	Lags []ReplicaLag
}

// Stats returns the figures of this moment. It asks no other node and reads no file; it goes once through the partitions of the cluster, which for 10,000 of them takes some
// milliseconds. It works as well without a quorum, and on a closed node.
func (n *Node) Stats() Stats {
	s := Stats{NodeID: n.id, BrokerEpoch: n.control.epoch(), Isolated: n.control.isolated(), Fenced: true, Replicas: n.replicas.stats(false)}
	s.CurrentLeader, s.CurrentEpoch = n.control.leader()
	n.control.read(func(m *control.Machine) { s.cluster(m) })
	s.HighWatermark = n.control.committed.Load() + 1 // read last: never behind what is applied
	for _, p := range n.peers.Stats() {
		s.Peers = append(s.Peers, PeerStats{
			NodeID: p.NodeID, Address: p.Address, Connected: p.Connected, RoundTrip: p.RoundTrip, Connects: p.Connects, Failures: p.Failures, Calls: p.Calls,
			InFlight: p.InFlight, Dropped: p.Dropped, BytesIn: p.Read, BytesOut: p.Written, LastFailed: p.Err,
		})
	}
	slices.SortFunc(s.Peers, func(a, b PeerStats) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for i := range s.Partitions {
		n.replicas.describe(&s.Partitions[i], &s)
	}
	return s
}

// cluster fills in what the metadata says.
func (s *Stats) cluster(m *control.Machine) {
	s.LastAppliedOffset, s.Feature = m.Applied(), m.Feature()
	for _, n := range m.Brokers() {
		if n.Fenced {
			s.FencedBrokerCount++
		} else {
			s.ActiveBrokerCount++
		}
	}
	if n, ok := m.Node(control.NodeID(s.NodeID)); ok {
		s.Fenced = n.Fenced
	}
	for _, t := range m.Topics() {
		s.GlobalTopicCount++
		for i, p := range t.Partitions() {
			s.GlobalPartitionCount++
			switch {
			case p.Leader < 0:
				s.OfflinePartitionsCount++
			case p.Leader != p.Replicas[0]:
				s.PreferredReplicaImbalanceCount++
			}
			if len(p.Adding)+len(p.Removing) > 0 {
				s.ReassigningPartitions++
			}
			if p.Recovering {
				s.UncleanRecovering++
			}
			if slices.Contains(p.Replicas, control.NodeID(s.NodeID)) {
				s.Partitions = append(s.Partitions, PartitionStats{
					TopicPartition: partition.TopicPartition{Topic: t.Name, Partition: int32(i)}, Leader: int32(p.Leader), LeaderEpoch: partition.LeaderEpoch(p.LeaderEpoch),
					PartitionEpoch: p.PartitionEpoch, Replicas: ids(p.Replicas), ISR: ids(p.ISR), MinISR: m.MinISR(t.ID, int32(i)), LogStart: -1, HighWatermark: -1, LogEnd: -1,
				})
			}
		}
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStats) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// describe fills in what this node knows of its copy.
func (m *replicaManager) describe(p *PartitionStats, s *Stats) {
	h := m.named(p.TopicPartition)
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.Failed = h.failed != nil
	if h.copy != nil {
		p.LogStart, p.HighWatermark, p.LogEnd = h.copy.Start(), h.copy.HighWatermark(), h.copy.End()
	}
	switch {
	case h.leader != nil:
		p.Role = partition.RoleLeader
		p.Lags = h.lagsLocked(nil)
		slices.SortFunc(p.Lags, func(a, b ReplicaLag) int { return cmp.Compare(a.Node, b.Node) })
		if len(h.leader.ISR()) == h.leader.EffectiveMinISR() {
			s.AtMinIsrPartitionCount++
		}
	case h.follower != nil:
		p.Role = partition.RoleFollower
	}
}

var _ replica.Brokers = (*replicaManager)(nil)
