package replicationtest

import (
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/log"
)

func (r *replicaState) dir() string { return "/" + r.p.name }

// lower notes, before the log is cut, that less of it is on disk.
func (r *replicaState) lower(to int64) { r.l.points[r.p.index] = min(r.l.points[r.p.index], to) }

// drop removes the replica: it is no longer assigned.
func (r *replicaState) drop() {
	if r.log == nil && (!r.exists() || !r.isMine()) {
		return
	}
	r.stand(-1)
	r.l.say("%s: removed", r.p.name)
	r.l.c.seen.Add("replica removed", 1)
	r.remove()
	r.l.marks[r.p.index], r.l.points[r.p.index] = 0, 0
	r.l.forgotten(r.p.index)
}

func (r *replicaState) exists() bool {
	_, err := r.l.disk.FS().Stat(r.dir())
	return err == nil
}

func (r *replicaState) remove() {
	if r.log != nil {
		r.log.Abandon()
		r.log = nil
	}
	if err := log.Delete(r.l.disk.FS(), r.dir()); err != nil {
		r.l.say("%s: cannot be removed: %v", r.p.name, err)
	}
}

// close ends the log in order and reports whether nothing is missing.
func (r *replicaState) close() bool {
	if r.log == nil {
		return !r.offline
	}
	r.leader, r.follower = nil, nil
	err := r.log.Close()
	r.log = nil
	return err == nil && !r.offline
}

// removeTopic has a replica of a deleted topic go, with its files.
func (r *replicaState) removeTopic() {
	if !r.p.guest || r.over {
		return
	}
	r.over = true
	if mutant.On(mutant.DeletedReplicaStays) {
		return
	}
	r.drop()
	r.watchers, r.sessions = nil, nil
}

// isMine reports whether the files that are there are of this partition, and not of another topic that had, or has, the name.
func (r *replicaState) isMine() bool {
	if !r.p.guest {
		return true
	}
	id, err := segment.ReadPartitionMetadata(r.l.disk.FS(), r.dir())
	return err != nil || control.TopicID(id) == r.p.id.Topic
}
