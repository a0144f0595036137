// Package consumer reads records: by itself from partitions and positions that it is told (Assign), or as a member of a
// consumer group that divides the partitions of its topics among its members and keeps their committed offsets (Join).
//
//	c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}})
//	if err != nil { return err }
//	defer c.Close() // commits what the loop finished, leaves the group
//	for rec, err := range consumer.Records(ctx, c, consumer.String, consumer.JSON[Order]) {
//		if bad, ok := errors.AsType[*consumer.DecodeError](err); ok { dead(bad.Raw); continue }
//		if err != nil { return err }   // last pair: context.Canceled, ErrClosed, expelled...
//		charge(rec.Key, rec.Value)     // reaching the next iteration acknowledges rec
//	}
//
// A record has an offset in its partition. The position is the offset that is read next; a member's committed offset
// is where the group goes on after a restart or a rebalance. Delivery is at least once: what was acknowledged and
// committed is not read again by the group, and nothing is skipped.
//
// # Acknowledgement and commits
//
// Reaching the next iteration acknowledges the record; break, return and panic do not, and the next loop begins with
// that record again. Acknowledged records of a member are committed every Config.CommitInterval, by Commit, by Close,
// and before their partition goes to another member. Poll acknowledges with the next Poll.
//
// With CommitManual only the caller commits: Commit, CommitRecord (with metadata), CommitOffsets, CommitAsync (told in
// order), or producer.Tx.CommitOffsets, which makes the offsets part of a transaction: then what the transaction wrote and
// what it read count together or not at all. At most once is CommitManual and a CommitRecord before the work; exactly once is a
// transaction whose readers are ReadCommitted, or Config.Start: offsets in the host's own database, in one transaction
// with the results.
//
// # Rebalances
//
// A member's own goroutine takes part in rebalances, whether or not anybody reads. With the group's default assignor they
// are cooperative: what a member keeps it reads on, through the rebalance, with its position, pause and what was read
// ahead; only what it has to give up waits for the record that a loop body has in hand, for those that a Poll has
// returned until the next call, or for a borrowed run until its Release. Then that is committed, Config.Listener is told,
// what was read ahead of it is dropped, and only after that another member gets it. A newcomer may have nothing for a
// moment. With an eager assignor (Range, RoundRobin, Sticky) all of this is done for all partitions, before each
// rebalance. Either way a partition never has two owners, and a record of one that has gone to another member is never
// yielded. A goroutine that holds records of one member must not wait for another member to get its partitions. A member
// whose loop keeps the same records longer than max.poll.interval (group.Config.RebalanceTimeout) is expelled: its last
// pair is *ExpelledError. Time in which the process was suspended does not count.
//
// A member with group.Config.InstanceID is a static one: Close does not give its partitions away, and if it is back within
// the session it has them again, without a rebalance.
//
// # Where reading begins
//
// At the committed offset, or where Config.Reset says if there is none. ResetLatest and ResetByDuration decide where a
// group starts, once: partitions and topics that come later are read from their first record, so nothing is skipped. An
// offset behind a tail that was lost, as SyncNever topics lose it with the power, is told by *TruncationError, and what
// has taken the place of the lost records is read (KIP-320).
//
// # Workers
//
// Work handles a consumer's records in parallel, those of one key one after the other, and commits only the prefix of a
// partition that is done. A record that fails is tried again in place or through retry topics, and buried in a dead-letter
// topic at last (Retry, DeadLetter), before its source is committed; with WorkBatch, in the transaction of its source.
//
//	err := consumer.Work(ctx, c, consumer.Typed(consumer.String, consumer.JSON[Order], charge), consumer.WorkConfig{
//		Retry: consumer.Retry{Attempts: 3}, DeadLetter: "orders-dead", Forwarder: p, // a *producer.Producer
//	})
//
// # Bytes
//
// Records, Poll and the typed views give copies, one buffer a fetch and partition. PollBorrowed gives the mapped bytes
// themselves, until Release.
//
// # Goroutines
//
// A consumer is read by one goroutine at a time (ErrConcurrentUse); for parallel reading make one consumer a goroutine, or Work.
// Pause, Resume, Seek, the commits and queries, Stats and Close may be called from any, also inside the loop and in the
// functions of Config.Events and Config.Listener, where Close only begins. One goroutine belongs to each member of a
// group; entering a generation without giving up its partitions takes another, and so do reading ahead and CommitAsync
// while there is something to do. Close waits for them.
//
// Nothing is polled: at the end of a partition the loop sleeps until an append wakes it.
package consumer
