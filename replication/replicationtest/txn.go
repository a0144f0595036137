package replicationtest

import (
	"errors"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/log"
)

// What the coordinator of transactions is asked: by clients, and by leaders on whom a transaction begins to write (KIP-890).
type (
	initRequest struct{ id string }
	endRequest  struct {
		id         string
		producerID int64
		epoch      int16
		commit     bool
	}
	addRequest struct {
		id         string
		producerID int64
		epoch      int16
		part       int
	}
	txnAnswer struct {
		code       control.Code
		producerID int64
		epoch      int16
		hint       leaderHint
	}
	markerRequest struct {
		part             int
		producerID       int64
		epoch            int16
		commit           bool
		version          int16
		coordinatorEpoch int32
	}
	markerAnswer struct{ code control.Code }
)

// txnShell is the coordinator of transactions on the node that leads their partition: it loads the machine from the log, and carries out what it says.
type txnShell struct {
	r     *replicaState
	m     txn.Machine
	calls map[txn.Call]func(txnAnswer)
	next  txn.Call
	epoch int32 // of the leadership
	over  bool
}

const txnTimeout = 30 * time.Second

// txnCoordinator returns the coordinator, which begins when everything of earlier epochs is committed.
func (r *replicaState) txnCoordinator() (*txnShell, control.Code) {
	switch {
	case r.leader == nil:
		return nil, replica.NotLeaderOrFollower
	case !r.leader.Ready():
		return nil, loadInProgress
	case r.txns != nil:
		return r.txns, control.OK
	}
	s := &txnShell{r: r, m: txn.Machine{MaxTimeout: int32(time.Hour.Milliseconds())}, calls: map[txn.Call]func(txnAnswer){}, epoch: r.leader.Epoch()}
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
			s.replay(one)
			b = b[len(one):]
		}
		at = v.Next
		v.Release()
	}
	r.txns = s
	r.l.c.seen.Add("transactions loaded", 1)
	s.step(txn.Start{})
	s.tick()
	return s, control.OK
}

func (s *txnShell) replay(b batch.Batch) {
	var it batch.Iterator
	b.Iterate(&it, 1<<20)
	for it.Next() {
		id, ok, err := txn.ParseKey(it.Record().Key)
		if err != nil || !ok {
			s.r.l.c.findings.Report(simulate.Broken, "a transaction's record has the key %x: %v", it.Record().Key, err)
			return
		}
		if it.Record().Value == nil {
			s.m.Step(0, txn.Replay{ID: id}, nil)
			continue
		}
		meta, ok, err := txn.ParseValue(id, it.Record().Value)
		if err != nil || !ok {
			s.r.l.c.findings.Report(simulate.Broken, "a transaction's record: %v", err)
			return
		}
		s.m.Step(0, txn.Replay{ID: id, Meta: &meta}, nil)
	}
}

// end ends the coordinator with its leadership.
func (s *txnShell) end() {
	if s == nil {
		return
	}
	s.over = true
	for _, call := range sortedKeys(s.calls) {
		answer := s.calls[call]
		delete(s.calls, call)
		answer(txnAnswer{code: replica.NotLeaderOrFollower, hint: s.r.l.hint(s.r.p)})
	}
}

func (s *txnShell) tick() {
	if s.over || s.r.l.over {
		return
	}
	s.step(txn.Tick{})
	s.r.l.clock.AfterFunc(time.Second, s.tick)
}

func (s *txnShell) step(ev txn.Event) {
	if s.over || s.r.l.over {
		return
	}
	for _, e := range s.m.Step(s.r.l.clock.Now().UnixMilli(), ev, nil) {
		s.carryOut(ev, e)
	}
}

// call steps with a request.
func (s *txnShell) call(answer func(txnAnswer), event func(txn.Call) txn.Event) {
	s.next++
	s.calls[s.next] = answer
	s.step(event(s.next))
}

func (s *txnShell) carryOut(ev txn.Event, effect txn.Effect) {
	c := s.r.l.c
	switch e := effect.(type) {
	case txn.NeedID:
		c.nextPID++
		fresh := 1<<20 + c.nextPID
		switch ev := ev.(type) {
		case txn.Init:
			ev.Fresh = fresh
			s.step(ev)
		case txn.End:
			ev.Fresh = fresh
			s.step(ev)
		}
	case txn.Write:
		s.write(e)
	case txn.Mark:
		s.mark(e)
	case txn.Answer:
		if answer := s.calls[e.Call]; answer != nil {
			delete(s.calls, e.Call)
			answer(txnAnswer{code: txnCode(e.Err), producerID: e.ProducerID, epoch: e.Epoch})
		}
	case txn.Later:
		s.r.l.clock.AfterFunc(300*time.Millisecond, func() {
			s.step(txn.Resume(e))
		})
	case txn.Ended:
		if e.Commit {
			c.seen.Add("transaction committed", 1)
		} else {
			c.seen.Add("transaction aborted", 1)
		}
	}
}

func txnCode(err error) control.Code {
	switch {
	case err == nil:
		return control.OK
	case errors.Is(err, txn.ErrConcurrentTransactions):
		return concurrentTransactions
	case errors.Is(err, txn.ErrInvalidTxnState):
		return invalidTxnState
	case errors.Is(err, errNotWritten):
		return loadInProgress
	}
	return producerFenced
}

var errNotWritten = errors.New("the record of a transaction was not written, or nobody knows")

// write writes a record, acknowledged by all replicas in sync.
func (s *txnShell) write(e txn.Write) {
	var value []byte
	if e.Meta.State != txn.Dead {
		value = txn.AppendValue(nil, &e.Meta)
	}
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	w.Append(s.r.l.clock.Now().UnixMilli(), txn.AppendKey(nil, e.Meta.ID), value, nil)
	built, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	id := e.Meta.ID
	s.r.append(built, log.AppendOptions{Origin: log.OriginCoordinator}, true, func(code control.Code, _ int64) {
		if code == replica.NotEnoughReplicasAfterAppend {
			// It is there and may stay there. What holds is what is in the log, so it is read again.
			if s.r.txns == s {
				s.r.txns = nil
			}
			s.end()
			return
		}
		if code != control.OK {
			err = errNotWritten
		}
		// Not within the machine's own step.
		s.r.l.clock.AfterFunc(0, func() { s.step(txn.Written{ID: id, Err: err}) })
	})
}

// mark writes the markers of a transaction, and tells which have been.
func (s *txnShell) mark(e txn.Mark) {
	l := s.r.l
	left := len(e.Partitions)
	var done []txn.Partition
	for _, p := range e.Partitions {
		request := markerRequest{part: int(p.Index), producerID: e.ProducerID, epoch: e.Epoch, commit: e.Commit, version: e.Version, coordinatorEpoch: s.epoch}
		answered := func(answer any) {
			// A marker of a later epoch says that this one has been written.
			if a, ok := answer.(markerAnswer); ok && (a.code == control.OK || a.code == invalidProducerEpoch) {
				done = append(done, p)
			}
			if left--; left == 0 {
				s.step(txn.Marked{ProducerID: e.ProducerID, Epoch: e.Epoch, Orphan: e.Orphan, Done: done})
			}
		}
		to := l.hint(l.c.parts[p.Index]).node
		switch {
		case to == l.id:
			l.clock.AfterFunc(0, func() { l.serveMarker(request, answered) })
		case to < 0:
			l.clock.AfterFunc(200*time.Millisecond, func() { answered(nil) })
		default:
			l.call(int(to), laneClient, request, 3*time.Second, answered)
		}
	}
}

// serveMarker appends a marker, as the leader of its partition.
func (l *life) serveMarker(b markerRequest, reply func(any)) {
	r := l.replicas[b.part]
	kind := batch.ControlAbort
	if b.commit {
		kind = batch.ControlCommit
	}
	built := batch.BuildControl(nil, kind, b.producerID, b.epoch, b.coordinatorEpoch, l.clock.Now().UnixMilli())
	r.append(built, log.AppendOptions{Origin: log.OriginCoordinator, TxnVersion: b.version}, true, func(code control.Code, _ int64) {
		reply(markerAnswer{code})
	})
}

// serveTxn answers as coordinator.
func (l *life) serveTxn(body any, reply func(any)) {
	r := l.replicas[l.c.partitions+1]
	s, code := r.txnCoordinator()
	if code == control.OK && l.lifecycle.Isolated(l.now()) {
		code = replica.NotLeaderOrFollower
	}
	if code != control.OK {
		reply(txnAnswer{code: code, hint: l.hint(r.p)})
		return
	}
	answer := func(a txnAnswer) { reply(a) }
	switch b := body.(type) {
	case initRequest:
		s.call(answer, func(call txn.Call) txn.Event {
			return txn.Init{Call: call, ID: b.id, Timeout: int32(txnTimeout.Milliseconds()), Last: txn.None, LastEpoch: txn.None, Fresh: txn.None}
		})
	case endRequest:
		if meta, ok := s.m.Describe(b.id); ok && mutant.On(mutant.EndTxnOfNext) {
			b.epoch = meta.Epoch
		}
		s.call(answer, func(call txn.Call) txn.Event {
			return txn.End{Call: call, ID: b.id, ProducerID: b.producerID, Epoch: b.epoch, Commit: b.commit, Version: 2, Fresh: txn.None}
		})
	case addRequest:
		s.call(answer, func(call txn.Call) txn.Event {
			return txn.Add{Call: call, ID: b.id, ProducerID: b.producerID, Epoch: b.epoch, Partitions: []txn.Partition{{Topic: "data", Index: int32(b.part)}}, Version: 2}
		})
	}
}

// serveTxnProduce appends a batch of a transaction: the first of one has its partition added to it first.
func (l *life) serveTxnProduce(b produceRequest, reply func(any)) {
	r := l.replicas[b.part]
	refuse := func(code control.Code) { reply(produceAnswer{code: code, base: -1, hint: l.hint(r.p)}) }
	if r.leader == nil {
		refuse(replica.NotLeaderOrFollower)
		return
	}
	one := batch.Batch(b.batch)
	guard, ongoing, err := r.log.TxnGuard(one.ProducerID(), one.ProducerEpoch(), one.BaseSequence())
	switch {
	case errors.Is(err, log.ErrInvalidProducerEpoch):
		refuse(invalidProducerEpoch)
		return
	case err != nil:
		refuse(replica.KafkaStorageError)
		return
	}
	appends := func() {
		r.append(slices.Clone(b.batch), log.AppendOptions{Guard: guard}, true, func(code control.Code, base int64) {
			reply(produceAnswer{code: code, base: base, hint: l.hint(r.p)})
		})
	}
	if ongoing {
		appends()
		return
	}
	epoch := r.leader.Epoch()
	added := func(answer any) {
		a, ok := answer.(txnAnswer)
		switch {
		case !ok || r.leader == nil || r.leader.Epoch() != epoch:
			refuse(replica.NotLeaderOrFollower)
		case a.code == control.OK:
			appends()
		case a.code == producerFenced, a.code == invalidTxnState:
			refuse(a.code)
		default:
			refuse(loadInProgress)
		}
	}
	request := addRequest{id: b.txnID, producerID: one.ProducerID(), epoch: one.ProducerEpoch(), part: b.part}
	switch to := l.hint(l.c.parts[l.c.partitions+1]).node; {
	case to == l.id:
		l.serveTxn(request, added)
	case to < 0:
		refuse(loadInProgress)
	default:
		l.call(int(to), laneClient, request, 3*time.Second, added)
	}
}
