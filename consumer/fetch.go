package consumer

import (
	"context"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/partition"
)

// fetch is one request to the source with its answer, copied. A consumer has two, used in turns, so that one can be
// filled in the background while the loop walks the other.
type fetch struct {
	positions []partition.FetchPosition
	cursors   []*cursor // beside positions
	versions  []int
	results   []partition.FetchResult

	chunks []chunk // beside results, where they have data
	faults []fault
	bytes  int
	err    error // of the whole call
	done   chan struct{}
}

// fault is one partition's error.
type fault struct {
	cursor  *cursor
	version int
	err     error
	next    partition.Offset // where to go on after a *log.CorruptionError
}

// prepare asks for every cursor that wants data, beginning with another one each time, so that no partition is always
// the last. It returns whether there is any.
func (f *fetch) prepare(cursors []*cursor, first, maxPartitionBytes int) bool {
	f.positions, f.cursors, f.versions = f.positions[:0], f.cursors[:0], f.versions[:0]
	for i := range cursors {
		c := cursors[(first+i)%len(cursors)]
		if c.paused || c.gone || c.until != noBound && c.fetch >= c.until {
			continue
		}
		f.cursors = append(f.cursors, c)
		f.versions = append(f.versions, c.version)
		f.positions = append(f.positions, partition.FetchPosition{
			TopicPartition: c.tp, TopicID: c.id, Offset: c.fetch,
			LeaderEpoch: partition.LeaderEpochUnknown, MaxBytes: maxPartitionBytes,
		})
	}
	return len(f.positions) > 0
}

// run does the request that prepare made and copies the answer. It touches nothing but f and the source, so it may run in
// the background.
func (f *fetch) run(ctx context.Context, s Source, minBytes, maxBytes int, maxWait time.Duration) {
	f.chunks, f.faults, f.bytes, f.err = f.chunks[:0], f.faults[:0], 0, nil
	results, err := s.Fetch(ctx, partition.FetchRequest{
		Partitions: f.positions, MinBytes: minBytes, MaxBytes: maxBytes, MaxWait: maxWait, Reuse: f.results,
	})
	if err != nil {
		f.err = err
		return
	}
	f.results = results
	for i := range results {
		f.take(i)
	}
}

// take copies one partition's batches and gives its lease back.
func (f *fetch) take(i int) {
	r, c := &f.results[i], f.cursors[i]
	defer r.Lease.Release()
	err := r.Err
	if err == nil {
		c.highWatermark.Store(int64(r.HighWatermark))
		c.logStart.Store(int64(r.LogStart))
		if len(r.Batches) == 0 {
			return
		}
		copied := make([]byte, len(r.Batches))
		if err = mmap.Guard(func() { copy(copied, r.Batches) }); err == nil {
			f.chunks = append(f.chunks, chunk{cursor: c, version: f.versions[i], rest: copied})
			f.bytes += len(copied)
			return
		}
	}
	f.faults = append(f.faults, fault{cursor: c, version: f.versions[i], err: err, next: r.CorruptNext})
}

// accept moves the fetch positions behind what has come and drops what belongs to a place that a cursor has left.
func (f *fetch) accept() {
	kept := f.chunks[:0]
	for _, k := range f.chunks {
		if k.version != k.cursor.version {
			continue
		}
		end := k.cursor.fetch
		for rest := k.rest; ; {
			b, err := batch.Peek(rest)
			if err != nil {
				break
			}
			end, rest = partition.Offset(b.NextOffset()), rest[len(b):]
		}
		k.cursor.fetch = max(k.cursor.fetch, end)
		kept = append(kept, k)
	}
	clear(f.chunks[len(kept):])
	f.chunks = kept
}
