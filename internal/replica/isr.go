package replica

import (
	"slices"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
)

// Member is one of a proposed ISR, with the broker epoch for which it is proposed (KIP-903); of a member that has not fetched in this
// leader epoch it is control.NoEpoch.
type Member = control.Member

// Proposal is an AlterPartition request (KIP-497): let the ISR be this, if leader epoch and partition epoch are still these.
type Proposal struct {
	LeaderEpoch, PartitionEpoch int32
	ISR                         []Member
	Recovering                  bool // always false: with its first proposal an unclean leader is recovered (KIP-704)
}

// Altered is the answer to a Proposal.
type Altered struct {
	// Code is the controller's. RequestTimedOut stands for no answer at all: nobody knows whether it was done.
	Code Code
	// LeaderEpoch and PartitionEpoch of the proposal that was answered.
	LeaderEpoch, PartitionEpoch int32
	// State is what the controller has committed; with Code None only. MinISR is ignored.
	State Metadata
}

// proposal is the one that is on its way.
type proposal struct {
	state   proposalState
	isr     []NodeID // what is asked for
	extra   []NodeID // members of earlier proposals of this partition epoch that may still be committed
	doubt   bool     // an attempt ended without an answer
	refused bool     // no expansion until the next Tick
}

type proposalState uint8

const (
	idle    proposalState = iota
	ready                 // to be sent
	sent                  // Proposal has handed it out
	waiting               // the controller knows better: metadata will come
)

func (p *proposal) clear() {
	p.state, p.isr, p.extra, p.doubt = idle, p.isr[:0], p.extra[:0], false
}

// Proposal returns what is to be sent to the controller, once; Altered takes the answer. The slice is the caller's.
func (l *Leader) Proposal() (Proposal, bool) {
	p := &l.proposal
	if p.state != ready {
		return Proposal{}, false
	}
	p.state = sent
	members := make([]Member, 0, len(p.isr))
	for _, node := range p.isr {
		m := Member{Node: node, Epoch: control.NoEpoch}
		if mutant.On(mutant.StaleFollowerJoins) {
			// Before KIP-903 an AlterPartition did not say for which life of a follower it was.
		} else if node == l.config.Node {
			m.Epoch = l.config.BrokerEpoch
		} else if r := l.remote(node); r != nil {
			m.Epoch = r.BrokerEpoch
		}
		members = append(members, m)
	}
	return Proposal{LeaderEpoch: l.epoch, PartitionEpoch: l.partitionEpoch, ISR: members}, true
}

// Pending reports whether a change of the ISR is under way.
func (l *Leader) Pending() bool { return l.proposal.state != idle }

// MaximalISR appends the committed ISR and everybody who may be in it without this leader knowing: the high watermark waits for them.
func (l *Leader) MaximalISR(dst []NodeID) []NodeID {
	dst = append(dst, l.isr...)
	for _, nodes := range [][]NodeID{l.proposal.isr, l.proposal.extra} {
		for _, n := range nodes {
			if !slices.Contains(dst, n) {
				dst = append(dst, n)
			}
		}
	}
	return dst
}

func (l *Leader) inMaximalISR(node NodeID) bool {
	if mutant.On(mutant.IgnoreProposedISR) {
		return slices.Contains(l.isr, node)
	}
	return slices.Contains(l.isr, node) || slices.Contains(l.proposal.isr, node) || slices.Contains(l.proposal.extra, node)
}

// eligible reports whether a follower may join: alive, and of the registration that the metadata has (KIP-841, KIP-903). Kafka lets an
// epoch of -1 pass, for brokers of old; there are none here.
func (l *Leader) eligible(r *Remote) bool {
	epoch, eligible := l.config.Brokers.Broker(r.Node)
	return eligible && (r.BrokerEpoch == epoch || mutant.On(mutant.StaleFollowerJoins))
}

// expand proposes a follower that has everything below the high watermark and has reached this leader's own epoch. And it must have heard what has been
// deleted: DeleteRecords waits for live followers only, so that who was away could bring records back, if it were elected before the answer to its first fetch
// had come. Kafka leaves that open.
func (l *Leader) expand(r *Remote) Effects {
	if l.proposal.state != idle || l.proposal.refused || slices.Contains(l.isr, r.Node) ||
		r.LogEnd < l.high && !mutant.On(mutant.JoinBelowHighWatermark) ||
		r.LogEnd < l.epochStart && !mutant.On(mutant.JoinBelowEpochStart) || r.LogStart < l.start || !l.eligible(r) {
		return 0
	}
	l.proposal.isr = append(append(l.proposal.isr[:0], l.isr...), r.Node)
	l.proposal.state = ready
	return ProposalReady
}

// rejoin proposes a follower that could join since its last fetch of this partition: it was fenced, a proposal was refused, or one of another follower was on its way. Nothing new to
// fetch means that its session does not name the partition again (KIP-227), so no fetch would tell.
func (l *Leader) rejoin() (e Effects) {
	for i := range l.remotes {
		r := &l.remotes[i]
		if last := max(r.lastFetch, l.config.Brokers.LastFetch(r.Node)); r.LogEnd == l.end && last != Never && l.now-last <= l.config.LagTime {
			e |= l.expand(r)
		}
	}
	return e
}

// shrink proposes the ISR without the followers that are behind.
func (l *Leader) shrink() Effects {
	if l.proposal.state != idle {
		return l.again()
	}
	p := &l.proposal
	p.isr = p.isr[:0]
	for _, node := range l.isr {
		if r := l.remote(node); node == l.config.Node || r != nil && r.caughtUp(l.end, l.now, l.config.LagTime) {
			p.isr = append(p.isr, node)
		}
	}
	if len(p.isr) == len(l.isr) {
		p.isr = p.isr[:0]
		return 0
	}
	p.state = ready
	return ProposalReady
}

func (l *Leader) again() Effects {
	if l.proposal.state == ready {
		return ProposalReady
	}
	return 0
}

// Altered takes the controller's answer (04 §3.1). With ProposalReady among the effects the proposal is to be sent again, after a while.
func (l *Leader) Altered(a Altered) Effects {
	p := &l.proposal
	if p.state != sent || a.LeaderEpoch != l.epoch || a.PartitionEpoch != l.partitionEpoch {
		return 0
	}
	switch a.Code {
	case None:
		return l.altered(a.State)
	case IneligibleReplica, OperationNotAttempted:
		l.stats.Refusals++
		return l.revert()
	case FencedLeaderEpoch, InvalidUpdateVersion, UnknownTopicOrPartition, UnknownTopicID, InvalidRequest, NewLeaderElected:
		l.stats.Refusals++
		p.state = waiting
		return 0
	}
	p.doubt, p.state = true, ready
	return ProposalReady
}

func (l *Leader) altered(m Metadata) Effects {
	if m.LeaderEpoch != l.epoch || m.PartitionEpoch < l.partitionEpoch {
		l.proposal.state = waiting
		return 0
	}
	before := len(l.isr)
	m.MinISR = l.minISR
	if len(m.Replicas) == 0 {
		m.Replicas = slices.Clone(l.replicas)
	}
	if m.PartitionEpoch == l.partitionEpoch && l.proposal.doubt {
		// It changed nothing, so an attempt of which nobody knows may still be done. Those who were in it go on counting.
		l.proposal.state, l.proposal.isr = idle, l.proposal.isr[:0]
		return 0
	}
	e := l.adopt(m)
	if len(l.isr) < before {
		l.stats.Shrinks++
	} else if len(l.isr) > before {
		l.stats.Expands++
	}
	return e | l.advance()
}

// revert gives a refused proposal up. An earlier attempt of it that nobody has answered may still arrive and be taken, if the refusal's
// cause is gone by then: then those proposed go on counting for the high watermark, and the committed ISR is proposed instead, whose
// new partition epoch makes the lost attempt void.
func (l *Leader) revert() Effects {
	p := &l.proposal
	p.refused = true
	if !p.doubt {
		p.clear()
		return l.advance()
	}
	for _, n := range p.isr {
		if !slices.Contains(p.extra, n) {
			p.extra = append(p.extra, n)
		}
	}
	p.isr = append(p.isr[:0], l.isr...)
	p.state = ready
	return ProposalReady
}
