package log

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/segment"
)

// Close waits for running appends, syncs, writes indexes and the producer snapshot and trims preallocation. When it returns nil the
// next Open may be told Clean, with CleanEnd = End. After it everything returns ErrClosed; views stay valid until they are released.
// A second call returns what the first did.
func (l *Log) Close() error {
	l.cleaner.mu.Lock()
	defer l.cleaner.mu.Unlock()
	if c := l.cleaner.current; c != nil {
		c.abort(ErrClosed)
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	var untouched error
	if l.recovered && !l.config.ReadOnly {
		untouched = l.touch() // what recovery has found and nobody used since is closed like the rest
	}
	l.loading.Lock()
	defer l.loading.Unlock()
	l.mu.Lock()
	if l.state == stateClosed {
		defer l.mu.Unlock()
		return l.closeError
	}
	state := l.state
	l.state = stateClosed
	l.mu.Unlock()
	l.acquire() // behind everything that is queued
	err := l.failureError()
	if err == nil {
		err = l.finishSwap()
	}
	if err == nil && state != stateClosed && untouched != nil {
		err = untouched
	}
	if err == nil && state == stateReady && !l.config.ReadOnly {
		err = l.finishFiles()
	}
	l.closed.Store(true)
	l.dropFiles()
	l.mu.Lock()
	l.closeError = err
	l.mu.Unlock()
	l.release()
	return err
}

// finishFiles makes the directory what Apache Kafka's own clean shutdown leaves.
func (l *Log) finishFiles() error {
	w := &l.writer
	if w.segment != nil && w.file == nil && l.touched() && !w.closing {
		if err := l.openActive(); err != nil {
			return err
		}
	}
	if w.file != nil {
		if w.garbage > 0 {
			if err := l.repairGarbage(); err != nil {
				return err
			}
		}
		if err := l.trim(w.file, w.tail); err != nil {
			return err
		}
		if err := l.syncActive(); err != nil {
			return err
		}
	}
	for {
		done, err := l.sealNext()
		if err != nil {
			return fmt.Errorf("close: %w", err)
		}
		if done {
			break
		}
	}
	if !l.touched() {
		return nil
	}
	if w.segment != nil {
		index := w.segment.index.Load()
		index.Close()
		if err := index.Write(l.config.FS, l.config.Dir); err != nil {
			return writeError("write indexes of", l.logPath(w.segment), err)
		}
	}
	if w.segment != nil {
		if err := l.saveAborted(w.segment); err != nil {
			return err
		}
	}
	if err := l.writeEpochs(); err != nil {
		return err
	}
	if err := l.writeSnapshot(w.next, l.producers.entries()); err != nil {
		return err
	}
	// The snapshot of the last close is of no use any more, unless a segment begins there.
	if at := l.closeSnapshot; at > 0 && at != w.next && !hasBase(l.segmentList(), at) {
		_ = l.config.FS.Remove(l.path(segment.SnapshotName(int64(at)))) // a cache
	}
	return nil
}

// touched says whether anything has been written since Open, or recovered by it.
func (l *Log) touched() bool {
	return l.writer.counts.Writes > 0 || l.recovered || l.writer.counts.Rolls > 0
}

// dropFiles gives back all descriptors and mappings.
func (l *Log) dropFiles() {
	if w := &l.writer; w.file != nil {
		_ = w.file.Close() // synced, or the log is poisoned or abandoned
		w.file = nil
	}
	l.closeTxnIndex()
	for _, s := range l.segmentList() {
		s.retireMapping()
	}
	if w := l.cleaner.swap.Load(); w != nil {
		for _, s := range w.old {
			s.retireMapping()
		}
	}
	l.mu.Lock()
	pending := l.pending
	l.mu.Unlock()
	for _, r := range pending {
		if r.file != nil {
			_ = r.file.Close()
		}
	}
}

// Abandon closes files and mappings and writes nothing, as a crash of the process would.
func (l *Log) Abandon() {
	l.cleaner.mu.Lock()
	defer l.cleaner.mu.Unlock()
	if c := l.cleaner.current; c != nil {
		c.err, c.phase = ErrClosed, cleanOver
		c.reader.close()
		c.out.close()
		l.cleaner.current = nil
	}
	l.mu.Lock()
	if l.state == stateClosed {
		l.mu.Unlock()
		return
	}
	l.state = stateClosed
	l.closeError = ErrClosed
	l.mu.Unlock()
	l.acquire()
	l.closed.Store(true)
	l.dropFiles()
	l.release()
}

// Park gives back the descriptors and mappings of an idle log, after a sync of what it has written; the next use takes them again.
// Views stay valid.
func (l *Log) Park() error {
	l.admin.Lock()
	defer l.admin.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	if err := l.Sync(); err != nil {
		return err
	}
	l.acquire()
	defer l.release()
	w := &l.writer
	var err error
	if w.file != nil && w.garbage == 0 {
		if l.Durable() < w.next {
			err = l.syncActive()
		}
		if err == nil {
			err = errors.Join(l.trim(w.file, w.tail), w.file.Close())
			w.file, w.zeroed, w.step = nil, w.tail, 0
		}
	}
	l.closeTxnIndex()
	for _, s := range l.segmentList() {
		s.retireMapping()
	}
	return err
}
