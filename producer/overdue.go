package producer

import "time"

// watch makes sure that somebody looks after batches that get too old. It is called whenever a batch begins, so there
// is one timer while there is work, and none in an idle producer.
func (p *Producer) watch() {
	if !p.watching.Load() && p.watching.CompareAndSwap(false, true) {
		p.watchAgain(p.cfg.DeliveryTimeout)
	}
}

func (p *Producer) watchAgain(d time.Duration) {
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	if p.watchOver {
		return
	}
	p.stopWatch = p.cfg.Clock.AfterFunc(d, func() { p.background(p.expire) })
}

// endWatch stops the timer for good.
func (p *Producer) endWatch() {
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	p.watchOver = true
	if p.stopWatch != nil {
		p.stopWatch()
	}
}

// expire gives up every batch that is older than DeliveryTimeout.
func (p *Producer) expire() {
	p.watching.Store(false) // from here on, who begins a batch arms the timer
	now := p.cfg.Clock.Now()
	next := time.Duration(0)
	p.eachLane(func(ln *lane) {
		if rest := ln.expire(now, p.cfg.DeliveryTimeout); rest > 0 && (next == 0 || rest < next) {
			next = rest
		}
	})
	if next > 0 && p.watching.CompareAndSwap(false, true) {
		p.watchAgain(next)
	}
}

// expire gives up the batches of the lane that are as old as limit, and returns after what time the next will be, or 0.
// With limit 0 it gives up all.
func (ln *lane) expire(now time.Time, limit time.Duration) (next time.Duration) {
	var r released
	ln.mu.Lock()
	for _, b := range ln.flight {
		next = ln.expireOne(b, now, limit, next)
	}
	for ln.first != nil && since(ln.first.created, now) >= limit {
		ln.expireUnsent(ln.unqueue(), now)
	}
	if ln.first != nil {
		next = sooner(next, limit-since(ln.first.created, now))
	} else if b := ln.open; b != nil {
		if since(b.created, now) >= limit {
			ln.closeOpen()
			ln.expireUnsent(ln.unqueue(), now)
		} else {
			next = sooner(next, limit-since(b.created, now))
		}
	}
	ln.unmute()
	ln.advance(&r, now)
	calls := ln.claimResults()
	ln.schedule()
	ln.mu.Unlock()
	r.handle(ln.p)
	if calls {
		ln.p.deliverElsewhere(ln)
	}
	return next
}

// expireOne gives up b, which is in flight, if it is old enough. A batch that a sender is appending is abandoned: its
// records get their results, its bytes stay out of use, and a new epoch fences what may still arrive of it. A Send that
// appends by itself is left to its context.
func (ln *lane) expireOne(b *pending, now time.Time, limit, next time.Duration) time.Duration {
	age := since(b.created, now)
	switch {
	case b.state == done:
	case age < limit:
		next = sooner(next, limit-age)
	case b.state == sending && b.inline && limit > 0:
		next = sooner(next, limit)
	case b.state == sending:
		ln.abandon(b, ln.overdue(b, age, b.err))
	default:
		ln.fail(b, ln.overdue(b, age, b.err))
	}
	return next
}

// abandon gives up b, of which an append is running.
func (ln *lane) abandon(b *pending, err error) {
	b.abandoned, b.uncertain = true, true
	ln.used = true
	ln.inFlight--
	ln.fail(b, err)
}

// unmute ends the pause before a retry if there is nothing left to retry.
func (ln *lane) unmute() {
	if ln.muted != nil && ln.retry() == nil {
		ln.muted()
		ln.muted = nil
	}
}

// expireUnsent gives up b, of which no append has begun.
func (ln *lane) expireUnsent(b *pending, now time.Time) {
	ln.taken += uint64(len(b.entries))
	ln.flight = append(ln.flight, b)
	ln.fail(b, ln.overdue(b, since(b.created, now), nil))
}

// sooner returns the smaller of two durations, of which a may be 0 for none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 {
		return max(b, 1)
	}
	return min(a, max(b, 1))
}
