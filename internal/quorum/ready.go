package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/partlog/partlog/internal/journal"
	"github.com/partlog/partlog/internal/mutant"
)

// Output is what has to be done next: take Snapshot if there is one, apply Committed in order, send Messages. Everything that
// they rely on is on disk already, so their order does not matter. The bytes must not be changed.
type Output struct {
	Term   uint64
	Leader int32 // -1: not known
	Role   Role
	Commit uint64 // index of the last entry known to be committed

	// Snapshot replaces the caller's state. Everything before it has been handed out, or is covered by it.
	Snapshot *Snapshot
	// Committed are the next entries: each index once in the life of a Raft, and none at or below Config.Applied.
	Committed []Entry
	Messages  []Message
	// Confirmed are what Confirm returned, of which a majority has said that this member led when it was called.
	Confirmed []uint64
	// SnapshotWanted: a member can only be helped by a snapshot that is newer than the last. Call Compact soon.
	SnapshotWanted bool
}

// Entry is a committed entry.
type Entry struct {
	Index, Term uint64
	Data        []byte  // as proposed; empty for a leader's first entry, and for a Change
	Change      *Change // not nil: a change of members, which has taken effect
}

// Snapshot is the state after an entry.
type Snapshot struct {
	Index, Term uint64
	State       []byte
}

// Ready returns what has to be done next, after it has made durable what that relies on; ok is false when there is nothing.
// It writes and syncs files. When that fails the Raft has failed: ok is false then and for ever, and Err says why.
func (r *Raft) Ready() (out Output, ok bool) {
	if r.Err() != nil {
		return Output{}, false
	}
	if len(r.outputs) == 0 {
		if err := r.cycle(); err != nil {
			return Output{}, false
		}
	}
	if len(r.outputs) == 0 {
		return Output{}, false
	}
	out = r.outputs[0]
	r.outputs = r.outputs[1:]
	return out, true
}

// drain does all that raft has to do, and keeps it for Ready.
func (r *Raft) drain() error {
	for {
		before := len(r.outputs)
		if err := r.cycle(); err != nil {
			return err
		}
		if len(r.outputs) == before {
			return nil
		}
	}
}

// cycle does one Ready of raft.
func (r *Raft) cycle() error {
	if r.deliver {
		r.deliver = false
		s := r.log.snapshot
		r.output(Output{Snapshot: &Snapshot{Index: s.index, Term: s.term, State: s.data}})
		return nil
	}
	return r.guard("ready", func() error {
		if !r.node.HasReady() {
			r.dirty = false
			return nil
		}
		rd := r.node.Ready()
		r.pending = 0
		if err := r.persist(&rd); err != nil {
			return r.fail(&StorageError{Op: "write the raft log", Err: err})
		}
		var out Output
		if !raft.IsEmptySnap(rd.Snapshot) {
			s := r.log.snapshot
			out.Snapshot = &Snapshot{Index: s.index, Term: s.term, State: s.data}
			r.applied, r.conf, r.confs = s.index, s.conf, []confAt{{s.index, s.conf}}
		}
		for _, e := range rd.CommittedEntries {
			entry, err := r.hand(e)
			if err != nil {
				return r.fail(&PanicError{Value: err.Error()})
			}
			out.Committed = append(out.Committed, entry)
		}
		for _, m := range rd.Messages {
			to, of := memberOf(m.GetTo())
			if !of {
				continue
			}
			data, err := encodeMessage(r.log.lineage, m)
			if err != nil {
				return r.fail(&PanicError{Value: fmt.Sprintf("message cannot be encoded: %v", err)})
			}
			out.Messages = append(out.Messages, Message{To: to.Node, Data: data, Snapshot: m.GetType() == raftpb.MsgSnap})
		}
		for _, read := range rd.ReadStates {
			if len(read.RequestCtx) == 8 {
				out.Confirmed = append(out.Confirmed, binary.BigEndian.Uint64(read.RequestCtx))
			}
		}
		r.node.Advance(rd)
		out.SnapshotWanted, r.log.wanted = r.log.wanted, false
		r.output(out)
		if err := r.log.tidy(); errors.Is(err, journal.ErrFailed) {
			return r.fail(&StorageError{Op: "write the raft log anew", Err: err})
		} else if err != nil {
			r.event(Event{Kind: EventWarning, Node: -1, Detail: "the raft log could not be written anew: " + err.Error(), Err: err})
		}
		return nil
	})
}

// persist makes durable what raft wants to be. That more is committed than before is not: it is known again soon enough.
func (r *Raft) persist(rd *raft.Ready) error {
	hard := r.log.hard
	if !raft.IsEmptyHardState(rd.HardState) {
		hard = hardState{rd.GetTerm(), rd.GetVote(), rd.GetCommit()}
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		meta := rd.Snapshot.GetMetadata()
		s := snapshot{place: place{meta.GetIndex(), meta.GetTerm()}, conf: meta.GetConfState(), data: rd.Snapshot.GetData()}
		return r.log.install(s, hard, rd.Entries)
	}
	if mutant.On(mutant.RaftEntriesNotSynced) && len(rd.Entries) > 0 {
		r.log.take(&readyRecord{hard: hard, entries: rd.Entries})
		return nil
	}
	if mutant.On(mutant.VoteNotPersisted) && len(rd.Entries) == 0 {
		r.log.hard = hard
		return nil
	}
	if len(rd.Entries) == 0 && hard.term == r.log.hard.term && hard.vote == r.log.hard.vote {
		r.log.hard.commit = max(hard.commit, r.log.hard.commit)
		return nil
	}
	return r.log.append(hard, rd.Entries)
}

// hand makes an entry one for the caller, and lets a change of members take effect.
func (r *Raft) hand(e *raftpb.Entry) (Entry, error) {
	if e.GetIndex() != r.applied+1 {
		return Entry{}, fmt.Errorf("BUG: entry %d is committed after %d", e.GetIndex(), r.applied)
	}
	r.applied = e.GetIndex()
	entry := Entry{Index: e.GetIndex(), Term: e.GetTerm()}
	if e.GetType() == raftpb.EntryNormal {
		entry.Data = e.GetData()
		return entry, nil
	}
	change, err := decodeChange(e)
	if err != nil {
		return Entry{}, err
	}
	entry.Change = &change
	r.conf = r.node.ApplyConfChange(change.raft())
	r.confs = append(r.confs, confAt{e.GetIndex(), r.conf})
	return entry, nil
}

// output completes an Output and keeps it for Ready.
func (r *Raft) output(out Output) {
	basic := r.node.BasicStatus()
	out.Commit = basic.GetCommit()
	out.Term, out.Leader, out.Role = basic.GetTerm(), nodeOf(basic.Lead), r.roleOf(basic)
	leads := basic.RaftState == raft.StateLeader
	if leads && (!r.leading || out.Term != r.term) {
		r.heard = map[uint64]heard{}
		r.barrier = r.log.last()
	}
	r.leading, r.term = leads, out.Term
	r.outputs = append(r.outputs, out)
}

// JournalBytes is how much a restart would read after the newest image: what to base Compact on.
func (r *Raft) JournalBytes() int64 {
	if r.Err() != nil {
		return 0
	}
	return r.log.journal.Size()
}

// Compact gives the caller's state after the entry index, which Ready has handed out: older entries are dropped, but for
// Config.KeepEntries. It writes and syncs files. state is kept and must not be changed.
//
// An error that Is ErrFailed is the end of this Raft; any other (a full disk, mostly) has changed nothing, and Compact may be
// tried again later. An index that a snapshot already covers does nothing.
func (r *Raft) Compact(index uint64, state []byte) error {
	if err := r.Err(); err != nil {
		return err
	}
	switch {
	case index > r.applied:
		return fmt.Errorf("%w: snapshot of entry %d, the last handed out is %d", ErrMalformed, index, r.applied)
	case len(state) > MaxSnapshotBytes:
		return fmt.Errorf("%w: snapshot of %d bytes, the limit is %d", ErrTooLarge, len(state), MaxSnapshotBytes)
	case index <= r.log.snapshot.index:
		return nil
	}
	term, err := r.log.Term(index)
	if err != nil {
		return fmt.Errorf("quorum: snapshot of entry %d: %w", index, err)
	}
	at := r.confs[0]
	from := 0
	for i, c := range r.confs {
		if c.index <= index {
			at, from = c, i
		}
	}
	err = r.log.compact(snapshot{place: place{index, term}, conf: at.conf, data: state}, uint64(r.config.KeepEntries))
	if errors.Is(err, journal.ErrFailed) {
		return r.fail(&StorageError{Op: "write a snapshot", Err: err})
	}
	if err != nil {
		return fmt.Errorf("quorum: write a snapshot: %w", err)
	}
	r.confs = append([]confAt(nil), r.confs[from:]...)
	return nil
}
