package log

import (
	"runtime"
	"time"

	"github.com/partlog/partlog/internal/vfs"
)

// The writer role. Appends get their offsets under mu and then stand in a queue. Whoever finds no writer becomes it; it writes all
// that is queued in one go, syncs once for all of it in SyncAlways, publishes, and gives the role to the first who has queued up
// meanwhile. So nobody is the writer for longer than its own append takes, and the write that is going on is the time window in
// which the next group gathers: no timer, no goroutine.

// writer is the state of whoever has the writer role.
type writer struct {
	segment    *logSegment // active; nil until the first append
	file       vfs.File    // its file, open from its creation (or first touch) until it is sealed, so that no failed sync gets lost
	tail       int64       // position of the next batch
	next       Offset      // and its offset
	zeroed     int64       // the file is zero-filled up to here, at least up to tail
	reserved   int64       // the file system has been asked for space up to here; above 0: there may be some behind the end
	step       int64       // how much was zero-filled last
	garbage    int64       // a failed write may have left bytes in [tail, garbage); 0: none
	first      int64       // largest timestamp of the segment's first batch, milliseconds
	created    time.Time   // of the segment
	jitter     time.Duration
	epoch      LeaderEpoch // of the last batch written
	closing    bool        // the next append must roll
	unsynced   int64       // bytes of lazy appends, with SyncAlways; or more, as syncs by others are not counted
	txnFile    vfs.File    // the segment's .txnindex, open from the first entry on
	noTxnIndex bool        // entries are not written one by one: the file is not what they would follow
	counts     counts      // of all that the writers did, copied for Stats when the role is given on
	imprint    Imprint     // of the active segment, copied for Imprint likewise
	group      int         // how many waiters the last run had
	run        *waiter     // what of the run is not written yet
	solo       waiter      // of the writer's own append
}

// maxUnsynced is how much SyncAlways writes, at most, between two syncs, but for a larger single batch. Recovery counts on it: bad
// bytes further than that before the last good batch are no unfinished write.
const maxUnsynced = 4 << 20

// acquire takes the writer role without appending anything.
func (l *Log) acquire() {
	l.mu.Lock()
	if !l.writing {
		l.writing = true
		l.mu.Unlock()
		return
	}
	w := l.waiters.get()
	w.take = true
	l.queue.push(w)
	l.mu.Unlock()
	<-w.wake
	l.waiters.put(w)
}

// release gives the writer role to the first in the queue, or to nobody.
func (l *Log) release() {
	l.mu.Lock()
	l.counts, l.imprint, l.appenders = l.writer.counts, l.writer.imprint, l.writer.group+l.queue.n
	first := l.queue.first
	switch {
	case first == nil:
		l.writing = false
		l.mu.Unlock()
		return
	case first.take:
		l.queue.first = first.next
		if l.queue.first == nil {
			l.queue.last = nil
		}
		l.queue.n--
	default:
		for first.silent {
			first = first.next // to the one that stands for it
		}
		first.lead = true
	}
	l.mu.Unlock()
	first.wake <- struct{}{}
}

// enqueue waits in the queue for the result of w, as the writer if w's turn comes before its result. It is called with mu held and
// releases it.
func (l *Log) enqueue(w *waiter) error {
	l.queue.push(w)
	if l.writing {
		l.mu.Unlock()
		<-w.wake
		if err := w.err; !w.lead {
			l.waiters.put(w)
			return err
		}
	} else {
		l.writing = true
		l.mu.Unlock()
	}
	if l.settings.Load().Sync == SyncAlways {
		l.gatherGroup()
	}
	l.mu.Lock()
	head := l.queue.takeRun()
	l.mu.Unlock()
	err := l.lead(head, w)
	l.waiters.put(w)
	return err
}

// gatherGroup lets those run whose group has just been written, until they are back in the queue or nobody comes any more: what they
// append next is in this group then. Without it two halves of the appenders take turns, and every sync serves one half.
func (l *Log) gatherGroup() {
	for before := 0; ; {
		l.mu.Lock()
		n, expected := l.queue.n, l.appenders
		l.mu.Unlock()
		if n <= before || n >= expected {
			return
		}
		before = n
		runtime.Gosched()
	}
}

// lead writes the run that begins with head, gives the role on, wakes whoever waits for the run, and returns own's result.
func (l *Log) lead(head, own *waiter) error {
	var d done
	seen := &l.visible
	if l.config.Replicated {
		seen = &l.durable // of what is written, commit has told
	}
	before := seen.Load()
	l.writer.group = 1
	for w := head.next; w != nil; w = w.next {
		l.writer.group++
	}
	l.commit(head, own, &d)
	moved := seen.Load() != before
	err := own.err
	d.wakeAll() // before the next writer, see enqueue
	l.release()
	if moved {
		l.notify()
	}
	return err
}

// commit writes the run, syncs it if the mode asks for it, and sorts its waiters into d.
func (l *Log) commit(head, own *waiter, d *done) {
	s := l.settings.Load()
	always := s.Sync == SyncAlways
	var hold queue // waiters of written batches that need a sync
	var unsynced int64
	need := false // somebody is not lazy
	if always {
		unsynced = l.writer.unsynced // of lazy appends before
	}
	defer func() { l.writer.run = nil }()
	for r := head; r != nil; {
		if always && unsynced > 0 && (unsynced >= maxUnsynced || l.mustRoll(r, l.writer.tail, s)) {
			if !l.settle(&hold, own, d) {
				l.fail(r, own, d, l.failureError())
				return
			}
			unsynced, need = 0, false
		}
		l.writer.run = r
		end, size, err := l.write(r, s)
		if err != nil {
			l.fail(r, own, d, err)
			break
		}
		if l.config.Replicated && size > 0 {
			l.notify() // followers need not wait for the sync here
		}
		for r != end {
			next := r.next
			need = need || !r.lazy && r.batch != nil
			if always && r.durable && r.last >= l.Durable() {
				hold.push(r)
			} else if r != own && !r.silent {
				r.wake <- struct{}{}
			}
			r = next
		}
		unsynced += size
	}
	l.writer.unsynced = unsynced
	if always && (need && unsynced > 0 || unsynced >= maxUnsynced || hold.first != nil) {
		l.settle(&hold, own, d)
	}
}

// settle syncs the active segment and moves those who waited for it from hold to d.
func (l *Log) settle(hold *queue, own *waiter, d *done) bool {
	err := l.syncActive()
	l.writer.unsynced = 0
	for r := hold.first; r != nil; {
		next := r.next
		r.err = err
		d.add(r, own)
		r = next
	}
	*hold = queue{}
	return err == nil
}

// write writes as much of the run from r on as goes into one write, and publishes it. It returns the first waiter that it has not
// served.
func (l *Log) write(r *waiter, s *Settings) (end *waiter, size int64, err error) {
	w := &l.writer
	if r.batch == nil {
		return r.next, 0, nil
	}
	if err := l.prepare(r, s); err != nil {
		return r, 0, err
	}
	buf, pooled, end := l.gather(r, s)
	if pooled != nil {
		defer putBuffer(pooled)
	}
	if s.Sync == SyncAlways && !s.NoPreallocation {
		l.preallocate(w.tail+int64(len(buf)), s)
	} else if s.Sync != SyncAlways {
		l.reserve(w.tail+int64(len(buf)), s)
	}
	if _, err := w.file.WriteAt(buf, w.tail); err != nil {
		w.garbage = w.tail + int64(len(buf))
		return r, 0, l.writeFailed(err)
	}
	l.publish(r, end, int64(len(buf)), s)
	return end, int64(len(buf)), nil
}

// gather returns the bytes of the waiters from r to end as one piece: a single batch as it is, several put together.
func (l *Log) gather(r *waiter, s *Settings) (buf []byte, pooled *[]byte, end *waiter) {
	if r.next == nil {
		return r.batch, nil, nil
	}
	total, batches := 0, 0
	var only *waiter
	for end = r; end != nil; end = end.next {
		n := len(end.batch)
		if n == 0 {
			continue
		}
		if batches > 0 && (total+n > stagingSize || l.mustRoll(end, l.writer.tail+int64(total), s)) {
			break
		}
		total, batches, only = total+n, batches+1, end
	}
	if batches <= 1 {
		if only != nil {
			buf = only.batch
		}
		return buf, nil, end
	}
	if r.silent {
		if buf = adjacent(r, end); buf != nil {
			return buf, nil, end
		}
	}
	pooled = getBuffer(total)
	buf = (*pooled)[:0]
	for x := r; x != end; x = x.next {
		buf = append(buf, x.batch...)
	}
	return buf, pooled, end
}

// adjacent returns the batches of the waiters from r to end as one piece if that is how they are in memory, as those of one AppendReplica
// are, otherwise nil.
func adjacent(r, end *waiter) []byte {
	buf := []byte(r.batch)
	for x := r.next; x != end; x = x.next {
		n := len(buf)
		if len(x.batch) == 0 || cap(buf)-n < len(x.batch) {
			return nil
		}
		if buf = buf[:n+len(x.batch)]; &buf[n] != &x.batch[0] {
			return nil
		}
	}
	return buf
}

// publish makes written batches visible to readers (with SyncAlways: not before they are synced) and indexes them.
func (l *Log) publish(r, end *waiter, size int64, s *Settings) {
	w := &l.writer
	position := w.tail
	var batches, records int64
	for x := r; x != end; x = x.next {
		if x.batch == nil {
			continue
		}
		largest := x.batch.MaxTimestamp()
		if position == 0 {
			w.first = largest
		}
		w.imprintOf(x.batch, position)
		w.segment.index.Load().AddBatch(position, int64(x.last), largest, int64(len(x.batch)))
		if epoch := LeaderEpoch(x.batch.LeaderEpoch()); epoch != w.epoch {
			// Not from its own offset on: the batch may be a replica's of a compacted log, and between the last and it there may have been others of its
			// epoch. Who has anything else there has what its leader had not.
			l.assignEpoch(epoch, w.next)
			w.epoch = epoch
		}
		if e := x.undo.ended; e != nil && e.aborted {
			l.indexAborted(e)
		}
		position += int64(len(x.batch))
		w.next = x.last + 1
		batches++
		records += int64(x.last-x.base) + 1
	}
	w.tail = position
	w.zeroed = max(w.zeroed, position)
	m := w.segment.mark(w.next, position)
	w.segment.written.Store(m)
	if l.config.Replicated {
		w.segment.shown.Store(m) // to replicas; what clients may see the high watermark says
	}
	l.written.Store(int64(w.next))
	if s.Sync != SyncAlways {
		w.segment.shown.Store(m)
		l.show(w.next)
	}
	if s.KeyIndex {
		l.indexKeys(r, end)
	}
	w.counts.Appends += batches
	w.counts.AppendedRecords += records
	w.counts.AppendedBytes += size
	w.counts.Writes++
}

// fail takes back the offsets and the producer state of everything unwritten, from r and the queue, and gives each its error.
func (l *Log) fail(r, own *waiter, d *done, err error) {
	l.writer.counts.FailedWrites++
	l.mu.Lock()
	var failed []*waiter
	for ; r != nil; r = r.next {
		failed = append(failed, r)
	}
	failed = append(failed, l.queue.takeAppends()...)
	for i := len(failed) - 1; i >= 0; i-- {
		l.producers.revert(failed[i].undo)
	}
	l.showUnstableLocked()
	l.next = l.writer.next
	l.mu.Unlock()
	for _, w := range failed {
		w.err = err
		d.add(w, own)
	}
}
