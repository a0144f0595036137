package log

import "github.com/partlog/partlog/internal/segment"

// tail decides about what is behind the last good batch of s.
func (r *recovery) tail(s *logSegment, sc *scanned, size int64, cut, last bool, bound Offset) error {
	kind := TornTail
	var cause error
	switch {
	case cut:
	case sc.tail == nil && (last || max(sc.next, r.config.LogStart) >= bound || r.cleanedGap(sc.next)):
		return r.short(s, sc, size, last)
	case sc.tail != nil:
		kind = map[segment.ScanKind]string{segment.TornTail: TornTail, segment.ZeroTail: ZeroTail, segment.StaleTail: StaleTail, segment.ForeignTail: Foreign}[sc.tail.Kind]
		cause = sc.tail.Err
	}
	f := Finding{Kind: kind, Path: r.logPath(s), Position: sc.position, Offset: sc.next, NextOffset: sc.next, Bytes: size - sc.position}
	if cause != nil {
		f.Detail = cause.Error()
	}
	complete := !last && max(sc.next, r.config.LogStart) >= bound || last && sc.next >= r.config.RecoveryPoint // no record is missing
	switch {
	case kind == Foreign:
		// Messages of an old format are somebody's records: they stay, and nothing is written behind them.
		r.closeBehind(s, sc, size, max(sc.next, r.config.RecoveryPoint), kind, cause)
		return nil
	case complete:
		r.cut = r.cut || cut
		return r.cutOff(s, f, size)
	case !last && r.mayCutAt(sc.next) && r.settings.Load().Sync != SyncAlways:
		// The next segment was begun before this one was synced.
		r.cut = true
		return r.cutOff(s, f, size)
	}
	next := bound
	if last {
		next = r.config.RecoveryPoint
	}
	if cause == nil {
		cause = errMissing
	}
	if sc.tail == nil {
		kind = MissingSegment
	}
	r.closeBehind(s, sc, size, next, kind, cause)
	r.lossy()
	return nil
}

// short quarantines what a file that ends cleanly lacks below the recovery point.
func (r *recovery) short(s *logSegment, sc *scanned, size int64, last bool) error {
	if last && sc.next < r.config.RecoveryPoint {
		r.closeBehind(s, sc, size, r.config.RecoveryPoint, MissingSegment, errMissing)
		r.lossy()
	}
	return nil
}

// closeBehind quarantines what is behind the last good batch; the next append begins a segment with offset next.
func (r *recovery) closeBehind(s *logSegment, sc *scanned, size int64, next Offset, kind string, cause error) {
	r.addDamageLocked(s, kind, damage{position: sc.position, nextPosition: size, offset: sc.next, next: next, err: cause})
	sc.next = max(sc.next, next)
}
