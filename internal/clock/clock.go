// Package clock is the time seam: everything in the module that reads the time or waits for it does so through a
// Clock. The system's is System; a test advances a Manual one by hand, which also works across processes and
// goroutines where testing/synctest cannot reach.
//
// A clock has two readings that real machines let drift apart. The wall clock (Now) may jump, forwards and backwards,
// when somebody sets it. Elapsed time, which drives AfterFunc, only ever moves forwards at its own pace. Timeouts and
// expiry belong on elapsed time, timestamps of records on the wall clock.
package clock

import "time"

// Clock tells the time and calls functions when time has passed. Implementations are safe for concurrent use.
type Clock interface {
	// Now is the wall clock's time. System's result carries a monotonic reading, so differences of two results are
	// elapsed time; a Manual's does not.
	Now() time.Time
	// AfterFunc calls f once when d has elapsed; stop prevents that and reports whether it did. With System, f runs on
	// a goroutine of its own; with a Manual, on the goroutine that advances it. stop does not wait for a running f.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// System is the clock of the machine.
var System Clock = system{}

// Elapsed is a reading for differences only: how long something took. On System it is monotonic, and costs half of what
// Now does.
func Elapsed(c Clock) time.Duration {
	if c == System {
		return time.Since(origin)
	}
	return time.Duration(c.Now().UnixNano())
}

var origin = time.Now()

type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
