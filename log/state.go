package log

import (
	"errors"
	"io/fs"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// epochCache is the leader epochs of the log; dirty says that its checkpoint file is behind: right below from only.
type epochCache struct {
	segment.Epochs
	dirty   bool
	from    Offset
	changes int
}

// changed says that the checkpoint is not right any more from an offset on.
func (c *epochCache) changed(from Offset) {
	if !c.dirty || from < c.from {
		c.from = from
	}
	c.dirty = true
	c.changes++
}

// loadEpochs reads the checkpoint, or, when it cannot be right, makes it again from the batches.
func (l *Log) loadEpochs(end Offset) (epochCache, error) {
	epochs, err := segment.ReadEpochs(l.config.FS, l.config.Dir)
	if err == nil {
		if err = l.compareEpochs(&epochs, end); err == nil {
			return epochCache{Epochs: epochs}, nil
		}
		if _, wrong := errors.AsType[*segment.CorruptError](err); !wrong {
			return epochCache{}, err
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.find(Finding{Kind: WrongEpochs, Path: l.path(segment.EpochCheckpointName), Action: ActionRebuilt, Detail: err.Error()})
	}
	c, next := epochCache{}, int64(l.Start())
	c.changed(l.Start())
	err = l.replay(l.Start(), end, func(_ int64, b batch.Batch) error {
		c.Assign(b.LeaderEpoch(), min(next, b.BaseOffset())) // as publish has it
		next = b.LastOffset() + 1
		return nil
	})
	return c, err
}

// compareEpochs says whether the checkpoint, which has no checksum, agrees with the batches. Epochs never fall, so it is enough to
// look at where each begins and ends.
func (l *Log) compareEpochs(epochs *segment.Epochs, end Offset) error {
	entries := epochs.Entries()
	first := l.Start()
	if list := l.segmentList(); len(list) > 0 {
		first = max(first, list[0].base)
	}
	if first >= end {
		return nil
	}
	wrong := func(reason string) error {
		return &segment.CorruptError{Path: l.path(segment.EpochCheckpointName), Reason: reason}
	}
	if len(entries) == 0 || Offset(entries[0].Start) > first || Offset(entries[len(entries)-1].Start) > end {
		return wrong("checkpoint does not cover the log")
	}
	for i, e := range entries {
		last := end
		if i+1 < len(entries) {
			last = Offset(entries[i+1].Start)
		}
		for _, o := range []Offset{max(Offset(e.Start), first), last - 1} {
			if o < first || o >= end || o < Offset(e.Start) { // the last: of a leader who has written nothing
				continue
			}
			epoch, err := l.epochAt(o)
			if err != nil {
				return err
			}
			if epoch != batch.None && epoch != e.Epoch {
				return wrong("checkpoint has another epoch than a batch")
			}
		}
	}
	return nil
}

// knownEpochs returns what is known of the epochs without the batches: with it a scan can tell a new epoch from a flipped bit.
func (l *Log) knownEpochs() *segment.Epochs {
	l.mu.Lock()
	var known segment.Epochs
	for _, e := range l.epochs.Entries() {
		known.Assign(e.Epoch, e.Start)
	}
	l.mu.Unlock()
	if known.Len() > 0 {
		return &known
	}
	read, err := segment.ReadEpochs(l.config.FS, l.config.Dir)
	if err != nil {
		return nil
	}
	return &read
}

// epochAt returns the leader epoch of the batch that holds offset, -1 when it cannot be read.
func (l *Log) epochAt(offset Offset) (int32, error) {
	epoch := int32(batch.None)
	list := l.segmentList()
	i := segmentAt(list, offset)
	if i < 0 {
		return epoch, nil
	}
	if err := l.ensure(list[i]); err != nil {
		return epoch, err
	}
	err := l.eachHeader(list[i], offset, offset+1, func(b batch.Batch) bool {
		epoch = b.LeaderEpoch()
		return false
	})
	if _, bad := errors.AsType[*suspicion](err); bad {
		return batch.None, nil // a read will say so
	}
	return epoch, err
}

// loadProducers restores the state at end from the newest snapshot that can be believed and the batches behind it.
func (l *Log) loadProducers(end Offset) (*producers, error) {
	if end == 0 {
		return &producers{}, nil
	}
	entries, err := segment.ReadSnapshot(l.config.FS, l.config.Dir, int64(end))
	if err == nil {
		l.closeSnapshot = end
		// Of a replicated log it does not tell which transactions have ended and are not stable.
		if state := restore(entries); !l.config.Replicated || l.Visible() >= end || !state.transactional() {
			return state, nil
		}
	}
	return l.producersAt(end)
}

// producersAt is loadProducers for any offset.
func (l *Log) producersAt(end Offset) (*producers, error) {
	d, err := l.list()
	if err != nil {
		return nil, err
	}
	stable := noOffset
	if l.config.Replicated {
		stable = l.Visible()
	}
	state, from := l.snapshotBefore(d.snapshots, end, stable)
	err = l.replay(max(from, l.Start()), end, func(_ int64, b batch.Batch) error {
		if Offset(b.BaseOffset()) >= from {
			state.replay(b, Offset(b.BaseOffset()), stable)
		}
		return nil
	})
	return state, err
}

// snapshotBefore is newestSnapshot, but for a state which has transactions, of which those that ended behind stable have to be found: then
// it is one from there.
func (l *Log) snapshotBefore(snapshots []Offset, limit, stable Offset) (*producers, Offset) {
	state, from := l.newestSnapshot(snapshots, limit)
	if from > stable && state.transactional() {
		return l.newestSnapshot(snapshots, stable)
	}
	return state, from
}

// newestSnapshot reads the newest of the snapshots up to limit that can be believed. Without one the state is empty from 0 on.
func (l *Log) newestSnapshot(snapshots []Offset, limit Offset) (*producers, Offset) {
	for i := len(snapshots) - 1; i >= 0; i-- {
		at := snapshots[i]
		if at > limit {
			continue
		}
		entries, err := segment.ReadSnapshot(l.config.FS, l.config.Dir, int64(at))
		if err == nil {
			return restore(entries), at
		}
		l.find(Finding{Kind: WrongSnapshot, Path: l.path(segment.SnapshotName(int64(at))), Offset: at, NextOffset: at, Action: ActionKept, Detail: err.Error()})
	}
	return &producers{}, 0
}

// replay gives visit the batches of [from, end), in order and without the damaged ones. Only the header of a batch is given, unless
// it is a control batch.
func (l *Log) replay(from, end Offset, visit func(position int64, b batch.Batch) error) error {
	list := l.segmentList()
	for i := max(segmentAt(list, from), 0); i < len(list) && list[i].base < end; i++ {
		if err := l.replaySegment(list[i], from, end, visit); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) replaySegment(s *logSegment, from, end Offset, visit func(int64, batch.Batch) error) error {
	if err := l.ensure(s); err != nil {
		return err
	}
	_, size := s.writtenEnd()
	if size == 0 {
		return nil
	}
	file, err := l.openForRead(s)
	if _, missing := errors.AsType[*suspicion](err); missing {
		return nil // reads report it
	}
	if err != nil {
		return err
	}
	defer file.Close()
	src := source{segment: s, file: file, end: size}
	defer src.close()
	_, position := s.index.Load().Offsets.Lookup(int64(from))
	for position < size {
		b, n, err := src.header(position)
		if err == nil && b.IsControl() {
			b, err = src.whole(position)
		}
		if _, bad := errors.AsType[*suspicion](err); bad {
			d, inside := s.damageAt(position)
			if !inside || d.nextPosition <= position {
				return nil // reads report it
			}
			position = d.nextPosition
			continue
		}
		if err != nil {
			return err
		}
		if Offset(b.BaseOffset()) >= end {
			return nil
		}
		if Offset(b.LastOffset()) >= from {
			if err := visit(position, b); err != nil {
				return err
			}
		}
		position += n
	}
	return nil
}

// damageAt returns the damage that covers position.
func (s *logSegment) damageAt(position int64) (damage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.damage {
		if d.position <= position && position < d.nextPosition {
			return d, true
		}
	}
	return damage{}, false
}

// assignEpoch notes that epoch begins with offset.
func (l *Log) assignEpoch(epoch LeaderEpoch, offset Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epochs.Assign(int32(epoch), int64(offset)) {
		l.epochs.changed(offset)
	}
}

// LastEpoch returns the epoch of the newest batch, -1 for an empty log.
func (l *Log) LastEpoch() (LeaderEpoch, error) {
	if err := l.touch(); err != nil {
		return -1, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	latest, _ := l.epochs.Latest()
	return LeaderEpoch(latest.Epoch), nil
}

// EpochAt returns the epoch that the record at offset was written under, or will be if it is the next one; -1 when that is not
// known, as below the first epoch that the log remembers.
func (l *Log) EpochAt(offset Offset) (LeaderEpoch, error) {
	if err := l.touch(); err != nil {
		return -1, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	found := LeaderEpoch(-1)
	for _, e := range l.epochs.Entries() {
		if e.Start > int64(offset) {
			break
		}
		found = LeaderEpoch(e.Epoch)
	}
	return found, nil
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-101, KIP-279): the largest epoch that is not above e, and the offset where it ends; -1, -1
// when e is above all that the log knows.
func (l *Log) EpochEnd(e LeaderEpoch) (LeaderEpoch, Offset, error) {
	if err := l.touch(); err != nil {
		return -1, -1, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	epoch, end := l.epochs.EndOffset(int32(e), l.written.Load())
	return LeaderEpoch(epoch), Offset(end), nil
}
