package consumer

import (
	"sync"

	"github.com/partlog/partlog/partition"
)

// outstanding is what of one partition is out with others than the loop: handed out in the order of offsets, finished in any.
// What may be committed is the end of the prefix that is finished.
//
// A loop that hands records out never has one in hand: it takes the next with Consumer.next, calls handOut with the turn,
// and gives the ticket away. What cursor.pass goes over at the end of a fetch takes its place in the line by itself.
// Tickets of before a Seek, a reset or a loss of the partition are void. Consumer.drain is called, with the turn, before
// partitions are given up.
type outstanding struct {
	mu    sync.Mutex // guards what follows; before cursor.mu
	line  []handed   // not finished, or behind one that is not
	first uint64     // the number of line[0]
	// since is the number of the first that counts: the ones before were void.
	since uint64
}

// handed is a record, or a stretch without records, in the line.
type handed struct {
	next  partition.Offset // behind it
	epoch partition.LeaderEpoch
	done  bool
}

// ticket is a record that is out.
type ticket struct {
	cursor *cursor
	number uint64
}

// handOut notes that the record behind which next lies is out. The caller has the turn.
func (c *cursor) handOut(next partition.Offset, epoch partition.LeaderEpoch) ticket {
	if c.out == nil {
		c.out = new(outstanding)
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return ticket{c, c.out.push(handed{next: next, epoch: epoch})}
}

// push puts something at the end of the line.
func (o *outstanding) push(h handed) uint64 {
	o.line = append(o.line, h)
	return o.first + uint64(len(o.line)) - 1
}

// done finishes the record, once; safe for concurrent use. It reports whether that still counted.
func (t ticket) done() bool {
	o := t.cursor.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.number < o.since || t.number < o.first || o.line[t.number-o.first].done {
		return false
	}
	o.line[t.number-o.first].done = true
	o.settle(t.cursor)
	return true
}

// settle moves what may be committed to the end of the finished prefix.
func (o *outstanding) settle(c *cursor) {
	n := 0
	for n < len(o.line) && o.line[n].done {
		n++
	}
	if n == 0 {
		return
	}
	last := o.line[n-1]
	o.line, o.first = o.line[n:], o.first+uint64(n)
	c.mu.Lock()
	c.epoch = last.epoch
	c.finished.Store(int64(last.next))
	c.mu.Unlock()
}

// pass notes that the loop has gone past a stretch without records. It reports whether it has to wait for what is out.
func (o *outstanding) pass(next partition.Offset, epoch partition.LeaderEpoch) bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.line) == 0 {
		return false
	}
	o.push(handed{next: next, epoch: epoch, done: true})
	return true
}

// void makes all that is out count for nothing: the cursor goes elsewhere. The caller has the turn.
func (o *outstanding) void() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.first += uint64(len(o.line))
	o.since, o.line = o.first, nil
}

// count returns how many are out, or wait behind one that is.
func (o *outstanding) count() int {
	if o == nil {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.line)
}

// giveUp lets those who have records of these partitions finish them, if they want, before the last commit. The caller
// has the turn, or the loop is closed.
func (c *Consumer) giveUp(tps []partition.TopicPartition) {
	if c.drain != nil && len(tps) > 0 {
		c.drain(tps)
	}
}
