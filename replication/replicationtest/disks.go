package replicationtest

import (
	"slices"
	"time"
)

// corrupt changes a sector of a log while its node is down: of what was synced, so that it is no unfinished write.
func (c *cluster) corrupt(n *node, d time.Duration) bool {
	if !c.mayLose(n) || !n.alive() || n.process.Paused() {
		return false
	}
	if slices.ContainsFunc(n.life.replicas, func(r *replicaState) bool { return r.log == nil && r.exists() }) {
		return false // how far it is on disk is not known
	}
	for range 10 { // each finishes one segment
		if n.life.flush(); !n.alive() {
			return false
		}
	}
	if slices.ContainsFunc(n.life.replicas, func(r *replicaState) bool { return r.log != nil && r.log.RecoveryPoint() != r.log.End() }) {
		return false
	}
	return c.stop(n, d, func() {
		n.kill()
		for _, p := range c.parts {
			if name, at := n.disk.Corrupt("/"+p.name, "*.log"); name != "" {
				n.say("corrupt sector in %s at %d", name, at)
				n.lossy, n.rotten = true, true
				return
			}
		}
	})
}
