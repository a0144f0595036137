package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
)

// keeping is what of its records a cluster keeps: of data all, so many bytes, or those of so long; of the coordinators' partitions all, or of each key
// the last.
type keeping struct {
	bytes    int64         // 0: no bound
	age      time.Duration // 0: no bound
	compacts bool
}

func drawKeeping(seed uint64) (k keeping) {
	rng := simulate.Stream(seed, "keeping")
	switch rng.IntN(6) {
	case 0:
		k.bytes = int64(4<<10 + rng.IntN(24<<10))
	case 1:
		k.age = time.Duration(15+rng.IntN(60)) * time.Second
	}
	k.compacts = rng.IntN(2) == 0
	return k
}

// keepSettings are the settings of a partition's log that say what it keeps.
func (c *cluster) keepSettings(p *part, s *log.Settings) {
	switch {
	case p.guest:
	case p.offsets || p.txns:
		// Tombstones stay: who is away for longer than they do keeps what they delete.
		s.Compacted, s.MinDirtyRatio, s.DeleteRetention = c.keep.compacts, 0.2, 10_000*time.Hour
	default:
		if c.keep.bytes > 0 {
			s.RetentionBytes = c.keep.bytes
		}
		if c.keep.age > 0 {
			s.RetentionAge = c.keep.age
		}
	}
}

// floor is what has been deleted of a partition, as far as the checkers know.
type floor struct {
	may   int64 // below it somebody has deleted, or was told to
	must  int64 // below it nobody who leads may have anything: an acknowledged DeleteRecords, if nobody from outside of the ISR was elected since
	asked bool  // for a deletion
}

// kept notes where a log begins now, which is durable. The same offset again, or a smaller one, changes nothing.
func (r *replicaState) kept(start int64) {
	n, c := r.l.node, r.l.c
	n.starts[r.p.index] = max(n.starts[r.p.index], start)
	c.floors[r.p.index].may = max(c.floors[r.p.index].may, start)
	c.history.Deleted(r.p.index, start)
}

// forgotten notes that there is no log any more.
func (n *node) forgotten(part int) { n.starts[part], n.cleaned[part] = 0, 0 }

// startOf is where the log of a partition is to begin when it is opened.
func (n *node) startOf(part int) log.Offset {
	if mutant.On(mutant.LogStartForgotten) {
		return 0
	}
	return log.Offset(n.starts[part])
}

// retainTick deletes what need not be kept.
func (l *life) retainTick() {
	if l.over {
		return
	}
	l.clock.AfterFunc(4*time.Second, l.retainTick)
	for _, r := range l.replicas {
		if r.log != nil && !r.offline && !r.p.guest {
			r.retain()
		}
		if l.over {
			return
		}
	}
}

func (r *replicaState) retain() {
	if r.p.offsets || r.p.txns {
		r.compact()
		return
	}
	before := r.log.Start()
	result, err := r.log.Retain(r.l.clock.Now())
	if err != nil {
		r.trouble("retain", err)
		return
	}
	if result.Segments == 0 {
		return
	}
	r.l.c.counts.Add("retention", 1)
	start := int64(result.Start)
	if high := int64(r.log.Visible()); start > high {
		r.l.c.findings.Report(simulate.LogStart, "%s on %s: retention has deleted up to %d, the high watermark is %d", r.p.name, r.l.name, start, high)
	}
	// Else what lay below its start has gone: a follower's is the leader's, who has more behind it.
	if age := r.l.c.keep.age; result.Start > before && age == 0 && r.l.c.keep.bytes > 0 && !r.l.c.floors[r.p.index].asked {
		if left, readable := r.bytes(); readable && left < r.l.c.keep.bytes {
			r.l.c.findings.Report(simulate.LogStart, "%s on %s: retention has left %d bytes of at least %d", r.p.name, r.l.name, left, r.l.c.keep.bytes)
		}
	}
	r.kept(start)
	r.startMoved()
}

// bytes are how many bytes the log has.
func (r *replicaState) bytes() (n int64, readable bool) {
	for at := r.log.Start(); at < r.log.Written(); {
		v, err := r.log.ReadReplica(at, 1<<20)
		if err != nil || len(v.Bytes) == 0 {
			return n, err == nil
		}
		n, at = n+int64(len(v.Bytes)), v.Next
		v.Release()
	}
	return n, true
}

// startMoved tells the followers, if this is the leader.
func (r *replicaState) startMoved() {
	if r.leader != nil {
		e := r.leader.StartMoved(int64(r.log.Start()))
		r.touch(replica.SmallNews)
		r.effects(e)
	}
}

// raiseStart raises the log start, as a follower does when its leader has.
func (r *replicaState) raiseStart(to int64) {
	to = min(to, int64(r.log.Visible()))
	if to <= int64(r.log.Start()) {
		return
	}
	start, err := r.log.DeleteRecords(log.Offset(to))
	if err != nil {
		r.trouble("follow", err)
		return
	}
	r.kept(int64(start))
}

// deleteRecords deletes the records of a partition of data below an offset (KIP-107): it is done when all live replicas have.
func (c *cluster) deleteRecords(a simulate.Action) bool {
	part := a.B % c.partitions
	n := c.leaderOf(part)
	if n == nil || !n.alive() || n.process.Paused() {
		return false
	}
	n.do(func(l *life) {
		r := l.replicas[part]
		if r.leader == nil || r.log == nil {
			return
		}
		low, high := int64(r.log.Start()), int64(r.log.Visible())
		to := low + int64(a.Force*a.Force*float64(high-low))
		if to <= low {
			return
		}
		c.floors[part].may, c.floors[part].asked = max(c.floors[part].may, to), true
		if _, err := r.log.DeleteRecords(log.Offset(to)); err != nil {
			r.trouble("delete records", err)
			return
		}
		l.say("%s: records below %d are deleted", r.p.name, to)
		c.counts.Add(a.Kind, 1)
		r.kept(to)
		r.lows = append(r.lows, to)
		r.startMoved()
		r.lowered()
	})
	return false // it is counted
}

// lowered acknowledges deletions that all live replicas have carried out.
func (r *replicaState) lowered() {
	if r.leader == nil {
		return
	}
	low := r.leader.LowWatermark()
	rest := r.lows[:0]
	for _, to := range r.lows {
		if to > low && !mutant.On(mutant.DeletedByLeaderOnly) {
			rest = append(rest, to)
			continue
		}
		c := r.l.c
		// Somebody from outside of the ISR may have been elected before this node has heard of it: see partitionChanged.
		if state, _ := c.newest.Partition(r.p.id.Topic, r.p.id.Index); state.Leader == r.l.id && state.LeaderEpoch == r.leader.Epoch() {
			c.floors[r.p.index].must = max(c.floors[r.p.index].must, to)
		}
		c.seen.Add("deletion acknowledged", 1)
	}
	r.lows = rest
}

// checkStart checks that a log does not begin where it did not begin before, and that who leads has nothing that was deleted.
func (r *replicaState) checkStart() {
	if r.log == nil || r.offline || r.p.guest {
		return
	}
	c, start := r.l.c, int64(r.log.Start())
	if start < r.low {
		c.findings.Report(simulate.LogStart, "%s on %s: it began at %d and begins at %d", r.p.name, r.l.name, r.low, start)
	}
	r.low = start
	f := c.floors[r.p.index]
	if start > f.may {
		c.findings.Report(simulate.LogStart, "%s on %s: it begins at %d, and nobody has deleted more than what is below %d", r.p.name, r.l.name, start, f.may)
	}
	if state, _ := c.newest.Partition(r.p.id.Topic, r.p.id.Index); r.leader != nil && start < f.must && state.Leader == r.l.id && state.LeaderEpoch == r.leader.Epoch() {
		c.findings.Report(simulate.LogStart, "%s: leader %d in epoch %d begins at %d, what is below %d was deleted", r.p.name, r.l.id, r.leader.Epoch(), start, f.must)
	}
}

// firstOf is where a log begins to have what was committed as it was committed: compaction has been below.
func (r *replicaState) firstOf() int64 {
	first := int64(r.log.Start())
	if m := r.l.c.keys[r.p.index]; m != nil {
		first = max(first, m.cleaned)
	}
	return first
}

// outOfRange returns where a reader goes on after OFFSET_OUT_OF_RANGE: where the log begins, if what it wants has been deleted.
func (x *client) outOfRange(part int, next int64, a consumeAnswer) int64 {
	if next >= a.start {
		x.c.seen.Add("consumer out of range", 1)
		return next
	}
	if a.start > x.c.floors[part].may {
		x.c.findings.Report(simulate.Skipped, "%s: partition %d: is sent from %d to %d, and nobody has deleted more than what is below %d", x.name, part, next, a.start, x.c.floors[part].may)
	}
	x.c.seen.Add("reader sent to the log start", 1)
	return a.start
}
