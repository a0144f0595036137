package replicationtest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/internal/simulate/groups"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// What the coordinator of groups is asked.
type (
	groupRequest struct {
		group string
		body  any // of package group
	}
	committedRequest struct {
		group  string
		part   int
		member string // who asks, if it is one of the new protocol
		epoch  int32
	}
	groupAnswer struct {
		err    error
		value  any
		offset int64 // of a committedRequest; -1: nothing is committed
		hint   leaderHint
	}
)

// groupShell coordinates groups on the node that leads their partition: it loads their machines from the log, and carries out what they say.
type groupShell struct {
	r     *replicaState
	hosts map[string]*hostedGroup
	calls map[int64]func(groupAnswer)
	next  int64
	over  bool
}

type hostedGroup struct {
	s      *groupShell
	id     string
	m      groups.Machine
	timers map[groups.Timer]func() bool
}

// coordinator returns the coordinator of groups, which begins when everything of earlier epochs is committed.
func (r *replicaState) coordinator() (*groupShell, error) {
	switch {
	case r.leader == nil:
		return nil, group.ErrNotCoordinator
	case !r.leader.Ready():
		return nil, group.ErrCoordinatorNotAvailable
	case r.groups != nil:
		return r.groups, nil
	}
	s := &groupShell{r: r, hosts: map[string]*hostedGroup{}, calls: map[int64]func(groupAnswer){}}
	for at := r.log.Start(); at < r.log.End(); {
		v, err := r.log.ReadReplica(at, 1<<20)
		if err != nil {
			r.trouble("load", err)
			return nil, group.ErrCoordinatorNotAvailable
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
	r.groups = s
	r.l.c.seen.Add("groups loaded", int64(len(s.hosts)))
	for _, id := range sortedKeys(s.hosts) {
		h := s.hosts[id]
		h.carryOut(h.m.Loaded(r.l.clock.Now()))
	}
	return s, nil
}

func (s *groupShell) replay(b batch.Batch) {
	var it batch.Iterator
	b.Iterate(&it, 1<<20)
	for it.Next() {
		id, ok := groups.GroupOf(it.Record().Key)
		if !ok {
			s.r.l.c.findings.Report(simulate.Broken, "a group's record has the key %x", it.Record().Key)
			return
		}
		if err := s.host(id).m.Replay(it.Record().Key, it.Record().Value, it.Record().Offset); err != nil {
			s.r.l.c.findings.Report(simulate.Broken, "a group's record: %v", err)
			return
		}
	}
}

func (s *groupShell) host(id string) *hostedGroup {
	h := s.hosts[id]
	if h == nil {
		l := s.r.l
		h = &hostedGroup{s: s, id: id, timers: map[groups.Timer]func() bool{}}
		h.m = groups.New(id, groups.Config{Session: memberSession, Topics: func() []groups.Topic {
			return []groups.Topic{{Name: "data", ID: [16]byte(dataTopic), Partitions: int32(l.c.partitions)}}
		}})
		s.hosts[id] = h
	}
	return h
}

// end ends the coordinator with its leadership. What is on its way may have happened.
func (s *groupShell) end() {
	if s == nil || s.over {
		return
	}
	s.over = true
	for _, id := range sortedKeys(s.hosts) {
		for _, stop := range s.hosts[id].timers {
			stop()
		}
	}
	for _, call := range sortedKeys(s.calls) {
		answer := s.calls[call]
		delete(s.calls, call)
		answer(groupAnswer{err: group.ErrNotCoordinator, hint: s.r.l.hint(s.r.p)})
	}
}

func (s *groupShell) ended() bool { return s.over || s.r.l.over }

func (h *hostedGroup) carryOut(effects []groups.Effect) {
	s, l := h.s, h.s.r.l
	for _, effect := range effects {
		if s.ended() {
			return
		}
		switch e := effect.(type) {
		case groups.Answer:
			if answer := s.calls[e.Call]; answer != nil {
				delete(s.calls, e.Call)
				answer(groupAnswer{err: e.Err, value: e.Value})
			}
		case groups.SetTimer:
			h.stop(e.Timer)
			h.timers[e.Timer] = l.clock.AfterFunc(e.After, func() {
				if !s.ended() {
					delete(h.timers, e.Timer)
					h.carryOut(h.m.Fired(l.clock.Now(), e.Timer))
				}
			})
		case groups.StopTimer:
			h.stop(e.Timer)
		case groups.Append:
			h.append(e)
		}
	}
	h.check()
}

func (h *hostedGroup) stop(t groups.Timer) {
	if stop := h.timers[t]; stop != nil {
		stop()
		delete(h.timers, t)
	}
}

// check looks from inside: a partition of a group of the new protocol has one owner, who may have yet to give it up.
func (h *hostedGroup) check() {
	owners := map[int32]groups.Owner{}
	for _, o := range h.m.Owners() {
		if other, owned := owners[o.Partition]; owned && other.Member != o.Member {
			h.s.r.l.c.findings.Report(simulate.TwoOwners, "%s, partition %d: the coordinator on %s has given it to %s in epoch %d and to %s in epoch %d",
				h.id, o.Partition, h.s.r.l.name, other.Member, other.Epoch, o.Member, o.Epoch)
		}
		owners[o.Partition] = o
	}
}

// append writes records, acknowledged by all replicas in sync.
func (h *hostedGroup) append(e groups.Append) {
	l := h.s.r.l
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	for _, r := range e.Records {
		w.Append(l.clock.Now().UnixMilli(), r.Key, r.Value, nil)
	}
	built, err := w.Finish()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	h.s.r.append(built, log.AppendOptions{Origin: log.OriginCoordinator}, !mutant.On(mutant.OffsetsBeforeCommit), func(code control.Code, base int64) {
		// Not within the machine's own step.
		l.clock.AfterFunc(0, func() {
			if !h.s.ended() {
				h.carryOut(h.m.Written(l.clock.Now(), e.ID, base, writeError(code)))
			}
		})
	})
}

// writeError is a store's error of an append.
func writeError(code control.Code) error {
	switch code {
	case control.OK:
		return nil
	case replica.NotLeaderOrFollower:
		return partition.ErrNotLeaderOrFollower
	case replica.NotEnoughReplicas:
		return partition.ErrNotEnoughReplicas
	case replica.NotEnoughReplicasAfterAppend:
		return partition.ErrNotEnoughReplicasAfterAppend
	}
	return partition.ErrStorage
}

// serveGroup answers as coordinator.
func (l *life) serveGroup(b groupRequest, reply func(any)) {
	r := l.replicas[l.c.partitions]
	s, err := r.coordinator()
	if err != nil {
		reply(groupAnswer{err: err, hint: l.hint(r.p)})
		return
	}
	s.next++
	call := s.next
	s.calls[call] = func(a groupAnswer) {
		a.hint = l.hint(r.p)
		reply(a)
	}
	h := s.host(b.group)
	stale := h.stale(b.body)
	effects := h.m.Request(l.clock.Now(), call, b.body, fmt.Sprintf("%s-%08x", b.group, l.rng.Uint32()))
	if stale != "" && slices.ContainsFunc(effects, func(e groups.Effect) bool { return takes(e, call) }) {
		l.c.findings.Report(simulate.StaleCommit, "%s: the coordinator on %s takes a commit %s", b.group, l.name, stale)
	}
	h.carryOut(effects)
}

// takes reports whether an effect of a commit's own step says that it was taken. One that comes while the group becomes one of the other protocol is held: that
// is neither.
func takes(e groups.Effect, call int64) bool {
	switch e := e.(type) {
	case groups.Append:
		return true
	case groups.Answer:
		return e.Call == call && e.Err == nil
	}
	return false
}

// stale says why a commit must not be taken now, if it is one: what counts is the moment at which it has come to the coordinator, however long it was on its way.
// "": it may be taken.
func (h *hostedGroup) stale(request any) string {
	commit, ok := request.(group.CommitRequest)
	if !ok {
		return ""
	}
	generation := int32(commit.Generation)
	if generation < 0 { // of whoever is alone
		if n := h.m.Members(); n > 0 {
			return fmt.Sprintf("from outside of its %d members", n)
		}
		return ""
	}
	switch current, known := h.m.Generation(commit.MemberID); {
	case !known:
		return fmt.Sprintf("of %s in generation %d, which is no member", commit.MemberID, generation)
	case current != generation:
		return fmt.Sprintf("of %s in generation %d, which is in %d", commit.MemberID, generation, current)
	}
	return ""
}

func (l *life) serveCommitted(b committedRequest, reply func(any)) {
	r := l.replicas[l.c.partitions]
	s, err := r.coordinator()
	if err == nil && l.lifecycle.Isolated(l.now()) {
		err = group.ErrNotCoordinator // another one may have committed more
	}
	a := groupAnswer{err: err, offset: -1, hint: l.hint(r.p)}
	if err == nil {
		a.offset, a.err = s.host(b.group).m.Committed("data", int32(b.part), b.member, b.epoch)
	}
	reply(a)
}

// elsewhere reports whether an error says that another coordinator is to be asked, or this one later.
func elsewhere(err error) bool {
	return errors.Is(err, group.ErrNotCoordinator) || errors.Is(err, group.ErrCoordinatorNotAvailable)
}
