package replication

import "github.com/partlog/partlog/internal/wire/peer"

// unreachable takes a failed attempt to connect to a node. If nobody listens where the controller was, its process has ended: a new one is elected at once, not
// when the election timeout is over. A node that is merely silent is waited for.
func (c *controller) unreachable(node int32, err error) {
	if !peer.NobodyListens(err) {
		return
	}
	if leader, _ := c.leader(); leader == node {
		c.inbox.offer(func() { c.check(c.raft.Forget(node)) })
	}
}
