package replication

import (
	"context"

	"github.com/partlog/partlog/internal/quorum"
)

// Voting reports whether this node is a voter of the controller quorum, as far as it knows itself. One that has lost its disk is not until it is a
// member again, although DescribeQuorum may still name the member that it was.
func (n *Node) Voting(ctx context.Context) (bool, error) {
	if err := n.open(ctx); err != nil {
		return false, err
	}
	answer := make(chan bool, 1)
	n.control.inbox.put(func() { answer <- n.control.raft.Status().Role != quorum.Observer })
	select {
	case votes := <-answer:
		return votes, nil
	case <-n.control.done:
		return false, ErrClosed
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// ControllerOnly reports whether the node takes part in the quorum and keeps no replicas, by its Config.
func (n *Node) ControllerOnly() bool { return n.config.ControllerOnly }
