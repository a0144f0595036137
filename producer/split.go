package producer

import (
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/batch"
)

// split puts pieces in the place of a batch that is in flight and has more than one record, each of about half its
// size or, where that is less, of what the topic takes. The pieces keep the sequences: the leader has not taken them.
// b must not be used afterwards, unless there is an error.
func (ln *lane) split(b *pending) (pieces int, err error) {
	size := b.builder.Len()
	data, err := b.builder.Finish()
	if err != nil {
		return 0, err
	}
	f := ln.topic.facts.Load()
	limit := min(batch.HeaderSize+(size-batch.HeaderSize+1)/2, max(f.limit, batch.HeaderSize))
	var it batch.Iterator
	data.Iterate(&it, maxDecompressed)
	var out []*pending
	var piece *pending
	sequence := b.sequence
	for i := range b.entries {
		e := b.entries[i]
		if e.withdrawn {
			if piece == nil {
				piece = ln.piece(b, batch.HeaderSize+batch.MaxRecordOverhead)
				out = append(out, piece)
			}
			piece.entries = append(piece.entries, e)
			continue
		}
		if !it.Next() {
			for _, x := range out {
				ln.p.memory.release(x.charge)
			}
			return 0, fmt.Errorf("read own batch: %w", it.Err())
		}
		r := it.Record()
		need := batch.RecordSize(r.Key, r.Value, r.Headers)
		if piece == nil || piece.builder.Count() > 0 && piece.builder.Len()+need > limit {
			piece = ln.piece(b, max(limit, batch.HeaderSize+need))
			out = append(out, piece)
		}
		piece.add(&Record{Key: r.Key, Value: r.Value, Headers: r.Headers}, e)
	}
	for _, x := range out {
		x.sequence = sequence
		sequence = batch.AddSequence(sequence, int32(x.builder.Count()))
	}
	at := slices.Index(ln.flight, b)
	ln.flight = slices.Replace(ln.flight, at, at+1, out...)
	ln.p.memory.release(b.charge)
	b.recycle()
	return len(out), nil
}

// piece returns an empty batch of the given size that continues b. Its memory is taken even if the buffer is full: the
// records have been accepted, and b's memory is about to be free.
func (ln *lane) piece(b *pending, size int) *pending {
	charge := ln.p.bufferFor(size, 0)
	ln.p.memory.force(charge)
	x := newPending(charge)
	x.limit = size
	x.created, x.milli, x.started = b.created, b.milli, b.started
	x.builder.Reset(x.buf[:0], ln.topic.facts.Load().options)
	x.state = retrying
	x.sequenced, x.id, x.topicID = b.sequenced, b.id, b.topicID
	x.uncertain = b.uncertain
	return x
}
