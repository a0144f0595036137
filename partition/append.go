package partition

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/log"
)

type appendOptions struct {
	acks     Acks
	internal bool // a coordinator's own write
	foreign  bool // not from this process's builder
	txnID    string
	txnAdded bool // the producer has added the partition to its transaction
	expect   *Expect
	lazy     bool // what is written later will be durable, and this with it
	timeout  time.Duration
}

func (r *AppendRequest) options() appendOptions {
	return appendOptions{acks: r.Acks, internal: r.Internal, foreign: r.Foreign, txnID: r.TransactionalID, txnAdded: r.TxnAdded, expect: r.Expect, timeout: r.Timeout}
}

// append is Partition.append of Kafka's broker: the rules for clients' batches, then the log, then, in a cluster, the other replicas.
func (p *part) append(ctx context.Context, b []byte, o appendOptions) (AppendResult, error) {
	if p.s.config.Cluster != nil {
		a := p.write(ctx, b, o)
		return a.result(ctx, p)
	}
	r, err := p.appendLocal(ctx, b, o)
	if err != nil {
		return AppendResult{}, err
	}
	return resultOf(r), nil
}

func resultOf(r log.AppendResult) AppendResult {
	return AppendResult{BaseOffset: r.Base, LogAppendTime: r.LogAppendTime, LogStart: r.LogStart, Duplicate: r.Duplicate}
}

// appendLocal is append to the log that is here.
func (p *part) appendLocal(ctx context.Context, b []byte, o appendOptions) (log.AppendResult, error) {
	if ctx.Done() != nil {
		if err := ctx.Err(); err != nil {
			return log.AppendResult{}, err
		}
	}
	l, err := p.open()
	if err != nil {
		return log.AppendResult{}, err
	}
	st := p.t.settings.Load()
	if o != (appendOptions{acks: o.acks, timeout: o.timeout}) || o.acks > AcksNone || p.t.internal || st.inspects {
		if b, err = p.inspect(b, st, o); err != nil {
			p.counters.failedAppends.Add(1)
			p.counters.rejectedBytes.Add(int64(len(b)))
			return log.AppendResult{}, fmt.Errorf("append to %s: %w", p.tp, err)
		}
	}
	if !o.foreign && len(b) >= batch.HeaderSize {
		batch.Batch(b).SetBaseOffset(0) // of a failed append that is tried again
	}
	opts := log.AppendOptions{Durable: o.acks == AcksAll, Lazy: o.lazy}
	if o.txnID != "" {
		opts.Lazy = o.acks != AcksAll || p.s.config.Cluster == nil // EndTxn makes it durable
		if opts.Guard, err = p.enlist(ctx, l, b, o.txnID, o.txnAdded); err != nil {
			p.counters.failedAppends.Add(1)
			return log.AppendResult{}, fmt.Errorf("append to %s: %w", p.tp, err)
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
		return log.AppendResult{}, p.appendFailed(len(b), err)
	}
	if st.log.Sync == SyncAlways && p.unmarked.Add(int64(len(b))) >= p.s.config.CheckpointBytes {
		p.unmarked.Store(0)
		p.s.shell.checkpointEarly(p)
	}
	return r, nil
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
		if f := p.s.config.Events.ReplicaFull; f != nil && p.s.config.Cluster != nil {
			f(p.tp, err)
		}
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
	if o.foreign {
		if b, err = oneBatch(b, whole, err); err != nil {
			return b, err
		}
	}
	if err != nil || len(whole) != len(b) {
		return b, fmt.Errorf("%w: want exactly one whole batch: %v", ErrInvalidRecord, err)
	}
	if o.foreign {
		err := p.inspectForeign(whole, st)
		if errors.Is(err, batch.ErrOffsets) {
			return p.encode(whole, st)
		}
		if err != nil {
			return b, err
		}
	}
	if o.expect != nil && !st.log.KeyIndex {
		return b, fmt.Errorf("%w: a last record is expected, and topic %q has no key index (%s)", ErrPolicyViolation, p.tp.Topic, keyKeyIndex)
	}
	if o.internal {
		// A group's coordinator is held to the topic's limit and can be told; a transaction's state must get through.
		if p.tp.Topic == offsetsTopic {
			return b, p.checkSize(b, st)
		}
		return b, nil
	}
	if !o.foreign && (st.compacted || st.boundsPast()) {
		if err := p.inspectRecords(whole, st); err != nil {
			return b, err
		}
	}
	if st.codec != CodecProducer && st.codec != whole.Codec() {
		return p.encode(whole, st)
	}
	return b, nil
}

// oneBatch returns what a client's bytes have of their first batch, as peeked: what follows it and is no whole batch is left out. Bytes
// that are no batch at all are damage; what is of a format before v2, or is not all there, is refused.
func oneBatch(b []byte, first batch.Batch, err error) ([]byte, error) {
	if err == nil {
		if _, err := batch.Peek(b[len(first):]); errors.Is(err, batch.ErrShort) {
			return first, nil
		}
		return b, nil
	}
	e, corrupt := errors.AsType[*batch.CorruptError](err)
	if corrupt && !(e.Field == batch.FieldMagic && e.Got >= 0 && e.Got < batch.Magic) {
		return b, fmt.Errorf("%w: %w", ErrCorruptMessage, err)
	}
	return b, fmt.Errorf("%w: want exactly one whole batch of format 2: %v", ErrInvalidRecord, err)
}

// checkSize refuses a batch that is larger than the topic takes.
func (p *part) checkSize(b []byte, st *settings) error {
	if len(b) > st.log.MaxMessageBytes {
		return fmt.Errorf("%w: batch of %d bytes, max.message.bytes of topic %q is %d", ErrMessageTooLarge, len(b), p.tp.Topic, st.log.MaxMessageBytes)
	}
	return nil
}

// inspectForeign checks what a client in another process sent: its checksum, and that every record decodes. batch.ErrOffsets says that
// it is good, but for the offsets that its records say.
func (p *part) inspectForeign(b batch.Batch, st *settings) error {
	if err := p.checkSize(b, st); err != nil {
		return err
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
	case errors.Is(err, batch.ErrOffsets):
		return err
	default:
		return fmt.Errorf("%w: %w", ErrCorruptMessage, err)
	}
}

// maxDecompressed bounds what one compressed batch may become in memory.
const maxDecompressed = 256 << 20

// inspectRecords applies the topic's rules for single records to a batch of this process's builder, of which the log looks at the header:
// that has the largest timestamp, not the smallest.
func (p *part) inspectRecords(b batch.Batch, st *settings) error {
	oldest := int64(math.MinInt64)
	if st.boundsPast() {
		oldest = p.s.config.Clock.Now().UnixMilli() - st.log.TimestampBefore.Milliseconds()
	}
	var it batch.Iterator
	var keyless error
	b.Iterate(&it, maxDecompressed)
	for i := 0; it.Next(); i++ {
		r := it.Record()
		if r.Timestamp < oldest && r.Timestamp != batch.None {
			return fmt.Errorf("%w: record %d: %d is more than %v ago", ErrInvalidTimestamp, i, r.Timestamp, st.log.TimestampBefore)
		}
		if st.compacted && r.Key == nil && keyless == nil {
			keyless = fmt.Errorf("%w: record %d has no key, and the topic is compacted", ErrInvalidRecord, i)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	return keyless
}

// encode encodes a batch again: with the topic's codec (compression.type), if that is not the producer's, and with consecutive offsets.
func (p *part) encode(b batch.Batch, st *settings) ([]byte, error) {
	var it batch.Iterator
	var w batch.Builder
	o := batch.Options{Codec: st.codec, Level: st.level}
	if st.codec == CodecProducer {
		o.Codec, o.Level = b.Codec(), compress.DefaultLevel
	}
	if b.HasProducer() {
		o.Transactional = b.IsTransactional()
		o.Idempotent, o.ProducerID, o.Epoch, o.BaseSequence = true, b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	}
	w.Reset(nil, o)
	b.IterateRenumbered(&it, maxDecompressed)
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
