package simulate

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Trace is the story of a run, a line for each thing worth telling. One that is nil tells nothing and costs a comparison: runs are
// repeated with one when they have failed.
type Trace struct {
	sched *Scheduler
	w     io.Writer // nil: only the last lines are kept
	last  []string  // a ring
	next  int
}

// NewTrace returns a trace that writes to w, if it is not nil, and keeps the last keep lines.
func NewTrace(s *Scheduler, w io.Writer, keep int) *Trace {
	return &Trace{sched: s, w: w, last: make([]string, 0, max(keep, 1))}
}

// On reports whether anybody reads it: what costs something to put into words is asked for first.
func (t *Trace) On() bool { return t != nil }

// Say tells something about who.
func (t *Trace) Say(who, format string, args ...any) {
	if t == nil {
		return
	}
	line := fmt.Sprintf("%12s  %-10s %s", stamp(t.sched.Now()), who, fmt.Sprintf(format, args...))
	if t.w != nil {
		fmt.Fprintln(t.w, line)
	}
	if len(t.last) < cap(t.last) {
		t.last = append(t.last, line)
		return
	}
	t.last[t.next] = line
	t.next = (t.next + 1) % len(t.last)
}

// Last returns the last lines, oldest first.
func (t *Trace) Last() string {
	if t == nil {
		return ""
	}
	lines := append(append([]string(nil), t.last[t.next:]...), t.last[:t.next]...)
	return strings.Join(lines, "\n")
}

// stamp is a time with microseconds, which sorts as text within a run.
func stamp(d time.Duration) string {
	return fmt.Sprintf("%d.%06ds", d/time.Second, d%time.Second/time.Microsecond)
}
