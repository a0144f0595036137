package replicationtest

import (
	"time"

	"github.com/partlog/partlog/internal/control"
)

// upgrade shuts a node down in order, and starts a program of another version on it, which may be an earlier one.
func (c *cluster) upgrade(n *node, level int16, d time.Duration) bool {
	if n.level == level || !c.shutDown(n, d) {
		return false
	}
	n.level = level
	return true
}

// knowsLevel ends the process if the cluster is at a feature level of a later version: it can only be started again as that version.
func (l *life) knowsLevel() bool {
	if l.ctl.Feature() > l.level {
		l.c.seen.Add("stopped by a later feature level", 1)
		l.fail("the cluster is at feature level %d, this program knows up to %d", l.ctl.Feature(), l.level)
		return false
	}
	return true
}

// levels has every node that cannot live with the cluster's level run a version that can.
func (c *cluster) levels() {
	for _, n := range c.nodes {
		if c.newest != nil && n.level < c.newest.Feature() {
			n.level = control.MaxLevel
		}
	}
}
