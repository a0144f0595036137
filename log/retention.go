package log

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/segment"
)

// RetainResult says what retention removed.
type RetainResult struct {
	Segments int
	Bytes    int64
	Start    Offset // log start now
	Held     int    // segments that are old enough but stay for now, see Retain
}

// Retain deletes segments from the log's beginning, by the rules of Apache Kafka's LocalLog: those below the log start; those that
// RetentionBytes can spare; those whose newest record is older than RetentionAge at time now. Only what readers may see is deleted, and
// a reader's view stays valid. The active segment goes too when everything in it is old: it is rolled first.
//
// Clocks jump, and what retention deletes is gone, so three things differ from Apache Kafka:
//   - A record from the future would keep its segment for ever. A segment whose newest timestamp was in the future when this process
//     saw the segment finished counts from its file's time, or from that moment.
//   - A jump ahead of the wall clock while the process runs is not believed for a day of running, see clockGuard.
//   - When even the newest record is old, the log has been idle for long or the clock has jumped while nobody looked: nothing tells
//     which. Then one call deletes at most a tenth of the segments, at least one; Held counts the rest, and later calls go on.
func (l *Log) Retain(now time.Time) (RetainResult, error) {
	l.admin.Lock()
	defer l.admin.Unlock()
	result := RetainResult{Start: l.Start()}
	switch {
	case l.closed.Load():
		return result, ErrClosed
	case l.config.ReadOnly:
		return result, ErrReadOnly
	}
	if err := l.failureError(); err != nil {
		return result, err
	}
	if err := l.finishSwap(); err != nil {
		return result, err
	}
	s := l.settings.Load()
	believed := l.clockGuard.believe(l.clock, now)
	l.expireProducers(believed, s)

	list := l.segmentList()
	n := l.belowStart(list)
	if s.RetentionBytes != Unlimited {
		n = max(n, l.spare(list, max(s.RetentionBytes, 0)))
	}
	if s.RetentionAge != Unlimited {
		old, err := l.older(list, n, milliseconds(believed)-max(s.RetentionAge, 0).Milliseconds())
		if err != nil {
			return result, err
		}
		if allowed := max(len(list)/10, 1); old == len(list) && old-n > allowed && s.RetentionAge > 0 {
			result.Held = old - n - allowed
			old = n + allowed
		}
		n = max(n, old)
	}
	if n == len(list) && n > 0 {
		if err := l.Roll(); err != nil {
			return result, err
		}
		if list = l.segmentList(); n == len(list) {
			n-- // an empty active segment stays
		}
	}
	err := l.removeFirst(n, &result)
	result.Start = l.Start()
	return result, err
}

// belowStart counts the segments that lie below the log start.
func (l *Log) belowStart(list []*logSegment) int {
	n := 0
	for n+1 < len(list) && list[n+1].base <= l.Start() {
		n++
	}
	return n
}

// spare counts the segments that the log can do without and still have limit bytes.
func (l *Log) spare(list []*logSegment, limit int64) int {
	var excess int64 = -limit
	for _, s := range list {
		excess += s.bytes()
	}
	n := 0
	for n < len(list) && l.upperBound(list, n) <= l.Visible() && excess-list[n].bytes() >= 0 && excess > 0 {
		excess -= list[n].bytes()
		n++
	}
	return n
}

// older counts the segments, from the one numbered n on, whose newest record is older than before, in milliseconds.
func (l *Log) older(list []*logSegment, n int, before int64) (int, error) {
	for ; n < len(list) && l.upperBound(list, n) <= l.Visible(); n++ {
		newest, err := l.newestOf(list[n], n == len(list)-1)
		if err != nil {
			return n, err
		}
		if newest >= before {
			break
		}
	}
	return n, nil
}

// upperBound returns the offset behind segment n.
func (l *Log) upperBound(list []*logSegment, n int) Offset {
	if n+1 < len(list) {
		return list[n+1].base
	}
	return l.Written()
}

// newestOf returns the time that retention counts from: the largest timestamp of s, where that can be believed.
func (l *Log) newestOf(s *logSegment, active bool) (int64, error) {
	if err := l.ensure(s); err != nil {
		return 0, err
	}
	if active {
		l.acquire()
		defer l.release()
	}
	newest, _ := s.index.Load().MaxTimestamp()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, modified := s.seen, s.modified
	if active && l.writer.counts.Writes > 0 || seen == 0 {
		seen = milliseconds(l.clock.Now())
		modified = seen
	}
	if newest < 0 || newest > seen {
		newest = min(modified, seen)
	}
	return newest, nil
}

// removeFirst removes the first n segments.
func (l *Log) removeFirst(n int, result *RetainResult) error {
	if n == 0 {
		return nil
	}
	l.syncing.Lock() // no rolled file is being synced
	l.mu.Lock()
	list := l.segmentList()
	gone, rest := list[:n], list[n:]
	raise(&l.start, int64(rest[0].base))
	l.setSegmentsLocked(slices.Clone(rest))
	var last *rolled
	l.pending = slices.DeleteFunc(l.pending, func(r *rolled) bool {
		if !slices.Contains(gone, r.segment) {
			return false
		}
		last = r
		if r.file != nil {
			_ = r.file.Close()
			l.unsyncedRolled.Add(-1)
		}
		return true
	})
	if l.epochs.TruncateFromStart(l.start.Load()) {
		l.epochs.changed(noOffset) // what it has too much does no harm
	}
	l.mu.Unlock()
	l.syncing.Unlock()
	if last != nil && last.next == rest[0].base {
		// Of producers whose batches are all gone nothing else tells. A full disk is no reason to keep what is to go.
		_ = l.writeSnapshot(last.next, last.producers)
	}
	for _, s := range gone {
		s.removed.Store(true)
		size := s.bytes()
		// One at a time, and durably, so that after a crash the log lacks its beginning at most, never something in between.
		if err := l.removeFiles(s); err != nil {
			return err
		}
		s.retireMapping()
		result.Segments++
		result.Bytes += size
	}
	return nil
}

// removeFiles removes the files of s, the records first: without them the others are leftovers, which the next open removes.
func (l *Log) removeFiles(s *logSegment) error {
	base := int64(s.base)
	for _, name := range []string{segment.LogName(base), segment.SumName(base), segment.IndexName(base), segment.TimeIndexName(base), segment.TxnIndexName(base), segment.KeyIndexName(base), segment.SnapshotName(base)} {
		if err := l.removeIfThere(name); err != nil {
			return err
		}
	}
	if err := l.config.FS.SyncDir(l.config.Dir); err != nil {
		return storageError(nil, "sync directory", l.config.Dir, err)
	}
	return nil
}

func (l *Log) removeIfThere(name string) error {
	if err := l.config.FS.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storageError(nil, "remove", l.path(name), err)
	}
	return nil
}

// DeleteRecords raises the log start offset to before and deletes segments that lie below it (KIP-107); -1 means Visible. It returns
// the log start, which the owner has to persist (Config.LogStart): records may come back after a crash otherwise.
func (l *Log) DeleteRecords(before Offset) (Offset, error) {
	l.admin.Lock()
	defer l.admin.Unlock()
	switch {
	case l.closed.Load():
		return l.Start(), ErrClosed
	case l.config.ReadOnly:
		return l.Start(), ErrReadOnly
	}
	if err := l.finishSwap(); err != nil {
		return l.Start(), err
	}
	visible := l.Visible()
	if before == -1 {
		before = visible
	}
	if before < 0 || before > visible {
		return l.Start(), &OffsetOutOfRangeError{Offset: before, Start: l.Start(), End: visible}
	}
	raise(&l.start, int64(before))
	var result RetainResult
	err := l.removeFirst(l.belowStart(l.segmentList()), &result)
	return l.Start(), err
}

// expireProducers forgets idempotent producers that have not written for long (producer.id.expiration.ms).
func (l *Log) expireProducers(now time.Time, s *Settings) {
	if s.ProducerExpiry <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.producers != nil {
		l.producers.expire(milliseconds(now.Add(-s.ProducerExpiry)), l.config.Replicated)
	}
}
