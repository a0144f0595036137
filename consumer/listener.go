package consumer

import "github.com/partlog/partlog/partition"

// Listener is told which partitions a member of a group gets and gives up (ConsumerRebalanceListener). Each function may
// be nil.
//
// They are called one at a time: by Join on its goroutine, later on the member's own. While one runs, the rebalance waits,
// and no record of the consumer is yielded, except while Assigned is told that nothing is new. So it must not read the
// consumer, nor wait for a loop body or for another member. It may Seek, Pause, Resume, Commit and Close (which then only
// begins).
//
// The order is Kafka's. If all assignors of the group are cooperative, which is the default: after each completed
// rebalance Revoked with what the member has to give up, if there is any, then Assigned with what is new, also if that is
// nothing; what it keeps is not named, and is read on all the while. With an eager assignor: Revoked with everything
// before the rebalance, Assigned with everything after it.
type Listener struct {
	// Assigned tells which partitions the member has got in addition. None of their records has been yielded yet: a
	// Seek in here decides where they begin.
	Assigned func([]partition.TopicPartition)

	// Revoked tells which partitions the member gives up, in a rebalance and at Close. It has them still, and nobody
	// else does before the function returns: a Commit in here counts, and is the last of its generation. With
	// CommitFinished, what the loop has finished of them has been committed before, if that was possible.
	Revoked func([]partition.TopicPartition)

	// Lost tells which partitions the member has lost already, because it was removed from the group without asking:
	// it held its records longer than max.poll.interval, its session ran out, or another took its instance id. Others
	// may have them by now, and a Commit fails or is refused. Nil calls Revoked instead.
	Lost func([]partition.TopicPartition)
}

// tellAssigned tells the listener. The caller has the turn, or there is nothing new.
func (c *Consumer) tellAssigned(tps []partition.TopicPartition) {
	if tell := c.config.Listener.Assigned; tell != nil {
		event(func() { tell(tps) })
	}
}

func (c *Consumer) tellRevoked(tps []partition.TopicPartition) {
	if tell := c.config.Listener.Revoked; tell != nil && len(tps) > 0 {
		event(func() { tell(tps) })
	}
}

func (c *Consumer) tellLost(tps []partition.TopicPartition) {
	if tell := c.config.Listener.Lost; tell != nil && len(tps) > 0 {
		event(func() { tell(tps) })
		return
	}
	c.tellRevoked(tps)
}
