package log

import "github.com/partlog/partlog/internal/mutant"

// A replicated log (Config.Replicated) is one of several copies. One node leads it, and appends (Append); the others follow, and append what
// they have read there (AppendReplica). Which is which its owner says:
//
//	          Lead(epoch)
//	following ───────────▶ leading     Append takes batches, AppendReplica refuses them
//	    ▲  ◀───────────────   │
//	    │       Follow        └ Lead(a later epoch): the same leader, elected again
//	    └ AppendReplica, TruncateTo, ResetTo
//
// Invariant: Start <= Visible <= Written, where Visible is the high watermark. Clients read below it, replicas up to Written.

// Lead begins leadership in a leader epoch: it begins at End, as Kafka's leader enters it in its epoch cache before the first batch
// (KIP-101), and appends are stamped with it. To lead in the same epoch again changes nothing. Errors: ErrClosed, ErrPoisoned, ErrReadOnly,
// those of the first use of the log.
func (l *Log) Lead(e LeaderEpoch) error {
	if err := l.touch(); err != nil {
		return err
	}
	l.acquire() // behind what is queued
	defer l.release()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.notReadyLocked(); err != nil {
		return err
	}
	if l.leading && l.epoch == e {
		return nil
	}
	l.leading, l.epoch = true, e
	if mutant.On(mutant.NewLeaderForgetsProducers) {
		l.takeProducersLocked(&producers{})
	}
	if l.epochs.Assign(int32(e), int64(l.writer.next)) {
		l.epochs.changed(l.writer.next)
	}
	return nil
}

// Follow ends leadership: appends that have no place in the log yet are ErrNotLeaderOrFollower. Those that have one are written when it
// returns, so that End is Written, and may be cut off again by TruncateTo.
func (l *Log) Follow() {
	l.mu.Lock()
	led := l.leading
	l.leading = false
	l.mu.Unlock()
	if led {
		l.acquire() // behind what is queued
		l.release()
	}
}

// SetHighWatermark raises Visible to o, or to Written if that is lower, and LastStable with it. It reports whether Visible has moved: it
// never falls here.
func (l *Log) SetHighWatermark(o Offset) bool {
	if o <= l.Visible() {
		return false
	}
	l.mu.Lock() // against a truncation
	defer l.mu.Unlock()
	if o = min(o, l.Written()); o <= l.Visible() {
		return false
	}
	l.visible.Store(int64(o))
	if Offset(l.nextStable.Load()) < o {
		l.producers.settle(o)
		l.showUnstableLocked()
	}
	return true
}

// ReadReplica is Read for a replica: it reads up to Written, and its limit is maxBytes alone. In SyncAlways that is more than is durable
// here. The view stays as it is when its records are cut off.
func (l *Log) ReadReplica(from Offset, maxBytes int) (View, error) {
	v, _, err := l.read(&l.written, from, noOffset, maxBytes)
	return v, err
}
