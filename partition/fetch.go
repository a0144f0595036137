package partition

import (
	"context"
	"errors"

	"github.com/partlog/partlog/log"
)

// The bounds of a fetch that sets none: Kafka's fetch.max.bytes and max.partition.fetch.bytes.
const (
	defaultFetchBytes          = 50 << 20
	defaultPartitionFetchBytes = 1 << 20
)

// Fetch returns whole batches, below the high watermark, or with ReadCommitted below the last stable offset, of the partitions asked for, in their order, one
// result for each. It answers at once if MinBytes are there or any partition has an error, else it waits for up to
// MaxWait; appends wake it, it does not poll. The first partition with data gives at least one batch, whatever the
// bounds are; the batch that holds the offset asked for is returned whole, so its first records may be older.
//
// Errors of partitions are in their results; the call's own error is ErrClosed or ctx.Err(), and comes without
// results and leases. Each result's Batches is borrowed until its Lease is released.
func (s *Store) Fetch(ctx context.Context, r FetchRequest) ([]FetchResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if r.MaxBytes <= 0 {
		r.MaxBytes = defaultFetchBytes
	}
	r.MinBytes = min(max(r.MinBytes, 1), r.MaxBytes)
	out := r.Reuse
	if cap(out) < len(r.Partitions) {
		out = make([]FetchResult, len(r.Partitions))
	}
	out = out[:len(r.Partitions)]
	for i := range out {
		out[i] = FetchResult{Aborted: out[i].Aborted[:0]}
	}
	s.counters.fetches.Add(1)
	var err error
	if !s.collect(&r, out) && r.MaxWait > 0 && len(r.Partitions) > 0 {
		err = s.wait(ctx, &r, out)
	}
	if err == nil && s.closed.Load() {
		err = ErrClosed // not one for each partition
	}
	if err != nil {
		releaseAll(out)
		return nil, err
	}
	return out, nil
}

// wait parks the fetch until collect is content.
func (s *Store) wait(ctx context.Context, r *FetchRequest, out []FetchResult) error {
	w, _ := s.waiters.Get().(*waiter)
	if w == nil {
		w = newWaiter()
	}
	s.counters.parkedFetches.Add(1)
	w.park(s, r.Partitions)
	releaseAll(out) // while it waits it keeps no mapping, and no store from closing
	content := false
	err := w.await(ctx, s, r.MaxWait, func() bool {
		if w.moved(r, out) {
			if content = s.collect(r, out); !content {
				releaseAll(out)
			}
		}
		return content
	})
	w.leave()
	if err == nil && !content {
		s.collect(r, out) // time is up: what there is
	}
	s.counters.parkedFetches.Add(-1)
	s.waiters.Put(w)
	return err
}

// collect reads what is there, and reports whether the fetch need not wait: enough bytes, or an error.
func (s *Store) collect(r *FetchRequest, out []FetchResult) bool {
	left, total, failed := r.MaxBytes, 0, false
	for i := range r.Partitions {
		pos, res := &r.Partitions[i], &out[i]
		res.Lease.Release()
		*res = FetchResult{TopicPartition: pos.TopicPartition, Aborted: res.Aborted[:0]}
		p, err := s.part(pos.TopicPartition, pos.TopicID)
		if err == nil {
			err = p.answers(r.AllowFollower)
		}
		if err == nil {
			err = p.checkEpoch(pos.LeaderEpoch)
		}
		if err != nil {
			res.fail(err)
			failed = true
			continue
		}
		bound := pos.MaxBytes
		if bound <= 0 {
			bound = defaultPartitionFetchBytes
		}
		p.read(pos.Offset, min(bound, left), total == 0, r.ReadCommitted, res)
		n := len(res.Batches)
		total += n
		left = max(left-n, 0)
		failed = failed || res.Err != nil
	}
	return failed || total >= r.MinBytes
}

// read fills r with batches from offset from on, of ended transactions only if committed. With whole, one batch may
// exceed bound.
func (p *part) read(from Offset, bound int, whole, committed bool, r *FetchResult) {
	l, err := p.open()
	if err != nil {
		r.fail(err)
		return
	}
	hw := p.highWatermark(l)
	r.HighWatermark, r.LastStable, r.LogStart = hw, p.lastStable(l, hw), l.Start()
	limit := hw
	if committed {
		limit = r.LastStable
	}
	if from >= limit && from <= l.End() && from >= r.LogStart {
		return // nothing yet, as a broker answers between what may be read and the end
	}
	if from < r.LogStart || from > hw {
		r.fail(&log.OffsetOutOfRangeError{Offset: from, Start: r.LogStart, End: hw})
		return
	}
	if bound <= 0 && !whole {
		return
	}
	var view log.View
	if committed {
		view, r.Aborted, err = p.readCommitted(l, r.Aborted[:0], from, limit, max(bound, 1))
	} else {
		view, err = l.Read(from, limit, max(bound, 1))
	}
	if err != nil {
		p.readFailed(from, r, err)
		return
	}
	if len(view.Bytes) > bound && !whole {
		view.Release()
		r.Aborted, r.DoesNotFit = r.Aborted[:0], true
		return
	}
	r.Batches = view.Bytes
	r.Lease = Lease{view: view, held: true}
	p.counters.bytesOut.Add(int64(len(view.Bytes)))
}

func (p *part) readFailed(from Offset, r *FetchResult, err error) {
	if bad, ok := errors.AsType[*log.CorruptionError](err); ok {
		r.CorruptNext = bad.NextOffset
		p.counters.corruptReads.Add(1)
		p.s.partitionCorrupt(p, err)
	}
	p.counters.failedFetches.Add(1)
	next := r.CorruptNext
	r.fail(p.gone(err))
	r.CorruptNext = next
}

// checkEpoch compares a reader's leader epoch with the partition's (KIP-320); −1 is not checked.
func (p *part) checkEpoch(e LeaderEpoch) error {
	if e < 0 {
		return nil
	}
	switch now := p.epoch(); {
	case e < now:
		return ErrFencedLeaderEpoch
	case e > now:
		return ErrUnknownLeaderEpoch
	}
	return nil
}

// fail makes r the answer of a partition that failed.
func (r *FetchResult) fail(err error) {
	*r = FetchResult{TopicPartition: r.TopicPartition, Err: err, HighWatermark: -1, LastStable: -1, LogStart: -1, Aborted: r.Aborted[:0]}
}

func releaseAll(rs []FetchResult) {
	for i := range rs {
		rs[i].Lease.Release()
		rs[i].Batches = nil
	}
}
