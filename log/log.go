package log

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Log is one partition's records on disk. All methods may be called from any goroutine. It starts none itself: Sync, Seal and
// Retain are calls that the owner makes.
//
// Lock order: cleaner.mu, admin, loading, the writer role (see writer.go), loadingAborted, syncing, logSegment.mu, syncingOpen, mu,
// leases.mu. cleaner.mu, admin, loading, loadingAborted, syncing, syncingOpen and, while it is loaded or mapped, a segment's mu are held during I/O; mu never is.
type Log struct {
	config   Config
	clock    clock.Clock
	leases   leases
	waiters  waiterPool
	settings atomic.Pointer[Settings]
	segments atomic.Pointer[[]*logSegment] // by base, ascending; the slice is never changed, only replaced, with mu held

	// Published offsets. Invariant: start <= visible; durable <= written <= next; visible <= written.
	start, written, durable, visible atomic.Int64

	// Published of producers' transactions, see showUnstableLocked: unstable is stored before visible passes it, and raised after.
	unstable, nextStable atomic.Int64
	stableKnown          atomic.Bool // producers are loaded
	transactional        atomic.Bool // and had transactions

	closed atomic.Bool

	truncations atomic.Uint64 // raised when a truncation has published its end and before it touches a byte, see shielded

	cleaner cleaner // what compaction is at; its lock is taken before admin

	admin          sync.Mutex // one at a time: retention, sealing, settings, close
	loading        sync.Mutex // guards the first touch
	loadingAborted sync.Mutex // one at a time: the first use of a segment's aborted transactions

	syncing sync.Mutex // one at a time: the sync of rolled segments

	syncingOpen sync.Mutex // one at a time: the sync of the active segment beside its writer; taken last but for mu

	identified     atomic.Bool   // the directory is not another topic's
	hasMetadata    atomic.Bool   // and has a right partition.metadata
	newNames       atomic.Bool   // a file was made since the directory was synced
	unsynced       []*logSegment // that recovery has found and not synced, oldest first; guarded by syncing
	unsyncedRolled atomic.Int64  // those, and of pending those whose files have not been synced

	mu            sync.Mutex // guards all below
	state         state
	failure       error  // why the log is poisoned
	closeError    error  // what Close returned
	next          Offset // offset of the next append
	epoch         LeaderEpoch
	leading       bool // of a replicated log, between Lead and Follow
	writing       bool // somebody has the writer role
	queue         queue
	appenders     int // of the last write, and those who queued up meanwhile: how many are at it
	producers     *producers
	epochs        epochCache
	recovered     bool   // Open has found epochs and producers
	closeSnapshot Offset // end that the last close wrote a producer snapshot at
	counts        counts
	imprint       Imprint
	reads         readCounts
	duplicates    int64
	corruptions   int64
	report        RecoveryReport
	pending       []*rolled // segments that Seal has work for, oldest first

	writer writer // belongs to whoever has the writer role
	clockGuard
}

// state says what an append may expect.
type state uint8

const (
	stateCold     state = iota // nothing has been touched since a clean open
	stateReady                 // the active segment, the producers and the epochs are loaded
	statePoisoned              // a sync failed
	stateClosed
)

// Start returns the log start offset: the first offset that may be read.
func (l *Log) Start() Offset { return Offset(l.start.Load()) }

// End returns the log end offset, which the next append will get. Batches below it may still be unwritten.
func (l *Log) End() Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Written returns the offset after the last batch in the page cache.
func (l *Log) Written() Offset { return Offset(l.written.Load()) }

// Durable returns the offset after the last synced batch.
func (l *Log) Durable() Offset { return Offset(l.durable.Load()) }

// Visible returns the offset that reads stop at: Durable with SyncAlways, Written otherwise; of a replicated log the high watermark. It
// never falls, but by TruncateTo and ResetTo.
func (l *Log) Visible() Offset { return Offset(l.visible.Load()) }

// extent returns how far the log itself may look.
func (l *Log) extent() Offset {
	if l.config.Replicated {
		return l.Written()
	}
	return l.Visible()
}

// Epoch returns the leader epoch that appends are stamped with.
func (l *Log) Epoch() LeaderEpoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// SetEpoch changes the leader epoch from the next append on. It must not fall.
func (l *Log) SetEpoch(e LeaderEpoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = e
}

// Settings returns the settings in force, defaults filled in.
func (l *Log) Settings() Settings { return *l.settings.Load() }

// SetSettings changes the settings from the next append on. A change to SyncAlways syncs what has been written first.
func (l *Log) SetSettings(s Settings) error {
	s = s.withDefaults()
	l.admin.Lock()
	defer l.admin.Unlock()
	before := l.settings.Swap(&s)
	if s.Sync == SyncAlways && before.Sync != SyncAlways {
		// Batches written under the old mode may be in rolled files too, which the writer's own sync does not reach.
		return l.Sync()
	}
	return nil
}

// Report returns what Open and the first use of each segment have found.
func (l *Log) Report() RecoveryReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Findings = append([]Finding(nil), r.Findings...)
	return r
}

// find records a finding made after Open.
func (l *Log) find(f Finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Kind == CorruptMiddle || f.Kind == MissingSegment {
		l.corruptions++
	}
	// The same place is found again when a parked segment is loaded again.
	for _, known := range l.report.Findings {
		if known.Kind == f.Kind && known.Path == f.Path && known.Position == f.Position && known.Offset == f.Offset {
			return
		}
	}
	l.report.Findings = append(l.report.Findings, f)
}

// segmentList returns the segments as of now.
func (l *Log) segmentList() []*logSegment { return *l.segments.Load() }

// segmentAt returns the place in list of the last segment whose base is at most offset, -1 when there is none.
func segmentAt(list []*logSegment, offset Offset) int {
	// The newest segment is asked for most.
	if n := len(list); n > 0 && list[n-1].base <= offset {
		return n - 1
	}
	low, high := 0, len(list)
	for low < high {
		if m := (low + high) / 2; list[m].base <= offset {
			low = m + 1
		} else {
			high = m
		}
	}
	return low - 1
}

// setSegmentsLocked publishes a new list.
func (l *Log) setSegmentsLocked(list []*logSegment) { l.segments.Store(&list) }

// milliseconds is a time as records have it.
func milliseconds(t time.Time) int64 { return t.UnixMilli() }

// notify tells the owner that readers can see more.
func (l *Log) notify() {
	if l.config.Notify != nil {
		l.config.Notify()
	}
}

// raise sets v to at least to.
func raise(v *atomic.Int64, to int64) {
	for {
		now := v.Load()
		if now >= to || v.CompareAndSwap(now, to) {
			return
		}
	}
}
