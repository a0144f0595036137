package quorum

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/partlog/partlog/internal/journal"
)

// Recovery says what Open found.
type Recovery struct {
	Self     Member `json:"self"`
	Lineage  uint64 `json:"lineage"`
	Term     uint64 `json:"term"`
	Vote     int32  `json:"vote"` // -1: nobody
	Commit   uint64 `json:"commit"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Snapshot uint64 `json:"snapshot"`
	// MustRejoin: something durable is missing, Reason says what. Open returns no Raft, and a *DamageError.
	MustRejoin bool   `json:"mustRejoin"`
	Reason     string `json:"reason,omitempty"`
	// Journal says what was found and repaired below.
	Journal *journal.Recovery `json:"journal"`
}

// Open opens the log that Bootstrap, Join or an earlier Open left. A member of a new quorum begins an election by itself after
// its timeout, or by Campaign.
//
// Errors: ErrNotFormatted; *DamageError, which Is ErrMustRejoin, with a Recovery and nothing modified; ErrNewerVersion, with
// nothing modified; vfs.ErrLocked; wrapped I/O errors.
func Open(c Config) (*Raft, *Recovery, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, nil, err
	}
	// Read first, without a change: recovery would repair some of what has to be refused.
	_, recovery, err := readLog(c, true)
	if err != nil {
		return nil, recovery, err
	}
	log, recovery, err := readLog(c, false)
	if err != nil {
		return nil, recovery, err
	}
	r := &Raft{config: c, log: log, self: log.self, conf: log.snapshot.conf, heard: map[uint64]heard{}}
	r.last = Status{Self: r.self, Leader: -1, Vote: -1, Transferee: -1}
	log.present = func() *raftpb.ConfState { return r.conf }
	if err := r.start(); err != nil {
		return nil, recovery, errors.Join(err, log.close())
	}
	return r, recovery, nil
}

// start brings raft to where the caller's state is.
func (r *Raft) start() error {
	log := r.log
	r.applied = log.snapshot.index
	if !log.empty() {
		r.deliver = r.config.Applied < log.snapshot.index
		r.applied = max(r.config.Applied, log.snapshot.index)
	}
	// What the caller applied was committed, whether or not that was noted.
	log.hard.commit = max(log.hard.commit, r.applied)
	if !log.empty() {
		log.hard.commit = max(log.hard.commit, r.config.Known)
	}
	r.confs = []confAt{{log.snapshot.index, log.snapshot.conf}}
	return r.guard("open", func() (err error) {
		if r.node, err = raft.NewRawNode(r.raftConfig(r.applied)); err != nil {
			return fmt.Errorf("quorum: %w", err)
		}
		// The members are those of the snapshot, and the changes that the caller's state has behind it.
		if r.applied > log.snapshot.index {
			for _, e := range log.entries[log.snapshot.index-log.before.index : r.applied-log.before.index] {
				if e.GetType() == raftpb.EntryNormal {
					continue
				}
				change, err := decodeChange(e)
				if err != nil {
					return err
				}
				r.conf = r.node.ApplyConfChange(change.raft())
				r.confs = append(r.confs, confAt{e.GetIndex(), r.conf})
			}
		}
		return nil
	})
}

// readLog reads the log. Of a read-only one the journal is closed.
func readLog(c Config, readOnly bool) (*raftLog, *Recovery, error) {
	log := &raftLog{record: maxRecord, dead: tidyBytes}
	recovery := &Recovery{Vote: -1}
	if _, err := c.FS.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotFormatted, c.Dir)
	}
	formatted := false
	j, report, err := journal.Open(journal.Options{
		FS: c.FS, Dir: c.Dir, SegmentBytes: c.SegmentBytes, ReadOnly: readOnly,
		Snapshot: func(state []byte) error {
			formatted = true
			return damaged(c.Dir, log.restore(state))
		},
		Replay: func(e journal.Entry) error {
			if !formatted {
				return &DamageError{Dir: c.Dir, Err: errors.New("no image is left, and there are entries")}
			}
			if err := log.replay(e); err != nil {
				return damaged(c.Dir, fmt.Errorf("journal entry %d: %w", e.Index, err))
			}
			return nil
		},
	})
	recovery.Journal = report
	recovery.Self, recovery.Lineage = log.self, log.lineage
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%w: %s", ErrNotFormatted, c.Dir)
	case errors.Is(err, journal.ErrCorrupt):
		err = &DamageError{Dir: c.Dir, Err: err}
	case errors.Is(err, journal.ErrNewerVersion):
		return nil, nil, fmt.Errorf("%w: %w", ErrNewerVersion, err)
	case err == nil && !formatted:
		err = fmt.Errorf("%w: %s", ErrNotFormatted, c.Dir)
		if report.Last > 0 {
			err = &DamageError{Dir: c.Dir, Err: errors.New("no image is left")}
		}
	case err == nil:
		err = log.believable(c, report)
	}
	if err == nil {
		recovery.Term, recovery.Vote, recovery.Commit = log.hard.term, nodeOf(log.hard.vote), log.hard.commit
		recovery.First, recovery.Last, recovery.Snapshot = log.first(), log.last(), log.snapshot.index
		log.journal = j
		if readOnly {
			log.journal = nil
			return log, recovery, j.Close()
		}
		return log, recovery, nil
	}
	if errors.Is(err, ErrMustRejoin) {
		recovery.MustRejoin, recovery.Reason = true, err.Error()
	}
	if j != nil {
		err = errors.Join(err, j.Close())
	}
	if errors.Is(err, ErrNotFormatted) {
		recovery = nil
	}
	return nil, recovery, err
}

// damaged makes what the decoders say about bytes with a good checksum an error of the log.
func damaged(dir string, err error) error {
	if err == nil || errors.Is(err, ErrNewerVersion) {
		return err
	}
	return &DamageError{Dir: dir, Err: err}
}

// believable refuses a log whose end may have been lost.
func (l *raftLog) believable(c Config, report *journal.Recovery) error {
	for _, f := range report.Findings {
		// Both are there from the first moment on, and written atomically: without one, entries may be missing at the end, and
		// the last vote with them.
		if f.Kind == journal.MissingMark || f.Kind == journal.DamagedMark {
			return &DamageError{Dir: c.Dir, Err: fmt.Errorf("%s (%s): nobody can tell whether the log is whole", f.Kind, f.Path)}
		}
	}
	if !l.empty() && c.Known > l.last() {
		return &DamageError{Dir: c.Dir, Err: fmt.Errorf("the state beside it has entry %d applied, the last here is %d", c.Known, l.last())}
	}
	return nil
}

// Bootstrap makes the log of a voter of a new quorum. state is what the log begins with; it is handed out as Snapshot if
// Config.Applied is 0 at Open. Every voter has to be given the same voters and state: else they refuse each other. One voter
// alone is the usual way; the others Join.
//
// A directory that holds a log already is refused with ErrFormatted; so is none that a crash left half made. To bootstrap a
// quorum twice, after the loss of a directory, makes another quorum: it is not this one's member any more.
func Bootstrap(c Config, self Member, voters []Member, state []byte) error {
	if !slices.Contains(voters, self) {
		return fmt.Errorf("%w: %s is none of the voters", ErrMembership, self)
	}
	voters = slices.Clone(voters)
	slices.SortFunc(voters, compareMembers)
	conf := &raftpb.ConfState{}
	sum := fnv.New64a()
	for _, m := range voters {
		if !m.valid() {
			return fmt.Errorf("%w: impossible node %d", ErrMembership, m.Node)
		}
		conf.Voters = append(conf.Voters, m.id())
		_, _ = fmt.Fprintln(sum, m.id()) // a hash takes everything
	}
	if err := checkConf(conf); err != nil {
		return fmt.Errorf("%w: %w", ErrMembership, err)
	}
	if len(state) > MaxSnapshotBytes {
		return fmt.Errorf("%w: state of %d bytes, the limit is %d", ErrTooLarge, len(state), MaxSnapshotBytes)
	}
	_, _ = sum.Write(state)
	first := place{index: 1, term: 1}
	return create(c, &image{
		self: self, lineage: sum.Sum64() | 1, hard: hardState{term: 1, commit: 1},
		snapshot: snapshot{place: first, conf: conf, data: state}, before: first,
	})
}

// Join makes the log of a member that is to be added to a quorum: it is empty, and receives everything once the leader has
// been told by ProposeChange. self.Directory must be a number that the node has not been known by before.
func Join(c Config, self Member) error {
	if !self.valid() {
		return fmt.Errorf("%w: impossible node %d", ErrMembership, self.Node)
	}
	return create(c, &image{self: self, snapshot: snapshot{conf: &raftpb.ConfState{}}})
}

func create(c Config, m *image) error {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return err
	}
	if _, _, err := readLog(c, true); err == nil {
		return fmt.Errorf("%w: %s", ErrFormatted, c.Dir)
	} else if !errors.Is(err, ErrNotFormatted) {
		return err
	}
	j, _, err := journal.Open(journal.Options{FS: c.FS, Dir: c.Dir, SegmentBytes: c.SegmentBytes})
	if err != nil {
		return fmt.Errorf("quorum: %w", err)
	}
	m.generation = 1
	b, err := appendImage(nil, m)
	if err == nil {
		err = j.Compact(b)
	}
	if err == nil {
		_, err = j.Append(kindBase, appendBase(nil, m.generation))
	}
	if err = errors.Join(err, j.Close()); err != nil {
		return &StorageError{Op: "make " + c.Dir, Err: err}
	}
	return nil
}

// Rejoin sets a log aside that Open refused with ErrMustRejoin (or any other), in a directory beside it whose name it
// returns, and makes an empty one for another member of the node. The leader has to be told: Remove the old member, AddObserver
// the new, Promote it when it has caught up. The caller's own state begins anew with the snapshot that comes. After a crash on
// the way Open says ErrNotFormatted or ErrMustRejoin, and Rejoin is called again.
func Rejoin(c Config, self Member) (setAside string, err error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return "", err
	}
	if _, err := c.FS.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return "", Join(c, self) // lost altogether, or set aside before a crash
	}
	lock, err := c.FS.Lock(journalLock(c.Dir))
	if err != nil {
		return "", fmt.Errorf("quorum: %w", err)
	}
	if err := lock.Close(); err != nil {
		return "", fmt.Errorf("quorum: %w", err)
	}
	if log, _, err := readLog(c, true); err == nil && log.self == self {
		return "", fmt.Errorf("%w: %s is what the node was before: take another directory", ErrMembership, self)
	}
	if setAside, err = moveAside(c); err != nil {
		return "", fmt.Errorf("quorum: set the log aside: %w", err)
	}
	return setAside, Join(c, self)
}
