// Package quorum is a replicated log of small changes: one member leads, the others follow, and an entry is handed out when
// a majority of the voters has it on disk. It owns a go.etcd.io/raft RawNode and gives it a storage, package journal; it has
// no goroutine, no clock and no socket. The same code runs in a node and in a simulator.
//
//	err := quorum.Bootstrap(config, self, []quorum.Member{self}, state) // once, for a new quorum
//	r, recovery, err := quorum.Open(config)
//	for {
//		select {
//		case <-tick:
//			r.Tick()
//		case m := <-received:
//			r.Step(m.from, m.data) // from: as the transport has proved
//		case p := <-proposals:
//			index, term, err := r.Propose(p)
//		}
//		for out, ok := r.Ready(); ok; out, ok = r.Ready() {
//			// out.Snapshot, then out.Committed, to the state machine; out.Messages to the peers
//		}
//		if r.Err() != nil { ... }
//	}
//
// # Guarantees
//
// At most one member leads a term. An entry that one member has handed out is handed out by every other at the same index, in
// order, once. A vote, and the acknowledgement of an entry, leave a member only after they are on disk; a member that cannot
// tell whether it still has everything that it once had on disk does not take part any more (ErrMustRejoin). After a failed
// write or sync it takes no part either, and nothing is tried again (ErrFailed).
//
// # Members
//
// A Member is a node and one of its directories. It begins as an observer, which receives the log and has no vote, and is
// promoted when it has caught up. Changes go one at a time. A node whose log is lost comes back as another member (Rejoin);
// the old one is removed.
//
// # When the majority is lost for good
//
// Recover makes a surviving voter the only one. It is for a person, offline, and says what it costs.
package quorum
