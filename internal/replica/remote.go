package replica

import "time"

// Remote is what a leader knows of one of its followers (04 §3.1). All of it is of the present leader epoch.
type Remote struct {
	Node        NodeID
	BrokerEpoch int64 // of its last fetch; -1: it has not fetched yet
	LogEnd      int64 // everything below is in its log; -1: it has not fetched in this leader epoch
	LogStart    int64 // -1: unknown
	// LastCaughtUp is the newest time at which it is known to have had everything that the leader had, or Never.
	LastCaughtUp time.Duration

	lastFetch          time.Duration // of its last fetch
	lastFetchLeaderEnd int64         // the leader's log end at that time; -1: none
}

func (r *Remote) reset(inSync bool, now time.Duration) {
	*r = Remote{Node: r.Node, BrokerEpoch: -1, LogEnd: -1, LogStart: -1, LastCaughtUp: Never, lastFetch: Never, lastFetchLeaderEnd: -1}
	if inSync {
		r.LastCaughtUp = now
	}
}

// fetched notes that the follower has everything below offset. A follower that is always one fetch behind a log that grows all the
// time is caught up: at the time of its last fetch it asked for what the leader's end was then (KIP-16).
func (r *Remote) fetched(offset, start, brokerEpoch, leaderEnd int64, now time.Duration) {
	switch {
	case offset >= leaderEnd:
		r.LastCaughtUp = max(r.LastCaughtUp, now)
	case r.lastFetchLeaderEnd >= 0 && offset >= r.lastFetchLeaderEnd:
		r.LastCaughtUp = max(r.LastCaughtUp, r.lastFetch)
	}
	r.LogEnd, r.LogStart, r.BrokerEpoch = offset, start, brokerEpoch
	r.lastFetch, r.lastFetchLeaderEnd = now, leaderEnd
}

func (r *Remote) caughtUp(leaderEnd int64, now time.Duration, lag time.Duration) bool {
	return r.LogEnd == leaderEnd || r.LastCaughtUp != Never && now-r.LastCaughtUp <= lag
}
