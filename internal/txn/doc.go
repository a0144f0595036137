// Package txn is Apache Kafka's transaction coordinator as a pure state machine (KIP-98, KIP-360, KIP-890), and the
// records in which it keeps its state. It has no clock, lock, goroutine or I/O: the shell around it, in package
// partition, tells it what happens with Machine.Step and does what the effects say.
//
// A transactional id has one producer at a time, whose epoch grows with each new instance and, with
// transaction.version 2, with each transaction. State has the picture. Two rules carry all the others:
//
//   - Write, then believe: a transition is in force when its record has been written. Until then every other request of
//     the id is ErrConcurrentTransactions, but for a fence.
//   - What is prepared will happen: from the moment at which the Prepare record is durable the outcome does not change
//     any more. Markers are written to every partition, again and again if need be, and then the Complete record.
//
// A record is durable before its consequence is seen, in these cases and no others (Write.Durable): a new epoch is, before
// its producer has it; Prepare is, before anybody is told and before the first marker. An Ongoing record is not: should a loss
// of power take it, and not the data that was written after it, the open of the store finds a transaction in a
// partition that the coordinator knows nothing of, and aborts it as one it knows (Found). Complete is not either: without it the
// markers are written once more, which changes nothing.
package txn
