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
// # Acknowledgement
//
// Reaching the next iteration acknowledges the record; break, return and panic do not, and the next loop begins with
// that record again. Acknowledged records of a member are committed every Config.CommitInterval, by Commit, by Close,
// and before their partition goes to another member. Poll acknowledges with the next Poll.
//
// # Rebalances
//
// A member's own goroutine takes part in rebalances, whether or not anybody reads; it waits for the record that a loop
// body has in hand, for those that a Poll has returned until the next call, and for a borrowed run until its Release;
// then it commits, and drops what was read ahead, so a record of a partition that has gone to another member is never
// yielded. A goroutine that holds records of one member must not wait for another member to join. A member whose loop
// keeps the same records longer than max.poll.interval is expelled: its last pair is *ExpelledError. Time in which the
// process was suspended does not count.
//
// # Bytes
//
// Records, Poll and the typed views give copies, one buffer a fetch and partition. PollBorrowed gives the mapped bytes
// themselves, until Release.
//
// # Goroutines
//
// A consumer is read by one goroutine at a time (ErrConcurrentUse); for parallel reading make one consumer a goroutine.
// Pause, Resume, Seek, Commit, Stats, Position, Assignment and Close may be called from any, also inside the loop and in
// the functions of Config.Events, where Close only begins. One goroutine belongs to each member of a group; reading ahead starts one while there is something to read ahead. Close
// waits for them.
//
// Nothing is polled: at the end of a partition the loop sleeps until an append wakes it.
package consumer
