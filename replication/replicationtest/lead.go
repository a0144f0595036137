package replicationtest

import (
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/log"
)

// parkedFetch is a replica's fetch that waits for news.
type parkedFetch struct {
	reply func(any)
	stop  func() bool
	max   int
}

// effects does what an event of the leader's machine asks for.
func (r *replicaState) effects(e replica.Effects) {
	if r.leader == nil || r.log == nil {
		return
	}
	l := r.l
	if e.Has(replica.HighWatermarkMoved) {
		high := r.leader.HighWatermark()
		r.log.SetHighWatermark(log.Offset(high))
		r.committedKeys(high)
		l.c.replicas.Mark(r.p.index, int(l.id), r.leader.Epoch(), high, int64(r.log.End()), r.batches)
		r.acknowledge(high)
		r.touch(replica.SmallNews)
	}
	if e.Has(replica.LowWatermarkMoved) {
		r.lowered()
	}
	if r.leader != nil && e.Has(replica.ProposalReady) {
		r.alter()
	}
}

// acknowledge answers appends below the high watermark.
func (r *replicaState) acknowledge(high int64) {
	code := control.OK
	if r.leader.UnderMinISR() {
		code = replica.NotEnoughReplicasAfterAppend
	}
	for len(r.acks) > 0 && r.acks[0].upTo <= high {
		a := r.acks[0]
		r.acks = r.acks[1:]
		a.done(code)
	}
}

// await has done called when the high watermark has come to upTo.
func (r *replicaState) await(upTo int64, done func(control.Code)) {
	i := len(r.acks)
	for i > 0 && r.acks[i-1].upTo > upTo { // a duplicate of an earlier one
		i--
	}
	r.acks = slices.Insert(r.acks, i, ack{upTo: upTo, done: done})
	r.acknowledge(r.leader.HighWatermark())
}

// appended tells everybody that the leader's log has grown.
func (r *replicaState) appended() {
	e := r.leader.Appended(int64(r.log.End()), r.counted())
	r.touch(replica.BigNews)
	r.effects(e)
}

// alter sends the leader's proposal for the ISR to the controller.
func (r *replicaState) alter() {
	if r.asking {
		return
	}
	p, ok := r.leader.Proposal()
	if !ok {
		return
	}
	l, epoch := r.l, r.leader.Epoch()
	r.asking = true
	l.say("%s: proposes the ISR %v, epochs %d, %d", r.p.name, p.ISR, p.LeaderEpoch, p.PartitionEpoch)
	c := control.AlterPartitions{Node: l.id, Epoch: l.lifecycle.Epoch(), Partitions: []control.AlterPartition{{
		Partition: r.p.id, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, ISR: p.ISR, Recovering: p.Recovering,
	}}}
	l.ask(proposeRequest{control.Encode(nil, c)}, func(answer any) {
		r.asking = false
		if r.leader == nil || r.leader.Epoch() != epoch {
			return
		}
		a := replica.Altered{Code: replica.RequestTimedOut, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		if b, ok := answer.(proposeAnswer); ok {
			a.Code = b.code
			if list, ok := b.result.Answer.([]control.AlterAnswer); ok && len(list) == 1 {
				a.Code = list[0].Code
				a.State = replica.MetadataOf(list[0].State, int32(r.leader.EffectiveMinISR()))
			}
		}
		if a.Code == control.OK {
			l.c.seen.Add("ISR changed", 1)
		}
		e := r.leader.Altered(a)
		again := e.Has(replica.ProposalReady)
		r.effects(e &^ replica.ProposalReady)
		if again {
			l.clock.AfterFunc(500*time.Millisecond, func() {
				if r.leader != nil && r.leader.Epoch() == epoch {
					r.alter()
				}
			})
		}
	})
}

// lagTick looks for followers that lag.
func (l *life) lagTick() {
	for _, r := range l.replicas {
		if r.leader != nil {
			r.effects(r.leader.Tick(l.now()))
		}
	}
	if l.over {
		return
	}
	l.clock.AfterFunc(l.c.lag/2, l.lagTick)
}

// touch tells the sessions that fetch this partition that it has news.
func (r *replicaState) touch(news replica.News) {
	for i, sp := range r.watchers {
		s := r.sessions[i]
		s.Touch(sp, r.news(sp, news))
		if r.l.parked[s] != nil && s.News() == replica.BigNews {
			r.l.answer(s)
		}
	}
}

// news says how much a partition's news are worth to one session. A follower that only has to hear of the high watermark hears of it
// with the next records, or soon.
func (r *replicaState) news(sp *replica.SessionPartition, at replica.News) replica.News {
	if r.leader != nil && sp.Owner == waits {
		return replica.NoNews
	}
	if at == replica.SmallNews && r.leader != nil && sp.Knows(r.leader.HighWatermark(), int64(r.log.Start())) {
		return replica.NoNews
	}
	return at
}

// serveReplicaFetch takes a follower's fetch.
func (l *life) serveReplicaFetch(req *replica.FetchRequest, reply func(any)) {
	var refused []*replica.SessionPartition
	s, code := l.sessions.Request(req, l.now(), func(sp *replica.SessionPartition) {
		if !l.fetched(req, sp) {
			refused = append(refused, sp)
		}
	}, l.gone)
	if code != replica.None {
		reply(replica.FetchResponse{Code: code})
		return
	}
	l.lastFetch[req.Node] = l.now()
	for _, r := range l.replicas { // those who were named, or are in the session
		if r.over {
			continue
		}
		if sp := s.Partition(r.p.id); sp != nil && !slices.Contains(r.watchers, sp) && s.ID() != 0 {
			r.watchers, r.sessions = append(r.watchers, sp), append(r.sessions, s)
		}
		if r.leader != nil {
			if sp := s.Partition(r.p.id); sp != nil {
				news := replica.SmallNews
				if int64(r.log.End()) > sp.Offset {
					news = replica.BigNews
				}
				if n := r.news(sp, news); n != replica.NoNews {
					s.Touch(sp, n)
				}
			}
		}
	}
	for _, sp := range refused {
		s.Touch(sp, replica.BigNews)
	}
	if before := l.parked[s]; before != nil {
		before.stop()
		delete(l.parked, s)
	}
	p := &parkedFetch{reply: reply, max: int(req.MaxBytes)}
	l.parked[s] = p
	wait := req.MaxWait
	switch s.News() {
	case replica.BigNews:
		l.answer(s)
		return
	case replica.SmallNews:
		wait = min(wait, 20*time.Millisecond)
	}
	p.stop = l.clock.AfterFunc(wait, func() {
		if l.parked[s] == p {
			l.answer(s)
		}
	})
}

// fetched takes what a follower says of one partition. It reports false if that is to be answered by an error, or where the logs part.
func (l *life) fetched(req *replica.FetchRequest, sp *replica.SessionPartition) bool {
	p := l.c.partOf(sp.TopicPartition)
	if p == nil {
		return true
	}
	r := l.replicas[p.index]
	if r.leader == nil {
		return true
	}
	f := replica.Fetch{Node: req.Node, BrokerEpoch: req.BrokerEpoch, Position: sp.Position}
	a, err := r.leader.Check(machineLog{r.log}, &f)
	if err != nil {
		r.trouble("check", err)
		return true
	}
	if a.Code != replica.None || a.Diverging() {
		return false
	}
	if _, e := r.leader.Fetched(&f, l.now()); e != 0 {
		r.effects(e)
	}
	return true
}

// gone forgets a partition of a session.
func (l *life) gone(sp *replica.SessionPartition) {
	for _, r := range l.replicas {
		if i := slices.Index(r.watchers, sp); i >= 0 {
			r.watchers, r.sessions = slices.Delete(r.watchers, i, i+1), slices.Delete(r.sessions, i, i+1)
		}
	}
}

// answer answers a parked fetch with what there is.
func (l *life) answer(s *replica.FetchSession) {
	p := l.parked[s]
	delete(l.parked, s)
	if p.stop != nil {
		p.stop()
	}
	for _, r := range l.replicas { // what the follower does not know, and is not worth an answer of its own
		if r.over {
			continue
		}
		if sp := s.Partition(r.p.id); sp != nil && (r.leader == nil || s.ID() == 0) {
			s.Touch(sp, replica.BigNews)
		}
	}
	var resp replica.FetchResponse
	s.Fill(&resp, p.max, func(sp *replica.SessionPartition, most int, first bool) replica.Answer {
		return l.read(s, sp, most, first)
	})
	p.reply(resp)
}

// read is the answer for one partition.
func (l *life) read(s *replica.FetchSession, sp *replica.SessionPartition, most int, first bool) replica.Answer {
	none := replica.Answer{Code: replica.NotLeaderOrFollower, HighWatermark: -1, LogStart: -1, LogEnd: -1, DivergingEpoch: -1, DivergingEnd: -1, Leader: -1, LeaderEpoch: -1}
	p := l.c.partOf(sp.TopicPartition)
	if p == nil || l.replicas[p.index].leader == nil {
		return none
	}
	r := l.replicas[p.index]
	epoch, _ := l.Broker(s.Node())
	f := replica.Fetch{Node: s.Node(), BrokerEpoch: epoch, Position: sp.Position}
	a, err := r.leader.Check(machineLog{r.log}, &f)
	if err != nil {
		r.trouble("check", err)
		return none
	}
	if a.Code != replica.None || a.Diverging() || most <= 0 && !first {
		return a
	}
	if most = l.throttled(r, s, sp, most); most == 0 {
		return a
	}
	v, err := r.log.ReadReplica(log.Offset(sp.Offset), max(most, 1))
	if err != nil {
		none.Code = replica.KafkaStorageError
		r.trouble("read for a replica", err)
		return none
	}
	a.Records = slices.Clone(v.Bytes)
	v.Release()
	if !slices.Contains(r.leader.ISR(), s.Node()) {
		l.throttle.Spend(len(a.Records))
	}
	return a
}
