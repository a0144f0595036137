package replica

import "time"

// ReadView is a replica that a consumer could read from.
type ReadView struct {
	Node       NodeID
	Rack       string // filled in by the caller of Leader.ReadViews
	Alive      bool   // likewise: registered and not fenced
	Leader     bool
	Start, End int64
	CaughtUp   time.Duration
}

// PreferredReadReplica chooses from where a consumer in rack reads at offset (KIP-392, Kafka's RackAwareReplicaSelector): among the
// replicas of its rack that have the offset the leader if it is one of them, else the one that has most, else that caught up last, else
// with the smallest id. Without one it is the leader. ok is false if the consumer is to stay where it is: at the leader.
func PreferredReadReplica(views []ReadView, rack string, offset int64) (node NodeID, ok bool) {
	if rack == "" {
		return NoNode, false
	}
	var best *ReadView
	for i := range views {
		v := &views[i]
		if v.Rack != rack || !v.Alive && !v.Leader || v.Start < 0 || offset < v.Start || offset > v.End {
			continue
		}
		if v.Leader {
			return NoNode, false
		}
		if best == nil || better(v, best) {
			best = v
		}
	}
	if best == nil {
		return NoNode, false
	}
	return best.Node, true
}

func better(a, b *ReadView) bool {
	switch {
	case a.End != b.End:
		return a.End > b.End
	case a.CaughtUp != b.CaughtUp:
		return a.CaughtUp > b.CaughtUp
	}
	return a.Node < b.Node
}
