package batch

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
)

// ValidateOptions says what Validate demands beyond a batch that is well
// formed. The zero value is right for batches that are already in a log.
type ValidateOptions struct {
	// Client demands what a produce request demands: base offset 0, dense
	// offsets, at least one record, no control batch, no delete horizon, no
	// LogAppendTime, a sequence number if there is a producer id. Where a
	// compressed batch keeps all of that, and only its records say other
	// offsets, the error is ErrOffsets.
	Client bool
	// KeyRequired refuses records with a null key (compacted topics).
	KeyRequired bool
	// OldestTimestamp and NewestTimestamp, in milliseconds, refuse CreateTime
	// records outside them, those without a timestamp (-1) excepted. 0 is no
	// bound.
	OldestTimestamp, NewestTimestamp int64
	// Repair corrects a wrong MaxTimestamp in place, and the CRC with it,
	// as a Kafka leader does; without it, it is an error.
	Repair bool
	// SkipCRC trusts the CRC.
	SkipCRC bool
	// MaxBytes bounds decompression. 0 is DefaultMaxBytes.
	MaxBytes int
}

// scratch keeps the iterators of Validate, whose buffers are worth reusing.
var scratch = sync.Pool{New: func() any { return new(Iterator) }}

// CheckShape looks at the header only, in constant time, and returns nil if
// it is one that a client may append: the length is that of b, base offset 0,
// magic 2, a known codec, as many records as offsets and at least one, no
// control batch, no LogAppendTime, no delete horizon, a sequence number if
// there is a producer id. It is all that a batch from our own Builder needs.
// Errors are as for Validate.
func (b Batch) CheckShape() error {
	if len(b) < HeaderSize {
		return ErrShort
	}
	if b.Length() != len(b) {
		return &CorruptError{Field: FieldLength, BaseOffset: b.BaseOffset(), Record: NoRecord,
			Got: int64(b.Length()), Want: int64(len(b))}
	}
	if b[posMagic] != Magic {
		return &CorruptError{Field: FieldMagic, BaseOffset: b.BaseOffset(), Record: NoRecord,
			Got: int64(b.Magic()), Want: Magic}
	}
	return b.checkClient()
}

// checkClient applies the rules for a client's header.
func (b Batch) checkClient() error {
	invalid := func(f Field, reason string) error { return &InvalidError{Field: f, Reason: reason} }
	count, last := b.Count(), b.LastOffsetDelta()
	switch {
	case b.BaseOffset() != 0:
		return invalid(FieldBaseOffset, fmt.Sprintf("%d, want 0", b.BaseOffset()))
	case !b.Codec().Valid():
		return invalid(FieldCodec, b.Codec().String())
	case count <= 0:
		return invalid(FieldCount, strconv.Itoa(int(count)))
	case last != count-1:
		return invalid(FieldLastOffsetDelta, fmt.Sprintf("%d for %d records", last, count))
	case b.Codec() == 0 && int64(count)*minRecordSize > int64(len(b)-HeaderSize):
		return invalid(FieldCount, fmt.Sprintf("%d records in %d bytes", count, len(b)-HeaderSize))
	case b.IsControl():
		return invalid(FieldAttributes, "a client may not write a control batch")
	case b.IsLogAppendTime():
		return invalid(FieldTimestamp, "a client may not claim log append time")
	case b.HasDeleteHorizon():
		return invalid(FieldAttributes, "a client may not set a delete horizon")
	case b.HasProducer() && (b.BaseSequence() < 0 || b.ProducerEpoch() < 0):
		return invalid(FieldProducer, fmt.Sprintf("producer id %d with epoch %d and sequence %d",
			b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()))
	case b.IsTransactional() && !b.HasProducer():
		return invalid(FieldProducer, "a transactional batch needs a producer id")
	}
	return nil
}

// Validate checks the whole batch: length, magic, CRC, attributes, counts,
// and every record down to its headers, decompressing if needed. Offsets must
// rise and lie within the batch.
//
// A *CorruptError means that the bytes are not what was written (Kafka's
// CORRUPT_MESSAGE). With Client or KeyRequired or a time bound, a batch that
// arrived as it was sent but breaks a rule, or holds records that cannot be
// read, is an *InvalidError with the records concerned (INVALID_RECORD or
// INVALID_TIMESTAMP).
func (b Batch) Validate(o ValidateOptions) error {
	whole, err := Peek(b)
	if err != nil {
		return err
	}
	if len(whole) != len(b) {
		return &CorruptError{Field: FieldLength, BaseOffset: b.BaseOffset(), Record: NoRecord,
			Got: int64(len(whole)), Want: int64(len(b))}
	}
	if !o.SkipCRC {
		if err := b.CheckCRC(); err != nil {
			return err
		}
	}
	if o.Client {
		if err := b.checkClient(); err != nil {
			return err
		}
	}
	if o.Client && b.Codec() == 0 {
		if largest, ok := b.walk(&o); ok {
			return b.validateTimestamp(largest, o)
		}
	}
	it := scratch.Get().(*Iterator)
	defer func() {
		it.Clear()
		scratch.Put(it)
	}()
	b.Iterate(it, o.MaxBytes)
	largest, invalid := b.validateRecords(it, o)
	if o.Client && b.Codec() != 0 && misnumbered(it.Err()) {
		b.IterateRenumbered(it, o.MaxBytes)
		if _, invalid = b.validateRecords(it, o); it.Err() == nil && invalid == nil {
			return ErrOffsets
		}
	}
	if err := it.Err(); err != nil {
		if o.Client {
			return unreadable(err)
		}
		return err
	}
	if invalid != nil {
		return invalid
	}
	return b.validateTimestamp(largest, o)
}

// misnumbered reports whether a walk has ended at a record's offset.
func misnumbered(err error) bool {
	e, ok := errors.AsType[*CorruptError](err)
	return ok && e.Field == FieldOffset
}

// validateRecords reads all records and applies the options' rules to each.
// It returns the largest timestamp.
func (b Batch) validateRecords(it *Iterator, o ValidateOptions) (int64, error) {
	var (
		found   *InvalidError
		number  = -1
		largest = int64(None)
		bounds  = !b.IsLogAppendTime() && (o.OldestTimestamp != 0 || o.NewestTimestamp != 0)
		refuse  = func(f Field, reason string) {
			if found == nil {
				found = &InvalidError{Field: f}
			}
			if f == FieldTimestamp {
				found.Field = f // one bad timestamp decides the kind of the whole
			}
			if found.Refused++; found.Refused <= MaxRecordErrors {
				found.Records = append(found.Records, RecordError{Record: number, Field: f, Reason: reason})
			}
		}
	)
	for it.Next() {
		number++
		r := it.Record()
		if number == 0 || r.Timestamp > largest {
			largest = r.Timestamp
		}
		if o.KeyRequired && r.Key == nil && !b.IsControl() {
			refuse(FieldKey, "a compacted topic needs a key")
			continue
		}
		if !bounds || r.Timestamp == None {
			continue
		}
		switch {
		case o.OldestTimestamp != 0 && r.Timestamp < o.OldestTimestamp:
			refuse(FieldTimestamp, fmt.Sprintf("%d is before %d", r.Timestamp, o.OldestTimestamp))
		case o.NewestTimestamp != 0 && r.Timestamp > o.NewestTimestamp:
			refuse(FieldTimestamp, fmt.Sprintf("%d is after %d", r.Timestamp, o.NewestTimestamp))
		}
	}
	if found == nil {
		return largest, nil // not found itself: a nil *InvalidError is not a nil error
	}
	return largest, found
}

// validateTimestamp compares MaxTimestamp with the largest that was found.
func (b Batch) validateTimestamp(largest int64, o ValidateOptions) error {
	if b.Count() == 0 || b.IsLogAppendTime() || b.MaxTimestamp() == largest {
		return nil
	}
	if o.Repair {
		b.SetMaxTimestamp(largest)
		return nil
	}
	if o.Client {
		return &InvalidError{Field: FieldTimestamp,
			Reason: fmt.Sprintf("the largest is %d, the header says %d", largest, b.MaxTimestamp())}
	}
	return &CorruptError{Field: FieldTimestamp, BaseOffset: b.BaseOffset(), Record: NoRecord,
		Got: b.MaxTimestamp(), Want: largest}
}

// unreadable turns what the iterator found into an *InvalidError: the CRC is
// right, so the client made it so, and sending it again would not help. It is
// no ErrCorrupt then, which clients take for a reason to try again.
func unreadable(err error) error {
	e, ok := errors.AsType[*CorruptError](err)
	if !ok {
		return err
	}
	out := &InvalidError{Field: e.Field, Reason: e.Error(), Err: e.Err}
	if e.Record != NoRecord {
		out.Records, out.Refused = []RecordError{{Record: e.Record, Field: e.Field, Reason: e.Error()}}, 1
	}
	return out
}
