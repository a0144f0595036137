package replicationtest

import (
	"errors"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/log"
)

// What clients ask of nodes.
type (
	produceRequest struct {
		part  int
		all   bool // acks=all, else 1
		batch []byte
		txnID string // of a batch in a transaction
	}
	produceAnswer struct {
		code control.Code
		base int64
		hint leaderHint
	}
	consumeRequest struct {
		part   int
		offset int64
		epoch  int32 // the latest that the client knows of
		rack   string
		near   bool // it comes because the leader has said so
	}
	consumeAnswer struct {
		code    control.Code
		records []byte
		start   int64 // of the log, with OffsetOutOfRange
		aborted []log.AbortedTxn
		near    int // read from this node instead, if moved
		moved   bool
		hint    leaderHint
	}
	metadataRequest struct{}
	metadataAnswer  struct{ leaders []leaderHint }
	leaderHint      struct {
		node  control.NodeID
		epoch int32
	}
)

// Codes that only clients see.
const (
	loadInProgress         control.Code = 14
	outOfOrderSequence     control.Code = 45
	invalidProducerEpoch   control.Code = 47
	invalidTxnState        control.Code = 48
	concurrentTransactions control.Code = 51
	coordinatorFenced      control.Code = 52
	producerFenced         control.Code = 90
)

func (l *life) hint(p *part) leaderHint {
	state, ok := l.ctl.Partition(p.id.Topic, p.id.Index)
	if !ok {
		return leaderHint{-1, -1}
	}
	return leaderHint{state.Leader, state.LeaderEpoch}
}

func (l *life) serveMetadata(reply func(any)) {
	var a metadataAnswer
	for _, p := range l.c.parts {
		a.leaders = append(a.leaders, l.hint(p))
	}
	reply(a)
}

// admits says whether acks=all can be promised now.
func (r *replicaState) admits() control.Code {
	switch {
	case r.leader == nil:
		return replica.NotLeaderOrFollower
	case r.l.lifecycle.Isolated(r.l.now()):
		return replica.NotLeaderOrFollower
	case r.leader.UnderMinISR() && !mutant.On(mutant.MinISRNotChecked):
		return replica.NotEnoughReplicas
	}
	return control.OK
}

// append appends a batch as leader. If it answers OK, done is called when the high watermark has passed it.
func (r *replicaState) append(b []byte, o log.AppendOptions, all bool, done func(code control.Code, base int64)) {
	l := r.l
	if r.leader == nil {
		done(replica.NotLeaderOrFollower, -1)
		return
	}
	if all {
		if code := r.admits(); code != control.OK {
			done(code, -1)
			return
		}
	}
	l.c.replicas.Leads(r.p.index, int(l.id), r.leader.Epoch())
	o.Durable = true
	placed, err := r.log.Append(slices.Clone(b), o)
	if l.c.trace.On() {
		one := batch.Batch(b)
		l.say("%s: appends %d of producer %d from sequence %d at %d, duplicate %v: %v", r.p.name, one.Count(), one.ProducerID(), one.BaseSequence(), placed.Base, placed.Duplicate, err)
	}
	switch {
	case errors.Is(err, log.ErrOutOfOrderSequence):
		done(outOfOrderSequence, -1)
		return
	case errors.Is(err, log.ErrInvalidProducerEpoch):
		done(invalidProducerEpoch, -1)
		return
	case errors.Is(err, log.ErrTransactionCoordinatorFenced):
		done(coordinatorFenced, -1)
		return
	case errors.Is(err, log.ErrInvalidTxnState):
		done(invalidTxnState, -1)
		return
	case err != nil:
		done(replica.KafkaStorageError, -1)
		r.trouble("append", err)
		return
	}
	if !all || mutant.On(mutant.AckBeforeHighWatermark) || mutant.On(mutant.MinISRNotChecked) && r.leader.UnderMinISR() {
		done(control.OK, int64(placed.Base))
	} else {
		r.await(int64(placed.Last)+1, func(code control.Code) { done(code, int64(placed.Base)) })
	}
	if r.leader != nil && !placed.Duplicate {
		r.appended()
	}
}

func (l *life) serveProduce(b produceRequest, reply func(any)) {
	p := l.c.parts[b.part]
	r := l.replicas[b.part]
	if b.txnID != "" {
		l.serveTxnProduce(b, reply)
		return
	}
	r.append(b.batch, log.AppendOptions{}, b.all, func(code control.Code, base int64) {
		reply(produceAnswer{code: code, base: base, hint: l.hint(p)})
	})
}

func (l *life) serveConsume(b consumeRequest, reply func(any)) {
	r := l.replicas[b.part]
	hint := l.hint(r.p)
	switch {
	case b.near && r.follower != nil && r.log != nil:
		r.serveNear(b, reply)
		return
	case r.leader == nil:
		reply(consumeAnswer{code: replica.NotLeaderOrFollower, hint: hint})
		return
	case b.epoch > r.leader.Epoch():
		reply(consumeAnswer{code: replica.UnknownLeaderEpoch, hint: hint})
		return
	case b.epoch < r.leader.Epoch():
		reply(consumeAnswer{code: replica.FencedLeaderEpoch, hint: leaderHint{l.id, r.leader.Epoch()}})
		return
	}
	if node, ok := r.nearer(b.rack, b.offset); ok {
		reply(consumeAnswer{near: node, moved: true, hint: hint})
		return
	}
	var v log.View
	var aborted []log.AbortedTxn
	var err error
	if mutant.On(mutant.ServeAboveHighWatermark) {
		v, err = r.log.ReadReplica(log.Offset(b.offset), 64<<10)
	} else {
		v, aborted, err = r.log.ReadCommitted(nil, log.Offset(b.offset), r.log.Visible(), 64<<10)
	}
	r.answerReader(v, aborted, err, reply)
}

// answerReader gives a reader what was read, and reports whether the log is well.
func (r *replicaState) answerReader(v log.View, aborted []log.AbortedTxn, err error, reply func(any)) bool {
	hint := r.l.hint(r.p)
	switch {
	case errors.Is(err, log.ErrOffsetOutOfRange):
		reply(consumeAnswer{code: replica.OffsetOutOfRange, start: int64(r.log.Start()), hint: hint})
		return true
	case err != nil:
		reply(consumeAnswer{code: replica.KafkaStorageError, hint: hint})
		r.trouble("read", err)
		return false
	}
	records := slices.Clone(v.Bytes)
	v.Release()
	reply(consumeAnswer{records: records, aborted: aborted, hint: hint})
	return true
}
