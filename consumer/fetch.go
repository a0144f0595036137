package consumer

import (
	"context"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// fetch is one request to the source with its answer, copied. A consumer has two, used in turns, so that one can be
// filled in the background while the loop walks the other.
type fetch struct {
	positions []partition.FetchPosition
	asked     []asked // beside positions
	results   []partition.FetchResult

	chunks []chunk // of the results that have data
	faults []fault
	bytes  int
	atOnce bool  // some partition's bound lies at or before its end: what is to be read of it is there
	err    error // of the whole call
	done   chan struct{}
}

// asked is whose data a fetch position asks for.
type asked struct {
	cursor  *cursor
	version int
	index   int // among the consumer's cursors
}

// fault is one partition's error.
type fault struct {
	asked
	err  error
	next partition.Offset // where to go on after a *log.CorruptionError
}

// prepare asks for every cursor that wants data, beginning with the one at first. It returns whether there is any.
func (f *fetch) prepare(cursors []*cursor, first, maxPartitionBytes int) bool {
	f.positions, f.asked, f.atOnce = f.positions[:0], f.asked[:0], false
	for i := range cursors {
		index := (first + i) % len(cursors)
		c := cursors[index]
		if c.paused || c.resting || c.lost != nil || c.gone.Load() || c.until != noBound && c.fetch >= c.until {
			continue
		}
		f.atOnce = f.atOnce || c.until != noBound && (c.until <= c.reached || c.highWatermark.Load() < 0)
		f.asked = append(f.asked, asked{c, c.version, index})
		f.positions = append(f.positions, partition.FetchPosition{
			TopicPartition: c.tp, TopicID: c.id, Offset: c.fetch,
			LeaderEpoch: c.leader, MaxBytes: maxPartitionBytes,
		})
	}
	return len(f.positions) > 0
}

// run does the request that prepare made and copies the answer. It touches nothing but f and the source, so it may run in
// the background.
func (f *fetch) run(ctx context.Context, s Source, i Isolation, minBytes, maxBytes int, maxWait time.Duration) {
	clear(f.chunks) // the records that they gave keep their buffers alive, or nobody does
	f.chunks, f.faults, f.bytes, f.err = f.chunks[:0], f.faults[:0], 0, nil
	results, err := s.Fetch(ctx, partition.FetchRequest{
		Partitions: f.positions, MinBytes: minBytes, MaxBytes: maxBytes, MaxWait: maxWait,
		ReadCommitted: i == ReadCommitted, Reuse: f.results,
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
	r, of := &f.results[i], f.asked[i]
	defer r.Lease.Release()
	if r.Err != nil {
		f.faults = append(f.faults, fault{of, r.Err, r.CorruptNext})
		return
	}
	of.cursor.saw(r)
	if len(r.Batches) == 0 {
		return
	}
	var copied []byte
	if err := mmap.Guard(func() { copied = append([]byte(nil), r.Batches...) }); err != nil { // not zeroed first
		f.faults = append(f.faults, fault{of, faulted(f.positions[i], err), 0})
		return
	}
	f.chunks = append(f.chunks, chunk{cursor: of.cursor, version: of.version, index: of.index, rest: copied, aborted: r.Aborted})
	f.bytes += len(copied)
}

// saw keeps the figures of a fetch's result; a cluster has none of a leader that has not answered.
func (c *cursor) saw(r *partition.FetchResult) {
	if r.HighWatermark < 0 {
		return
	}
	c.highWatermark.Store(int64(r.HighWatermark))
	c.lastStable.Store(int64(r.LastStable))
	c.logStart.Store(int64(r.LogStart))
}

// faulted makes the error of mapped bytes that cannot be touched any more. Where the damage ends is not known.
func faulted(at partition.FetchPosition, err error) error {
	return &log.CorruptionError{Path: at.TopicPartition.String(), Offset: at.Offset, NextOffset: at.Offset, Err: err}
}

// nothing moves cursors with a bound over a stretch that has no records, after a fetch that brought nothing of any
// partition: all that a reader sees before the end is behind them (compaction, or damage, left a gap there).
func (f *fetch) nothing(i Isolation) {
	for n, a := range f.asked {
		k, r := a.cursor, &f.results[n]
		if a.version != k.version || k.until == noBound || r.Err != nil {
			continue
		}
		end := r.HighWatermark
		if i == ReadCommitted {
			end = r.LastStable
		}
		k.reached = max(k.reached, end)
		if to := min(end, k.until); to > k.position {
			_, epoch, _ := k.ledger()
			k.jump(to)
			k.pass(epoch)
		}
	}
}

// accept moves the fetch positions behind what has come and drops what belongs to a place that a cursor has left. It
// returns the index of the last cursor that has got something, −1 if none has.
func (f *fetch) accept() int {
	last := -1
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
		last = k.index
	}
	clear(f.chunks[len(kept):])
	f.chunks = kept
	return last
}
