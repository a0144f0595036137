package replica

import (
	"slices"
	"time"

	"github.com/partlog/partlog/internal/mutant"
)

// Check judges a follower's fetch against the leader's log, and changes nothing (04 §2.1, §2.3). An answer with Code None that does
// not diverge is to be filled with records from f.Offset up to the log's end; what such a fetch says of the follower is then
// given to Fetched, once. The error is the log's.
func (l *Leader) Check(log Log, f *Fetch) (Answer, error) {
	if c := l.admits(f); c != None {
		a := refusal(c)
		a.Leader, a.LeaderEpoch = l.config.Node, l.epoch
		return a, nil
	}
	start, end := log.Start(), log.End()
	outOfRange := refusal(OffsetOutOfRange)
	outOfRange.LogStart, outOfRange.LogEnd = start, end
	a := refusal(None)
	a.HighWatermark, a.LogStart = l.high, start
	if f.LastEpoch != NoEpoch && !mutant.On(mutant.AppendWithoutDivergence) {
		epoch, epochEnd, err := l.epochEnd(log, f.LastEpoch, end)
		switch {
		case err != nil:
			return Answer{}, err
		case epoch == NoEpoch || epochEnd == NoOffset || f.Offset < start:
			return outOfRange, nil
		case epoch < f.LastEpoch || epochEnd < f.Offset:
			a.DivergingEpoch, a.DivergingEnd = epoch, epochEnd
			return a, nil
		}
	}
	if f.Offset < start || f.Offset > end {
		return outOfRange, nil
	}
	return a, nil
}

// admits checks who asks and in which epochs.
func (l *Leader) admits(f *Fetch) Code {
	switch {
	case mutant.On(mutant.StaleEpochFetch):
	case f.LeaderEpoch != NoEpoch && f.LeaderEpoch < l.epoch:
		return FencedLeaderEpoch
	case f.LeaderEpoch != NoEpoch && f.LeaderEpoch > l.epoch:
		return UnknownLeaderEpoch
	}
	r := l.remote(f.Node)
	if r == nil {
		// A new replica of a reassignment that this leader has not heard of: let it try again.
		if f.LeaderEpoch == NoEpoch {
			return NotLeaderOrFollower
		}
		return UnknownLeaderEpoch
	}
	if mutant.On(mutant.StaleFollowerJoins) {
		return None
	}
	if registered, _ := l.config.Brokers.Broker(f.Node); f.BrokerEpoch < registered || f.BrokerEpoch < r.BrokerEpoch {
		return NotLeaderOrFollower // from before the follower's last start
	}
	return None
}

// epochEnd is log.EpochEnd with what a leader knows besides its batches: that its own epoch began at epochStart, though it may not have
// appended yet.
func (l *Leader) epochEnd(log Log, epoch int32, end int64) (int32, int64, error) {
	found, foundEnd, err := log.EpochEnd(epoch)
	if err != nil || found != NoEpoch {
		return found, foundEnd, err
	}
	if epoch == l.epoch {
		return epoch, end, nil
	}
	if epoch > l.epoch {
		return NoEpoch, NoOffset, nil
	}
	last, err := log.LastEpoch()
	if err != nil {
		return NoEpoch, NoOffset, err
	}
	if last == NoEpoch {
		last = epoch
	}
	return last, l.epochStart, nil
}

// Fetched takes note of a fetch that Check has found good and not diverging: the follower has everything below f.Offset. It is called
// once for each fetch, not again when a parked one is answered. now is when the fetch came.
func (l *Leader) Fetched(f *Fetch, now time.Duration) (Code, Effects) {
	if c := l.admits(f); c != None {
		return c, 0
	}
	l.now = max(l.now, now)
	r := l.remote(f.Node)
	r.fetched(f.Offset, f.LogStart, f.BrokerEpoch, l.end, now)
	e := l.expand(r) | l.lowered()
	return None, e | l.advance()
}

// OffsetForEpoch answers OffsetForLeaderEpoch (04 §1.2).
func (l *Leader) OffsetForEpoch(log Log, epoch int32) (found int32, end int64, err error) {
	if epoch == NoEpoch {
		return NoEpoch, NoOffset, nil
	}
	return l.epochEnd(log, epoch, log.End())
}

// ReadViews appends what PreferredReadReplica chooses from: this leader and the followers that are in the ISR.
func (l *Leader) ReadViews(dst []ReadView) []ReadView {
	dst = append(dst, ReadView{Node: l.config.Node, Leader: true, Start: l.start, End: l.end, CaughtUp: l.now})
	for i := range l.remotes {
		r := &l.remotes[i]
		if slices.Contains(l.isr, r.Node) {
			dst = append(dst, ReadView{Node: r.Node, Start: r.LogStart, End: r.LogEnd, CaughtUp: r.LastCaughtUp})
		}
	}
	return dst
}
