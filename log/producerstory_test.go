package log

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// TestProducerStories replays the stories in testdata/producers: one rule of producers and transactions each, with no log around the state
// machine. go test -rewrite writes down what happens; the diff is then to be read.
//
//	batch P epoch=E seq=S [n=N] [txn] [guard=G] [coordinator] [at=MS]     appended if the rules allow it
//	verify P epoch=E seq=S [v1]                                           a guard, or that none is needed
//	commit P epoch=E [coordinator-epoch=C] [v1]                           a marker
//	abort P epoch=E [coordinator-epoch=C] [v1]
//	emptied P epoch=E                                                     a marker that compaction has emptied, as replayed
//	fail N                                                                the last N appends are taken back
//	show [OFFSET]                                                         readers see everything, or what lies below
//	restart                                                               from a snapshot
//	expire MS                                                             what is that old
//	producers
//
// Printed is the answer, and after each step what has moved: the first unstable offset, and transactions that have ended.
func TestProducerStories(t *testing.T) {
	datadriven.Walk(t, "testdata/producers", func(t *testing.T, path string) {
		s := &producerStory{state: &producers{}, unstable: noOffset}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(t, d)
			if u := s.state.firstUnstable(); u != s.unstable {
				s.unstable = u
				s.say("first unstable %s", offsetOrNone(u))
			}
			return s.out.String()
		})
	})
}

type producerStory struct {
	state    *producers
	next     Offset
	unstable Offset
	visible  Offset
	undos    []producerUndo
	bases    []Offset
	out      strings.Builder
}

func (s *producerStory) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func offsetOrNone(o Offset) string {
	if o == noOffset {
		return "none"
	}
	return strconv.FormatInt(int64(o), 10)
}

func number(t *testing.T, d *datadriven.TestData, key string, otherwise int64) int64 {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) == 1 {
			n, err := strconv.ParseInt(a.Vals[0], 10, 64)
			require.NoError(t, err)
			return n
		}
	}
	return otherwise
}

func (s *producerStory) run(t *testing.T, d *datadriven.TestData) {
	first := int64(0)
	if len(d.CmdArgs) > 0 && len(d.CmdArgs[0].Vals) == 0 {
		first, _ = strconv.ParseInt(d.CmdArgs[0].Key, 10, 64)
	}
	epoch := int16(number(t, d, "epoch", 0))
	o := AppendOptions{Guard: TxnGuard(number(t, d, "guard", 0)), TxnVersion: 2}
	if d.HasArg("coordinator") {
		o.Origin = OriginCoordinator
	}
	if d.HasArg("v1") {
		o.TxnVersion = 1
	}
	switch d.Cmd {
	case "batch":
		var b batch.Builder
		b.Reset(nil, batch.Options{Idempotent: true, Transactional: d.HasArg("txn"), ProducerID: first, Epoch: epoch, BaseSequence: int32(number(t, d, "seq", 0))})
		for range number(t, d, "n", 1) {
			b.Append(number(t, d, "at", 1000), nil, []byte("v"), nil)
		}
		built, err := b.Finish()
		require.NoError(t, err)
		s.append(built, o)
	case "commit", "abort":
		kind := batch.ControlCommit
		if d.Cmd == "abort" {
			kind = batch.ControlAbort
		}
		o.Origin = OriginCoordinator
		s.append(batch.BuildControl(nil, kind, first, epoch, int32(number(t, d, "coordinator-epoch", 0)), number(t, d, "at", 1000)), o)
	case "emptied":
		b := batch.BuildEmpty(nil, batch.BuildControl(nil, batch.ControlCommit, first, epoch, 0, 1000))
		s.ended(s.state.replay(b, s.next, noOffset))
		s.next++
	case "verify":
		if s.state.byID[first].inTransaction(epoch) {
			s.say("ongoing")
			return
		}
		s.say("guard %d", s.state.verify(first, epoch, int32(number(t, d, "seq", 0)), !d.HasArg("v1"), number(t, d, "at", 1000)))
	case "fail":
		for range first {
			n := len(s.undos) - 1
			s.state.revert(s.undos[n])
			s.next, s.undos, s.bases = s.bases[n], s.undos[:n], s.bases[:n]
		}
	case "show":
		s.visible = s.next
		if len(d.CmdArgs) > 0 {
			s.visible = Offset(first)
		}
		s.state.settle(s.visible)
	case "restart":
		s.state = restore(s.state.entries())
		s.undos, s.bases = nil, nil
	case "expire":
		s.state.expire(first, false)
	case "producers":
		for _, e := range s.state.entries() {
			s.say("%d: epoch %d, last sequence %d, coordinator epoch %d, transaction from %d", e.ProducerID, e.Epoch, e.LastSequence, e.CoordinatorEpoch, e.TxnFirstOffset)
		}
	default:
		require.Fail(t, "unknown command", d.Cmd)
	}
}

func (s *producerStory) append(b batch.Batch, o AppendOptions) {
	duplicate, err := s.state.check(b, &o)
	switch {
	case err != nil:
		for name, sentinel := range map[string]error{"OUT_OF_ORDER_SEQUENCE_NUMBER": ErrOutOfOrderSequence, "INVALID_PRODUCER_EPOCH": ErrInvalidProducerEpoch,
			"INVALID_TXN_STATE": ErrInvalidTxnState, "TRANSACTION_COORDINATOR_FENCED": ErrTransactionCoordinatorFenced} {
			if errors.Is(err, sentinel) {
				s.say("%s: %v", name, err)
			}
		}
	case duplicate != nil:
		s.say("duplicate of %d to %d", duplicate.baseOffset(), duplicate.lastOffset)
	default:
		last := s.next + Offset(b.LastOffsetDelta())
		s.say("appended %s", strings.Join(slices.Compact([]string{offsetOrNone(s.next), offsetOrNone(last)}), " to "))
		u := s.state.apply(b, s.next)
		s.undos, s.bases = append(s.undos, u), append(s.bases, s.next)
		s.next = last + 1
		s.ended(u.ended)
	}
}

func (s *producerStory) ended(e *endedTxn) {
	if e == nil {
		return
	}
	how := "committed"
	if e.aborted {
		how = "aborted"
	}
	s.say("transaction of %d ended: %d to %d, %s, last stable offset then %d", e.producerID, e.first, e.last, how, e.lastStable)
}
