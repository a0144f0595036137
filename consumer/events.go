package consumer

import (
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Events are functions that a consumer calls when something happens that no call returns. Each may be nil. They are
// called one at a time and must not call the consumer's Close.
type Events struct {
	// Assigned tells which partitions a member has got, also if there are none. On the member's own goroutine.
	Assigned func([]partition.TopicPartition)
	// Revoked tells which partitions a member gives up; what its loop finished of them has been committed.
	Revoked func([]partition.TopicPartition)
	// Committed tells of every commit that was tried. After an error, what was finished is tried again with the next
	// one, unless the member's generation is over.
	Committed func(map[partition.TopicPartition]group.CommittedOffset, error)
	// Reset tells that a partition had no valid position and goes on at another: from −1 if there was none.
	Reset func(tp partition.TopicPartition, from, to partition.Offset)
}
