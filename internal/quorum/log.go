package quorum

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/partlog/partlog/internal/journal"
)

const (
	// maxRecord is how many bytes of entries go into one record of the journal. One entry alone may be larger.
	maxRecord = 4 << 20
	// tidyBytes is from which size on the journal is written anew, if most of it means nothing any more.
	tidyBytes = 8 << 20
)

// raftLog is raft's storage: everything in memory, and everything in the journal before raft hears that it is. It is
// the Storage of raft's interface.
type raftLog struct {
	image
	journal *journal.Journal
	bytes   int   // of the entries' data
	record  int   // maxRecord, but in tests
	dead    int64 // tidyBytes, but in tests
	// wanted is set when raft asks for a snapshot that holds all present members, and there is none.
	wanted  bool
	present func() *raftpb.ConfState // the members as of the last entry handed out
	tidyAt  int64                    // journal size of the next attempt
	noted   uint64                   // what is on disk of hard.commit
}

func (l *raftLog) first() uint64 { return l.before.index + 1 }
func (l *raftLog) last() uint64  { return l.before.index + uint64(len(l.entries)) }

// empty: nothing was ever received.
func (l *raftLog) empty() bool { return l.last() == 0 && l.snapshot.index == 0 }

// restore takes an image.
func (l *raftLog) restore(b []byte) error {
	m, err := decodeImage(b)
	if err != nil {
		return err
	}
	l.image = *m
	l.noted = m.hard.commit
	l.bytes = 0
	for _, e := range m.entries {
		l.bytes += len(e.GetData())
	}
	return nil
}

// replay takes one record.
func (l *raftLog) replay(e journal.Entry) error {
	switch e.Kind {
	case kindReady:
		r, err := decodeReady(e.Payload)
		if err != nil {
			return err
		}
		if len(r.entries) > 0 {
			if at := r.entries[0].GetIndex(); at <= l.before.index || at > l.last()+1 {
				return fmt.Errorf("%w: entry %d does not continue %d to %d", ErrMalformed, at, l.first(), l.last())
			}
		}
		l.take(r)
		l.noted = r.hard.commit
		if l.hard.commit > l.last() {
			return fmt.Errorf("%w: commit %d, the last entry is %d", ErrMalformed, l.hard.commit, l.last())
		}
		return nil
	case kindBase:
		generation, err := decodeBase(e.Payload)
		if err != nil {
			return err
		}
		if generation != l.generation {
			return fmt.Errorf("the image of generation %d is gone, there is only %d", generation, l.generation)
		}
		return nil
	case kindNote:
		return nil
	case kindLost:
		return fmt.Errorf("%w: %s", ErrLogLost, e.Payload)
	}
	return fmt.Errorf("%w: record of kind %d", ErrNewerVersion, e.Kind)
}

// take makes a record part of the memory.
func (l *raftLog) take(r *readyRecord) {
	l.hard = r.hard
	if len(r.entries) == 0 {
		return
	}
	keep := r.entries[0].GetIndex() - l.first()
	for _, e := range l.entries[keep:] {
		l.bytes -= len(e.GetData())
	}
	// What raft holds of the old slice must not change under its hands.
	l.entries = append(l.entries[:keep:keep], r.entries...)
	for _, e := range r.entries {
		l.bytes += len(e.GetData())
	}
}

// append makes entries and hard state durable.
func (l *raftLog) append(hard hardState, entries []*raftpb.Entry) error {
	if len(entries) > 0 {
		if at := entries[0].GetIndex(); at <= l.before.index || at > l.last()+1 {
			return fmt.Errorf("BUG: entry %d does not continue %d to %d", at, l.first(), l.last())
		}
	}
	for {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size+len(entries[n].GetData())+entryOverhead <= l.record) {
			size += len(entries[n].GetData()) + entryOverhead
			n++
		}
		r := &readyRecord{hard: hard, entries: entries[:n]}
		entries = entries[n:]
		if len(entries) > 0 {
			// A crash between the records leaves a log that is whole: what is committed beyond it is known again later.
			r.hard.commit = min(hard.commit, r.entries[n-1].GetIndex())
		}
		if _, err := l.journal.Append(kindReady, appendReady(nil, r)); err != nil {
			return err
		}
		l.take(r)
		l.noted = r.hard.commit
		if len(entries) == 0 {
			return nil
		}
	}
}

// noteCommit writes how much is committed, which is not worth a write while there is more to come.
func (l *raftLog) noteCommit() error {
	if l.journal == nil || l.hard.commit <= l.noted {
		return nil
	}
	return l.append(l.hard, nil)
}

// install replaces everything by a snapshot, and what comes with it.
func (l *raftLog) install(s snapshot, hard hardState, entries []*raftpb.Entry) error {
	next := l.image
	next.snapshot, next.before, next.hard = s, s.place, hard
	next.hard.commit = max(hard.commit, s.index)
	next.entries = entries
	return l.rebase(next, fmt.Sprintf("snapshot %d of term %d received", s.index, s.term))
}

// rebase makes an image that does not follow from the records before it the whole log. It counts, after a crash at any
// moment, as soon as its file is complete; from the base record on, its loss is noticed.
func (l *raftLog) rebase(next image, note string) error {
	// The journal writes no image where nothing has been appended since the last one.
	if _, err := l.journal.Append(kindNote, []byte(note)); err != nil {
		return err
	}
	next.generation++
	b, err := appendImage(nil, &next)
	if err != nil {
		return err
	}
	if err := l.journal.Compact(b); err != nil {
		return err
	}
	if _, err := l.journal.Append(kindBase, appendBase(nil, next.generation)); err != nil {
		return err
	}
	l.image = next
	l.noted = next.hard.commit
	l.bytes = 0
	for _, e := range next.entries {
		l.bytes += len(e.GetData())
	}
	return nil
}

// compact takes a snapshot that the caller made, and drops what it makes unnecessary, but for the last keep entries.
// An error that is not journal.ErrFailed has changed nothing.
func (l *raftLog) compact(s snapshot, keep uint64) error {
	next := l.image
	next.snapshot = s
	next.hard.commit = max(next.hard.commit, s.index)
	if drop := s.index - min(keep, s.index); drop > next.before.index {
		term, err := l.Term(drop)
		if err != nil {
			return err
		}
		n := drop - next.before.index
		next.before = place{drop, term}
		next.entries = append([]*raftpb.Entry(nil), next.entries[n:]...)
	}
	b, err := appendImage(nil, &next)
	if err != nil {
		return err
	}
	if err := l.compactJournal(b); err != nil {
		return err
	}
	l.image = next
	l.noted = next.hard.commit
	l.bytes = 0
	for _, e := range next.entries {
		l.bytes += len(e.GetData())
	}
	return nil
}

// compactJournal writes an image. The journal makes none where nothing was appended since the last: then a note is.
func (l *raftLog) compactJournal(b []byte) error {
	stats := l.journal.Stats()
	if stats.Last == stats.Snapshot && stats.Last > 0 {
		if _, err := l.journal.Append(kindNote, []byte("compacted")); err != nil {
			return err
		}
	}
	return l.journal.Compact(b)
}

// tidy writes the journal anew when most of it means nothing any more: entries that were overwritten, votes.
func (l *raftLog) tidy() error {
	size, alive := l.journal.Size(), int64(l.bytes+len(l.snapshot.data))
	if size < max(l.dead, 4*alive, l.tidyAt) {
		return nil
	}
	b, err := appendImage(nil, &l.image)
	if err != nil {
		return err
	}
	if err := l.journal.Compact(b); err != nil {
		l.tidyAt = 2 * size
		return err
	}
	l.tidyAt = 0
	return nil
}

// InitialState is raft.Storage's.
func (l *raftLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return l.hard.raft(), l.snapshot.conf, nil
}

// Entries is raft.Storage's.
func (l *raftLog) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	switch {
	case lo <= l.before.index:
		return nil, raft.ErrCompacted
	case hi > l.last()+1:
		return nil, raft.ErrUnavailable
	}
	list := l.entries[lo-l.first() : hi-l.first()]
	size := uint64(0)
	for i, e := range list {
		size += uint64(len(e.GetData()) + entryOverhead)
		if i > 0 && size > maxSize {
			list = list[:i]
			break
		}
	}
	return list[:len(list):len(list)], nil
}

// Term is raft.Storage's.
func (l *raftLog) Term(index uint64) (uint64, error) {
	switch {
	case index < l.before.index:
		return 0, raft.ErrCompacted
	case index == l.before.index:
		return l.before.term, nil
	case index > l.last():
		return 0, raft.ErrUnavailable
	}
	return l.entries[index-l.first()].GetTerm(), nil
}

// LastIndex is raft.Storage's.
func (l *raftLog) LastIndex() (uint64, error) { return l.last(), nil }

// FirstIndex is raft.Storage's.
func (l *raftLog) FirstIndex() (uint64, error) { return l.first(), nil }

// Snapshot is raft.Storage's. A member throws a snapshot away in whose members it is not, and would be sent it for ever:
// so there is none until the caller has made one that knows all present members.
func (l *raftLog) Snapshot() (*raftpb.Snapshot, error) {
	known := map[uint64]bool{}
	for _, list := range [][]uint64{l.snapshot.conf.GetVoters(), l.snapshot.conf.GetLearners()} {
		for _, id := range list {
			known[id] = true
		}
	}
	now := l.present()
	for _, list := range [][]uint64{now.GetVoters(), now.GetLearners()} {
		for _, id := range list {
			if !known[id] {
				l.wanted = true
				return nil, raft.ErrSnapshotTemporarilyUnavailable
			}
		}
	}
	return l.snapshot.raft(), nil
}

func (s snapshot) raft() *raftpb.Snapshot {
	return &raftpb.Snapshot{
		Data:     s.data,
		Metadata: &raftpb.SnapshotMetadata{ConfState: raftpb.EnsureConfState(s.conf), Index: new(s.index), Term: new(s.term)},
	}
}

func (l *raftLog) close() error {
	if l.journal == nil {
		return nil
	}
	err := l.journal.Close()
	l.journal = nil
	if errors.Is(err, journal.ErrFailed) {
		return nil // reported when it happened
	}
	return err
}
