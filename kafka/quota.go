package kafka

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
)

// errThrottled refuses a change of topics that is over the quota (KIP-599): THROTTLING_QUOTA_EXCEEDED.
var errThrottled = &protocolError{codeThrottlingQuotaExceeded, "The throttling quota has been exceeded."}

// quotaUsage is what clients have used of their quotas.
type quotaUsage struct {
	mu      sync.Mutex // guards all below; held for look-ups only
	meters  map[quotaUser]*usage
	sweepAt int // how many there are when idle ones are next thrown out
}

// quotaUser is who uses a quota of a kind.
type quotaUser struct {
	kind quotaKind
	who  quotaEntity
}

// usage is a meter, and for quotaMutation a bucket instead.
type usage struct {
	meter  meter
	bucket bucket
	seen   int64 // guarded by quotaUsage.mu
}

const firstSweep = 1024

func (u *quotaUsage) init() { u.meters, u.sweepAt = map[quotaUser]*usage{}, firstSweep }

// of returns the usage of who. One that was idle for a whole window says nothing any more, and is thrown out when there are
// many: names of clients are for anybody to invent.
func (u *quotaUsage) of(who quotaUser, now int64, w window) *usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.meters[who]
	if m == nil {
		if len(u.meters) >= u.sweepAt {
			for k, m := range u.meters {
				if now-m.seen > 2*int64(w.samples)*w.length {
					delete(u.meters, k)
				}
			}
			u.sweepAt = max(firstSweep, 2*len(u.meters))
		}
		m = &usage{}
		u.meters[who] = m
	}
	m.seen = now
	return m
}

// elapsed is the guard's time in milliseconds.
func (g *guard) elapsed() int64 { return clock.Elapsed(g.clock).Milliseconds() }

func (s *settings) window() window {
	return window{max(s.quotaSamples, 1), max(s.quotaWindow.Milliseconds(), 1)}
}

func (s *settings) controllerWindow() window {
	return window{max(s.controllerQuotaSamples, 1), max(s.controllerQuotaWindow.Milliseconds(), 1)}
}

// quota returns the session's quota of a kind and its usage; nil if it has none.
func (s *session) quota(c *call, kind quotaKind, w window) (bound float64, m *usage, now int64) {
	g := s.server.guard
	t, _ := g.limits.get(g.store) // after an error what was valid before
	if t == nil || t.limits[kind] == nil {
		return 0, nil, 0
	}
	bound, who, ok := t.limit(kind, s.principal.Name, c.clientID)
	if !ok {
		return 0, nil, 0
	}
	now = g.elapsed()
	return bound, g.usage.of(quotaUser{kind, who}, now, w), now
}

// throttleProduce counts bytes of a Produce request. The data is in the log already: over the quota, the answer goes out at
// once, tells for how long, and the connection is not read from for that time (KIP-219).
func (s *session) throttleProduce(c *call, bytes int) {
	w := s.settings().window()
	if bound, m, now := s.quota(c, quotaProduce, w); m != nil {
		rate, over := m.meter.record(w, float64(bytes), now)
		c.throttle = max(c.throttle, throttleFor(rate, bound, over))
	}
}

// throttleFetch counts bytes of an answer to Fetch. If that is over the quota it is not counted after all, and the answer is
// to be an empty one: it returns true.
func (s *session) throttleFetch(c *call, bytes int) (over bool) {
	w := s.settings().window()
	bound, m, now := s.quota(c, quotaConsume, w)
	if m == nil {
		return false
	}
	rate, ms := m.meter.record(w, float64(bytes), now)
	d := throttleFor(rate, bound, ms)
	if d == 0 {
		return false
	}
	m.meter.retract(w, float64(bytes), now)
	c.throttle = max(c.throttle, d)
	return true
}

// fetchQuota returns how many bytes an answer to Fetch may have at most: a larger one would be over the quota whatever was
// fetched before, and never arrive. limit is returned where there is no quota.
func (s *session) fetchQuota(c *call, limit int) int {
	w := s.settings().window()
	bound, m, _ := s.quota(c, quotaConsume, w)
	if m == nil {
		return limit
	}
	whole := bound * float64(w.samples-1) * float64(w.length) / 1000
	return int(min(float64(limit), max(whole, 1)))
}

// clockIn begins to count the time that a request keeps the broker busy, if there is any quota on that.
func (s *session) clockIn() {
	g := s.server.guard
	if t, _ := g.limits.get(g.store); t != nil && t.limits[quotaRequest] != nil {
		s.sec.busy = max(s.elapsed(), 1)
	} else {
		s.sec.busy = 0
	}
}

// waited takes the time that a request has waited for something off the time that it has kept the broker busy.
func (s *session) waited(d time.Duration) {
	if s.sec.busy != 0 {
		s.sec.busy += d
	}
}

// throttleRequest counts the time that a request has kept the broker busy, in percent of one processor's second. Its
// throttle is at most a sample long.
func (s *session) throttleRequest(c *call) {
	if s.sec.busy == 0 {
		return
	}
	busy := max(s.elapsed()-s.sec.busy, 0)
	w := s.settings().window()
	if bound, m, now := s.quota(c, quotaRequest, w); m != nil {
		rate, over := m.meter.record(w, busy.Seconds()*100, now)
		c.throttle = max(c.throttle, min(throttleFor(rate, bound, over), time.Duration(w.length)*time.Millisecond))
	}
}

// mutations counts changes of topics against the quota of a request's client.
type mutations struct {
	s      *session
	c      *call
	strict bool
}

// mutations begins to count. strict is what versions that know THROTTLING_QUOTA_EXCEEDED ask for: a client whose bucket is
// overdrawn is refused; one of an older version is only slowed down.
func (s *session) mutations(c *call, strict bool) mutations { return mutations{s, c, strict} }

// take counts n partitions that are about to be made or deleted. The error is errThrottled: they are not to be.
func (m mutations) take(n int) error {
	w := m.s.settings().controllerWindow()
	bound, u, now := m.s.quota(m.c, quotaMutation, w)
	if u == nil {
		return nil
	}
	wait, taken := u.bucket.take(w, bound, float64(n), now, m.strict)
	m.c.throttle = max(m.c.throttle, wait)
	if !taken {
		return errThrottled
	}
	return nil
}

// connection counts a connection from an address against connection_creation_rate. Over the quota it is to be closed after
// a while, and is not counted.
func (g *guard) connection(set *settings, remote net.Addr) (wait time.Duration, err error) {
	t, _ := g.limits.get(g.store)
	if t == nil || t.limits[quotaConnect] == nil || remote == nil {
		return 0, nil
	}
	host, _ := splitAddr(remote.String())
	bound, ok := t.limitOfAddress(host)
	if !ok {
		return 0, nil
	}
	w, now := set.window(), g.elapsed()
	m := g.usage.of(quotaUser{quotaConnect, quotaEntity{ip: named(host)}}, now, w)
	rate, over := m.meter.record(w, 1, now)
	if wait = throttleFor(rate, bound, over); wait == 0 {
		return 0, nil
	}
	m.meter.retract(w, 1, now)
	return wait, fmt.Errorf("%w: %s has made more than %v a second", wire.ErrTooManyConnections, host, bound)
}
