package partition

import (
	"fmt"
	"sync"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/log"
)

// Expect makes an append conditional: the batch is appended only if Last is the offset of the last record with this key, and all of its
// records must have it. So the history of a key has no forks: of two writers who have both seen the same last record one succeeds, and
// the other gets *VersionConflictError, with nothing appended (optimistic concurrency). It needs a topic with a key index
// (TopicConfig.KeyIndex), and holds across restarts and compaction, as the offsets of records do.
type Expect struct {
	Key  []byte
	Last Offset // NoRecord if the key must not have one
}

// NoRecord is the Last of an Expect for a key without records, and what a conflict tells of one. It is also the answer for a key whose
// tombstone has been compacted away.
const NoRecord Offset = -1

// VersionConflictError is an append whose expectation does not hold. It is ErrVersionConflict. Nothing was appended.
type VersionConflictError struct {
	TopicPartition
	Key              []byte
	Expected, Actual Offset
}

// Error names the key, and both offsets.
func (e *VersionConflictError) Error() string {
	return fmt.Sprintf("append to %s: %v: the last record of key %q has offset %d, and %d was expected", e.TopicPartition, ErrVersionConflict, e.Key, e.Actual, e.Expected)
}

// Is reports whether target is ErrVersionConflict.
func (e *VersionConflictError) Is(target error) bool { return target == ErrVersionConflict }

// keyOrder lets the appends to a partition with a key index go one after the other where they have a key in common, so that nothing
// comes between the look at a key's last record and the append. Others still share writes and syncs.
type keyOrder struct{ stripes [64]sync.Mutex }

// stripesOf returns the stripes of a batch's keys as bits. With an expectation every record must have its key.
func stripesOf(b batch.Batch, expect *Expect) (bits uint64, err error) {
	var it batch.Iterator
	b.Iterate(&it, maxDecompressed)
	for i := 0; it.Next(); i++ {
		key := it.Record().Key
		if expect != nil && (key == nil || string(key) != string(expect.Key)) {
			return 0, fmt.Errorf("%w: record %d has another key than the one whose last record is expected", ErrInvalidRecord, i)
		}
		if key != nil {
			bits |= 1 << (segment.KeyHash(key) % 64)
		}
	}
	if it.Err() != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalidRecord, it.Err())
	}
	return bits, nil
}

// lock takes the stripes in ascending order, so that no two appends wait for each other.
func (k *keyOrder) lock(bits uint64) {
	for i := range k.stripes {
		if bits&(1<<i) != 0 {
			k.stripes[i].Lock()
		}
	}
}

func (k *keyOrder) unlock(bits uint64) {
	for i := range k.stripes {
		if bits&(1<<i) != 0 {
			k.stripes[i].Unlock()
		}
	}
}

// appendKeyed is the append to a log with a key index.
func (p *part) appendKeyed(l *log.Log, b []byte, expect *Expect, o log.AppendOptions) (log.AppendResult, error) {
	bits, err := stripesOf(b, expect)
	if err != nil {
		return log.AppendResult{}, err
	}
	order := p.keys.Load()
	if order == nil {
		p.keys.CompareAndSwap(nil, new(keyOrder))
		order = p.keys.Load()
	}
	order.lock(bits)
	defer order.unlock(bits)
	if expect != nil {
		last, err := l.LastOfKey(expect.Key)
		if err != nil {
			return log.AppendResult{}, err
		}
		if last != expect.Last && !l.IsDuplicate(b) {
			return log.AppendResult{}, &VersionConflictError{TopicPartition: p.tp, Key: append([]byte{}, expect.Key...), Expected: expect.Last, Actual: last}
		}
	}
	return l.Append(b, o)
}
