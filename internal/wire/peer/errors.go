package peer

import (
	"errors"
	"fmt"
	"time"
)

// Reasons to refuse a peer; each is in a *RefusedError on both sides.
var (
	// ErrWrongCluster: the other node belongs to another cluster.
	ErrWrongCluster = errors.New("the node belongs to another cluster")
	// ErrWrongNode: at that address is another node than the one that was wanted.
	ErrWrongNode = errors.New("another node answers at this address")
	// ErrDuplicateNode: another process has this node id, and is alive.
	ErrDuplicateNode = errors.New("another living process has this node id")
	// ErrCertificate: no certificate, one that is not trusted, or one of another node.
	ErrCertificate = errors.New("the certificate is not this node's")
	// ErrVersion: no version of the protocol is spoken by both.
	ErrVersion = errors.New("no common version of the protocol")
	// ErrStaleEpoch: another incarnation of the node was registered later.
	ErrStaleEpoch = errors.New("the node's epoch is over")
	// ErrFeatureLevel: a node's code cannot work at the cluster's feature level.
	ErrFeatureLevel = errors.New("the node does not know the cluster's feature level")
	// ErrNotAdmitted: Config.Admit said no.
	ErrNotAdmitted = errors.New("the node is not admitted")
	// ErrTooManyConnections: Limits.Connections or Limits.Handshakes.
	ErrTooManyConnections = errors.New("too many connections")
	// ErrHandshake: what came was no handshake, or did not come in time.
	ErrHandshake = errors.New("bad handshake")
	// ErrClosing: the other side is being closed.
	ErrClosing = errors.New("the node is closing")
)

// refusals are the codes that travel. The table only grows.
var refusals = []error{
	0:  ErrHandshake,
	1:  ErrWrongCluster,
	2:  ErrWrongNode,
	3:  ErrDuplicateNode,
	4:  ErrCertificate,
	5:  ErrVersion,
	6:  ErrStaleEpoch,
	7:  ErrFeatureLevel,
	8:  ErrNotAdmitted,
	9:  ErrTooManyConnections,
	10: ErrClosing,
}

func refusalCode(err error) uint8 {
	for code, known := range refusals {
		if errors.Is(err, known) {
			return uint8(code)
		}
	}
	return 0
}

// Reasons for which connections end.
var (
	// ErrClosed: the Endpoint was closed, or the peer was taken away with RemovePeer.
	ErrClosed = errors.New("peer endpoint closed")
	// ErrSequence: a frame is not the one that is due: it was recorded, reordered, or is garbage.
	ErrSequence = errors.New("frame out of sequence")
	// ErrFrame: a frame of an impossible size or type.
	ErrFrame = errors.New("bad frame")
	// ErrProtocol: a frame that has no place here, or more calls than were agreed on.
	ErrProtocol = errors.New("the peer does not keep to the protocol")
	// ErrSilent: nothing came for Limits.Silence, though it was asked for.
	ErrSilent = errors.New("the peer is silent")
	// ErrStalled: the peer did not read what was written for Limits.Stalled.
	ErrStalled = errors.New("the peer does not read")
	// ErrSuperseded: the same node has connected anew.
	ErrSuperseded = errors.New("superseded by a newer connection of the node")
	// ErrPeerClosed: the other side said that it closes.
	ErrPeerClosed = errors.New("the peer has closed")
)

// RefusedError is a handshake that ended with a no. Err is one of the reasons above.
type RefusedError struct {
	NodeID  int32  // the other node: as it says, or as it was dialled; -1 if unknown
	Address string // the other end's
	ByPeer  bool   // it refused us; else we refused it
	Detail  string // what was found and what was expected
	Err     error
}

// Error names the peer, who refused, and why.
func (e *RefusedError) Error() string {
	who, whom := "refused", "peer"
	if e.ByPeer {
		who = "refused us"
	}
	if e.NodeID >= 0 {
		whom = fmt.Sprintf("node %d", e.NodeID)
	}
	text := fmt.Sprintf("%s at %s %s: %v", whom, e.Address, who, e.Err)
	if !e.ByPeer {
		text = fmt.Sprintf("%s at %s was refused: %v", whom, e.Address, e.Err)
	}
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// UnreachableError is a call or wait for a node to which there is no connection at the moment. The call was not sent.
type UnreachableError struct {
	NodeID  int32
	Address string
	Retry   time.Duration // until the next attempt to connect, roughly
	Err     error         // why the last one failed, or the last connection ended
}

// Error names the node and why.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("node %d at %s is not reachable: %v", e.NodeID, e.Address, e.Err)
}

// Unwrap returns why.
func (e *UnreachableError) Unwrap() error { return e.Err }

// LostError is a call whose connection ended before its answer: the other node may have done what was asked.
type LostError struct {
	NodeID int32
	Err    error
}

// Error names the node and why.
func (e *LostError) Error() string {
	return fmt.Sprintf("connection to node %d was lost: %v", e.NodeID, e.Err)
}

// Unwrap returns why.
func (e *LostError) Unwrap() error { return e.Err }

// CallError is the error of the other node's handler.
type CallError struct {
	NodeID  int32
	Code    uint32 // of a handler's Coded error, else 0
	Message string
}

// Error is the handler's error, and where it happened.
func (e *CallError) Error() string { return fmt.Sprintf("node %d: %s", e.NodeID, e.Message) }

// Coded is an error of a Handler with a number that travels beside its text.
type Coded interface {
	error
	PeerCode() uint32
}

// TooLargeError is a body that the other end would not take.
type TooLargeError struct{ Bytes, Max int }

// Error has both figures.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("body of %d bytes, where the peer takes %d", e.Bytes, e.Max)
}
