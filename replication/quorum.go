package replication

import (
	"context"
	"time"

	"github.com/partlog/partlog/internal/quorum"
)

// Quorum describes the controller quorum, as Kafka's DescribeQuorum.
type Quorum struct {
	Leader        int32  // the active controller
	Term          uint64 // leader epoch
	HighWatermark uint64 // index behind the last committed entry
	Voters        []QuorumMember
	Observers     []QuorumMember
}

// QuorumMember is one member, as the leader sees it.
type QuorumMember struct {
	NodeID    int32
	Directory uint32 // which of the node's directories; a node that lost its log is another member
	LogEnd    uint64 // index behind the last entry that it has
	// LastHeard and LastCaughtUp are how long ago it was heard, and had all that was committed; -1: not since the leader leads.
	LastHeard    time.Duration
	LastCaughtUp time.Duration
}

// describe asks the leader.
func (c *controller) describe(ctx context.Context) (Quorum, error) {
	leader, _ := c.leader()
	answer, err := c.askAll(ctx, leader, membersRequest{Op: "describe"})
	if err != nil {
		return Quorum{}, err
	}
	if answer.Status == nil {
		return Quorum{}, ErrNotController
	}
	s, tick := answer.Status, time.Duration(answer.TickMS*float64(time.Millisecond))
	ago := func(ticks int64) time.Duration {
		if ticks < 0 {
			return -1
		}
		return time.Duration(ticks) * tick
	}
	members := func(list []quorum.Progress) (all []QuorumMember) {
		for _, p := range list {
			all = append(all, QuorumMember{
				NodeID: p.Member.Node, Directory: p.Member.Directory, LogEnd: p.Match + 1, LastHeard: ago(p.ActiveTicks), LastCaughtUp: ago(p.CaughtUpTicks),
			})
		}
		return all
	}
	return Quorum{Leader: s.Leader, Term: s.Term, HighWatermark: s.Commit + 1, Voters: members(s.Voters), Observers: members(s.Observers)}, nil
}
