package log

import (
	"errors"

	"github.com/partlog/partlog/internal/segment"
)

// ResetTo removes every record and has the log begin, and end, at start: for a follower that is behind its leader's log start, or whose records
// are not to be repaired (Kafka's truncateFullyAndStartAt). Reads of what is removed are ErrOffsetOutOfRange from then on; views stay as they are. Appends that are
// queued are ErrNotLeaderOrFollower. The owner must have made start its LogStart before, and lowered its RecoveryPoint to it if that was above: a crash leaves
// a log from there on, empty or, where old records reach above start, with those. After an error the log must be closed and opened again.
func (l *Log) ResetTo(start Offset) error {
	l.admin.Lock()
	defer l.admin.Unlock()
	if l.config.ReadOnly {
		return ErrReadOnly
	}
	if start < 0 {
		return &OffsetOutOfRangeError{Offset: start, Start: l.Start(), End: l.End()}
	}
	if err := l.touch(); err != nil {
		return err
	}
	if err := errors.Join(l.syncRolled(), l.finishSwap()); err != nil {
		return err
	}
	l.acquire()
	defer l.release()
	if err := l.failureError(); err != nil {
		return err
	}
	w := &l.writer
	var d done
	defer d.wakeAll()
	l.syncing.Lock() // no rolled file is being synced
	l.mu.Lock()
	l.failQueuedLocked(&d)
	list := l.segmentList()
	l.setSegmentsLocked(nil)
	l.dropPendingLocked(0)
	l.next = start
	l.visible.Store(int64(min(l.Visible(), start))) // never above the others
	l.start.Store(int64(start))
	l.written.Store(int64(start))
	l.durable.Store(int64(start))
	l.visible.Store(int64(start))
	l.takeProducersLocked(&producers{})
	l.showUnstableLocked()
	l.epochs.Epochs = segment.Epochs{}
	l.epochs.changed(start)
	l.truncations.Add(1)
	l.mu.Unlock()
	l.syncing.Unlock()
	if l.Cleaned() > 0 {
		l.cleaner.cleaned.Store(int64(start))
	}
	l.closeTxnIndex()
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return storageError(nil, "close", l.logPath(w.segment), err)
		}
		w.file = nil
	}
	w.segment, w.tail, w.next, w.garbage, w.epoch, w.imprint = nil, 0, start, 0, -1, Imprint{}
	// Last first, as in TruncateTo.
	for i := len(list) - 1; i >= 0; i-- {
		list[i].removed.Store(true)
		if err := l.removeFiles(list[i]); err != nil {
			return err
		}
		list[i].retireMapping()
	}
	listed, err := l.list()
	if err != nil {
		return err
	}
	for _, at := range listed.snapshots {
		if err := l.removeIfThere(segment.SnapshotName(int64(at))); err != nil {
			return err
		}
	}
	return l.roll(start)
}
