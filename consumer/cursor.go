package consumer

import (
	"sync/atomic"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// cursor is the place in one assigned partition. Whoever has the turn (see Consumer) owns its plain fields; the atomics
// are for everybody.
type cursor struct {
	tp    partition.TopicPartition
	id    partition.TopicID
	until partition.Offset // noBound, or the offset to stop before

	// position is the next offset to yield, fetch the next one to ask the source for: fetched and not yet yielded is
	// what lies between. Invariant: position <= fetch.
	position, fetch partition.Offset
	// version counts the jumps of the cursor. A fetch that began before a jump is dropped by it.
	version int
	paused  bool
	gone    bool // the topic is not there any more

	// start is where reading began: at first, or after a Seek or reset.
	start atomic.Int64
	// finished is the next offset to commit: one behind the last record whose loop body was left by the next
	// iteration; −1 while there is none. epoch is that record's, written before finished. It may only be ahead of its
	// offset, and then only while a fetch crosses a change of leader.
	finished atomic.Int64
	epoch    atomic.Int32
	// committed is the last offset that was committed of it, −1 if none was since the assignment.
	committed atomic.Int64

	highWatermark, logStart atomic.Int64
	records, bytes          atomic.Int64 // yielded, up to the last fetch
}

func newCursor(tp partition.TopicPartition, id partition.TopicID, from, until partition.Offset) *cursor {
	c := &cursor{tp: tp, id: id, until: until, position: from, fetch: from}
	c.start.Store(int64(from))
	c.finished.Store(-1)
	c.committed.Store(-1)
	c.epoch.Store(int32(partition.LeaderEpochUnknown))
	c.highWatermark.Store(-1)
	return c
}

// done reports whether the bound has been reached.
func (c *cursor) done() bool { return c.until != noBound && c.position >= c.until }

// jump moves the cursor and drops what was fetched for the place before.
func (c *cursor) jump(to partition.Offset) {
	c.position, c.fetch = to, to
	c.version++
}

// begin moves the cursor to a place that has nothing to do with what was read before.
func (c *cursor) begin(at partition.Offset) {
	c.jump(at)
	c.start.Store(int64(at))
	c.finished.Store(-1)
}

// place is the offset behind the last finished record, or where reading began.
func (c *cursor) place() partition.Offset {
	if f := c.finished.Load(); f >= 0 {
		return partition.Offset(f)
	}
	return partition.Offset(c.start.Load())
}

// chunk is what one fetch brought of one partition: whole batches in a buffer of their own.
type chunk struct {
	cursor  *cursor
	version int
	rest    []byte // batches not yet walked
	current batch.Batch
}

// maxDecompressed bounds the records of one compressed batch. A batch is at most 2 GiB on the wire; one that grows
// beyond this is a decompression bomb.
const maxDecompressed = 1 << 30

// next goes to the chunk's next record at or behind the cursor's position. It returns nil at the end of the chunk.
func (k *chunk) next(it *batch.Iterator) (*batch.Record, error) {
	for {
		if k.current != nil {
			for it.Next() {
				if r := it.Record(); r.Offset >= int64(k.cursor.position) {
					return r, nil
				}
			}
			if err := it.Err(); err != nil {
				return nil, err
			}
			// The batch may end in a gap, that of compaction or of a control batch.
			k.cursor.position = max(k.cursor.position, partition.Offset(k.current.NextOffset()))
			k.current = nil
		}
		if len(k.rest) == 0 {
			return nil, nil
		}
		b, err := batch.Peek(k.rest)
		if err != nil {
			return nil, err
		}
		k.rest = k.rest[len(b):]
		if b.IsControl() || b.NextOffset() <= int64(k.cursor.position) {
			k.cursor.position = max(k.cursor.position, partition.Offset(b.NextOffset()))
			continue
		}
		it.Detach() // records of the batch before have been given away
		b.Iterate(it, maxDecompressed)
		k.current = b
	}
}
