package log

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// syncActive makes all that has been written durable, by whoever has the writer role.
func (l *Log) syncActive() error {
	if err := l.failureError(); err != nil {
		return err
	}
	if l.unsyncedRolled.Load() > 0 {
		if err := l.syncRolled(); err != nil {
			return err
		}
	}
	if err := l.syncNames(); err != nil {
		return err
	}
	w := &l.writer
	start := l.clock.Now()
	if err := w.file.Sync(); err != nil {
		w.counts.FailedSyncs++
		return l.poison(err)
	}
	w.counts.sync(l.clock.Now().Sub(start))
	l.advanceDurable(w.next)
	w.segment.shown.Store(w.segment.written.Load())
	l.show(w.next)
	return nil
}

// syncNow syncs the active segment as its writer.
func (l *Log) syncNow() error {
	l.acquire()
	if l.writer.segment == nil || l.Durable() >= l.writer.next {
		l.release()
		return nil
	}
	err := l.syncActive()
	l.writer.unsynced = 0
	l.release()
	l.notify()
	return err
}

// Sync makes everything written durable. After an error, which is ErrPoisoned, the log accepts nothing any more.
func (l *Log) Sync() error {
	l.mu.Lock()
	state, err := l.state, l.failure
	l.mu.Unlock()
	switch {
	case err != nil:
		return err
	case state == stateClosed:
		return ErrClosed
	case l.unsyncedRolled.Load() == 0 && (state == stateCold || l.Durable() >= l.Written()):
		return nil
	case state == stateCold:
		return l.syncRolled() // what recovery has found
	}
	if l.settings.Load().Sync == SyncAlways {
		// After lazy appends or a change of the mode, or beside a writer that is about to do the same.
		return l.syncNow()
	}
	// Appends go on meanwhile; what they write is in the next sync. A roll meanwhile leaves the file open, see roll.
	l.acquire()
	file, next, turn := l.writer.file, l.writer.next, l.truncations.Load()
	l.release()
	if err := l.syncRolled(); err != nil {
		return err
	}
	if file == nil {
		return nil
	}
	if err := l.syncNames(); err != nil {
		return err
	}
	start := l.clock.Now()
	if err := l.syncOpen(file); err != nil {
		if errors.Is(err, fs.ErrClosed) {
			return nil // parked or closed in between, which has synced it
		}
		return err
	}
	l.countSync(l.clock.Now().Sub(start))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.truncations.Load() == turn {
		l.advanceDurable(next)
	}
	return nil
}

// syncOpen syncs the active segment's file without the writer role. Of two syncs at once, one can get the error and the other, after
// it, a false success: so there is one at a time, and none after a failed one.
func (l *Log) syncOpen(file vfs.File) error {
	l.syncingOpen.Lock()
	defer l.syncingOpen.Unlock()
	if err := l.failureError(); err != nil {
		return err
	}
	err := file.Sync()
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		return l.poison(err)
	}
	return err
}

// syncRolled syncs the files of rolled segments that have not been, oldest first.
func (l *Log) syncRolled() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	for len(l.unsynced) > 0 {
		if err := l.failureError(); err != nil {
			return err
		}
		s := l.unsynced[0]
		if err := syncFile(l.config.FS, l.logPath(s)); err != nil && !s.removed.Load() {
			return l.poison(err)
		}
		l.unsynced = l.unsynced[1:]
		l.unsyncedRolled.Add(-1)
		next, _ := s.writtenEnd()
		l.advanceDurable(next)
	}
	for {
		l.mu.Lock()
		var r *rolled
		for _, p := range l.pending {
			if p.file != nil {
				r = p
				break
			}
		}
		err := l.failure
		l.mu.Unlock()
		if r == nil || err != nil {
			return err
		}
		if err := r.file.Sync(); err != nil {
			return l.poison(err)
		}
		if err := l.syncNames(); err != nil {
			return err
		}
		_ = r.file.Close() // synced, so nothing can be lost any more
		l.mu.Lock()
		r.file = nil
		l.mu.Unlock()
		l.unsyncedRolled.Add(-1)
		next, _ := r.segment.writtenEnd()
		l.advanceDurable(next)
	}
}

// syncNames makes the names of new files durable, without which their bytes are lost with them.
func (l *Log) syncNames() error {
	if !l.newNames.Swap(false) {
		return nil
	}
	if err := l.config.FS.SyncDir(l.config.Dir); err != nil {
		return l.poison(err)
	}
	return nil
}

// countSync counts a sync made without the writer role.
func (l *Log) countSync(took time.Duration) {
	l.acquire()
	l.writer.counts.sync(took)
	l.release()
}

// poison makes the first failed sync final. The system may have thrown the bytes away and marked them clean, so another sync would
// succeed and prove nothing. It returns the error for all who wait. A file says so to the next open; should that be after a loss of power,
// which takes the file, the cache has gone as well.
func (l *Log) poison(err error) error {
	l.mu.Lock()
	first := l.failure == nil
	if first {
		l.failure = storageError(ErrPoisoned, "sync", l.config.Dir, err)
		if l.state != stateClosed {
			l.state = statePoisoned
		}
	}
	failure := l.failure
	l.mu.Unlock()
	if first {
		if file, err := l.config.FS.OpenFile(l.path(segment.DoubtName), os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
			_ = file.Close()
		}
	}
	return failure
}

func (l *Log) failureError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// advanceDurable raises Durable.
func (l *Log) advanceDurable(to Offset) { raise(&l.durable, int64(to)) }

// RecoveryPoint returns the offset to persist as Config.RecoveryPoint: everything below it is synced, with the files that go with a
// finished segment. It lags Durable while Seal has work to do, so that recovery looks at what Seal has not finished.
func (l *Log) RecoveryPoint() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	point := l.Durable()
	if len(l.pending) > 0 {
		point = min(point, l.pending[0].segment.base)
	}
	if l.epochs.dirty {
		point = min(point, l.epochs.from)
	}
	return point
}
