package group

import "time"

// Timers of consumer groups. memberID belongs to all but the last.
const (
	timerRevoke      timerKind = iota + 64 // a member that has not given up its partitions by then is removed
	timerClassicJoin                       // a classic member that has not joined again by then is removed
	timerClassicSync                       // a classic member that has not synced by then is removed
	timerAssign                            // the target assignment may be computed again
)

// startTimers gives every member the whole of its time.
func (n *nextgen) startTimers() {
	for _, member := range n.live.sorted() {
		n.alive(member)
		n.watchRevocation(member)
	}
}

// alive restarts the session of a member. A classic member of this process has none: it lives as long as we do.
func (n *nextgen) alive(member *consumerMember) {
	switch {
	case n.m.isHere(member) && !n.away[member.id]:
		n.m.stopTimer(timerSession, member.id)
	case member.classic != nil:
		n.m.setTimer(timerSession, member.id, member.classic.session)
	default:
		n.m.setTimer(timerSession, member.id, n.config.SessionTimeout)
	}
}

// watchRevocation bounds the time that a member has to give up partitions. Classic members are bounded by their joins.
func (n *nextgen) watchRevocation(member *consumerMember) {
	if member.classic == nil && member.state == MemberUnrevokedPartitions && member.epoch >= 0 {
		n.revoking[member.id] = member.epoch
		n.m.setTimer(timerRevoke, member.id, max(member.rebalance, time.Millisecond))
	} else if _, watched := n.revoking[member.id]; watched {
		delete(n.revoking, member.id)
		n.m.stopTimer(timerRevoke, member.id)
	}
}

// forget stops all that waits for a member.
func (n *nextgen) forget(id string) {
	for _, k := range []timerKind{timerSession, timerRevoke, timerClassicJoin, timerClassicSync} {
		n.m.stopTimer(k, id)
	}
	delete(n.revoking, id)
	delete(n.joining, id)
	delete(n.synced, id)
	delete(n.away, id)
}

func (n *nextgen) timeout(k timerKey) {
	if k.kind == timerAssign {
		n.assignTimeout()
		return
	}
	member := n.live.members[k.memberID]
	if member == nil {
		return
	}
	reason := ""
	switch k.kind {
	case timerSession:
		reason = "session timed out"
	case timerRevoke:
		if epoch, watched := n.revoking[member.id]; !watched || epoch != member.epoch {
			return
		}
		reason = "did not give up its partitions in time"
	case timerClassicJoin:
		reason = "did not join again in time"
	case timerClassicSync:
		reason = "did not sync in time"
	default:
		return
	}
	n.fenceOr(timerEvent{k}, []*consumerMember{member}, reason)
}

// due reports whether what was done last at then, and is done once per interval, is to be done again now. A clock whose readings may jump can
// have been set back since: then nobody knows how long ago it was, and it is done at once, rather than when the clock has caught up.
func due(now, then time.Time, interval time.Duration) bool {
	passed := now.Sub(then)
	return passed >= interval || passed < 0
}
