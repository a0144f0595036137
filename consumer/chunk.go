package consumer

import (
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// chunk is what one fetch brought of one partition: whole batches in a buffer of their own.
type chunk struct {
	cursor  *cursor
	version int
	index   int    // of cursor among the consumer's
	rest    []byte // batches not yet walked
	begun   bool   // something of it has been
	aborted []partition.AbortedTxn
	current batch.Batch
	epoch   partition.LeaderEpoch // of the last batch walked
}

// maxDecompressed bounds the records of one compressed batch. A batch is at most 2 GiB on the wire; one that grows
// beyond this is a decompression bomb.
const maxDecompressed = 1 << 30

// next goes to the chunk's next record at or behind the cursor's position. It returns nil at the end of the chunk. a
// belongs to the chunk from its first next to its last.
func (k *chunk) next(it *batch.Iterator, a *aborted) (*batch.Record, error) {
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
		if !k.begun {
			a.begin(k.aborted)
			k.begun = true
		}
		skip := a.skips(b)
		if b.NextOffset() <= int64(k.cursor.position) {
			continue
		}
		k.epoch = partition.LeaderEpoch(b.LeaderEpoch())
		k.cursor.read = k.epoch
		if skip {
			k.cursor.position = partition.Offset(b.NextOffset())
			continue
		}
		it.Detach() // records of the batch before have been given away
		b.Iterate(it, maxDecompressed)
		k.current = b
	}
}

// damaged returns the first offset behind the batch that next could not walk: the cursor's position if that is not known.
func (k *chunk) damaged() partition.Offset {
	if k.current == nil {
		return k.cursor.position // not even its header
	}
	return partition.Offset(k.current.NextOffset())
}
