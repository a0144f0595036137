package replicationtest

import (
	"errors"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/log"
)

// fetcher fetches all partitions that are led by one node.
type fetcher struct {
	life   *life
	source control.NodeID
	plan   *replica.FetchPlan
	busy   bool
	rests  bool
}

// want says from where the follower's log goes on.
func (r *replicaState) want() {
	l := r.l
	if r.follower == nil || r.held || r.log == nil {
		return
	}
	if r.follower.Waiting() {
		return
	}
	at, err := r.follower.Position(machineLog{r.log})
	if err != nil {
		r.trouble("position", err)
		return
	}
	at.MaxBytes = 64 << 10
	f := l.fetchers[r.follower.Leader()]
	f.plan.Want(r.p.id, at)
	f.fetch()
}

// fetch sends the next request, if there is anything to fetch.
func (f *fetcher) fetch() {
	l := f.life
	if f.busy || f.rests || f.plan.Len() == 0 || l.over {
		return
	}
	f.busy = true
	// What else comes at this instant goes with it.
	l.clock.AfterFunc(0, f.send)
}

func (f *fetcher) send() {
	l := f.life
	if f.plan.Len() == 0 {
		f.busy = false
		return
	}
	req := replica.FetchRequest{Node: l.id, BrokerEpoch: l.lifecycle.Epoch(), MaxWait: l.c.fetchWait, MinBytes: 1, MaxBytes: 256 << 10}
	f.plan.Request(&req)
	for _, p := range req.Partitions {
		if part := l.c.partOf(p.TopicPartition); part != nil {
			l.replicas[part.index].sent = p.Position
		}
	}
	l.call(int(f.source), laneFetch, req, l.c.fetchWait+2*time.Second, f.answered)
}

func (f *fetcher) answered(answer any) {
	l := f.life
	f.busy = false
	resp, ok := answer.(replica.FetchResponse)
	if !ok {
		f.plan.Lost()
		f.rest(200 * time.Millisecond)
		return
	}
	if f.plan.Answered(resp.Code, resp.SessionID) {
		for i := range resp.Partitions {
			f.take(&resp.Partitions[i])
			if l.over {
				return
			}
		}
	}
	f.fetch()
}

// rest fetches again after a while.
func (f *fetcher) rest(d time.Duration) {
	f.rests = true
	f.life.clock.AfterFunc(d, func() {
		f.rests = false
		f.fetch()
	})
}

// take does what the follower's machine says about an answer.
func (f *fetcher) take(a *replica.FetchAnswer) {
	l := f.life
	p := l.c.partOf(a.TopicPartition)
	if p == nil {
		return
	}
	r := l.replicas[p.index]
	if r.follower == nil || r.follower.Leader() != f.source || r.log == nil {
		return
	}
	if l.c.trace.On() {
	}
	step, err := r.follower.Handle(machineLog{r.log}, r.sent, &a.Answer)
	if err != nil && !errors.Is(err, replica.ErrUnexpectedBatch) {
		r.trouble("follow", err)
		return
	}
	switch step.Kind {
	case replica.StepAppend:
		_, err = r.log.AppendReplica(step.Records)
	case replica.StepTruncate:
		l.say("%s: truncated from %d to %d: %s %d, %d", p.name, r.log.End(), step.Offset, a.Code, a.DivergingEpoch, a.DivergingEnd)
		l.c.seen.Add("truncated", 1)
		if step.Committed {
			l.c.seen.Add("truncated below the high watermark", 1)
		}
		r.lower(step.Offset)
		if err = r.log.TruncateTo(log.Offset(step.Offset)); err != nil {
			r.trouble("truncate", err)
			return
		}
	case replica.StepReset:
		l.say("%s: begins anew at %d", p.name, step.Offset)
		l.c.seen.Add("begun anew", 1)
		r.lower(0)
		l.forgotten(p.index)
		r.kept(step.Offset)
		if err = r.log.ResetTo(log.Offset(step.Offset)); err != nil {
			r.trouble("begin anew", err)
			return
		}
		if r.low = step.Offset; len(step.Records) > 0 {
			_, err = r.log.AppendReplica(step.Records)
		}
	case replica.StepWait:
		f.plan.Forget(p.id)
		return
	case replica.StepBackoff, replica.StepFail:
		if step.Kind == replica.StepFail {
			l.say("%s: %s at %d: %v", p.name, step.Code, r.log.End(), err)
			l.c.seen.Add("follower failed", 1)
		}
		r.hold(f)
		return
	}
	if err != nil {
		r.trouble("follow", err)
		if r.log != nil {
			r.hold(f)
		}
		return
	}
	r.log.SetHighWatermark(log.Offset(r.follower.Done(step, int64(r.log.End()))))
	if r.raiseStart(step.LogStart); r.log == nil || r.follower == nil {
		return
	}
	r.want()
}

// hold leaves the partition out for a while.
func (r *replicaState) hold(f *fetcher) {
	f.plan.Forget(r.p.id)
	r.held = true
	follower := r.follower
	r.l.clock.AfterFunc(300*time.Millisecond, func() {
		if r.follower == follower {
			r.held = false
			r.want()
		}
	})
}
