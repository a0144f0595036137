package partition

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/log"
)

// KeyRecord is one record of a key. Its bytes are the caller's.
type KeyRecord struct {
	Offset      Offset
	LeaderEpoch LeaderEpoch
	Timestamp   int64 // milliseconds since 1970
	Key, Value  []byte
	Headers     []Header
}

// ReadKeyRequest asks for the records of one key.
type ReadKeyRequest struct {
	TopicPartition
	Key           []byte
	From          Offset // of the first record wanted; 0 for all
	ReadCommitted bool   // stops at the last stable offset, and leaves out aborted records
}

// ReadKey walks the records of one key in offset order, as they are when the walk begins, without reading the others: a topic with a key
// index knows where they are. ErrPolicyViolation without one. A non-nil error comes with a zero record and is the last pair:
// ErrUnknownTopicOrPartition, *log.CorruptionError for a record that cannot be read, ErrClosed, ctx's.
func (s *Store) ReadKey(ctx context.Context, r ReadKeyRequest) iter.Seq2[KeyRecord, error] {
	return func(yield func(KeyRecord, error) bool) {
		if err := s.readKey(ctx, r, yield); err != nil {
			yield(KeyRecord{}, fmt.Errorf("read key %q of %s: %w", r.Key, r.TopicPartition, err))
		}
	}
}

func (s *Store) readKey(ctx context.Context, r ReadKeyRequest, yield func(KeyRecord, error) bool) error {
	p, err := s.part(r.TopicPartition, TopicID{})
	if err != nil {
		return s.closedOr(err)
	}
	if !p.t.settings.Load().log.KeyIndex {
		return fmt.Errorf("%w: topic %q has no key index", ErrPolicyViolation, r.Topic)
	}
	l, err := p.open()
	if err == nil {
		err = p.led()
	}
	if err != nil {
		return err
	}
	end := p.highWatermark(l)
	if r.ReadCommitted {
		end = min(end, l.LastStable())
	}
	offsets, err := l.KeyOffsets(nil, r.Key, r.From)
	if err != nil {
		return p.gone(err)
	}
	w := keyWalk{log: l, key: r.Key, committed: r.ReadCommitted, end: end}
	defer w.release()
	for _, o := range offsets {
		if o >= end {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := w.record(o)
		if err != nil {
			return p.gone(err)
		}
		if rec != nil && !yield(*rec, nil) {
			return nil
		}
	}
	return nil
}

// keyWalk finds records at ascending offsets. It stays in a batch for as long as the next offset is in it.
type keyWalk struct {
	log       *log.Log
	key       []byte
	committed bool
	end       Offset

	view    log.View
	batch   batch.Batch
	aborted []log.AbortedTxn
	it      batch.Iterator
}

func (w *keyWalk) release() {
	w.view.Release()
	w.view, w.batch = log.View{}, nil
}

// record returns the record at an offset, nil if it is not there any more, is another key's, or was aborted.
func (w *keyWalk) record(o Offset) (rec *KeyRecord, err error) {
	if w.batch != nil {
		var last int64
		if fault := mmap.Guard(func() { last = w.batch.LastOffset() }); fault != nil {
			return nil, fault
		}
		if last < int64(o) {
			w.release()
		}
	}
	if w.batch == nil {
		if err := w.seek(o); err != nil || w.batch == nil {
			return nil, err
		}
	}
	if fault := mmap.Guard(func() { rec, err = w.find(o) }); fault != nil {
		return nil, fault
	}
	return rec, err
}

// seek borrows the batch that holds an offset.
func (w *keyWalk) seek(o Offset) (err error) {
	if w.committed {
		w.view, w.aborted, err = w.log.ReadCommitted(w.aborted[:0], o, w.end, 1)
	} else {
		w.view, err = w.log.Read(o, w.end, 1)
	}
	if err != nil || len(w.view.Bytes) == 0 {
		return err
	}
	if fault := mmap.Guard(func() {
		if w.batch, err = batch.Peek(w.view.Bytes); err == nil {
			w.batch.Iterate(&w.it, maxDecompressed)
		}
	}); fault != nil {
		return fault
	}
	return err
}

func (w *keyWalk) find(o Offset) (*KeyRecord, error) {
	if w.batch.IsTransactional() && slices.ContainsFunc(w.aborted, func(a log.AbortedTxn) bool {
		return a.ProducerID == w.batch.ProducerID() && a.First <= o && o <= a.Last
	}) {
		return nil, nil
	}
	for w.it.Next() {
		r := w.it.Record()
		if Offset(r.Offset) < o {
			continue
		}
		if Offset(r.Offset) > o || r.Key == nil || string(r.Key) != string(w.key) {
			return nil, nil
		}
		rec := &KeyRecord{Offset: o, LeaderEpoch: LeaderEpoch(w.batch.LeaderEpoch()), Timestamp: r.Timestamp, Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)}
		for _, h := range r.Headers {
			rec.Headers = append(rec.Headers, Header{Key: string([]byte(h.Key)), Value: slices.Clone(h.Value)})
		}
		return rec, nil
	}
	return nil, w.it.Err()
}
