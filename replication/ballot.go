package replication

import (
	"fmt"

	"github.com/partlog/partlog/internal/quorum"
)

// ballot is what a node remembers of its vote in the controller quorum: one whose vote has been taken (RemoveVoter) does not ask for it again, now or after a
// restart. Only AddVoter gives it back. A new disk knows nothing of it, and asks as any that joins; so does a node that was taken out as a whole (RemoveNode) and
// starts again with what it has.
type ballot struct {
	// VotedAs is which of the node's members (quorum.Member.Directory) votes, or has voted last; nil: none since the node was taken out, or none yet.
	VotedAs *uint32 `json:"votedAs,omitempty"`
	// Withdrawn: that member was made an observer. A node that lost its log of the quorum since, and is another member now, asks for no vote either.
	Withdrawn bool `json:"voteWithdrawn,omitempty"`
	// At is the index behind which no change of that member has been seen. When the log is read again from an earlier place, what was before is old.
	At uint64 `json:"votedAt,omitempty"`
}

// is reports whether a ballot is that of a member.
func (b ballot) is(m quorum.Member) bool { return b.VotedAs != nil && *b.VotedAs == m.Directory }

// VoteWithdrawn reports whether this node's vote in the controller quorum was taken by RemoveVoter, as far as the node has heard: it observes, whatever
// Config.Observer says, until AddVoter.
func (n *Node) VoteWithdrawn() bool { return n.control.withdrawn.Load() }

// asksForVote reports whether the node becomes a voter by itself.
func (c *controller) asksForVote() bool { return !c.config.Observer && !c.withdrawn.Load() }

// recallBallot notes that the node votes, if its log says so when it is opened: the first node of a cluster votes without having asked, and a recovery makes voters.
func (c *controller) recallBallot() error {
	c.withdrawn.Store(c.identity.ballot.Withdrawn)
	if s := c.raft.Status(); s.Failure == nil && s.Role != quorum.Observer {
		c.votes = true
		return c.noteBallot(s.Self, false, s.Applied)
	}
	return nil
}

// countBallot notes what an entry that changes the members has done to the node's vote. Whoever joins becomes an observer by the entry by which a voter's vote is taken: what the node was before tells
// the two apart.
func (c *controller) countBallot(e quorum.Entry) error {
	self := c.raft.Self()
	if e.Change == nil || e.Change.Member != self {
		return nil
	}
	before := c.votes
	var err error
	switch e.Change.Op {
	case quorum.Promote:
		err = c.noteBallot(self, false, e.Index)
	case quorum.AddObserver:
		if before {
			err = c.noteBallot(self, true, e.Index)
		}
	case quorum.Remove:
		err = c.forgetBallot(self, e.Index)
	}
	if err == nil { // else the entry comes again
		c.votes = e.Change.Op == quorum.Promote
	}
	return err
}

// recountBallot does so behind a snapshot, which has passed over changes.
func (c *controller) recountBallot(index uint64) error {
	s := c.raft.Status()
	c.votes = s.Failure == nil && s.Role != quorum.Observer
	switch {
	case s.Failure != nil:
	case s.Role != quorum.Observer:
		return c.noteBallot(s.Self, false, index)
	case contains(s.Observers, s.Self) && c.identity.ballot.is(s.Self):
		return c.noteBallot(s.Self, true, index)
	}
	return nil
}

// noteBallot keeps it, durably, unless it is known, or later is.
func (c *controller) noteBallot(self quorum.Member, withdrawn bool, index uint64) error {
	b := &c.identity.ballot
	if b.is(self) && (b.Withdrawn == withdrawn || index <= b.At) {
		return nil
	}
	return c.keepBallot(ballot{VotedAs: &self.Directory, Withdrawn: withdrawn, At: index})
}

// forgetBallot notes that a member is none any more, unless its vote had been taken before, or later is known.
func (c *controller) forgetBallot(self quorum.Member, index uint64) error {
	b := &c.identity.ballot
	if !b.is(self) || b.Withdrawn || index <= b.At {
		return nil
	}
	return c.keepBallot(ballot{At: index})
}

func (c *controller) keepBallot(b ballot) error {
	if err := c.identity.balloted(b); err != nil {
		return fmt.Errorf("note whether the node votes: %w", err)
	}
	c.identity.ballot = b
	c.withdrawn.Store(b.Withdrawn)
	return nil
}

// balloted keeps what the node remembers of its vote.
func (n *Node) balloted(b ballot) error {
	n.mu.Lock()
	f := *n.file
	n.mu.Unlock()
	f.ballot = b
	if err := f.write(n.fs, n.dir); err != nil {
		return err
	}
	n.mu.Lock()
	n.file = &f
	n.mu.Unlock()
	return nil
}
