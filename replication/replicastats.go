package replication

import (
	"cmp"
	"slices"

	"github.com/partlog/partlog/partition"
)

// ReplicaStats are figures of this node's replicas. Counters count since Start.
type ReplicaStats struct {
	Leading   int // partitions that this node leads
	Following int // partitions that it follows
	// UnderReplicated are those that it leads whose ISR lacks a replica; UnderMinISR those that take nothing with acks=all.
	UnderReplicated int
	UnderMinISR     int
	Failed          int // replicas that cannot go on, and are being made anew

	ISRShrinks, ISRExpands uint64 // of partitions that this node leads
	UncleanElections       uint64 // of partitions that have a replica here
	Truncations            uint64 // followers here that dropped what their leader does not have
	Rebuilds               uint64 // replicas here that began anew
	Repairs                uint64 // replicas here that had failed and were repaired
	RecordsRepaired        uint64 // put back in the place of damaged ones
	Failures               uint64 // replicas here that failed
	Fetches                uint64 // answers to this node's
	FetchErrors            uint64
	BytesIn                uint64 // of answers to this node's fetches
	BytesOut               uint64 // of records in answers to other nodes' fetches
	FetchSessions          int    // of other nodes

	// Lags are the followers of what this node leads, by topic, partition and node.
	Lags []ReplicaLag
}

// ReplicaLag says how far behind one follower is.
type ReplicaLag struct {
	partition.TopicPartition
	Node    int32
	InSync  bool
	Records int64 // that the leader has and it has not acknowledged; -1: it has not fetched since this node leads
}

// ReplicaStats returns figures of this node's replicas. With lags it goes through all partitions' followers.
func (n *Node) ReplicaStats(lags bool) ReplicaStats { return n.replicas.stats(lags) }

func (m *replicaManager) stats(lags bool) ReplicaStats {
	c := &m.counts
	s := ReplicaStats{
		ISRShrinks: c.shrinks.Load(), ISRExpands: c.expands.Load(), UncleanElections: c.unclean.Load(), Truncations: c.truncations.Load(),
		Rebuilds: c.rebuilds.Load(), Repairs: c.repairs.Load(), RecordsRepaired: c.repaired.Load(), Failures: c.failures.Load(), Fetches: c.fetches.Load(), FetchErrors: c.fetchErrors.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
	m.fetches.mu.Lock()
	s.FetchSessions = m.fetches.cache.Len()
	m.fetches.mu.Unlock()
	m.byID.Range(func(_, value any) bool {
		h := value.(*hosted)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.failed != nil {
			s.Failed++
		}
		if h.follower != nil {
			s.Following++
		}
		l := h.leader
		if l == nil {
			return true
		}
		s.Leading++
		if l.UnderReplicated() {
			s.UnderReplicated++
		}
		if l.UnderMinISR() {
			s.UnderMinISR++
		}
		if lags {
			s.Lags = h.lagsLocked(s.Lags)
		}
		return true
	})
	slices.SortFunc(s.Lags, func(a, b ReplicaLag) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Node, b.Node))
	})
	return s
}

func (h *hosted) lagsLocked(dst []ReplicaLag) []ReplicaLag {
	end := int64(h.copy.End())
	for _, r := range h.leader.Remotes() {
		lag := ReplicaLag{TopicPartition: h.tp, Node: int32(r.Node), InSync: slices.Contains(h.leader.ISR(), r.Node), Records: -1}
		if r.LogEnd >= 0 {
			lag.Records = max(end-r.LogEnd, 0)
		}
		dst = append(dst, lag)
	}
	return dst
}
