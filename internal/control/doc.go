// Package control is the controller of a cluster as pure state machines: which nodes there are, which topics and partitions,
// who replicates, leads and is in sync, under Apache Kafka's rules (KRaft; KIP-455, KIP-497, KIP-631, KIP-841, KIP-903, KIP-966).
// It has no clock, lock, goroutine or I/O.
//
//	Machine    the state, replicated: every node applies the same commands in the same order and comes to the same state
//	Watch      sessions of nodes, at the active controller only: it turns time into commands (a fence, an unfence, an election)
//	Lifecycle  a node's own view of its registration, sessions and shutdown
//	Place      which nodes get the replicas of a new topic
//
// A [Command] is proposed by a node or by the Watch, put in order by the quorum, and given to every Machine by [Machine.Apply], which
// checks it against the state that it finds there: what does not hold any more changes nothing and has a [Code]. There is no time in a
// Machine, and nothing is drawn by lot: two machines that have applied the same commands have equal snapshots, byte for byte.
//
// What is promised of partitions:
//
//   - A leader epoch has at most one leader. It grows with each change of the leader, also to none, with each registration of the leader,
//     and with each reassignment that removes a replica. The partition epoch grows with each change.
//   - The in-sync replicas (ISR) and eligible leader replicas (ELR) together have every record below the high watermark, given that leaders
//     do not move it while the ISR is smaller than [Machine.MinISR]. Only unclean elections, which topics have to allow or administrators
//     to ask for, and the return of the last known leader after an unclean shutdown, choose anybody else; they are told as Unclean.
//   - A node that is fenced, shuts down or has failed a replica is neither leader nor in the ISR.
package control
