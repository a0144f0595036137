// Package replica decides, for one partition, what its leader and its followers do (Apache Kafka's replication: KIP-101, KIP-279,
// KIP-320, KIP-392, KIP-497, KIP-841, KIP-903, KIP-966), and, for one pair of nodes, what their fetch session holds (KIP-227).
//
// Leader has the in-sync replicas (ISR), the high watermark and the proposals to change the ISR. Follower says from where to fetch,
// and turns each answer into one Step: append, truncate, begin anew, or wait. FetchSession is the leader's end of a session,
// FetchPlan the follower's.
//
//	leader := replica.NewLeader(config, metadata, state, now)
//	effects := leader.Appended(end, durable)                     // own log grew
//	answer, err := leader.Check(log, fetch)                      // what a follower's fetch gets
//	code, effects := leader.Fetched(fetch, now)                  // it has everything below fetch.Offset
//	if effects.Has(replica.HighWatermarkMoved) { ... leader.HighWatermark() }
//	if p, ok := leader.Proposal(); ok { ... leader.Altered(answer, now) }
//
//	position, err := follower.Position(log)
//	step, err := follower.Handle(log, position, answer)          // carry it out, then:
//	hw := follower.Done(step, log.End())
//
// All are pure machines: no clock, lock, goroutine, file or socket, no random choice and no order of a map that could be seen.
// They are not safe for concurrent use; whoever owns one serializes its calls. The same machines run in a node and in the simulator.
//
// Times are readings of one clock that only moves forwards, since any origin; nothing is compared with another node's.
package replica
