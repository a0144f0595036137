package quorum

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// Role is what a member is at the moment, in the words of Kafka's raft.
type Role uint8

// The values of Role.
const (
	Unattached  Role = iota // a voter that knows of no leader
	Follower                // a voter that follows one
	Prospective             // asks whether it would be elected (KIP-996)
	Candidate               // asks to be elected
	Leader                  // is
	Observer                // follows without a vote, or is no member (yet, or any more)
)

// String returns the role's name.
func (r Role) String() string {
	names := [...]string{"Unattached", "Follower", "Prospective", "Candidate", "Leader", "Observer"}
	if int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// Status is what DescribeQuorum answers from.
type Status struct {
	Self     Member `json:"self"`
	Role     Role   `json:"role"`
	Term     uint64 `json:"term"`   // Kafka: leader epoch
	Leader   int32  `json:"leader"` // -1: not known
	Vote     int32  `json:"vote"`   // whom this member voted for in Term; -1: nobody
	Commit   uint64 `json:"commit"` // index of the last entry known to be committed; Kafka: high watermark is one more
	Applied  uint64 `json:"applied"`
	First    uint64 `json:"first"` // index of the first entry in the log; Last+1 when there is none
	Last     uint64 `json:"last"`
	Snapshot uint64 `json:"snapshot"` // index that the newest snapshot covers
	// Transferee is whom leadership is being handed to; -1: nobody.
	Transferee int32 `json:"transferee"`

	Voters    []Progress `json:"voters"` // by node
	Observers []Progress `json:"observers"`

	JournalBytes int64 `json:"journalBytes"` // what a restart would read after the newest image
	// Failure is why this Raft takes no part any more.
	Failure error `json:"-"`
}

// Progress is how far a member is, as far as the leader knows. On others only Member is set, and Match is 0.
type Progress struct {
	Member Member `json:"member"`
	Match  uint64 `json:"match"` // index of the last entry that it certainly has
	// ActiveTicks ago it was last heard, CaughtUpTicks ago it had everything that was committed; -1: never in this term. The
	// leader itself: 0.
	ActiveTicks   int64 `json:"activeTicks"`
	CaughtUpTicks int64 `json:"caughtUpTicks"`
	// Snapshot: it needs, or is being sent, a snapshot.
	Snapshot bool `json:"snapshot"`
}

// Status describes the member and, on the leader, the others. It works on a failed Raft too.
func (r *Raft) Status() Status {
	s := r.last
	s.Failure = r.failure
	if r.node == nil {
		return s
	}
	guarded := r.guard("status", func() error {
		s = r.status()
		return nil
	})
	if guarded != nil {
		s.Failure = r.failure
	}
	r.last = s
	return s
}

func (r *Raft) status() Status {
	full := r.node.Status()
	s := Status{
		Self:         r.self,
		Role:         r.roleOf(full.BasicStatus),
		Term:         full.GetTerm(),
		Leader:       nodeOf(full.Lead),
		Vote:         nodeOf(full.GetVote()),
		Commit:       full.GetCommit(),
		Applied:      r.applied,
		First:        r.log.first(),
		Last:         r.log.last(),
		Snapshot:     r.log.snapshot.index,
		Transferee:   nodeOf(full.LeadTransferee),
		JournalBytes: r.log.journal.Size(),
		Failure:      r.failure,
	}
	conf := r.conf
	leads := full.RaftState == raft.StateLeader
	describe := func(ids []uint64) []Progress {
		list := []Progress{}
		for _, m := range membersOf(ids) {
			p := Progress{Member: m, ActiveTicks: -1, CaughtUpTicks: -1}
			if progress, known := full.Progress[m.id()]; leads && known {
				p.Match, p.Snapshot = progress.Match, progress.State == tracker.StateSnapshot
				heard := r.heard[m.id()]
				if heard.active > 0 {
					p.ActiveTicks = r.ticks - heard.active
				}
				if heard.caughtUp > 0 {
					p.CaughtUpTicks = r.ticks - heard.caughtUp
				}
			}
			if leads && m == r.self {
				p.ActiveTicks, p.CaughtUpTicks = 0, 0
			}
			list = append(list, p)
		}
		return list
	}
	s.Voters, s.Observers = describe(conf.GetVoters()), describe(conf.GetLearners())
	return s
}

func (r *Raft) roleOf(s raft.BasicStatus) Role {
	switch s.RaftState {
	case raft.StateLeader:
		return Leader
	case raft.StateCandidate:
		return Candidate
	case raft.StatePreCandidate:
		return Prospective
	}
	voter := false
	for _, id := range r.conf.GetVoters() {
		voter = voter || id == s.ID
	}
	switch {
	case !voter:
		return Observer
	case s.Lead == raft.None:
		return Unattached
	}
	return Follower
}

func nodeOf(id uint64) int32 {
	m, of := memberOf(id)
	if !of {
		return -1
	}
	return m.Node
}
