package replicationtest

import (
	"encoding/binary"
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
	}
	consumeAnswer struct {
		code    control.Code
		records []byte
		aborted []log.AbortedTxn
		hint    leaderHint
	}
	commitRequest struct {
		group, part uint32
		offset      int64
	}
	committedRequest struct{ group, part uint32 }
	offsetAnswer     struct {
		code   control.Code
		offset int64
		hint   leaderHint
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
	var v log.View
	var aborted []log.AbortedTxn
	var err error
	if mutant.On(mutant.ServeAboveHighWatermark) {
		v, err = r.log.ReadReplica(log.Offset(b.offset), 64<<10)
	} else {
		v, aborted, err = r.log.ReadCommitted(nil, log.Offset(b.offset), r.log.Visible(), 64<<10)
	}
	switch {
	case errors.Is(err, log.ErrOffsetOutOfRange):
		reply(consumeAnswer{code: replica.OffsetOutOfRange, hint: hint})
		return
	case err != nil:
		reply(consumeAnswer{code: replica.KafkaStorageError, hint: hint})
		r.trouble("read", err)
		return
	}
	records := slices.Clone(v.Bytes)
	v.Release()
	reply(consumeAnswer{records: records, aborted: aborted, hint: hint})
}

// offsetStore is what the leader of the offsets' partition knows: a coordinator of groups, as far as its log is concerned.
type offsetStore struct {
	stable map[[2]uint32]int64
	coming []offsetRecord // above the high watermark, in the order of the log
}

type offsetRecord struct {
	key    [2]uint32
	offset int64
	at     int64
}

// committed takes over what is below the high watermark.
func (s *offsetStore) committed(high int64) {
	for len(s.coming) > 0 && s.coming[0].at < high {
		o := s.coming[0]
		s.coming = s.coming[1:]
		if before, known := s.stable[o.key]; !known || o.offset > before {
			s.stable[o.key] = o.offset
		}
	}
}

func (s *offsetStore) add(b batch.Batch) {
	var it batch.Iterator
	b.Iterate(&it, 1<<20)
	for it.Next() {
		if v := it.Record().Value; len(v) == 16 {
			key := [2]uint32{binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])}
			s.coming = append(s.coming, offsetRecord{key: key, offset: int64(binary.BigEndian.Uint64(v[8:])), at: it.Record().Offset})
		}
	}
}

// coordinate loads the offsets when the node begins to lead their partition; it is done when everything of earlier epochs is committed.
func (r *replicaState) coordinate() (*offsetStore, control.Code) {
	if r.leader == nil {
		return nil, replica.NotLeaderOrFollower
	}
	if r.groups == nil {
		s := &offsetStore{stable: map[[2]uint32]int64{}}
		for at := r.log.Start(); at < r.log.End(); {
			v, err := r.log.ReadReplica(at, 1<<20)
			if err != nil {
				r.trouble("load", err)
				return nil, loadInProgress
			}
			for b := v.Bytes; len(b) > 0; {
				one, err := batch.Peek(b)
				if err != nil {
					break
				}
				s.add(one)
				b = b[len(one):]
			}
			at = v.Next
			v.Release()
		}
		r.groups = s
		s.committed(int64(r.log.Visible()))
	}
	if !r.leader.Ready() {
		return nil, loadInProgress
	}
	return r.groups, control.OK
}

func (l *life) serveCommit(b commitRequest, reply func(any)) {
	r := l.replicas[l.c.partitions]
	store, code := r.coordinate()
	if code != control.OK {
		reply(offsetAnswer{code: code, hint: l.hint(r.p)})
		return
	}
	var v [16]byte
	binary.BigEndian.PutUint32(v[:], b.group)
	binary.BigEndian.PutUint32(v[4:], b.part)
	binary.BigEndian.PutUint64(v[8:], uint64(b.offset))
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	w.Append(l.clock.Now().UnixMilli(), v[:8], v[:], nil)
	built, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	before := int64(r.log.End())
	r.append(built, log.AppendOptions{Origin: log.OriginCoordinator}, !mutant.On(mutant.OffsetsBeforeCommit), func(code control.Code, base int64) {
		reply(offsetAnswer{code: code, hint: l.hint(r.p)})
	})
	if r.groups == store && int64(r.log.End()) > before {
		store.coming = append(store.coming, offsetRecord{key: [2]uint32{b.group, b.part}, offset: b.offset, at: before})
		store.committed(int64(r.log.Visible()))
	}
}

func (l *life) serveCommitted(b committedRequest, reply func(any)) {
	r := l.replicas[l.c.partitions]
	store, code := r.coordinate()
	if code == control.OK && l.lifecycle.Isolated(l.now()) {
		code = replica.NotLeaderOrFollower // another one may have committed more
	}
	if code != control.OK {
		reply(offsetAnswer{code: code, hint: l.hint(r.p)})
		return
	}
	offset, known := store.stable[[2]uint32{b.group, b.part}]
	if !known {
		offset = -1
	}
	reply(offsetAnswer{offset: offset})
}
