// Package simulate runs a whole distributed system in one goroutine, from one seed: the same seed gives the same run, event by
// event. What is simulated is everything around the machines that decide: time, the network, disks, processes and those who
// use and operate them. It knows nothing of logs and replicas; package replicationtest composes clusters of it.
//
//   - Scheduler is a heap of events keyed by time and, at one instant, by a tie-break drawn from the seed: every interleaving
//     of messages can happen, and none by chance of the machine.
//   - Process is what a node's events run in: it may be paused, stalled by its disk, killed and started again; what was meant for
//     a life that has ended is dropped.
//   - Clock is a node's own clock.Clock: skewed, drifting, jumping, at rest while the process is.
//   - Network carries messages between nodes, by datagrams (lost, duplicated, reordered, delayed, replayed long after) and by
//     connections (in order, broken by what is lost; no message outlives the life it was sent to).
//   - Disk is a vfs.Mem that remembers what was not synced, below vfs.Fault.
//   - Schedule is the concrete list of all that is done to the system and by its users: Swarm draws one from a seed, Shrink finds
//     the smallest part of one that still fails.
//   - History, and the checkers over it: what was acknowledged is there, once, in order, and so on. Each has a test which
//     shows that it finds what it is there for.
//
// Counts are of what took effect: a fault that was scheduled but hit nothing is not counted.
package simulate
