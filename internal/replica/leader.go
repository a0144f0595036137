package replica

import (
	"slices"
	"time"

	"github.com/partlog/partlog/internal/mutant"
)

// DefaultLagTime is replica.lag.time.max.ms.
const DefaultLagTime = 30 * time.Second

// LeaderConfig is what a Leader is told once.
type LeaderConfig struct {
	Node        NodeID        // this node
	BrokerEpoch int64         // of this node's registration
	LagTime     time.Duration // replica.lag.time.max.ms: a follower that has not caught up for longer leaves the ISR; 0: DefaultLagTime
	Brokers     Brokers
}

// LogState is what a new leader's log holds.
type LogState struct {
	Start, End    int64
	Durable       int64 // how much of it counts for the high watermark: End, or less if the sync mode wants it on disk first
	HighWatermark int64 // known on this node, or from its checkpoint
}

// Leader is the leader's side of one partition: ISR and high watermark (04 §3.1, §3.2).
//
// Invariants: the high watermark never decreases, is never above what any member of the maximal ISR is known to have, and stands
// still while the ISR is smaller than min.insync.replicas (KIP-966). A follower counts only with what it has fetched in the
// present leader epoch.
type Leader struct {
	config LeaderConfig

	epoch          int32 // leader epoch
	epochStart     int64 // log end offset when the epoch began
	partitionEpoch int32
	replicas       []NodeID
	isr            []NodeID // committed
	recovering     bool
	minISR         int

	start, end, durable int64
	high                int64
	low                 int64
	remotes             []Remote // replicas other than this node
	now                 time.Duration

	proposal proposal
	stats    LeaderStats
}

// LeaderStats counts since the Leader was made.
type LeaderStats struct {
	Shrinks, Expands uint64 // of the ISR, by this leader, as the controller decided them
	Refusals         uint64 // proposals that the controller did not take
}

// NewLeader begins to lead: the high watermark is what this node knows, and rises once followers have fetched. m.Leader must be c.Node.
func NewLeader(c LeaderConfig, m Metadata, s LogState, now time.Duration) *Leader {
	if c.LagTime <= 0 {
		c.LagTime = DefaultLagTime
	}
	l := &Leader{config: c, epoch: NoEpoch, partitionEpoch: -1, low: -1}
	l.begin(m, s, now)
	return l
}

// Metadata tells of a change. A new leader epoch begins anew, with s; of the same epoch, ISR and assignment are taken over, and what
// was proposed is void; older metadata changes nothing, but for MinISR, which has no epoch. s is read with a new epoch only.
func (l *Leader) Metadata(m Metadata, s LogState, now time.Duration) Effects {
	l.now = max(l.now, now)
	switch {
	case m.LeaderEpoch < l.epoch || m.LeaderEpoch == l.epoch && m.PartitionEpoch < l.partitionEpoch:
		return 0
	case m.LeaderEpoch > l.epoch:
		return l.begin(m, s, now) | ISRChanged
	case m.PartitionEpoch == l.partitionEpoch:
		l.minISR = m.MinISR
		return l.advance() | l.rejoin()
	}
	e := l.adopt(m)
	return e | l.advance() | l.lowered() | l.rejoin()
}

func (l *Leader) begin(m Metadata, s LogState, now time.Duration) Effects {
	l.now = max(l.now, now)
	l.epoch, l.epochStart = m.LeaderEpoch, s.End
	l.start, l.end, l.durable = s.Start, s.End, s.Durable
	l.high = min(max(l.high, s.HighWatermark, s.Start), s.End)
	l.remotes = l.remotes[:0]
	l.adopt(m)
	for i := range l.remotes {
		l.remotes[i].reset(slices.Contains(l.isr, l.remotes[i].Node), l.now)
	}
	before := l.high
	l.advance()
	l.lowered()
	if l.high > before {
		return HighWatermarkMoved
	}
	return 0
}

// adopt takes over what the controller has committed.
func (l *Leader) adopt(m Metadata) Effects {
	changed := Effects(0)
	if !slices.Equal(l.isr, m.ISR) {
		changed = ISRChanged
	}
	l.partitionEpoch, l.recovering, l.minISR = m.PartitionEpoch, m.Recovering, m.MinISR
	l.replicas = append(l.replicas[:0], m.Replicas...)
	l.isr = append(l.isr[:0], m.ISR...)
	l.proposal.clear()
	kept := l.remotes[:0]
	for _, r := range l.remotes {
		if slices.Contains(m.Replicas, r.Node) {
			kept = append(kept, r)
		}
	}
	l.remotes = kept
	for _, node := range m.Replicas {
		if node != l.config.Node && l.remote(node) == nil {
			r := Remote{Node: node}
			r.reset(slices.Contains(m.ISR, node), l.now)
			l.remotes = append(l.remotes, r)
		}
	}
	return changed
}

// Appended tells that the leader's log has grown to end, and that durable of it counts for the high watermark in the log's sync mode.
func (l *Leader) Appended(end, durable int64) Effects {
	if end > l.end {
		l.leaveBehind()
	}
	l.end, l.durable = max(l.end, end), max(l.durable, min(durable, max(l.end, end)))
	return l.advance()
}

// leaveBehind is called before the log grows: who had everything until now, and is still fetching, was caught up until then, although
// its session may not have named the partition for long.
func (l *Leader) leaveBehind() {
	for i := range l.remotes {
		if r := &l.remotes[i]; r.LogEnd == l.end {
			r.LastCaughtUp = max(r.LastCaughtUp, l.config.Brokers.LastFetch(r.Node))
		}
	}
}

// StartMoved tells that the leader's log start offset is start now.
func (l *Leader) StartMoved(start int64) Effects {
	l.start = max(l.start, start)
	return l.lowered()
}

// Tick looks for followers that have not caught up for LagTime. It is to be called about every LagTime/2.
func (l *Leader) Tick(now time.Duration) Effects {
	l.now = max(l.now, now)
	l.proposal.refused = false
	return l.shrink() | l.rejoin() | l.advance()
}

// advance raises the high watermark to what the leader and everybody who counts has.
func (l *Leader) advance() Effects {
	if l.UnderMinISR() && !mutant.On(mutant.LastReplicaStanding) {
		return 0
	}
	high := l.durable
	for i := range l.remotes {
		r := &l.remotes[i]
		if r.LogEnd < high && (l.inMaximalISR(r.Node) || r.caughtUp(l.end, l.now, l.config.LagTime) && l.eligible(r)) {
			high = r.LogEnd
		}
	}
	if mutant.On(mutant.HighWatermarkAhead) {
		for i := range l.remotes {
			high = max(high, l.remotes[i].LogEnd)
		}
	}
	if high <= l.high {
		return 0
	}
	l.high = high
	return HighWatermarkMoved
}

func (l *Leader) lowered() Effects {
	low := l.lowWatermark()
	if low <= l.low {
		return 0
	}
	l.low = low
	return LowWatermarkMoved
}

func (l *Leader) lowWatermark() int64 {
	low := l.start
	for i := range l.remotes {
		if _, alive := l.config.Brokers.Broker(l.remotes[i].Node); alive {
			low = min(low, l.remotes[i].LogStart)
		}
	}
	return low
}

// remote is nil for a node that has no replica.
func (l *Leader) remote(node NodeID) *Remote {
	for i := range l.remotes {
		if l.remotes[i].Node == node {
			return &l.remotes[i]
		}
	}
	return nil
}

// HighWatermark is the first offset that is not known to be on all in-sync replicas.
func (l *Leader) HighWatermark() int64 { return l.high }

// LowWatermark is the smallest log start offset of this and all live followers, -1 while one is unknown: DeleteRecords is done when it
// has come to the offset asked for.
func (l *Leader) LowWatermark() int64 { return l.lowWatermark() }

// Epoch is the leader epoch.
func (l *Leader) Epoch() int32 { return l.epoch }

// PartitionEpoch is the partition epoch of the committed ISR.
func (l *Leader) PartitionEpoch() int32 { return l.partitionEpoch }

// EpochStart is the log end offset at which the leader epoch began.
func (l *Leader) EpochStart() int64 { return l.epochStart }

// Ready reports whether the high watermark has come to the start of the leader epoch: before that, a client's search for the latest
// offset or one by time is answered with OffsetNotAvailable (KIP-207).
func (l *Leader) Ready() bool { return l.high >= l.epochStart }

// ISR is the committed ISR, valid until the next event.
func (l *Leader) ISR() []NodeID { return l.isr }

// Replicas is the assignment, valid until the next event.
func (l *Leader) Replicas() []NodeID { return l.replicas }

// Recovering reports whether the leader was elected unclean and its ISR has not changed since (KIP-704).
func (l *Leader) Recovering() bool { return l.recovering }

// EffectiveMinISR is min.insync.replicas, or the number of replicas if that is less.
func (l *Leader) EffectiveMinISR() int { return min(l.minISR, len(l.remotes)+1) }

// UnderMinISR reports whether appends with acks=all are refused with NotEnoughReplicas, and the high watermark stands still.
func (l *Leader) UnderMinISR() bool { return len(l.isr) < l.EffectiveMinISR() }

// UnderReplicated reports whether a replica is missing in the ISR.
func (l *Leader) UnderReplicated() bool { return len(l.isr) < len(l.remotes)+1 }

// Remotes is what is known of the followers, valid until the next event.
func (l *Leader) Remotes() []Remote { return l.remotes }

// Stats are the Leader's counters.
func (l *Leader) Stats() LeaderStats { return l.stats }
