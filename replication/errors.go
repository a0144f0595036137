package replication

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// Errors that a caller can act on. Those of the store (package partition) come as they are, from whichever node.
var (
	// ErrClosed: the Node has been closed.
	ErrClosed = partition.ErrClosed
	// ErrNoQuorum: no controller is known or reachable: metadata and in-sync replicas cannot change until a majority of the voters is up.
	// Retriable.
	ErrNoQuorum error = &retriable{"no controller: a majority of the quorum's voters is not reachable"}
	// ErrNotController: the node that was asked is not the controller any more. Retriable.
	ErrNotController error = &retriable{"not the controller"}
	// ErrLeaderNotAvailable: the partition has no leader at the moment. Retriable.
	ErrLeaderNotAvailable error = &retriable{"the partition has no leader"}
	// ErrNodeNotAvailable: the node that the request is for is not reachable. Retriable.
	ErrNodeNotAvailable error = &retriable{"node is not reachable"}
	// ErrStaleBrokerEpoch: another process has registered as this node since.
	ErrStaleBrokerEpoch = errors.New("the node's registration is over: another process has registered with its id")
	// ErrDuplicateNode: another process has this node id, and is alive.
	ErrDuplicateNode = peer.ErrDuplicateNode
	// ErrWrongCluster: the directory, or a node that was reached, belongs to another cluster.
	ErrWrongCluster = peer.ErrWrongCluster
	// ErrNotFormatted: the directory belongs to no cluster; Bootstrap makes one, Join makes it one more node.
	ErrNotFormatted = errors.New("the directory belongs to no cluster: start it with Bootstrap (a new cluster) or with Join (of an existing one)")
	// ErrNoReassignmentInProgress: there is nothing to cancel.
	ErrNoReassignmentInProgress = errors.New("no reassignment in progress")
	// ErrReassignmentInProgress: the partitions' replicas are being changed.
	ErrReassignmentInProgress = errors.New("reassignment in progress")
	// ErrInvalidReplicaAssignment: replicas that are not nodes, or named twice.
	ErrInvalidReplicaAssignment = errors.New("invalid replica assignment")
	// ErrInvalidReplicationFactor: more replicas than nodes.
	ErrInvalidReplicationFactor = partition.ErrInvalidReplicationFactor
	// ErrPreferredLeaderNotAvailable: it is down or not in sync.
	ErrPreferredLeaderNotAvailable = errors.New("the preferred leader is not available")
	// ErrEligibleLeadersNotAvailable: no replica may lead.
	ErrEligibleLeadersNotAvailable = errors.New("no eligible leader is available")
	// ErrElectionNotNeeded: the leader that is asked for leads.
	ErrElectionNotNeeded = errors.New("no election is needed")
	// ErrDuplicateVoter: the node votes already (AddVoter).
	ErrDuplicateVoter = errors.New("the node is a voter of the quorum already")
	// ErrVoterNotFound: the node does not vote (RemoveVoter).
	ErrVoterNotFound = errors.New("the node is no voter of the quorum")
	// ErrVoterChange: the quorum cannot have the voters that were asked for.
	ErrVoterChange = errors.New("the quorum cannot have these voters")
	// ErrUnknownNode: no node is registered with this id.
	ErrUnknownNode = errors.New("no node is registered with this id")
)

// retriable is an error for which partition.Retriable says yes.
type retriable struct{ text string }

func (e *retriable) Error() string   { return e.text }
func (e *retriable) Retriable() bool { return true }

// NodeError is what happened at, or on the way to, another node.
type NodeError struct {
	NodeID int32
	Err    error
}

// Error names the node.
func (e *NodeError) Error() string { return fmt.Sprintf("node %d: %v", e.NodeID, e.Err) }

// Unwrap returns what happened.
func (e *NodeError) Unwrap() error { return e.Err }

// WrongClusterError says which ids do not agree. It is ErrWrongCluster.
type WrongClusterError struct {
	Dir           string
	Want, Have    string // cluster ids: of the Config, of the directory
	WantID, HasID int32  // node ids, -1 if they are not what is wrong
}

// Error says what the directory belongs to.
func (e *WrongClusterError) Error() string {
	if e.HasID != e.WantID {
		return fmt.Sprintf("directory %s is that of node %d, and not of node %d", e.Dir, e.HasID, e.WantID)
	}
	return fmt.Sprintf("directory %s belongs to cluster %q, and not to %q", e.Dir, e.Have, e.Want)
}

// Is reports whether target is ErrWrongCluster.
func (e *WrongClusterError) Is(target error) bool { return target == ErrWrongCluster }
