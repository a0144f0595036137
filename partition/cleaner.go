package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/log"
)

// cleaner schedules compaction, as Apache Kafka's LogCleaner does: after each backoff it measures the partitions that may have become
// dirty, and cleans those that are dirty enough, the dirtiest first, CleanerThreads at a time. It has no goroutine of its own; each
// step is a call of the clock's, and so is the wait between two that a limit of bytes per second asks for.
type cleaner struct {
	h *shell

	mu      sync.Mutex // guards all below; never held during I/O
	watched map[*part]struct{}
	armed   bool                    // the next look is on its way
	busy    map[*part]chan struct{} // being cleaned; closed at the end
	due     []dirtyPart             // dirtiest last
	running int
}

// dirtyPart is a partition that is to be cleaned.
type dirtyPart struct {
	p     *part
	ratio float64
	idle  bool // had no open log before the look
}

// cleanJob is a cleaning that is going on.
type cleanJob struct {
	dirtyPart
	cleaning *log.Cleaning
	done     chan struct{}
}

func (c *cleaner) init(h *shell) {
	c.h = h
	c.watched = map[*part]struct{}{}
	c.busy = map[*part]chan struct{}{}
}

// enabled says whether partitions are cleaned by themselves.
func (c *cleaner) enabled() bool { return c.h.s.config.CleanerBackoff != Unlimited && !c.h.s.readOnly }

// start watches what earlier processes may have left dirty.
func (c *cleaner) start() {
	for _, t := range c.h.s.index.Load().byName {
		c.watchTopic(t)
	}
}

// watchTopic watches the partitions of t that may hold something.
func (c *cleaner) watchTopic(t *topic) {
	if !t.settings.Load().compacted {
		return
	}
	for _, p := range *t.parts.Load() {
		if p.log.Load() != nil || p.start.end != 0 || !p.start.clean {
			c.watch(p)
		}
	}
}

// watch has p measured at the next look.
func (c *cleaner) watch(p *part) {
	if !c.enabled() || !p.t.settings.Load().compacted || p.cleaning.uncleanable.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched[p] = struct{}{}
	c.armLocked()
}

func (c *cleaner) armLocked() {
	if !c.armed {
		c.armed = true
		c.h.after(c.h.s.config.CleanerBackoff, c.look)
	}
}

// look measures what is watched and begins to clean.
func (c *cleaner) look() {
	c.mu.Lock()
	parts := make([]*part, 0, len(c.watched))
	for p := range c.watched {
		if c.busy[p] == nil {
			parts = append(parts, p)
		}
	}
	clear(c.watched)
	c.armed = false
	c.mu.Unlock()
	slices.SortFunc(parts, func(a, b *part) int { return compareTopicPartition(a.tp, b.tp) })
	now := c.h.s.config.Clock.Now()
	var due []dirtyPart
	for _, p := range parts {
		idle := p.log.Load() == nil
		d, err := p.dirty(now)
		switch {
		case err == nil && d.Due:
			due = append(due, dirtyPart{p, d.Ratio, idle})
			continue
		case err == nil && d.LagDecides:
			c.watch(p)
		case err != nil:
			c.failed(p, err)
		}
		if idle {
			p.parkIdle()
		}
	}
	c.mu.Lock()
	c.due = append(c.due, due...)
	slices.SortStableFunc(c.due, func(a, b dirtyPart) int { return cmp.Compare(a.ratio, b.ratio) })
	c.mu.Unlock()
	c.begin()
}

// dirty measures p, whose policy is to be compacted.
func (p *part) dirty(now time.Time) (log.Dirtiness, error) {
	if !p.t.settings.Load().compacted || p.cleaning.uncleanable.Load() {
		return log.Dirtiness{}, nil
	}
	l, err := p.open()
	if err != nil {
		return log.Dirtiness{}, err
	}
	d, err := l.Dirty(now)
	if err == nil {
		p.cleaning.dirtiness.Store(&d)
	}
	return d, p.gone(err)
}

// parkIdle gives back what a look has opened.
func (p *part) parkIdle() {
	if l := p.log.Load(); l != nil {
		p.s.shell.failed(p, l.Park())
	}
}

// begin starts cleanings while there is something due and a place for them.
func (c *cleaner) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := len(c.due); n > 0 && c.running < c.h.s.config.CleanerThreads; n = len(c.due) {
		d := c.due[n-1]
		c.due = c.due[:n-1]
		if c.busy[d.p] != nil {
			continue
		}
		j := &cleanJob{dirtyPart: d, done: make(chan struct{})}
		c.busy[d.p] = j.done
		c.running++
		c.h.after(0, func() { c.step(j) })
	}
}

// step does a piece of a cleaning: all of it, unless there is a limit.
func (c *cleaner) step(j *cleanJob) {
	s := c.h.s
	l, err := j.p.open()
	if err == nil && j.cleaning == nil {
		j.cleaning, err = s.beginClean(j.p, l)
	}
	for done := false; err == nil && !done; {
		select {
		case <-c.h.closing:
			err = ErrClosed
			continue
		default:
		}
		rate := s.config.CleanerBytesPerSecond
		piece := int64(cleanPiece)
		if rate != Unlimited {
			piece = max(min(piece, rate/8), 1)
		}
		before := j.cleaning.Work()
		done, err = j.cleaning.Step(piece)
		j.p.cleaning.work.Store(j.cleaning.Work())
		if wait := s.cleanWait(j.cleaning.Work() - before); wait > 0 && !done && err == nil {
			c.h.after(wait, func() { c.step(j) })
			return
		}
	}
	more := s.endClean(j.p, j.cleaning, err)
	c.over(j, more, err)
}

// cleanPiece is how many bytes are cleaned between two looks at whether the store is being closed.
const cleanPiece = 16 << 20

// cleanWait is how long work of so many bytes has to take.
func (s *Store) cleanWait(bytes int64) time.Duration {
	rate := s.config.CleanerBytesPerSecond
	if rate == Unlimited {
		return 0
	}
	return time.Duration(float64(bytes) / float64(rate) * float64(time.Second))
}

// over makes place for the next cleaning. More says that p has to be cleaned on at once.
func (c *cleaner) over(j *cleanJob, more bool, err error) {
	if err == nil {
		c.h.touch(j.p) // the new segments get their sums
	}
	if j.idle && !more {
		j.p.parkIdle()
	}
	c.mu.Lock()
	delete(c.busy, j.p)
	close(j.done)
	c.running--
	if more {
		c.due = append(c.due, j.dirtyPart)
	}
	c.mu.Unlock()
	if err != nil {
		c.failed(j.p, err)
	} else if !more {
		c.watch(j.p) // for what has been appended meanwhile
	}
	c.begin()
}

// failed decides what an error of p's cleaning means. One that another try may not meet is left to the next look.
func (c *cleaner) failed(p *part, err error) {
	switch {
	case errors.Is(err, ErrClosed) || errors.Is(err, ErrUnknownTopicOrPartition):
	case errors.Is(err, log.ErrCleaningAborted):
		c.watch(p)
	case errors.Is(err, ErrNoSpace):
		p.counters.failures.Add(1)
		c.watch(p)
	default:
		p.markUncleanable(err)
	}
}

// markUncleanable has p left alone until the store is opened again: what cannot be read is never deleted.
func (p *part) markUncleanable(err error) {
	p.counters.failures.Add(1)
	if p.cleaning.uncleanable.CompareAndSwap(false, true) {
		if f := p.s.config.Events.Uncleanable; f != nil {
			f(p.tp, err)
		}
	}
}

// beginClean begins to clean p. The recovery point is persisted before anything is swapped, so that a recovery does not have to read, and judge, what compaction
// leaves.
func (s *Store) beginClean(p *part, l *log.Log) (*log.Cleaning, error) {
	c, err := l.BeginClean(log.CleanOptions{Now: s.config.Clock.Now(), MapBytes: max(s.config.CleanerMapBytes/int64(s.config.CleanerThreads), 1)})
	if err == nil {
		s.saveRecoveryPoints([]*part{p})
	}
	return c, p.gone(err)
}

// endClean persists how far p has been cleaned, and counts. More says that another pass has to follow at once, because the keys did not
// fit into the map.
func (s *Store) endClean(p *part, cleaning *log.Cleaning, err error) (more bool) {
	if cleaning == nil {
		return false
	}
	cleaning.Close()
	r := cleaning.Result()
	p.cleaning.count(r, err == nil)
	if err != nil {
		return false
	}
	if err := s.saveCleaned(p, r.Cleaned); err != nil {
		s.counters.failedCheckpoints.Add(1) // the next process cleans again
	}
	if f := s.config.Events.Compacted; f != nil {
		f(p.tp, Compacted{r.First, r.Cleaned, r.Records, r.KeptRecords, r.Bytes, r.KeptBytes, r.Segments, r.Swapped, r.Keys, r.MapUse, r.Took})
	}
	return r.Cleaned < r.Limit && r.Cleaned > r.First
}

// saveCleaned journals the first dirty offset of p.
func (s *Store) saveCleaned(p *part, cleaned Offset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commitCleanedLocked(p, cleaned)
}

func (s *Store) commitCleanedLocked(p *part, cleaned Offset) error {
	var e encoder
	e.int(1)
	e.mark(mark{id: p.t.id, partition: p.tp.Partition, offset: cleaned})
	return s.commitLocked(eventCleaned, e.buf)
}

// Compact compacts a partition now, whatever its settings say about when: all that is stable when it is called, which begins a new segment.
// It returns when that is done. The store compacts by itself too, when a partition is dirty enough; Compact is for tests, and for
// hosts that know a better moment. Errors: ErrPolicyViolation if cleanup.policy has no compact; *log.CorruptionError, and then
// nothing has been removed that cannot be read; ErrNoSpace; ctx's, and what has been done by then stays.
func (s *Store) Compact(ctx context.Context, tp TopicPartition) error {
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return s.closedOr(err)
	}
	switch {
	case s.readOnly:
		return ErrReadOnly
	case !p.t.settings.Load().compacted:
		return fmt.Errorf("%w: topic %q is not compacted", ErrPolicyViolation, tp.Topic)
	}
	l, err := p.open()
	if err != nil {
		return err
	}
	done, err := s.shell.cleaner.claim(ctx, p)
	if err != nil {
		return err
	}
	defer done()
	if err := l.Roll(); err != nil {
		return p.gone(err)
	}
	for more := true; more; {
		if more, err = s.compactOnce(ctx, p, l); err != nil {
			if e := (*log.CorruptionError)(nil); errors.As(err, &e) {
				p.markUncleanable(err)
			}
			return fmt.Errorf("compact %s: %w", tp, noSpace(err))
		}
	}
	s.shell.touch(p) // the new segments get their sums
	return nil
}

func (s *Store) compactOnce(ctx context.Context, p *part, l *log.Log) (more bool, err error) {
	c, err := s.beginClean(p, l)
	if err != nil {
		return false, err
	}
	defer c.Close()
	for done := false; !done && err == nil; {
		before := c.Work()
		done, err = c.Step(cleanPiece)
		p.cleaning.work.Store(c.Work())
		if err == nil && !done {
			err = s.cleanPause(ctx, s.cleanWait(c.Work()-before))
		}
	}
	return s.endClean(p, c, err), p.gone(err)
}

// cleanPause waits, unless ctx or the store ends.
func (s *Store) cleanPause(ctx context.Context, d time.Duration) error {
	if d > 0 {
		over := make(chan struct{})
		stop := s.config.Clock.AfterFunc(d, func() { close(over) })
		defer stop()
		select {
		case <-over:
		case <-ctx.Done():
		case <-s.shell.closing:
			return ErrClosed
		}
	}
	return ctx.Err()
}

// claim waits until nobody cleans p, and keeps others from it until done is called.
func (c *cleaner) claim(ctx context.Context, p *part) (done func(), err error) {
	for {
		c.mu.Lock()
		other := c.busy[p]
		if other == nil {
			mine := make(chan struct{})
			c.busy[p] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				delete(c.busy, p)
				close(mine)
				c.mu.Unlock()
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.h.closing:
			return nil, ErrClosed
		}
	}
}
