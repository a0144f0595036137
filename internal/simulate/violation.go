package simulate

import (
	"fmt"
	"time"
)

// The checkers, by the names that they report under.
const (
	LostWrite          = "lost-write"          // acknowledged, and not there in the end
	LostRead           = "lost-read"           // somebody has read it, and it is not there in the end
	InconsistentOffset = "inconsistent-offset" // two records have had one offset
	Duplicate          = "duplicate"           // one record has two offsets
	Misordered         = "misordered"          // a producer's records are not in the order they were sent in
	Phantom            = "phantom"             // nobody wrote it there
	RefusedRead        = "refused-read"        // it was refused, or its transaction aborted, and yet it was read (G1a)
	TornTransaction    = "torn-transaction"    // of a transaction some is there and some is not
	Nonmonotonic       = "nonmonotonic-poll"   // a reader was given an offset again
	Skipped            = "poll-skip"           // a reader was not given what it should have been
	TwoLeaders         = "two-leaders"         // two nodes have led in one epoch
	HighWatermark      = "high-watermark"      // it went back, or beyond the log
	Diverged           = "diverged"            // replicas differ where it was committed
	Incomplete         = "incomplete"          // who must hold what was committed does not
	BadISR             = "bad-isr"             // not part of the replicas, or a leader outside
	OffsetLost         = "offset-lost"         // a group's committed offset went back
	TwoOwners          = "two-owners"          // two members of a group have had one partition in one generation
	StaleCommit        = "stale-commit"        // a coordinator takes a commit of a member that is in another generation, or none
	NotLinearizable    = "not-linearizable"    // commands on topics have no order that explains their answers
	MetadataBack       = "metadata-back"       // a node has told of an earlier state than before
	DeletedBack        = "deleted-back"        // something of a deleted topic is there
	UncleanElection    = "unclean-election"    // from outside ISR and ELR, where nobody allowed it or nobody is told
	TwoProcesses       = "two-processes"       // two processes are one node, or have one directory
	WrongLevel         = "wrong-level"         // a node takes part at a feature level that it does not know
	LogStart           = "log-start"           // a log begins where it must not: before, or behind, what was deleted
	LostValue          = "lost-value"          // compaction has removed the last record of a key
	Stuck              = "stuck"               // liveness: what should happen once all is well did not
	Broken             = "broken"              // a machine has said so itself: a BUG panic, an impossible error
)

// Violation is what a checker has found.
type Violation struct {
	Checker string // one of the names above
	At      time.Duration
	Detail  string
}

// Error names the checker and says what it has found.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s at %s: %s", v.Checker, stamp(v.At), v.Detail)
}

// Findings collects violations. The first is the one that counts: the others are often its children.
type Findings struct {
	sched *Scheduler
	first *Violation
	n     int
}

// NewFindings returns none yet.
func NewFindings(s *Scheduler) *Findings { return &Findings{sched: s} }

// Report adds a violation.
func (f *Findings) Report(checker, format string, args ...any) {
	f.n++
	if f.first == nil {
		f.first = &Violation{Checker: checker, At: f.sched.Now(), Detail: fmt.Sprintf(format, args...)}
	}
}

// First returns the first violation, nil if there is none.
func (f *Findings) First() *Violation { return f.first }

// Len returns how many there were.
func (f *Findings) Len() int { return f.n }
