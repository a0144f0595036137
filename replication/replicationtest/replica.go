package replicationtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
)

// replicaState is one replica of a partition in one life of a node: its log, and what the node is for it.
type replicaState struct {
	l        *life
	p        *part
	log      *log.Log // nil: not open
	offline  bool     // it has failed, and the controller is, or will be, told
	told     bool     // the controller knows
	repaired bool     // it has been made good
	wipe     bool     // nothing of it is believed

	leader   *replica.Leader
	follower *replica.Follower
	epoch    int32 // of the present role

	acks     []ack // in the order of their offsets
	watchers []*replica.SessionPartition
	sessions []*replica.FetchSession // of watchers, likewise
	asking   bool                    // an AlterPartition is on its way
	sent     replica.Position        // as the fetch session knows it
	held     bool                    // the follower waits a while
	groups   *groupShell
	txns     *txnShell
	lows     []int64 // deletions that wait for the low watermark
	low      int64   // log start, as it was when it was looked at
	over     bool    // the node does not know its topic
}

// ack is an append that waits for the high watermark.
type ack struct {
	upTo int64
	done func(code control.Code)
}

func newReplicaState(l *life, p *part) *replicaState { return &replicaState{l: l, p: p, epoch: -1} }

// Log, as the machines see it.
type machineLog struct{ *log.Log }

func (m machineLog) Start() int64 { return int64(m.Log.Start()) }

func (m machineLog) End() int64 { return int64(m.Log.End()) }

func (m machineLog) LastEpoch() (int32, error) {
	e, err := m.Log.LastEpoch()
	return int32(e), err
}

func (m machineLog) EpochEnd(epoch int32) (int32, int64, error) {
	e, end, err := m.Log.EpochEnd(log.LeaderEpoch(epoch))
	return int32(e), int64(end), err
}

// Broker implements replica.Brokers.
func (l *life) Broker(id control.NodeID) (epoch int64, eligible bool) {
	n, ok := l.ctl.Node(id)
	if !ok {
		return -1, false
	}
	return n.Epoch, n.Active()
}

// LastFetch implements replica.Brokers.
func (l *life) LastFetch(id control.NodeID) time.Duration {
	if at, ok := l.lastFetch[id]; ok {
		return at
	}
	return replica.Never
}

// changeRoles looks at the partitions of which something has changed.
func (l *life) changeRoles() {
	for i := range l.dirty {
		if !l.dirty[i] || l.over {
			continue
		}
		l.dirty[i] = false
		l.replicas[i].changeRole()
	}
}

// present reports whether the node has applied its own registration of this life: before that, what the metadata says of it is about an earlier one.
func (l *life) present() bool {
	n, ok := l.ctl.Node(l.id)
	if mutant.On(mutant.ResumeLeadership) {
		return ok
	}
	return ok && n.Epoch == l.lifecycle.Epoch() && n.Incarnation == l.incarnation
}

func (r *replicaState) changeRole() {
	l := r.l
	if !l.present() {
		return
	}
	state, ok := l.ctl.Partition(r.p.id.Topic, r.p.id.Index)
	if !ok {
		r.removeTopic()
		return
	}
	r.over = false // else the node had not heard of it yet
	if !slices.Contains(state.Replicas, l.id) {
		r.drop()
		return
	}
	if r.offline && !slices.Contains(state.Offline, l.id) && r.told && r.repaired {
		r.offline, r.told, r.repaired = false, false, false
	}
	if !r.offline && slices.Contains(state.Offline, l.id) {
		// A request of before, which came late: it has been made good since.
		l.c.seen.Add("late offline", 1)
		r.offline, r.told, r.repaired = true, true, true
		r.stand(-1)
		r.tell()
		return
	}
	if r.offline {
		r.stand(-1)
		return
	}
	if !r.open() {
		return
	}
	if r.leader != nil && mutant.On(mutant.StaleLeaderServes) {
		return
	}
	m := replica.MetadataOf(state, l.ctl.MinISR(r.p.id.Topic, r.p.id.Index))
	if state.Leader == l.id {
		r.lead(m)
		return
	}
	r.follow(m)
}

// open opens the log, if it is not.
func (r *replicaState) open() bool {
	if r.log != nil {
		return true
	}
	l := r.l
	c := log.Config{
		FS: l.disk.FS(), Dir: r.dir(), Topic: r.p.topic, Partition: r.p.id.Index, TopicID: [16]byte(r.p.id.Topic), Clock: l.clock,
		Settings: log.Settings{
			Sync: l.c.sync, SegmentBytes: l.c.segmentBytes, MaxMessageBytes: 1 << 20, TimestampAfter: log.Unlimited, NoPreallocation: true,
			IndexBytes: 4096,
		},
		Replicated: true, HighWatermark: log.Offset(l.marks[r.p.index]), RecoveryPoint: log.Offset(l.points[r.p.index]),
		LogStart: l.startOf(r.p.index), Cleaned: log.Offset(l.cleaned[r.p.index]),
	}
	l.c.keepSettings(r.p, &c.Settings)
	opened, report, err := log.Open(c)
	if errors.Is(err, log.ErrForeign) && !r.p.deleted { // of a topic of the same name that has been deleted
		l.c.seen.Add("stray replica removed", 1)
		r.remove()
		opened, report, err = log.Open(c)
	}
	if err != nil {
		r.trouble("open", err)
		return false
	}
	r.log, r.low = opened, l.starts[r.p.index]
	for _, f := range report.Findings {
		l.say("%s: recovery: %+v", r.p.name, f)
		l.c.seen.Add("recovery: "+fmt.Sprint(f.Kind), 1)
		if f.Action == log.ActionQuarantined {
			r.trouble("recovery", log.ErrCorrupt)
			return false
		}
	}
	if int64(opened.End()) < l.points[r.p.index] {
		r.trouble("recovery", fmt.Errorf("%w: it ends at %d, %d was on disk", log.ErrCorrupt, opened.End(), l.points[r.p.index]))
		return false
	}
	if l.rotten { // what is below the recovery point is believed by an open, and looked at when it is read: a node that has reason to, looks at once
		if _, readable := r.batches(0, int64(opened.End())); !readable {
			return false
		}
		if !slices.ContainsFunc(l.replicas, func(other *replicaState) bool { return other.log == nil && other.exists() }) {
			l.rotten = false
		}
	}
	l.say("%s: opened, [%d, %d), high watermark %d", r.p.name, opened.Start(), opened.End(), opened.Visible())
	return true
}

// stand ends the present role. What waits is told.
func (r *replicaState) stand(epoch int32) {
	acks := r.acks
	r.acks = nil
	r.leader, r.epoch = nil, epoch
	r.groups.end()
	r.txns.end()
	r.groups, r.txns, r.lows = nil, nil, nil
	if r.log != nil {
		r.log.Follow()
	}
	for _, a := range acks {
		a.done(replica.NotLeaderOrFollower)
	}
	if r.follower != nil {
		for _, f := range r.l.fetchers {
			f.plan.Forget(r.p.id)
		}
		r.follower = nil
	}
	r.touch(replica.BigNews)
}

// lead begins to lead, or goes on.
func (r *replicaState) lead(m replica.Metadata) {
	l := r.l
	if r.leader != nil && r.leader.Epoch() == m.LeaderEpoch {
		r.effects(r.leader.Metadata(m, replica.LogState{}, l.now()))
		return
	}
	if r.leader != nil && r.leader.Epoch() > m.LeaderEpoch {
		return
	}
	r.stand(m.LeaderEpoch)
	if err := r.log.Lead(log.LeaderEpoch(m.LeaderEpoch)); err != nil {
		r.trouble("lead", err)
		return
	}
	l.say("%s: leads in epoch %d from %d, ISR %v", r.p.name, m.LeaderEpoch, r.log.End(), m.ISR)
	l.c.seen.Add("leader elected", 1)
	l.c.replicas.Leads(r.p.index, int(l.id), m.LeaderEpoch)
	if level := l.ctl.Feature(); level > l.level {
		l.c.findings.Report(simulate.WrongLevel, "%s leads %s at feature level %d, and knows up to %d", l.name, r.p.name, level, l.level)
	}
	if r.p.gives {
		r.giveUp(m.LeaderEpoch)
	}
	if m.LeaderEpoch >= r.p.since { // else it hears late of an election that another has followed since, and one of the two was unclean
		l.c.replicas.Holds(r.p.index, int(l.id), r.firstOf(), int64(r.log.End()), m.LeaderEpoch, false,
			fmt.Sprintf("it leads in epoch %d", m.LeaderEpoch), r.batches)
		r.checkKeys("it leads")
	}
	c := replica.LeaderConfig{Node: l.id, BrokerEpoch: l.lifecycle.Epoch(), LagTime: l.c.lag, Brokers: l}
	state := replica.LogState{Start: int64(r.log.Start()), End: int64(r.log.End()), Durable: r.counted(), HighWatermark: int64(r.log.Visible())}
	r.leader = replica.NewLeader(c, m, state, l.now())
	r.effects(replica.HighWatermarkMoved)
}

// counted is how far the log counts for the high watermark in its sync mode.
func (r *replicaState) counted() int64 {
	if r.l.c.survivesPower() {
		return int64(r.log.Durable())
	}
	return int64(r.log.Written())
}

// follow begins to follow, or goes on.
func (r *replicaState) follow(m replica.Metadata) {
	l := r.l
	if r.follower != nil {
		if !r.follower.Metadata(m) {
			return
		}
		for _, f := range l.fetchers {
			f.plan.Forget(r.p.id)
		}
	} else {
		if r.leader != nil && r.leader.Epoch() > m.LeaderEpoch {
			return
		}
		r.stand(m.LeaderEpoch)
		r.follower = replica.NewFollower(m, int64(r.log.Visible()))
	}
	r.epoch, r.held = m.LeaderEpoch, false
	if l.c.trace.On() {
		l.say("%s: follows %d in epoch %d, [%d, %d)", r.p.name, m.Leader, m.LeaderEpoch, r.log.Start(), r.log.End())
	}
	r.want()
}

// batches lists what the log has in [from, to). What cannot be read is a failure of the replica.
func (r *replicaState) batches(from, to int64) (list []simulate.Batch, readable bool) {
	at := max(log.Offset(from), r.log.Start())
	for at < log.Offset(to) {
		v, err := r.log.ReadReplica(at, 1<<20)
		if err != nil {
			r.trouble("read", err)
			return nil, false
		}
		if len(v.Bytes) == 0 {
			return list, true
		}
		for b := v.Bytes; len(b) > 0; {
			one, err := batch.Peek(b)
			if err != nil {
				break
			}
			list = append(list, simulate.Batch{Base: one.BaseOffset(), Last: one.LastOffset(), Epoch: one.LeaderEpoch(), CRC: one.CRC()})
			b = b[len(one):]
		}
		at = v.Next
		v.Release()
	}
	return list, true
}

// checkpoint notes high watermarks, as a node does every few seconds.
func (l *life) checkpoint() {
	for i, r := range l.replicas {
		if r.log != nil {
			l.marks[i] = int64(r.log.Visible())
		}
	}
	l.clock.AfterFunc(5*time.Second, l.checkpoint)
}
