package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Raft is one member of a quorum. It is not safe for concurrent use: its owner has one goroutine, which calls Tick, Step and
// Propose as things happen, and after each of them Ready until there is nothing more.
type Raft struct {
	config Config
	self   Member
	node   *raft.RawNode // nil: closed or failed
	log    *raftLog

	failure error // sticky; Is ErrFailed
	closed  bool

	outputs []Output // made, and not handed out yet
	// deliver: the snapshot on disk covers more than the caller's state, and is handed out first.
	deliver  bool
	dirty    bool // Step or Tick may have made work that Propose has to do first
	pending  uint64
	confirms uint64
	applied  uint64 // index of the last entry put into an Output
	conf     *raftpb.ConfState
	confs    []confAt // the members after each change since the snapshot
	barrier  uint64   // no change of members before this entry is handed out
	term     uint64   // as of the last output
	leading  bool

	ticks int64
	heard map[uint64]heard // on the leader, of the others, in this term
	last  Status           // as of the last call of Status
}

// confAt is the members from an entry on.
type confAt struct {
	index uint64
	conf  *raftpb.ConfState
}

// heard is when another member was last heard from, and had everything; in ticks, 0: never.
type heard struct{ active, caughtUp int64 }

// Self returns which member this is.
func (r *Raft) Self() Member { return r.self }

// Lineage tells this quorum from any other; Recover changes it. Messages of another lineage are refused.
func (r *Raft) Lineage() uint64 { return r.log.lineage }

// Err returns why this Raft takes no part any more, or nil. It Is ErrFailed or ErrClosed.
func (r *Raft) Err() error {
	if r.closed {
		return ErrClosed
	}
	return r.failure
}

// Tick lets one tick of time pass.
func (r *Raft) Tick() error {
	if err := r.Err(); err != nil {
		return err
	}
	r.ticks++
	r.dirty = true
	return r.guard("tick", func() error {
		r.node.Tick()
		if r.leading {
			commit := r.node.BasicStatus().GetCommit()
			r.observe(func(id uint64, match uint64) {
				if h := r.heard[id]; match >= commit && h.active > 0 {
					h.caughtUp = h.active
					r.heard[id] = h
				}
			})
		}
		return nil
	})
}

// Step takes a message that node from sent. from is who the transport knows it to be. data is not changed, and not kept.
//
// ErrMalformed, ErrOtherQuorum, ErrNewerVersion: not heeded, and no harm done. An error that Is ErrFailed: see there.
func (r *Raft) Step(from int32, data []byte) error {
	if err := r.Err(); err != nil {
		return err
	}
	lineage, m, err := decodeMessage(data)
	if err == nil {
		err = checkMessage(m)
	}
	if sender, of := memberOf(m.GetFrom()); err == nil && (!of || sender.Node != from) {
		err = fmt.Errorf("%w: of %s, from node %d", ErrMalformed, nameOf(m.GetFrom()), from)
	}
	if err == nil && lineage != r.log.lineage {
		err = r.adopt(lineage, m)
	}
	if err != nil {
		r.event(Event{Kind: EventRefused, Node: from, Detail: err.Error(), Err: err})
		return err
	}
	if m.GetTo() != r.self.id() {
		return nil // to the member that this node was before it lost its log
	}
	basic := r.node.BasicStatus()
	switch m.GetType() {
	case raftpb.MsgHeartbeat:
		if m.GetTerm() >= basic.GetTerm() && m.GetCommit() > max(r.log.last(), basic.GetCommit()) {
			return r.lost(fmt.Sprintf("up to %d by node %d, the last is %d", m.GetCommit(), from, r.log.last()))
		}
	case raftpb.MsgAppResp:
		if !m.GetReject() && m.GetTerm() == basic.GetTerm() && basic.RaftState == raft.StateLeader && m.GetIndex() > r.log.last() {
			err := fmt.Errorf("%w: node %d acknowledges entry %d, the last is %d", ErrMalformed, from, m.GetIndex(), r.log.last())
			r.event(Event{Kind: EventRefused, Node: from, Detail: err.Error(), Err: err})
			return err
		}
	}
	r.dirty = true
	return r.guard("step", func() error {
		if m.GetTerm() == basic.GetTerm() && (m.GetType() == raftpb.MsgAppResp || m.GetType() == raftpb.MsgHeartbeatResp) {
			h := r.heard[m.GetFrom()]
			h.active = max(r.ticks, 1)
			r.heard[m.GetFrom()] = h
		}
		if err := r.node.Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) && !errors.Is(err, raft.ErrProposalDropped) {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return nil
	})
}

// lost ends a member whose log was lost behind its back, for ever: the next Open refuses the log as a damaged one.
func (r *Raft) lost(detail string) error {
	_, noted := r.log.journal.Append(kindLost, []byte(detail))
	return r.fail(errors.Join(fmt.Errorf("%w: %w: %s", ErrFailed, ErrLogLost, detail), noted))
}

// adopt lets a member that has nothing yet take the lineage of the first leader that writes to it.
func (r *Raft) adopt(lineage uint64, m *raftpb.Message) error {
	leads := m.GetType() == raftpb.MsgApp || m.GetType() == raftpb.MsgHeartbeat || m.GetType() == raftpb.MsgSnap
	if r.log.lineage != 0 || !r.log.empty() || !leads || m.GetTo() != r.self.id() {
		return fmt.Errorf("%w: lineage %016x, this one is %016x", ErrOtherQuorum, lineage, r.log.lineage)
	}
	next := r.log.image
	next.lineage = lineage
	if err := r.log.rebase(next, fmt.Sprintf("joined the quorum of lineage %016x", lineage)); err != nil {
		return r.fail(&StorageError{Op: "note the quorum joined", Err: err})
	}
	return nil
}

// Propose adds an entry to the log and returns its place. When an entry with this index comes out of Ready with this term
// it is this one; with another term, this one was never committed and never will be. The leader alone can. data is
// not kept; it must not be empty (the leader's own first entry is).
//
// Errors: ErrNotLeader, ErrBusy, ErrTooLarge, and those that are ErrFailed. Nothing is on disk before Ready has returned.
func (r *Raft) Propose(data []byte) (index, term uint64, err error) {
	switch {
	case len(data) > r.config.MaxEntryBytes:
		return 0, 0, fmt.Errorf("%w: entry of %d bytes, the limit is %d", ErrTooLarge, len(data), r.config.MaxEntryBytes)
	case len(data) == 0:
		return 0, 0, fmt.Errorf("%w: entry without data", ErrMalformed)
	}
	return r.propose(func() error { return r.node.Propose(data) })
}

// propose adds one entry by add.
func (r *Raft) propose(add func() error) (index, term uint64, err error) {
	if err := r.Err(); err != nil {
		return 0, 0, err
	}
	if !r.leads() {
		return 0, 0, ErrNotLeader
	}
	// The index is one more than the last, which only after its Ready is known to include what raft has added itself.
	if r.dirty {
		if err := r.drain(); err != nil {
			return 0, 0, err
		}
		if !r.leads() {
			return 0, 0, ErrNotLeader
		}
	}
	err = r.guard("propose", add)
	if errors.Is(err, raft.ErrProposalDropped) {
		return 0, 0, ErrBusy
	}
	if err != nil {
		return 0, 0, err
	}
	r.pending++
	return r.log.last() + r.pending, r.node.BasicStatus().GetTerm(), nil
}

func (r *Raft) leads() bool { return r.node.BasicStatus().RaftState == raft.StateLeader }

// Campaign begins an election now, for a quorum that was just made. It does nothing on an observer.
func (r *Raft) Campaign() error {
	if err := r.Err(); err != nil {
		return err
	}
	r.dirty = true
	return r.guard("campaign", func() error {
		err := r.node.Campaign()
		if errors.Is(err, raft.ErrProposalDropped) {
			return nil
		}
		return err
	})
}

// Forget says that the process of a node has most likely ended. A follower of it does not wait for the election timeout then: it asks for votes, and gives its
// own to who asks. For a new leader a majority has to have noticed, or to have waited; a leader that lives after all is followed again from its next message
// on. If another leads it does nothing; an observer only forgets.
func (r *Raft) Forget(node int32) error {
	if err := r.Err(); err != nil {
		return err
	}
	basic := r.node.BasicStatus()
	if basic.RaftState != raft.StateFollower || basic.Lead == raft.None || nodeOf(basic.Lead) != node {
		return nil
	}
	r.dirty = true
	if err := r.guard("forget", func() error { return r.node.ForgetLeader() }); err != nil {
		return err
	}
	return r.Campaign()
}

// Confirm asks the others whether this member still leads. When a majority of the voters has said so after this call, an Output has the
// id among Confirmed; when it does not lead any more, none ever has.
func (r *Raft) Confirm() (id uint64, err error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	if !r.leads() {
		return 0, ErrNotLeader
	}
	r.confirms++
	r.dirty = true
	return r.confirms, r.guard("confirm", func() error {
		r.node.ReadIndex(binary.BigEndian.AppendUint64(nil, r.confirms))
		return nil
	})
}

// ReportUnreachable says that messages to a node do not arrive: its log is probed before more is sent.
func (r *Raft) ReportUnreachable(node int32) {
	r.report(node, func(id uint64) { r.node.ReportUnreachable(id) })
}

// ReportSnapshot says whether the whole of a Message with Snapshot has reached its node. It has to be called for each.
func (r *Raft) ReportSnapshot(node int32, delivered bool) {
	status := raft.SnapshotFinish
	if !delivered {
		status = raft.SnapshotFailure
	}
	r.report(node, func(id uint64) { r.node.ReportSnapshot(id, status) })
}

func (r *Raft) report(node int32, tell func(id uint64)) {
	if r.Err() != nil {
		return
	}
	r.dirty = true
	// What goes wrong inside is kept, and returned by the next call.
	_ = r.guard("report", func() error {
		var ids []uint64
		r.observe(func(id, _ uint64) {
			if nodeOf(id) == node {
				ids = append(ids, id)
			}
		})
		for _, id := range ids {
			tell(id)
		}
		return nil
	})
}

// observe calls f for every member, in the order of their ids.
func (r *Raft) observe(f func(id, match uint64)) {
	status := r.node.Status()
	for _, m := range append(membersOf(r.conf.GetVoters()), membersOf(r.conf.GetLearners())...) {
		if p, known := status.Progress[m.id()]; known {
			f(m.id(), p.Match)
		} else if status.RaftState != raft.StateLeader {
			f(m.id(), 0)
		}
	}
}

// Close releases the journal. What was handed out by Ready is durable; entries that were proposed and are in no Output yet
// are forgotten. A second Close does nothing.
func (r *Raft) Close() error {
	if r.closed {
		return nil
	}
	r.Status()
	r.closed = true
	r.node, r.outputs = nil, nil
	var noted error
	if r.failure == nil {
		noted = r.log.noteCommit()
	}
	if err := errors.Join(noted, r.log.close()); err != nil {
		return fmt.Errorf("quorum: close: %w", err)
	}
	return nil
}

// guard calls into raft. A panic there is the end of this Raft, not of the application.
func (r *Raft) guard(op string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = r.fail(&PanicError{Value: fmt.Sprintf("%s: %v", op, v), Stack: string(debug.Stack())})
		}
	}()
	return f()
}

// fail makes err sticky. From here on nothing is sent and nothing is written: what was on its way out is dropped, too,
// because nobody knows whether what it says is on disk.
func (r *Raft) fail(err error) error {
	if r.failure != nil {
		return r.failure
	}
	r.failure = err
	r.outputs = nil
	r.node = nil
	r.last.Failure = err
	r.last.Role = Unattached
	r.last.Leader = -1
	if r.log.journal != nil {
		// Its error says nothing new.
		_ = r.log.close()
	}
	r.event(Event{Kind: EventFailed, Node: -1, Detail: err.Error(), Err: err})
	return err
}

func (r *Raft) event(e Event) {
	if r.config.Events != nil {
		r.config.Events(e)
	}
}

// raftConfig is what raft itself wants to know.
func (r *Raft) raftConfig(applied uint64) *raft.Config {
	return &raft.Config{
		ID:                        r.self.id(),
		ElectionTick:              r.config.ElectionTicks,
		HeartbeatTick:             r.config.HeartbeatTicks,
		Storage:                   r.log,
		Applied:                   applied,
		MaxSizePerMsg:             uint64(r.config.MaxMessageBytes),
		MaxCommittedSizePerReady:  16 << 20,
		MaxUncommittedEntriesSize: uint64(r.config.MaxUncommittedBytes),
		MaxInflightMsgs:           256,
		CheckQuorum:               true,
		PreVote:                   true,
		Logger:                    words{r},
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	}
}
