package consumer

import (
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Events are functions that a consumer calls when something happens that no call returns. Each may be nil. They may
// call the consumer's methods, but not read from it; two can be called at the same time where it says so. What they
// wait for, the consumer waits for.
type Events struct {
	// Committed tells of every commit that was tried. After an error, what was finished is tried again with the next
	// one, unless the member's generation is over. On the goroutine that commits: the member's own, Close's, or that of
	// a Commit; so beside any other event.
	Committed func(map[partition.TopicPartition]group.CommittedOffset, error)
	// Reset tells that a partition had no valid position and goes on at another, and why: partition.ErrOffsetOutOfRange,
	// partition.ErrUnknownTopicID (a topic that was created again), *TruncationError. On the loop's goroutine.
	Reset func(tp partition.TopicPartition, from, to partition.Offset, cause error)
}
