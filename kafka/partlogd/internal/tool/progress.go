package tool

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// isTerminal tells whether somebody is looking at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress is a line on a terminal that is written again from time to time; elsewhere nothing. It is safe for concurrent use.
type progress struct {
	w    io.Writer // nil: nothing
	what string

	mu    sync.Mutex // guards all below
	last  time.Duration
	shown bool
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what, last: clock.Elapsed(clock.System)}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// set says how far it is.
func (p *progress) set(n int64) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := clock.Elapsed(clock.System)
	if now-p.last < 500*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "\r%d %s\x1b[K", n, p.what)
}

// end takes the line away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
