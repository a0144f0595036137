package quorum

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// Member is one participant: a node, and which of the node's directories holds its raft log. A node that lost its log, or
// can no longer believe it, comes back with another directory: it is another member, which has voted for nobody, and the
// lost one is removed like any that died (KIP-853: a voter is known by its id and its directory).
type Member struct {
	Node      int32  `json:"node"`      // 0 or more
	Directory uint32 `json:"directory"` // any number that this node has not used before; 0 is that of Bootstrap
}

// String returns "3" or, with a directory other than 0, "3/7f000001".
func (m Member) String() string {
	if m.Directory == 0 {
		return fmt.Sprint(m.Node)
	}
	return fmt.Sprintf("%d/%08x", m.Node, m.Directory)
}

func (m Member) valid() bool { return m.Node >= 0 }

// id is what raft calls the member. 0 is nobody, so node 0 is 1; the highest that can be is below raft's own two.
func (m Member) id() uint64 { return uint64(m.Directory)<<32 | uint64(uint32(m.Node)+1) }

// memberOf is the inverse of id. of is false for an id that none has.
func memberOf(id uint64) (m Member, of bool) {
	low := uint32(id)
	if low == 0 || low > 1<<31 {
		return Member{Node: -1}, false
	}
	return Member{Node: int32(low - 1), Directory: uint32(id >> 32)}, true
}

func membersOf(ids []uint64) []Member {
	list := make([]Member, 0, len(ids))
	for _, id := range ids {
		m, _ := memberOf(id)
		list = append(list, m)
	}
	slices.SortFunc(list, compareMembers)
	return list
}

func compareMembers(a, b Member) int {
	if a.Node != b.Node {
		return int(a.Node) - int(b.Node)
	}
	if a.Directory < b.Directory {
		return -1
	}
	if a.Directory > b.Directory {
		return 1
	}
	return 0
}

// ChangeOp is what a Change does to its member.
type ChangeOp uint8

// The values of ChangeOp. A member comes as an observer and is promoted when it has caught up; it never comes as a voter. What comes back
// out of the log for Demote is AddObserver, of a voter: that is what raft has of it.
const (
	AddObserver ChangeOp = iota + 1 // receives the log, is not counted
	Promote                         // an observer becomes a voter
	Remove                          // of either kind
	Demote                          // a voter becomes an observer
)

// String returns the operation in words.
func (o ChangeOp) String() string {
	switch o {
	case AddObserver:
		return "add observer"
	case Promote:
		return "promote"
	case Remove:
		return "remove"
	case Demote:
		return "demote"
	}
	return fmt.Sprintf("ChangeOp(%d)", uint8(o))
}

// Change is one change of membership. It is an entry of the log and takes effect when it is committed.
type Change struct {
	Op     ChangeOp `json:"op"`
	Member Member   `json:"member"`
}

// String returns "promote 3".
func (c Change) String() string { return c.Op.String() + " " + c.Member.String() }

func (c Change) raft() *raftpb.ConfChange {
	var kind raftpb.ConfChangeType
	switch c.Op {
	case AddObserver, Demote:
		kind = raftpb.ConfChangeAddLearnerNode
	case Promote:
		kind = raftpb.ConfChangeAddNode
	case Remove:
		kind = raftpb.ConfChangeRemoveNode
	}
	return &raftpb.ConfChange{Type: kind.Enum(), NodeId: new(c.Member.id())}
}

func changeOf(cc *raftpb.ConfChange) (Change, error) {
	m, of := memberOf(cc.GetNodeId())
	if !of {
		return Change{}, fmt.Errorf("%w: change of a member with the impossible id %x", ErrMalformed, cc.GetNodeId())
	}
	switch cc.GetType() {
	case raftpb.ConfChangeAddLearnerNode:
		return Change{Op: AddObserver, Member: m}, nil
	case raftpb.ConfChangeAddNode:
		return Change{Op: Promote, Member: m}, nil
	case raftpb.ConfChangeRemoveNode:
		return Change{Op: Remove, Member: m}, nil
	}
	return Change{}, fmt.Errorf("%w: change of members of kind %d", ErrMalformed, cc.GetType())
}
