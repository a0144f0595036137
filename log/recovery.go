package log

import (
	"errors"
	"os"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Recovery, after anything but a clean close. Segments that end below the recovery point were synced, are believed as after a clean
// close, and are checked when they are read. The others are read and checked from their beginning. Where bytes are bad:
//
//	below the recovery point            they were synced, so they are damage: quarantined, and the offsets not used again
//	above it, at the end                an unfinished write: cut off and kept as a .torn file
//	above it, with good batches behind  an unfinished write too if it looks like one (see unfinished), otherwise damage
//
// A log is a prefix of what was written to it: what was not synced behind an unfinished write goes with it. It can be repeated at any
// point: each step leaves files that lead to the same result.

// errCut ends the scan of a segment where it is to be cut.
var errCut = errors.New("unfinished write")

// recovery is the state of one run of it.
type recovery struct {
	*Log
	producers *producers
	epochs    epochCache
	from      Offset      // the producers' state is right from here on
	ends      Offset      // after the last batch so far
	applied   Offset      // after the last batch that apply was given
	aborted   abortedList // of the segment that is being scanned
	cut       bool        // something has been cut: nothing behind it stays
}

func (l *Log) recover(d listing) error {
	c := &l.config
	for _, name := range d.foreign {
		l.find(Finding{Kind: Foreign, Path: l.path(name), Action: ActionKept})
	}
	l.setSegmentsLocked(d.segments)
	if len(d.segments) == 0 {
		return l.recoverNothing(d)
	}
	if err := l.identify(); err != nil {
		return err
	}
	l.setEnds(max(c.LogStart, d.segments[0].base), d.segments[len(d.segments)-1].base)
	first := len(d.segments) - 1
	for first > 0 && d.segments[first].base > c.RecoveryPoint {
		first--
	}
	r := &recovery{Log: l, ends: d.segments[first].base}
	if err := r.dropCaches(d.segments[first:], d.doubt); err != nil {
		return err
	}
	if err := r.restoreState(d, r.ends); err != nil {
		return err
	}
	kept := first
	for i := first; i < len(d.segments) && !r.cut; i++ {
		s := d.segments[i]
		if s.base > r.ends && s.base <= c.LogStart {
			r.ends = s.base // what is missing was deleted anyway
		}
		if s.base > r.ends && r.cleanedGap(r.ends) {
			r.ends = s.base
		}
		if s.base != r.ends {
			if l.mayCutAt(r.ends) && s.base > r.ends && l.settings.Load().Sync != SyncAlways {
				r.cut = true // the end of the segment before was not written, its size included
				break
			}
			l.find(Finding{Kind: MissingSegment, Path: l.logPath(s), Offset: r.ends, NextOffset: s.base, Action: ActionQuarantined})
			r.lossy()
		}
		if i > first {
			r.writeSnapshot(d, s.base)
		}
		if err := r.segment(s, i == len(d.segments)-1); err != nil {
			return err
		}
		kept = i + 1
	}
	if err := r.setAside(d.segments[kept:]); err != nil {
		return err
	}
	return r.finish(d, d.segments[:kept])
}

// recoverNothing opens a directory without a segment.
func (l *Log) recoverNothing(d listing) error {
	end := max(l.config.LogStart, l.config.RecoveryPoint, 0)
	if end > max(l.config.LogStart, 0) {
		l.find(Finding{Kind: MissingSegment, Path: l.config.Dir, Offset: l.config.LogStart, NextOffset: end, Action: ActionNone, Detail: "no segment is there"})
		l.mu.Lock()
		l.report.Lossy = true
		l.mu.Unlock()
	}
	l.setEnds(end, end)
	l.sweep(d, end)
	return nil
}

// dropCaches makes sure that what is read next comes from the disk: after a failed sync the system keeps pages in its cache that look
// written and are not. Where nothing is synced one by one that takes long after a kill, and is only done if a sync has failed, see poison.
func (r *recovery) dropCaches(list []*logSegment, doubt bool) error {
	if r.config.ReadOnly || r.settings.Load().Sync == SyncNever && !doubt {
		return nil
	}
	for _, s := range list {
		file, err := r.config.FS.OpenFile(r.logPath(s), os.O_RDWR, 0)
		if err != nil {
			return storageError(nil, "open", r.logPath(s), err)
		}
		// Only clean pages can be dropped. If this fails the bytes are lost, which the scan will see; later writes are synced anew.
		_ = file.Sync()
		err = file.DropCache(0, 0)
		if err := errors.Join(err, file.Close()); err != nil {
			return storageError(nil, "drop cache of", r.logPath(s), err)
		}
	}
	if doubt {
		_ = r.config.FS.Remove(r.path(segment.DoubtName)) // if it stays, the next open looks at the disk again
	}
	return nil
}

// restoreState finds producers and epochs as they were at base.
func (r *recovery) restoreState(d listing, base Offset) error {
	epochs, err := segment.ReadEpochs(r.config.FS, r.config.Dir)
	if err == nil {
		r.epochs.Epochs = epochs
	}
	if r.epochs.TruncateFromEnd(int64(base)) {
		r.epochs.changed(base)
	}
	if err != nil {
		r.epochs.changed(0)
	}
	var snapshot Offset
	r.producers, snapshot = r.snapshotBefore(d.snapshots, base, r.settled())
	r.from, r.applied = snapshot, base
	if latest, ok := r.epochs.Latest(); snapshot >= base && (base == 0 || base <= r.Start() || ok && latest.Start < int64(base)) {
		return nil
	}
	r.applied = min(snapshot, r.Start())
	return r.replay(r.applied, base, r.apply)
}

// settled returns the offset below which everything that is found was visible before the crash.
func (r *recovery) settled() Offset {
	if r.config.Replicated {
		return r.config.HighWatermark
	}
	return noOffset
}

func (r *recovery) apply(_ int64, b batch.Batch) error {
	begins := min(r.applied, Offset(b.BaseOffset())) // as publish has it
	if r.epochs.Assign(b.LeaderEpoch(), int64(begins)) {
		r.epochs.changed(begins)
	}
	r.applied = Offset(b.LastOffset()) + 1
	if b.ProducerID() >= 0 && Offset(b.BaseOffset()) >= r.from {
		if e := r.producers.replay(b, Offset(b.BaseOffset()), r.settled()); e != nil && e.aborted {
			r.aborted.add(e)
		}
	}
	return nil
}

// cleanedGap says whether what is missing at offset, between two segments, was removed by compaction: not by ours, which leaves no such
// gap, but by Apache Kafka's. A loss of power leaves them too, at the end of what was not synced.
func (r *recovery) cleanedGap(offset Offset) bool {
	return r.gapsLawful() && (r.config.Copied || !r.mayCutAt(offset) || r.settings.Load().Sync == SyncAlways)
}

// mayCutAt says whether bytes from offset on may be an unfinished write: nothing that was synced is.
func (l *Log) mayCutAt(offset Offset) bool {
	return offset >= l.config.RecoveryPoint
}

// segment scans s and brings it into order.
func (r *recovery) segment(s *logSegment, last bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, err := r.openForRead(s)
	if e, ok := errors.AsType[*suspicion](err); ok {
		err = storageError(nil, "open", r.logPath(s), e.err)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return storageError(nil, "stat", r.logPath(s), err)
	}
	_, bound := r.boundOf(s)
	r.aborted = abortedList{}
	judge := &judge{log: r.Log, file: file, size: size, last: last}
	var end int64 // of the last good batch
	next := s.base
	cut := false
	sc, err := r.scanFile(s, file, size, bound, func(position int64, b batch.Batch) error {
		if position > end && r.mayCutAt(next) && judge.unfinished(end, position) {
			cut = true
			return errCut
		}
		end, next = position+int64(len(b)), Offset(b.LastOffset())+1
		return r.apply(position, b)
	})
	if err != nil && !errors.Is(err, errCut) {
		return err
	}
	if cut {
		// Once more, to the place of the cut: the index must not know of what is behind it.
		state := r.Log.settings.Load().index()
		index := segment.NewIndex(int64(s.base), state)
		_, err := segment.Scan(file, 0, end, int64(s.base), segment.ScanOptions{Compacted: r.gapsLawful()}, func(position int64, b batch.Batch) error {
			index.Add(position, b)
			return nil
		})
		if err != nil {
			return err
		}
		sc = &scanned{index: index, next: next, position: end}
	}
	s.checked.reset(0)
	r.setDamageLocked(s, sc)
	if len(s.damage) > 0 {
		r.lossy()
	}
	if err := r.tail(s, sc, size, cut, last, bound); err != nil {
		return err
	}
	r.ends = sc.next
	s.index.Store(sc.index)
	s.written.Store(s.mark(sc.next, sc.position))
	s.shown.Store(s.mark(sc.next, sc.position))
	s.size = sc.position
	s.loaded.Store(true)
	r.finishAborted(s, last, sc.damage)
	if !last && !r.cut && !r.config.ReadOnly && !r.hasGoodIndex(s) {
		return r.indexError(s, r.rewriteIndex(s, sc.index))
	}
	return nil
}

// finishAborted publishes the aborted transactions that the scan of s has found, and puts the .txnindex right.
func (r *recovery) finishAborted(s *logSegment, last bool, damaged []damage) {
	t := r.aborted
	if !last {
		t.openAtEnd = r.producers.firstOpen()
	}
	r.keepDamaged(s, &t, damaged)
	r.repairTxnIndex(s, &t)
	s.aborted.Store(&t)
}

// hasGoodIndex says that the index files are those that the segment was sealed with. They may differ from what a scan makes of the
// batches, by the entries that a close in between has added.
func (r *recovery) hasGoodIndex(s *logSegment) bool {
	if !s.hasSum.Load() || len(s.damage) > 0 {
		return false
	}
	_, bound := r.boundOf(s)
	index := segment.NewIndex(int64(s.base), r.Log.settings.Load().index())
	return index.Load(r.config.FS, r.config.Dir, s.size, int64(bound)) == nil && r.loadSum(s, index) == nil && s.hasSum.Load()
}

func (r *recovery) lossy() {
	r.mu.Lock()
	r.report.Lossy = true
	r.mu.Unlock()
}

// indexError turns a full disk into nothing: an index can be made again.
func (r *recovery) indexError(s *logSegment, err error) error {
	if err != nil {
		r.find(Finding{Kind: WrongIndex, Path: r.path(segment.IndexName(int64(s.base))), Action: ActionKept, Detail: err.Error()})
	}
	return nil
}

// writeSnapshot keeps the producers' state at base, where the crash came before Seal.
func (r *recovery) writeSnapshot(d listing, base Offset) {
	if r.config.ReadOnly {
		return
	}
	for _, at := range d.snapshots {
		if at == base {
			return
		}
	}
	_ = segment.WriteSnapshot(r.config.FS, r.config.Dir, int64(base), r.producers.entries()) // a cache
}

// finish makes what has been found the state of the log.
func (r *recovery) finish(d listing, list []*logSegment) error {
	l, c := r.Log, &r.config
	end := max(r.ends, c.LogStart)
	if r.epochs.TruncateFromEnd(int64(end)) {
		r.epochs.changed(end)
	}
	l.setSegmentsLocked(list)
	l.setEnds(max(c.LogStart, list[0].base), end)
	l.sweep(d, end)
	if !c.ReadOnly {
		if err := c.FS.SyncDir(c.Dir); err != nil {
			return storageError(nil, "sync directory", c.Dir, err)
		}
		if l.settings.Load().Sync == SyncNever {
			// What was read came from the page cache, which may hold all of it. The next sync, Seal's at the latest, reaches it; it
			// is as little durable until then as it was before the crash.
			l.durable.Store(int64(min(max(c.RecoveryPoint, 0), end))) // not more, even where the log starts later
			for _, s := range list {
				if s.loaded.Load() {
					l.unsynced = append(l.unsynced, s)
				}
			}
			l.unsyncedRolled.Add(int64(len(l.unsynced)))
		}
	}
	l.mu.Lock()
	l.epochs, l.producers = r.epochs, r.producers
	if l.report.Truncated > 0 || l.settings.Load().Sync != SyncAlways && end > l.Start() {
		l.report.Lossy = true
	}
	l.recovered = true
	l.showUnstableLocked()
	l.transactional.Store(r.producers.transactional())
	l.stableKnown.Store(true)
	l.mu.Unlock()
	return nil
}

func syncFile(fsys vfs.FS, path string) error {
	file, err := fsys.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
