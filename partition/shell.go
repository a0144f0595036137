package partition

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/log"
)

// shell does a store's background work: syncs of SyncInterval, sealing, recovery points, retention, unlinking. The log
// starts no goroutine, and neither does the shell while there is nothing to do: each task is a function that the clock
// calls, armed by the first append or topic that needs it. With a clock that a test advances, all of it happens on the
// goroutine that advances it.
type shell struct {
	s       *Store
	closing chan struct{} // closed by Close

	mu      sync.Mutex // guards all below; never held during I/O
	idle    sync.Cond  // running became 0
	stopped bool
	running int
	timers  map[int]func() bool // stop functions of what the clock still has to call
	nextID  int
	touched []*part                 // appended to since the last checkpoint
	armed   bool                    // a checkpoint is on its way
	hurried bool                    // one that does not wait
	round   int64                   // checkpoints so far
	warm    map[*part]int64         // partitions with an open file, and the round in which they were last appended to
	unsync  map[SyncMode]*syncRound // by interval
	syncing chan struct{}           // a token for each partition that a round syncs at this moment
	retains bool                    // retention is on its way
	doomed  []string                // directories to be removed
	low     bool                    // free space is below the threshold

	cleaner cleaner // has a lock of its own, which is taken before mu
}

// syncRound is the partitions to be synced when an interval ends.
type syncRound struct{ parts []*part }

func (h *shell) init(s *Store) {
	h.s = s
	h.closing = make(chan struct{})
	h.idle.L = &h.mu
	h.timers = map[int]func() bool{}
	h.unsync = map[SyncMode]*syncRound{}
	h.syncing = make(chan struct{}, s.config.SyncConcurrency)
	h.warm = map[*part]int64{}
	h.cleaner.init(h)
}

// after calls f once when d has elapsed, unless the shell stops before.
func (h *shell) after(d time.Duration, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.afterLocked(d, f)
}

func (h *shell) afterLocked(d time.Duration, f func()) {
	if h.stopped {
		return
	}
	id := h.nextID
	h.nextID++
	h.timers[id] = h.s.config.Clock.AfterFunc(d, func() {
		h.mu.Lock()
		delete(h.timers, id)
		if h.stopped {
			h.mu.Unlock()
			return
		}
		h.running++
		h.mu.Unlock()
		defer h.leave()
		f()
	})
}

func (h *shell) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 {
		h.idle.Broadcast()
	}
}

// stop ends all background work and waits for what is running. Only removals that are due are still made.
func (h *shell) stop() {
	defer h.sweep()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	for _, stop := range h.timers {
		stop()
	}
	clear(h.timers)
	for h.running > 0 {
		h.idle.Wait()
	}
}

// start arms what does not wait for an append.
func (h *shell) start() {
	h.armRetention()
	h.cleaner.start()
}

// touch remembers that p has been appended to, and arms the next checkpoint.
func (h *shell) touch(p *part) {
	if h.s.readOnly || !p.touched.CompareAndSwap(false, true) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.touched = append(h.touched, p)
	if !h.armed {
		h.armed = true
		h.afterLocked(h.s.config.CheckpointInterval, h.checkpoint)
	}
	if !h.hurried && len(h.touched) > h.s.config.MaxOpenFiles/2 {
		h.hurried = true // many files at once: do not let them all stay open for the whole interval
		h.afterLocked(0, h.checkpoint)
	}
}

// syncLater has p synced when the mode's interval has elapsed since the first unsynced append.
func (h *shell) syncLater(p *part, mode SyncMode) {
	if !p.unsynced.CompareAndSwap(false, true) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.unsync[mode]
	if r == nil {
		r = &syncRound{}
		h.unsync[mode] = r
		h.afterLocked(mode.Interval(), func() { h.syncAll(mode) })
	}
	r.parts = append(r.parts, p)
}

func (h *shell) syncAll(mode SyncMode) {
	h.mu.Lock()
	r := h.unsync[mode]
	delete(h.unsync, mode)
	h.mu.Unlock()
	inParallel(h.s.config.SyncConcurrency, r.parts, func(p *part) {
		h.syncing <- struct{}{} // rounds overlap where the disk is slower than the interval
		defer func() { <-h.syncing }()
		p.unsynced.Store(false) // before the sync: an append after this is for the next round
		if l := p.log.Load(); l != nil {
			h.failed(p, l.Sync())
		}
	})
}

// failed reports a failure of background work; that the partition has gone is none.
func (h *shell) failed(p *part, err error) {
	if err != nil && !errors.Is(err, ErrClosed) {
		h.s.partitionFailed(p, err)
	}
}

// checkpoint seals what has been rolled and persists recovery points of the partitions touched since the last one.
func (h *shell) checkpoint() {
	h.mu.Lock()
	parts := h.touched
	h.touched, h.armed, h.hurried = nil, false, false
	h.round++
	for _, p := range parts {
		h.warm[p] = h.round
	}
	h.mu.Unlock()
	for _, p := range parts {
		p.touched.Store(false) // before looking: an append after this is for the next round
	}
	inParallel(h.s.config.SyncConcurrency, parts, h.seal)
	h.s.saveRecoveryPoints(parts)
	for _, p := range parts {
		h.cleaner.watch(p)
	}
	h.cool()
	h.checkSpace()
}

// cool closes the files of the partitions that have been idle for longest, down to MaxOpenFiles. Their next append opens
// them again.
func (h *shell) cool() {
	h.mu.Lock()
	maps.DeleteFunc(h.warm, func(p *part, _ int64) bool { return p.t.deleted.Load() })
	n := len(h.warm) - h.s.config.MaxOpenFiles
	var coldest []*part
	if n > 0 {
		coldest = slices.SortedFunc(maps.Keys(h.warm), func(a, b *part) int { return cmp.Compare(h.warm[a], h.warm[b]) })[:n]
		for _, p := range coldest {
			delete(h.warm, p)
		}
	}
	h.mu.Unlock()
	inParallel(h.s.config.SyncConcurrency, coldest, func(p *part) {
		if l := p.log.Load(); l != nil {
			h.failed(p, l.Park())
		}
	})
}

func (h *shell) seal(p *part) {
	l := p.log.Load()
	for l != nil {
		done, err := l.Seal()
		h.failed(p, err)
		if done || err != nil {
			return
		}
		select {
		case <-h.closing:
			return
		default:
		}
	}
}

// saveRecoveryPoints journals how far partitions are known to be synced, so that the next recovery starts there, and what
// tells their files from others. A failure costs that recovery time, and nothing else.
func (s *Store) saveRecoveryPoints(parts []*part) {
	var e encoder
	n := 0
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		l := p.log.Load()
		ct := s.cat.topics[p.tp.Topic]
		if l == nil || ct == nil || ct.id != p.t.id || int(p.tp.Partition) >= len(ct.parts) || p.cutting {
			continue
		}
		known, point, imprint := ct.parts[p.tp.Partition], l.RecoveryPoint(), p.imprint(l)
		if point > known.recoveryPoint || imprint.Base != known.imprint.Base || imprint.First != known.imprint.First {
			e.mark(mark{id: ct.id, partition: p.tp.Partition, offset: max(point, known.recoveryPoint), imprint: imprint})
			n++
		}
	}
	if n > 0 {
		s.saveMarksLocked(eventRecoveryPoints, n, &e)
	}
	if s.config.Cluster != nil {
		s.saveHighWatermarksLocked(parts)
	}
}

func (s *Store) saveMarksLocked(kind uint8, n int, marks *encoder) {
	if s.journalClosed {
		return
	}
	var head encoder
	head.int(int64(n))
	if err := s.commitLocked(kind, append(head.buf, marks.buf...)); err != nil {
		s.counters.failedCheckpoints.Add(1)
	}
}

// saveHighWatermarksLocked journals the high watermarks that have moved. A lower one than there was costs nothing but what leaders and
// followers tell each other anyway.
func (s *Store) saveHighWatermarksLocked(parts []*part) {
	var e encoder
	n := 0
	for _, p := range parts {
		l, cp := p.log.Load(), s.catPart(p)
		if l == nil || cp == nil || p.cutting {
			continue
		}
		if high := l.Visible(); high != cp.highWatermark {
			e.mark(mark{id: p.t.id, partition: p.tp.Partition, offset: high})
			n++
		}
	}
	if n > 0 {
		s.saveMarksLocked(eventHighWatermarks, n, &e)
	}
}

// checkpointEarly persists p's recovery point before its time, after CheckpointBytes.
func (h *shell) checkpointEarly(p *part) {
	h.after(0, func() {
		h.seal(p)
		h.s.saveRecoveryPoints([]*part{p})
	})
}

// armRetention has retention run at its interval if any topic or any used partition has something to expire.
func (h *shell) armRetention() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.retains && !h.s.readOnly {
		h.retains = true
		h.afterLocked(h.s.config.RetentionCheckInterval, h.retain)
	}
}

// retain applies retention to every partition of topics that expire, and to those in use, which have their log start
// offset and their producers to look after.
func (h *shell) retain() {
	s := h.s
	now := s.config.Clock.Now()
	var parts []*part
	for _, t := range s.index.Load().byName {
		for _, p := range *t.parts.Load() {
			if p.log.Load() != nil || t.settings.Load().expires && p.startsWith().end != 0 {
				parts = append(parts, p)
			}
		}
	}
	slices.SortFunc(parts, func(a, b *part) int { return compareTopicPartition(a.tp, b.tp) })
	inParallel(s.config.SyncConcurrency, parts, func(p *part) {
		idle := p.log.Load() == nil
		l, err := p.open()
		if err != nil {
			return // reported by open
		}
		began := s.config.Clock.Now()
		r, err := l.Retain(now)
		h.failed(p, err)
		if r.Segments > 0 {
			p.counters.retainedSegments.Add(int64(r.Segments))
			p.counters.retainedBytes.Add(r.Bytes)
			if f := s.config.Events.Retained; f != nil {
				f(p.tp, Retained{r.Segments, r.Bytes, r.Start, s.config.Clock.Now().Sub(began)})
			}
		}
		if idle {
			h.failed(p, l.Park())
		}
	})
	h.checkSpace()
	h.mu.Lock()
	h.retains = false
	h.mu.Unlock()
	h.armRetention()
}

// unlink has a directory removed that nobody looks for any more: soon, or at the latest by Close.
func (h *shell) unlink(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.doomed = append(h.doomed, path); len(h.doomed) == 1 {
		h.afterLocked(0, h.sweep)
	}
}

// sweep removes what is to be unlinked.
func (h *shell) sweep() {
	h.mu.Lock()
	doomed := h.doomed
	h.doomed = nil
	h.mu.Unlock()
	for _, path := range doomed {
		if err := log.Delete(h.s.fs, path); err != nil {
			h.s.warn(path, "could not be removed, and will be at the next open: "+err.Error())
		}
	}
}

// checkSpace compares the free space with the threshold and reports when it has been crossed.
func (h *shell) checkSpace() {
	threshold := h.s.config.LowSpaceBytes
	if threshold < 0 {
		return
	}
	u, err := h.s.fs.Usage(h.s.root)
	if err != nil {
		return
	}
	h.s.counters.freeBytes.Store(u.Free)
	h.mu.Lock()
	low := u.Free < threshold
	crossed := low != h.low
	h.low = low
	h.mu.Unlock()
	h.s.counters.lowSpace.Store(low)
	if f := h.s.config.Events.LowSpace; crossed && f != nil {
		f(u.Free, threshold, low)
	}
}
