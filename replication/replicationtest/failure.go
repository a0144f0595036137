package replicationtest

import (
	"errors"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/log"
)

// trouble takes an error of the log. A failed write has changed nothing. After a failed sync, or where bytes are bad, something may be missing, which
// the others have: the replica is told to the controller to have failed, is made good, and comes back as a follower.
func (r *replicaState) trouble(op string, err error) {
	l := r.l
	if l.over || r.offline {
		return
	}
	l.say("%s: %s: %v", r.p.name, op, err)
	if errors.Is(err, log.ErrNoSpace) {
		l.c.seen.Add("no space", 1)
	}
	switch {
	case errors.Is(err, log.ErrPoisoned), errors.Is(err, log.ErrCorrupt):
	case r.log == nil:
		l.c.seen.Add("log not opened", 1)
		l.clock.AfterFunc(2*time.Second, func() { l.dirty[r.p.index] = true; l.changeRoles() })
		return
	case op == "append" || op == "follow" || op == "seal":
		l.c.seen.Add("write failed", 1)
		return
	}
	l.c.seen.Add("replica failed", 1)
	r.offline, r.told, r.repaired = true, false, false
	r.wipe = errors.Is(err, log.ErrCorrupt)
	r.stand(-1)
	if r.log != nil {
		r.log.Abandon()
		r.log = nil
	}
	l.removeEpoch() // if the process ends now, what is missing is not known any more
	r.tell()
}

// tell tells the controller that the replica has failed, and again when it is good.
func (r *replicaState) tell() {
	l := r.l
	if l.over || !r.offline {
		return
	}
	again := func() { l.clock.AfterFunc(500*time.Millisecond, r.tell) }
	if l.lifecycle.Epoch() == control.NoEpoch {
		again()
		return
	}
	partitions := []control.PartitionID{r.p.id}
	var command control.Command = control.OfflineReplicas{Node: l.id, Epoch: l.lifecycle.Epoch(), Partitions: partitions}
	if r.told {
		command = control.OnlineReplicas{Node: l.id, Epoch: l.lifecycle.Epoch(), Partitions: partitions}
	}
	l.ask(proposeRequest{control.Encode(nil, command)}, func(answer any) {
		a, ok := answer.(proposeAnswer)
		switch {
		case !r.offline: // it is back already
		case !ok || a.code != control.OK:
			again()
		case !r.told:
			r.told = true
			r.repair()
			again()
		default:
			// changeRole takes it from here, when the metadata says so.
			l.dirty[r.p.index] = true
			l.changeRoles()
			if r.offline {
				again()
			}
		}
	})
}

// repair makes the log good: recovery cuts what is not on disk. Where bytes are bad it begins anew, as long as somebody else has what was committed.
func (r *replicaState) repair() {
	l := r.l
	if l.over {
		return
	}
	state, _ := l.ctl.Partition(r.p.id.Topic, r.p.id.Index)
	others := func(id control.NodeID) bool { return id != l.id }
	if r.wipe && (slices.ContainsFunc(state.ISR, others) || slices.ContainsFunc(state.ELR, others)) {
		l.c.seen.Add("replica rebuilt", 1)
		r.remove()
		l.marks[r.p.index], l.points[r.p.index] = 0, 0
		l.forgotten(r.p.index)
	}
	r.repaired = true
	l.writeEpoch(l.lifecycle.Epoch(), true)
}

// anyFailed reports whether a replica may miss something that the controller has not been told of, or that has not been made good.
func (l *life) anyFailed() bool {
	return slices.ContainsFunc(l.replicas, func(r *replicaState) bool { return r.offline && !r.repaired })
}
