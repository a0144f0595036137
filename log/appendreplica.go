package log

import (
	"errors"
	"fmt"
	"sync"

	"github.com/partlog/partlog/internal/batch"
)

// AppendReplica appends batches that were read from the leader, as they are: with their offsets, epochs and times, all of them put
// together to writes of up to a megabyte, and with one sync where Settings.Sync asks for syncs (one for each 4 MiB). Batches below End that the log
// has already are left out: those of the same epoch, in which a leader writes an offset once. Each batch's checksum, the order of offsets and that of epochs are checked before anything is written; bytes behind the
// last whole batch are not looked at, as an answer to a fetch may end in the middle of one. It returns End; after a failure that is behind the last batch
// written, and the state of producers is as of there.
//
// Errors: ErrCorrupt and ErrInvalidRecord, with nothing appended; ErrOffsetOutOfRange if a batch begins below End that the log does not have: the
// histories have parted; ErrNotLeaderOrFollower while the log leads, or is not replicated; ErrNoSpace, ErrPoisoned, ErrReadOnly, ErrClosed.
func (l *Log) AppendReplica(batches []byte) (Offset, error) {
	if err := l.lockReady(); err != nil {
		return l.End(), err
	}
	end := l.next
	if !l.config.Replicated || l.leading {
		l.mu.Unlock()
		return end, ErrNotLeaderOrFollower
	}
	l.mu.Unlock()
	list := replicaBatches.Get().(*[]batch.Batch)
	defer func() {
		clear(*list)
		*list = (*list)[:0]
		replicaBatches.Put(list)
	}()
	if err := l.splitReplica(list, batches, end); err != nil || len(*list) == 0 {
		return end, err
	}

	l.mu.Lock()
	err := l.notReadyLocked()
	first := Offset((*list)[0].BaseOffset())
	switch {
	case err != nil:
	case l.leading:
		err = ErrNotLeaderOrFollower
	case l.next > first: // somebody else has appended meanwhile
		err = &OffsetOutOfRangeError{Offset: first, Start: l.next, End: l.next}
	}
	if err != nil {
		end = l.next
		l.mu.Unlock()
		return end, err
	}
	var own, silent *waiter
	unstable := false
	for i, b := range *list {
		w := l.waiters.get()
		w.batch, w.base, w.last = b, Offset(b.BaseOffset()), Offset(b.LastOffset())
		if w.undo = l.producers.apply(b, w.base); w.undo.began || w.undo.ended != nil {
			unstable = true
		}
		l.next = w.last + 1
		if w.durable = true; i == len(*list)-1 {
			own = w
			break
		}
		w.silent, w.replica = true, silent
		silent = w
		l.queue.push(w)
	}
	if unstable {
		l.showUnstableLocked()
	}
	err = l.enqueue(own)
	for silent != nil { // all of them are served before own
		next := silent.replica
		l.waiters.put(silent)
		silent = next
	}
	return l.End(), err
}

// replicaBatches are lists of the batches of one append.
var replicaBatches = sync.Pool{New: func() any { return new([]batch.Batch) }}

// splitReplica lists the whole batches from offset end on.
func (l *Log) splitReplica(list *[]batch.Batch, data []byte, end Offset) error {
	epoch := int32(batch.None)
	for len(data) > 0 {
		b, err := batch.Peek(data)
		if errors.Is(err, batch.ErrShort) {
			return nil
		}
		if err != nil {
			return l.refusedReplica(end, err)
		}
		b = data[:len(b)] // with the capacity that gather looks at
		data = data[len(b):]
		base, last := Offset(b.BaseOffset()), Offset(b.LastOffset())
		switch {
		case b.LastOffsetDelta() < 0 || len(*list) > 0 && base < end || b.LeaderEpoch() < epoch:
			return fmt.Errorf("%w: batch [%d, %d] of epoch %d behind offset %d and epoch %d", ErrInvalidRecord, base, last, b.LeaderEpoch(), end, epoch)
		case last < end && l.hasEpoch(base, b.LeaderEpoch()):
			continue // of the batches that we have
		case base < end:
			return &OffsetOutOfRangeError{Offset: base, Start: end, End: end}
		case len(b) > MaxSegmentBytes:
			return fmt.Errorf("%w: %d bytes", ErrRecordListTooLarge, len(b))
		}
		if err := b.CheckCRC(); err != nil {
			return l.refusedReplica(end, err)
		}
		end, epoch = last+1, b.LeaderEpoch()
		*list = append(*list, b)
	}
	return nil
}

// hasEpoch says whether the record at offset was written under that epoch.
func (l *Log) hasEpoch(offset Offset, epoch int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return offset < l.Written() && l.epochs.At(int64(offset)) == epoch
}

func (l *Log) refusedReplica(end Offset, err error) error {
	return fmt.Errorf("%w: batch of the leader behind offset %d: %w", ErrCorrupt, end, err)
}
