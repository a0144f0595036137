package consumer

import (
	"context"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/partlog/partlog/partition"
)

// tracker knows which records of one partition are in flight, in the order in which they were read, and so how far all
// before are done: that is what may be committed. Fields are guarded by mu of workers, but for those that say otherwise.
//
// Invariant: cursor.finished is the offset behind the last record of the longest prefix, of what was read, that is done.
// It moves only through advance, so it never passes a record that is neither handled nor buried.
type tracker struct {
	workers *workers
	// cursor is whose prefix it is; nil when results do not count any more: the partition is lost, or was left by a Seek.
	cursor *cursor
	tp     partition.TopicPartition
	hash   uint64 // of the partition

	ring       []slot // a power of two; [head, tail) are in flight
	head, tail uint64

	taken    int         // tasks in workers' hands
	stopped  atomic.Bool // nothing of it begins any more; set under mu, read by all
	drainage []*drainage

	ctx    context.Context // of its handlers
	cancel context.CancelFunc

	last    *task            // the last that was read and is not queued yet; the reader's
	refused partition.Offset // of the first that queue refused, −1 if none; the reader's
}

// slot is a record in flight.
type slot struct {
	after int64 // the offset behind it
	epoch partition.LeaderEpoch
	done  bool
}

// drainage is a wait for partitions to have nothing in workers' hands.
type drainage struct {
	left int
	over chan struct{}
}

func (d *drainage) less() {
	if d.left--; d.left == 0 {
		close(d.over)
	}
}

// track makes the tracker of a cursor. The caller has the turn.
func (w *workers) track(k *cursor) *tracker {
	var h maphash.Hash
	h.SetSeed(w.seed)
	h.WriteString(k.tp.Topic)
	tr := &tracker{workers: w, cursor: k, tp: k.tp, hash: h.Sum64() + uint64(k.tp.Partition)*0x9e3779b97f4a7c15, ring: make([]slot, 64), refused: -1}
	tr.ctx, tr.cancel = context.WithCancel(w.base)
	w.mu.Lock()
	defer w.mu.Unlock()
	tr.stopped.Store(w.leaving[k.tp] || w.stopping)
	w.trackers[k.tp] = tr
	k.tracker = tr
	return tr
}

// add puts a task, which was just read, behind all others.
func (tr *tracker) add(t *task) {
	if tr.tail-tr.head == uint64(len(tr.ring)) {
		bigger := make([]slot, 2*len(tr.ring))
		for i := tr.head; i < tr.tail; i++ {
			bigger[i&uint64(len(bigger)-1)] = tr.ring[i&uint64(len(tr.ring)-1)]
		}
		tr.ring = bigger
	}
	t.seq = tr.tail
	tr.ring[t.seq&uint64(len(tr.ring)-1)] = slot{after: t.after, epoch: t.rec.LeaderEpoch}
	tr.tail++
}

// finish notes that a task is done.
func (tr *tracker) finish(t *task) { tr.ring[t.seq&uint64(len(tr.ring)-1)].done = true }

// advance moves the cursor's finished offset behind the prefix that is done.
func (tr *tracker) advance() {
	var last slot
	mask := uint64(len(tr.ring) - 1)
	for tr.head < tr.tail && tr.ring[tr.head&mask].done {
		last = tr.ring[tr.head&mask]
		tr.head++
	}
	if last.done && tr.cursor != nil {
		tr.cursor.settle(partition.Offset(last.after), last.epoch)
	}
}

// settle is finish of those without the turn. The caller has mu of workers, which all have who call it.
func (k *cursor) settle(next partition.Offset, epoch partition.LeaderEpoch) {
	k.mu.Lock()
	k.epoch = epoch
	k.finished.Store(int64(next))
	k.mu.Unlock()
}

// pass is cursor.pass: what lies between the last record and position has no records.
func (tr *tracker) pass(position partition.Offset, epoch partition.LeaderEpoch) {
	if tr.last != nil {
		tr.last.after = max(tr.last.after, int64(position))
		return
	}
	tr.workers.mu.Lock()
	defer tr.workers.mu.Unlock()
	switch {
	case tr.cursor == nil:
	case tr.head < tr.tail:
		last := &tr.ring[(tr.tail-1)&uint64(len(tr.ring)-1)]
		last.after = max(last.after, int64(position))
	case position > tr.cursor.place():
		tr.cursor.settle(position, epoch)
	}
}

// detach says that reading goes on somewhere else in the partition: what is in flight is handled, and says nothing of the
// new place. With purge it is forgotten, but for what is in workers' hands. The caller has the turn.
func (k *cursor) detach(purge bool) {
	tr := k.tracker
	if tr == nil {
		return
	}
	k.tracker = nil
	w := tr.workers
	w.mu.Lock()
	defer w.mu.Unlock()
	tr.cursor = nil
	if w.trackers[tr.tp] == tr {
		delete(w.trackers, tr.tp)
	}
	if purge {
		tr.stopped.Store(true)
		w.purge()
	}
}

// lose says that the partition of a cursor is not the consumer's any more. The caller has the turn.
func (w *workers) lose(k *cursor) {
	tr := k.tracker
	k.tracker = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.leaving, k.tp)
	if tr == nil {
		return
	}
	delete(w.trackers, k.tp)
	tr.stopped.Store(true)
	tr.cursor = nil
	tr.cancel()
	w.purge()
}

// drain stops what of these partitions is in flight: what has not begun is dropped, what runs has the grace. The returned
// channel is closed when nothing runs whose result will count; until then, and from then on, finished offsets stay what they
// are, but for those results. Any goroutine may call it; nothing of the partitions begins until they are lost.
func (w *workers) drain(tps []partition.TopicPartition) <-chan struct{} {
	d := &drainage{left: 1, over: make(chan struct{})}
	var running []*tracker
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tp := range tps {
		w.leaving[tp] = true
		tr := w.trackers[tp]
		if tr == nil {
			continue
		}
		tr.stopped.Store(true)
		if tr.taken > 0 {
			d.left++
			tr.drainage = append(tr.drainage, d)
			running = append(running, tr)
		}
	}
	w.purge()
	if d.less(); d.left > 0 {
		cut := func() { w.cut(running) }
		if w.config.Grace == NoGrace {
			w.cutLocked(running)
		} else {
			w.clock.AfterFunc(w.config.Grace, cut) // one that comes late finds nothing to cut
		}
	}
	return d.over
}

// cut is the end of grace: results do not count any more, and handlers are told.
func (w *workers) cut(trackers []*tracker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cutLocked(trackers)
}

func (w *workers) cutLocked(trackers []*tracker) {
	w.sweep()
	w.tallyCut(func(tr *tracker) bool { return slices.Contains(trackers, tr) })
	for _, tr := range trackers {
		if tr.taken == 0 {
			continue
		}
		tr.cursor = nil
		tr.cancel()
		for _, d := range tr.drainage {
			d.less()
		}
		tr.drainage = nil
	}
}

// nothingRuns is a drain that is over.
var nothingRuns = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// drain lets what a Work has in flight of these partitions come to an end, and returns what is closed then.
func (c *Consumer) drain(tps []partition.TopicPartition) <-chan struct{} {
	if w := c.workers.Load(); w != nil {
		return w.drain(tps)
	}
	return nothingRuns
}

// sweepWork brings what is finished up to date in the cursors.
func (c *Consumer) sweepWork() {
	if w := c.workers.Load(); w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sweep()
	}
}

// loseWork says that none of the partitions is the consumer's any more.
func (c *Consumer) loseWork() {
	w := c.workers.Load()
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tr := range w.trackers {
		tr.stopped.Store(true)
		tr.cursor = nil
		tr.cancel()
	}
	w.purge()
}
