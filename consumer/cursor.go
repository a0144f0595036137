package consumer

import (
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/partition"
)

// cursor is the place in one assigned partition. Whoever has the turn (see turn.go) owns its plain fields; the atomics
// are for everybody.
type cursor struct {
	tp    partition.TopicPartition
	until partition.Offset // noBound, or the offset to stop before

	// position is the next offset to yield, fetch the next one to ask the source for: fetched and not yet yielded is
	// what lies between. Invariant: position <= fetch.
	position, fetch partition.Offset
	// version counts the jumps of the cursor. A fetch that began before a jump is dropped by it.
	version int
	paused  bool
	// leader is the partition's leader epoch as far as is known; read that of the batch that position is in or behind.
	leader, read partition.LeaderEpoch
	// tracker knows what of it is in flight in a Work; nil outside of one, and before its first record.
	tracker *tracker
	// resting says that nothing is fetched: the next record waits in a retry topic. rested is one behind the offset of the
	// last that has waited, 0 if none has.
	resting bool
	rested  partition.Offset
	// lost is why nothing is fetched: what was read is not there any more, and the loop has not been told yet.
	lost *TruncationError
	// reached is an offset that the end is known not to lie before.
	reached partition.Offset
	// lentFrom and lentNext are what the last Poll returned, not finished yet; −1 if nothing. lentEpoch is the last's.
	lentFrom, lentNext partition.Offset
	lentEpoch          partition.LeaderEpoch
	// taken is one behind the last record that was finished, −1 if none was: finished without what no record is of.
	taken partition.Offset

	// What is committed is offset, leader epoch and topic id, and they belong together. So mu is held by who changes
	// epoch or id, with finished, and by who reads all three; the holder of the turn may read without it. finished
	// alone moves without mu: that is the hot path.
	mu    sync.Mutex
	id    partition.TopicID
	epoch partition.LeaderEpoch
	// finished is the next offset to commit: one behind the last record whose loop body was left by the next
	// iteration; −1 while there is none.
	finished atomic.Int64

	gone atomic.Bool // the topic is not there any more
	// start is where reading began: at first, or after a Seek or reset.
	start atomic.Int64
	// committed is the last offset that was committed of it, −1 if none was.
	committed atomic.Int64
	// base is where an aborted transaction goes back to: the last commit, or where reading began if that is newer.
	base atomic.Int64

	highWatermark, lastStable, logStart atomic.Int64
	records, bytes                      atomic.Int64 // yielded, up to the last fetch
}

func newCursor(tp partition.TopicPartition, id partition.TopicID, from, until partition.Offset) *cursor {
	c := &cursor{
		tp: tp, id: id, until: until, position: from, fetch: from, epoch: partition.LeaderEpochUnknown,
		leader: partition.LeaderEpochUnknown, read: partition.LeaderEpochUnknown, lentFrom: -1, lentNext: -1, taken: -1,
	}
	c.start.Store(int64(from))
	c.base.Store(int64(from))
	c.finished.Store(-1)
	c.committed.Store(-1)
	c.highWatermark.Store(-1)
	c.lastStable.Store(-1)
	return c
}

// commit notes that an offset of it has been committed.
func (c *cursor) commit(o partition.Offset) {
	c.committed.Store(int64(o))
	c.base.Store(int64(o))
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
	c.detach(false)
	c.jump(at)
	c.resting, c.rested = false, 0
	c.lost = nil
	c.lentFrom, c.lentNext, c.taken = -1, -1, -1
	c.start.Store(int64(at))
	c.base.Store(int64(at))
	c.finished.Store(-1)
}

// adopt makes c the cursor of another topic, of the same name: nothing of the old one's offsets holds.
func (c *cursor) adopt(id partition.TopicID) {
	c.detach(false)
	c.taken = -1
	c.mu.Lock()
	c.id, c.epoch, c.read = id, partition.LeaderEpochUnknown, partition.LeaderEpochUnknown
	c.finished.Store(-1)
	c.mu.Unlock()
	c.committed.Store(-1)
	c.gone.Store(false)
}

// finish acknowledges all records before next, whose last one has this leader epoch.
func (c *cursor) finish(next partition.Offset, epoch partition.LeaderEpoch) {
	c.taken = next
	c.acknowledge(next, epoch)
}

func (c *cursor) acknowledge(next partition.Offset, epoch partition.LeaderEpoch) {
	if epoch == c.epoch {
		c.finished.Store(int64(next))
		return
	}
	c.mu.Lock()
	c.epoch = epoch
	c.finished.Store(int64(next))
	c.mu.Unlock()
}

// pass acknowledges what lies between the last record and the position, when that record has been left: a gap that
// compaction left, or control records.
func (c *cursor) pass(epoch partition.LeaderEpoch) {
	switch {
	case c.tracker != nil:
		c.tracker.pass(c.position, epoch)
	case c.lentNext >= 0:
		c.lentNext, c.lentEpoch = max(c.lentNext, c.position), epoch
	case c.position > c.place():
		c.acknowledge(c.position, epoch)
	}
}

// ledger returns what would be committed of it now.
func (c *cursor) ledger() (finished partition.Offset, epoch partition.LeaderEpoch, id partition.TopicID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return partition.Offset(c.finished.Load()), c.epoch, c.id
}

// place is the offset behind the last finished record, or where reading began.
func (c *cursor) place() partition.Offset {
	if f := c.finished.Load(); f >= 0 {
		return partition.Offset(f)
	}
	return partition.Offset(c.start.Load())
}
