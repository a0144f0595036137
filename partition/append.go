package partition

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
)

type appendOptions struct {
	acks     Acks
	internal bool // a coordinator's own write
	foreign  bool // not from this process's builder
	txnID    string
	expect   *Expect
	lazy     bool // what is written later will be durable, and this with it
}

// append is Partition.append of Kafka's broker: the rules for clients' batches, then the log.
func (p *part) append(ctx context.Context, b []byte, o appendOptions) (AppendResult, error) {
	if ctx.Done() != nil {
		if err := ctx.Err(); err != nil {
			return AppendResult{}, err
		}
	}
	l, err := p.open()
	if err != nil {
		return AppendResult{}, err
	}
	st := p.t.settings.Load()
	if o != (appendOptions{acks: o.acks}) || o.acks > AcksNone || p.t.internal || st.inspects {
		if b, err = p.inspect(b, st, o); err != nil {
			p.counters.failedAppends.Add(1)
			p.counters.rejectedBytes.Add(int64(len(b)))
			return AppendResult{}, fmt.Errorf("append to %s: %w", p.tp, err)
		}
	}
	if !o.foreign && len(b) >= batch.HeaderSize {
		batch.Batch(b).SetBaseOffset(0) // of a failed append that is tried again
	}
	opts := log.AppendOptions{Durable: o.acks == AcksAll, Lazy: o.lazy}
	if o.txnID != "" {
		opts.Lazy = true // EndTxn makes it durable
		if opts.Guard, err = p.enlist(ctx, l, b, o.txnID); err != nil {
			p.counters.failedAppends.Add(1)
			return AppendResult{}, fmt.Errorf("append to %s: %w", p.tp, err)
		}
	}
	if o.internal {
		opts.Origin = log.OriginCoordinator
	}
	var r log.AppendResult
	if st.log.KeyIndex {
		r, err = p.appendKeyed(l, b, o.expect, opts)
	} else {
		r, err = l.Append(b, opts)
	}
	if err != nil {
		return AppendResult{}, p.appendFailed(len(b), err)
	}
	if st.log.Sync == SyncAlways && p.unmarked.Add(int64(len(b))) >= p.s.config.CheckpointBytes {
		p.unmarked.Store(0)
		p.s.shell.checkpointEarly(p)
	}
	return AppendResult{BaseOffset: r.Base, LogAppendTime: r.LogAppendTime, LogStart: r.LogStart, Duplicate: r.Duplicate}, nil
}

// appendFailed counts a failed append and reports the first failure of the disk.
func (p *part) appendFailed(n int, err error) error {
	p.counters.failedAppends.Add(1)
	switch {
	case errors.Is(err, ErrMessageTooLarge), errors.Is(err, ErrInvalidRecord), errors.Is(err, ErrInvalidTimestamp):
		p.counters.rejectedBytes.Add(int64(n))
		err = fmt.Errorf("append to %s: %w", p.tp, err)
	case errors.Is(err, ErrStorage):
		p.s.partitionFailed(p, err)
	case errors.Is(err, ErrNoSpace):
		p.s.shell.checkSpace()
	}
	return p.gone(err)
}

// inspect applies the rules that need more than a batch's header, for topics and callers that have such. It returns
// the bytes to append: b, or b encoded again.
func (p *part) inspect(b []byte, st *settings, o appendOptions) ([]byte, error) {
	if o.acks > AcksNone {
		return b, fmt.Errorf("%w: %s", ErrInvalidRequiredAcks, o.acks)
	}
	if p.t.internal && !o.internal {
		return b, fmt.Errorf("%w: topic %q is internal and closed to ordinary producers", ErrInvalidTopic, p.tp.Topic)
	}
	whole, err := batch.Peek(b)
	if err != nil || len(whole) != len(b) {
		return b, fmt.Errorf("%w: want exactly one whole batch: %v", ErrInvalidRecord, err)
	}
	if o.foreign {
		if err := p.inspectForeign(whole, st); err != nil {
			return b, err
		}
	}
	if o.expect != nil && !st.log.KeyIndex {
		return b, fmt.Errorf("%w: a last record is expected, and topic %q has no key index (%s)", ErrPolicyViolation, p.tp.Topic, keyKeyIndex)
	}
	if o.internal {
		return b, nil
	}
	if st.compacted {
		if err := requireKeys(whole); err != nil {
			return b, err
		}
	}
	if st.codec != CodecProducer && st.codec != whole.Codec() {
		return p.recompress(whole, st)
	}
	return b, nil
}

// inspectForeign checks what a client in another process sent: its checksum, and that every record decodes.
func (p *part) inspectForeign(b batch.Batch, st *settings) error {
	if len(b) > st.log.MaxMessageBytes {
		return fmt.Errorf("%w: batch of %d bytes, max.message.bytes of topic %q is %d", ErrMessageTooLarge, len(b), p.tp.Topic, st.log.MaxMessageBytes)
	}
	if err := b.CheckCRC(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorruptMessage, err)
	}
	v := batch.ValidateOptions{Client: true, KeyRequired: st.compacted, Repair: true, SkipCRC: true, MaxBytes: maxDecompressed}
	if !st.log.LogAppendTime {
		now := p.s.config.Clock.Now().UnixMilli()
		if d := st.log.TimestampBefore; d != Unlimited {
			v.OldestTimestamp = max(now-d.Milliseconds(), 1) // 0 would be no bound
		}
		if d := st.log.TimestampAfter; d != Unlimited {
			v.NewestTimestamp = now + d.Milliseconds()
		}
	}
	switch err := b.Validate(v); {
	case err == nil:
		return nil
	case errors.Is(err, batch.ErrInvalidTimestamp):
		return fmt.Errorf("%w: %w", ErrInvalidTimestamp, err)
	case errors.Is(err, batch.ErrInvalidRecord):
		return fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	default:
		return fmt.Errorf("%w: %w", ErrCorruptMessage, err)
	}
}

// maxDecompressed bounds what one compressed batch may become in memory.
const maxDecompressed = 256 << 20

func requireKeys(b batch.Batch) error {
	var it batch.Iterator
	b.Iterate(&it, maxDecompressed)
	for i := 0; it.Next(); i++ {
		if it.Record().Key == nil {
			return fmt.Errorf("%w: record %d has no key, and the topic is compacted", ErrInvalidRecord, i)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	return nil
}

// recompress encodes a batch again with the topic's codec (compression.type).
func (p *part) recompress(b batch.Batch, st *settings) ([]byte, error) {
	var it batch.Iterator
	var w batch.Builder
	o := batch.Options{Codec: st.codec, Level: st.level}
	if b.HasProducer() {
		o.Transactional = b.IsTransactional()
		o.Idempotent, o.ProducerID, o.Epoch, o.BaseSequence = true, b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	}
	w.Reset(nil, o)
	b.Iterate(&it, maxDecompressed)
	for it.Next() {
		r := it.Record()
		w.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	if err := it.Err(); err != nil {
		return b, fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	out, err := w.Finish()
	if err != nil {
		return b, fmt.Errorf("recompress batch for topic %q: %w", p.tp.Topic, err)
	}
	p.counters.recompressed.Add(1)
	return out, nil
}
