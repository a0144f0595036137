package producer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// AppendIf appends records of one topic and key as one batch, if last is the offset of the key's last record, partition.NoRecord if it has
// none; otherwise it appends nothing and returns a *partition.VersionConflictError, which says what the last one is. It returns the
// result of the last record, whose offset the next AppendIf expects. The topic needs a key index (partition.TopicConfig.KeyIndex).
//
// It is for event stores: read a key's events, decide, append the decision unless somebody else has. It waits for the log and for
// nothing else: records that SendAsync has accepted are not waited for. It is not retried, and needs no sequence numbers: after an error
// other than a conflict the records may be there, and the same call again says so by a conflict with them.
//
// Other errors: partition.ErrPolicyViolation without a key index, partition.ErrInvalidRecord for records with different topics or keys,
// without one, or none; ErrNoTransaction for a transactional producer; those of Send.
func (p *Producer) AppendIf(ctx context.Context, last partition.Offset, records ...Record) (Result, error) {
	if len(records) == 0 {
		return Result{Offset: -1}, fmt.Errorf("append: %w: no records", partition.ErrInvalidRecord)
	}
	first := records[0]
	for i := range records {
		r := &records[i]
		if r.Topic != first.Topic || r.Key == nil || string(r.Key) != string(first.Key) {
			return p.refusedSend(*r, fmt.Errorf("append to topic %q: %w: record %d has another topic or key, or none", first.Topic, partition.ErrInvalidRecord, i))
		}
	}
	res, err := p.appendIf(ctx, last, records)
	if err != nil {
		return p.refusedSend(records[len(records)-1], err)
	}
	return res, nil
}

func (p *Producer) appendIf(ctx context.Context, last partition.Offset, records []Record) (Result, error) {
	records = slices.Clone(records) // interceptors change them
	var ln *lane
	var a admission
	for i := range records {
		var err error
		if ln, a, err = p.admit(ctx, nil, &records[i]); err != nil {
			return Result{}, err
		}
	}
	if a.acks == partition.AcksNone {
		return Result{}, fmt.Errorf("append to topic %q: %w: who expects a last record waits for the answer", ln.tp.Topic, partition.ErrInvalidRequiredAcks)
	}
	return p.appendBatch(ctx, ln, a.acks, last, records)
}

func (p *Producer) appendBatch(ctx context.Context, ln *lane, acks partition.Acks, last partition.Offset, records []Record) (Result, error) {
	f := ln.topic.facts.Load()
	now := p.cfg.Clock.Now()
	var b batch.Builder
	o := f.options
	o.Idempotent = false
	b.Reset(nil, o)
	for i := range records {
		r := &records[i]
		at := now
		if !r.Timestamp.IsZero() {
			at = r.Timestamp
		}
		b.Append(at.UnixMilli(), r.Key, r.Value, r.Headers)
	}
	data, err := b.Finish()
	if err != nil {
		return Result{}, fmt.Errorf("append to topic %q: %w", ln.tp.Topic, err)
	}
	key := records[0].Key
	answer, err := p.backend.Append(ctx, partition.AppendRequest{
		TopicPartition: ln.tp, TopicID: f.id, Batch: data, Acks: acks, Expect: &partition.Expect{Key: key, Last: last},
	})
	if err != nil {
		return Result{}, err
	}
	var res Result
	for i := range records {
		r := &records[i]
		res = Result{TopicPartition: ln.tp, Offset: answer.BaseOffset + partition.Offset(i), Timestamp: now, KeySize: int(sizeOf(r.Key)), ValueSize: int(sizeOf(r.Value))}
		switch {
		case answer.LogAppendTime >= 0:
			res.Timestamp = time.UnixMilli(answer.LogAppendTime)
		case !r.Timestamp.IsZero():
			res.Timestamp = r.Timestamp
		}
		p.observe(res)
	}
	return res, nil
}

// AppendIf encodes and appends values of one key as Producer.AppendIf does.
func (v *View[K, V]) AppendIf(ctx context.Context, last partition.Offset, key K, values ...V) (Result, error) {
	if v.tx != nil {
		return Result{Offset: -1}, fmt.Errorf("append to topic %q in a transaction: %w", v.topic, partition.ErrUnsupported)
	}
	records := make([]Record, len(values))
	for i, value := range values {
		s := new(scratch)
		rec, err := v.encode(s, TypedRecord[K, V]{Key: key, Value: value}, false)
		if err != nil {
			return v.p.refusedSend(rec, err)
		}
		records[i] = rec
	}
	return v.p.AppendIf(ctx, last, records...)
}
