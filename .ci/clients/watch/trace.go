package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// trace is what was asked and answered lately, for a run that fails: who waits for whom.
type trace struct {
	began time.Time
	mu    sync.Mutex
	conns int
	lines []string // the last of them
	last  time.Time
	open  map[asking]time.Time
}

// asking is a request that has no answer yet.
type asking struct {
	conn        int
	correlation int32
	sighting
}

const traced = 300 // lines

func newTrace() *trace {
	return &trace{began: time.Now(), last: time.Now(), open: map[asking]time.Time{}}
}

// conn numbers a connection.
func (t *trace) conn(target string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns++
	t.line("%d opened, to %s", t.conns, target)
	return t.conns
}

func (t *trace) asked(a asking) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[a] = time.Now()
	t.line("%d -> %s %d (%d)", a.conn, kmsg.NameForKey(a.key), a.version, a.correlation)
}

func (t *trace) answered(a asking) {
	t.mu.Lock()
	defer t.mu.Unlock()
	after := "that nobody waits for"
	if since, ok := t.open[a]; ok {
		after = fmt.Sprintf("after %d ms", time.Since(since).Milliseconds())
	}
	t.line("%d <- %s %d (%d) %s", a.conn, kmsg.NameForKey(a.key), a.version, a.correlation, after)
	delete(t.open, a)
}

// ended says which end of a connection was the first.
func (t *trace) ended(conn int, by string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line("%d ended by the %s", conn, by)
	for a := range t.open {
		if a.conn == conn {
			t.line("%d no answer to %s %d (%d)", conn, kmsg.NameForKey(a.key), a.version, a.correlation)
			delete(t.open, a)
		}
	}
}

// line needs mu.
func (t *trace) line(format string, args ...any) {
	t.last = time.Now()
	if len(t.lines) == traced {
		t.lines = slices.Delete(t.lines, 0, traced/4)
	}
	t.lines = append(t.lines, fmt.Sprintf("%9.3f s  connection ", time.Since(t.began).Seconds())+fmt.Sprintf(format, args...))
}

// silent says whether the client has sent nothing for so long, while nothing that it has asked for is still to come.
func (t *trace) silent(long time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open) == 0 && time.Since(t.last) > long
}

// print writes what is known. A request whose answer is still to come, and that is older than its own wait, is what to look at.
func (t *trace) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(w, "the last requests and answers of %d connections:\n", t.conns)
	for _, l := range t.lines {
		fmt.Fprintln(w, l)
	}
	fmt.Fprintf(w, "%9.3f s  not answered yet: %d\n", time.Since(t.began).Seconds(), len(t.open))
	for a, since := range t.open {
		fmt.Fprintf(w, "connection %d: %s %d (%d), asked %d ms ago\n", a.conn, kmsg.NameForKey(a.key), a.version, a.correlation, time.Since(since).Milliseconds())
	}
}
