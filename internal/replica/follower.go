package replica

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mutant"
)

// Follower is a follower's side of one partition: from where it fetches, and what it does with an answer (04 §2.3).
//
// Invariant: its log is cut only where the leader's epochs prove that the leader's log differs, never at the high watermark (KIP-101).
type Follower struct {
	leader         NodeID
	epoch          int32
	partitionEpoch int32
	high           int64
	waiting        bool // the leader knows a newer epoch: metadata will come
	begun          bool // an answer has been handled in this epoch; only a mutant asks
}

// StepKind is what a follower does with its log.
type StepKind uint8

const (
	// StepNone: nothing; fetch again.
	StepNone StepKind = iota
	// StepAppend: append Records as they are.
	StepAppend
	// StepTruncate: remove everything from Offset on.
	StepTruncate
	// StepReset: remove everything, begin with Offset, and append Records if there are any.
	StepReset
	// StepWait: do not fetch until Metadata brings a new epoch.
	StepWait
	// StepBackoff: fetch again after a while.
	StepBackoff
	// StepFail: the answer contradicts the log. Fetch again after a while, and tell somebody.
	StepFail
)

// Step is what is to be done with an answer, in this order: the log operation, then Follower.Done, then the log start offset.
type Step struct {
	Kind          StepKind
	Offset        int64  // of StepTruncate and StepReset
	Records       []byte // of StepAppend, and may be of StepReset: whole batches, a part of the answer's
	HighWatermark int64  // the leader's; -1: not told
	LogStart      int64  // raise the log start offset to it; -1: not told
	Committed     bool   // StepTruncate, StepReset: it removes records below the follower's high watermark. Unclean elections do that.
	Dropped       bool   // batches were left out whose epoch is above the leader's
	Code          Code   // why, of StepWait, StepBackoff and StepFail
}

// NewFollower begins to follow m.Leader. high is the high watermark that this node knows.
func NewFollower(m Metadata, high int64) *Follower {
	return &Follower{leader: m.Leader, epoch: m.LeaderEpoch, partitionEpoch: m.PartitionEpoch, high: high}
}

// Metadata tells of a change; older metadata changes nothing. It reports whether there is another leader or epoch: then what has been
// sent is void.
func (f *Follower) Metadata(m Metadata) bool {
	if m.LeaderEpoch < f.epoch || m.LeaderEpoch == f.epoch && m.PartitionEpoch < f.partitionEpoch {
		return false
	}
	changed := m.LeaderEpoch != f.epoch || m.Leader != f.leader
	f.leader, f.epoch, f.partitionEpoch = m.Leader, m.LeaderEpoch, m.PartitionEpoch
	if changed {
		f.waiting, f.begun = false, false
	}
	return changed
}

// Leader is whom to fetch from, NoNode if nobody leads.
func (f *Follower) Leader() NodeID { return f.leader }

// Epoch is the leader epoch that it follows.
func (f *Follower) Epoch() int32 { return f.epoch }

// HighWatermark is what the follower knows of the high watermark. It goes back only when its log is cut below it.
func (f *Follower) HighWatermark() int64 { return f.high }

// Waiting reports whether fetching is of no use before Metadata has brought a new epoch.
func (f *Follower) Waiting() bool { return f.waiting || f.leader == NoNode }

// Position is what to ask for next, with MaxBytes left to the caller. The error is the log's.
func (f *Follower) Position(log Log) (Position, error) {
	last, err := log.LastEpoch()
	if err != nil {
		return Position{}, err
	}
	return Position{Offset: log.End(), LastEpoch: last, LeaderEpoch: f.epoch, LogStart: log.Start(), HighWatermark: f.high}, nil
}

// Handle says what to do with the leader's answer to sent. An answer to another position than the present one is void: StepNone.
func (f *Follower) Handle(log Log, sent Position, a *Answer) (Step, error) {
	start, end := log.Start(), log.End()
	step := Step{Kind: StepNone, HighWatermark: -1, LogStart: -1, Code: a.Code}
	last, err := log.LastEpoch()
	if err != nil {
		return Step{}, err
	}
	// The epoch as well: after a truncation the end may have come back to where it was, with other records before it.
	if sent.LeaderEpoch != f.epoch || sent.Offset != end || sent.LastEpoch != last {
		step.Code = None
		return step, nil
	}
	if mutant.On(mutant.TruncateToHighWatermark) && !f.begun {
		f.begun = true
		return Step{Kind: StepTruncate, Offset: max(start, f.high), HighWatermark: -1, LogStart: -1}, nil
	}
	f.begun = true
	switch a.Code {
	case None:
	case OffsetOutOfRange:
		return f.outOfRange(a, start, end), nil
	case FencedLeaderEpoch:
		f.waiting = true
		step.Kind = StepWait
		return step, nil
	default:
		// Among them UnknownLeaderEpoch and NotLeaderOrFollower: the leader's metadata is behind, or ours is.
		step.Kind = StepBackoff
		return step, nil
	}
	if a.Diverging() {
		return f.diverging(log, a, start, end)
	}
	step.HighWatermark, step.LogStart = a.HighWatermark, a.LogStart
	if err := f.take(&step, a.Records, start, end); err != nil {
		step = Step{Kind: StepFail, HighWatermark: -1, LogStart: -1, Code: CorruptMessage}
		return step, err
	}
	return step, nil
}

// ErrUnexpectedBatch is the error of a leader's answer whose batches do not go on where the follower's log ends.
var ErrUnexpectedBatch = errors.New("the leader's batches do not go on where the log ends")

// take finds the whole batches at the front of records that may be appended at end: up to the first whose epoch is above the leader's,
// for it cannot be from the leader that was asked.
//
// A leader's log start may be within a batch, after DeleteRecords. A follower that begins there with an empty log begins with the batch; so does one whose
// log ends there after a truncation, where the leader knows no epochs below: all that it has was deleted.
func (f *Follower) take(step *Step, records []byte, start, end int64) error {
	taken, next, lastEpoch := 0, end, NoEpoch
	if first, err := batch.Peek(records); err == nil && (start == end || step.LogStart >= end) && first.BaseOffset() < end && first.LastOffset() >= end {
		next = first.BaseOffset()
		step.Kind, step.Offset, step.LogStart = StepReset, next, max(end, step.LogStart)
	}
	for taken < len(records) {
		b, err := batch.Peek(records[taken:])
		if errors.Is(err, batch.ErrShort) {
			break
		}
		if err != nil {
			return fmt.Errorf("batch at %d of an answer: %w", taken, err)
		}
		if b.BaseOffset() < next || b.LastOffset() < b.BaseOffset() || b.LeaderEpoch() < lastEpoch {
			return fmt.Errorf("%w: offsets %d to %d of epoch %d, after offset %d and epoch %d", ErrUnexpectedBatch, b.BaseOffset(), b.LastOffset(),
				b.LeaderEpoch(), next, lastEpoch)
		}
		if b.LeaderEpoch() > f.epoch && !mutant.On(mutant.AppendOtherEpoch) {
			step.Dropped = true
			break
		}
		next, lastEpoch = b.LastOffset()+1, b.LeaderEpoch()
		taken += len(b)
	}
	switch {
	case taken == 0:
		step.Kind = StepNone
	case step.Kind == StepReset:
		step.Records = records[:taken]
	default:
		step.Kind, step.Records = StepAppend, records[:taken]
	}
	return nil
}

// diverging finds where the logs part. The leader's answer names an epoch and its end there; if this log does not have that epoch, it is
// cut to the end of the largest it has below, and the next fetch asks again (KIP-279).
func (f *Follower) diverging(log Log, a *Answer, start, end int64) (Step, error) {
	step := Step{Kind: StepTruncate, HighWatermark: -1, LogStart: -1}
	mine, mineEnd, err := log.EpochEnd(a.DivergingEpoch)
	switch {
	case err != nil:
		return Step{}, err
	case mine == NoEpoch || mutant.On(mutant.TruncateWithoutLowerEpoch):
		step.Offset = min(a.DivergingEnd, end)
	case mine != a.DivergingEpoch:
		step.Offset = min(mineEnd, end)
	default:
		step.Offset = min(mineEnd, a.DivergingEnd, end)
	}
	return f.cut(step, start), nil
}

func (f *Follower) outOfRange(a *Answer, start, end int64) Step {
	step := Step{HighWatermark: -1, LogStart: -1, Code: OffsetOutOfRange}
	switch {
	case a.LogEnd < 0 || a.LogStart < 0:
		step.Kind = StepBackoff
	case a.LogEnd < end:
		step.Kind, step.Offset = StepTruncate, a.LogEnd
		return f.cut(step, start)
	case a.LogStart > end:
		step.Kind, step.Offset = StepReset, a.LogStart
	default:
		step.Kind = StepBackoff // the leader has changed meanwhile: it has what we ask for
	}
	return step
}

// cut makes a truncation below the log's start a new beginning.
func (f *Follower) cut(step Step, start int64) Step {
	if step.Offset < start {
		step.Kind = StepReset
	}
	step.Committed = step.Offset < f.high
	return step
}

// Done tells that step has been carried out, and the log's end now, and returns the high watermark: min(leader's, end), but never less
// than before, unless the log was cut below it.
func (f *Follower) Done(step Step, end int64) int64 {
	switch step.Kind {
	case StepTruncate:
		f.high = min(f.high, end)
	case StepReset:
		f.high = min(max(step.Offset, step.LogStart), end)
	}
	f.high = max(f.high, min(step.HighWatermark, end))
	return f.high
}
