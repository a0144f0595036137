package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// record is a flight where a node has found it.
type record struct {
	flight    string
	partition int32
	offset    int64
}

// ledger is what the parent knows of all flights: what nodes have told it, in lines on their standard outputs.
type ledger struct {
	born time.Time

	mu       sync.Mutex // guards all below
	changed  chan struct{}
	acked    map[string]record
	consumed map[string]bool // by a member of the group
	open     int             // acknowledged, and not consumed
	lastAck  [partitions]time.Time
	longest  [partitions]time.Duration // without an acknowledgement
	done     int                       // nodes that have stopped
	reading  []record
	all      []record // read back; not nil when that is complete
	failures int      // sends whose outcome is not known
}

func newLedger() *ledger {
	return &ledger{born: time.Now(), changed: make(chan struct{}), acked: map[string]record{}, consumed: map[string]bool{}}
}

func (l *ledger) age() time.Duration { return time.Since(l.born) }

// listen takes a node's lines until its process has ended.
func (l *ledger) listen(out io.Reader, ready chan struct{}) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		l.mu.Lock()
		if l.take(line) == "ready" {
			close(ready)
		}
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
}

// take takes one line, and returns its first word.
func (l *ledger) take(line string) string {
	word, rest, _ := strings.Cut(line, " ")
	var r record
	if _, err := fmt.Sscanf(rest, "%s %d %d", &r.flight, &r.partition, &r.offset); err != nil && rest != "" {
		return "" // cut short by a kill: nobody was told
	}
	switch word {
	case "acked":
		l.acked[r.flight] = r
		if !l.consumed[r.flight] {
			l.open++
		}
		now := time.Now()
		if last := l.lastAck[r.partition]; !last.IsZero() {
			l.longest[r.partition] = max(l.longest[r.partition], now.Sub(last))
		}
		l.lastAck[r.partition] = now
	case "consumed":
		if _, acked := l.acked[r.flight]; acked && !l.consumed[r.flight] {
			l.open--
		}
		l.consumed[r.flight] = true
	case "unknown":
		l.failures++
	case "done":
		l.done++
	case "record":
		l.reading = append(l.reading, r)
	case "read":
		l.all = append([]record{}, l.reading...)
	}
	return word
}

// await waits until something holds.
func (l *ledger) await(holds func(*ledger) bool, what string) error {
	late := time.After(settle)
	for {
		l.mu.Lock()
		ok, changed := holds(l), l.changed
		l.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-late:
			return fmt.Errorf("%s: not within %v", what, settle)
		}
	}
}

// result is what has become of the flights.
type result struct {
	acked, read, consumed, lost, duplicated, failures int
	longest                                           time.Duration
}

// check compares what was acknowledged with what is there.
func (l *ledger) check(all []record) result {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := result{acked: len(l.acked), read: len(all), failures: l.failures}
	found := map[string]record{}
	for _, one := range all {
		if _, twice := found[one.flight]; twice {
			r.duplicated++
		}
		found[one.flight] = one
	}
	for flight, told := range l.acked {
		if found[flight] != told { // gone, or at another place than its sender was told
			r.lost++
		}
		if l.consumed[flight] {
			r.consumed++
		}
	}
	for _, d := range l.longest {
		r.longest = max(r.longest, d)
	}
	return r
}

func (r result) print(w io.Writer, faults map[string]int) {
	for _, k := range kinds {
		fmt.Fprintf(w, "%-40s %8d\n", "nodes "+k.name, faults[k.name])
	}
	fmt.Fprintf(w, "%-40s %8d\n", "flights acknowledged", r.acked)
	fmt.Fprintf(w, "%-40s %8d\n", "  of which the group has handled", r.consumed)
	fmt.Fprintf(w, "%-40s %8d\n", "sends without a known outcome", r.failures)
	fmt.Fprintf(w, "%-40s %8d\n", "flights read back", r.read)
	fmt.Fprintf(w, "%-40s %8d\n", "lost", r.lost)
	fmt.Fprintf(w, "%-40s %8d\n", "duplicated", r.duplicated)
	fmt.Fprintf(w, "%-40s %8v\n", "longest without an acknowledgement", r.longest.Round(time.Millisecond))
}
