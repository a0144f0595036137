package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/kafka"
)

const (
	// refusalLines are told at once, and one more with each refusalPause.
	refusalLines = 10
	refusalPause = time.Second
)

// refusals tells of logins that have failed, not oftener than an operator can read: what is left out is counted, and told with the next line. It is safe
// for concurrent use.
type refusals struct {
	clock clock.Clock
	warn  func(format string, args ...any)

	mu      sync.Mutex // guards all below
	told    int        // lines of late
	since   time.Duration
	leftOut int
}

func (r *refusals) tell(broker int32, listener string, c kafka.ConnInfo, f kafka.FailedLogin) {
	left, ok := r.take()
	if !ok {
		return
	}
	more := ""
	if f.Limited {
		more = "; too many have failed, so its password was not looked at"
	}
	if left > 0 {
		more += fmt.Sprintf(" (%d more before it)", left)
	}
	r.warn("broker %d: login of %q from %s by %s has failed on %s: %v%s", broker, f.User, c.Remote, f.Mechanism, listener, f.Err, more)
}

// take reports whether a line may be told now, and how many were left out before it.
func (r *refusals) take() (leftOut int, ok bool) {
	now := clock.Elapsed(r.clock)
	r.mu.Lock()
	defer r.mu.Unlock()
	if passed := int((now - r.since) / refusalPause); r.told == 0 || passed >= r.told {
		r.told, r.since = 0, now
	} else {
		r.told -= passed
		r.since += time.Duration(passed) * refusalPause
	}
	if r.told >= refusalLines {
		r.leftOut++
		return 0, false
	}
	r.told++
	leftOut, r.leftOut = r.leftOut, 0
	return leftOut, true
}
