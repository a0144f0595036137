package replication

import (
	"context"
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/quorum"
)

// AddVoter makes a node that observes the controller quorum a voter (KIP-853, kafka-metadata-quorum add-controller), and returns when it is one. It has to be up
// and to have caught up: until then AddVoter waits, until ctx's deadline, or for Config.RequestTimeout if it has none. A node whose Config says Observer becomes a voter by this alone; the others
// do so by themselves.
//
// Errors: ErrDuplicateVoter; ErrUnknownNode for one that is no member of the quorum; ErrVoterChange, when too few of the voters that there would be are heard
// from; when the time is over ctx's, or partition.ErrTimeout, with what was waited for, such as ErrNoQuorum.
func (n *Node) AddVoter(ctx context.Context, node int32) error {
	ctx, cancel := n.patient(ctx)
	defer cancel()
	q, err := n.DescribeQuorum(ctx)
	switch {
	case err != nil:
		return err
	case isMember(q.Voters, node):
		return fmt.Errorf("node %d: %w", node, ErrDuplicateVoter)
	case !isMember(q.Observers, node):
		return fmt.Errorf("node %d: %w: it does not observe the quorum", node, ErrUnknownNode)
	}
	return n.control.untilDone(ctx, membersRequest{Op: "promote", Node: node})
}

// RemoveVoter makes a voter of the controller quorum an observer (kafka-metadata-quorum remove-controller), and returns when it is one. The node may be down. It
// keeps its registration and its replicas; RemoveNode takes those. That node remembers that it is to vote no more, whatever its Config says, until AddVoter. A leader hands the quorum over to another voter before.
//
// Errors: ErrVoterNotFound; ErrVoterChange for the last voter, and when too few of the others are heard from; when the time is over
// ctx's, or partition.ErrTimeout, with what was waited for, such as ErrNoQuorum.
func (n *Node) RemoveVoter(ctx context.Context, node int32) error {
	ctx, cancel := n.patient(ctx)
	defer cancel()
	q, err := n.DescribeQuorum(ctx)
	switch {
	case err != nil:
		return err
	case !isMember(q.Voters, node):
		return fmt.Errorf("node %d: %w", node, ErrVoterNotFound)
	}
	return n.control.untilDone(ctx, membersRequest{Op: "demote", Node: node})
}

// patient is ctx, and ends after Config.RequestTimeout if it has no deadline of its own.
func (n *Node) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return n.bounded(ctx)
}

func isMember(all []QuorumMember, node int32) bool {
	return slices.ContainsFunc(all, func(m QuorumMember) bool { return m.NodeID == node })
}

// stepPromote makes an observer a voter, on run's goroutine of the leader.
func (c *controller) stepPromote(status quorum.Status, node int32) (done bool, err error) {
	is := func(p quorum.Progress) bool { return p.Member.Node == node }
	if slices.ContainsFunc(status.Voters, is) {
		return true, nil
	}
	i := slices.IndexFunc(status.Observers, is)
	if i < 0 {
		return false, fmt.Errorf("%w: node %d is no observer", quorum.ErrMembership, node)
	}
	_, _, err = c.raft.ProposeChange(quorum.Change{Op: quorum.Promote, Member: status.Observers[i].Member})
	return false, err
}

// stepDemote makes a voter an observer. The leader hands leadership to another first.
func (c *controller) stepDemote(status quorum.Status, node int32) (done bool, err error) {
	i := slices.IndexFunc(status.Voters, func(p quorum.Progress) bool { return p.Member.Node == node })
	switch {
	case i < 0:
		return true, nil
	case node == c.id && len(status.Voters) > 1:
		return false, c.raft.TransferLeader(-1)
	}
	_, _, err = c.raft.ProposeChange(quorum.Change{Op: quorum.Demote, Member: status.Voters[i].Member})
	return false, err
}
