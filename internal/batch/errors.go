package batch

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrShort says that the bytes end before the batch does. More bytes may
	// make it whole.
	ErrShort = errors.New("incomplete record batch")

	// ErrCorrupt is what every *CorruptError is, for errors.Is: Kafka's
	// CORRUPT_MESSAGE.
	ErrCorrupt = errors.New("corrupt record batch")

	// ErrInvalidRecord is what an *InvalidError is, for errors.Is, when a rule
	// for produced batches is broken: Kafka's INVALID_RECORD.
	ErrInvalidRecord = errors.New("invalid record")

	// ErrInvalidTimestamp is what an *InvalidError is, for errors.Is, when a
	// timestamp is outside the bounds: Kafka's INVALID_TIMESTAMP.
	ErrInvalidTimestamp = errors.New("invalid timestamp")

	// ErrOffsets says of a client's compressed batch that its records say
	// other offsets than 0, 1, 2 and so on, and that nothing else is wrong.
	// Kafka's leader encodes such a batch again, as old clients send them;
	// IterateRenumbered reads it.
	ErrOffsets = errors.New("offsets of records are not consecutive")
)

// Field names the part of a batch that an error is about.
type Field string

// The fields of the header and of a record, and what is not a field.
const (
	FieldLength          Field = "length"
	FieldMagic           Field = "magic"
	FieldCRC             Field = "CRC"
	FieldBaseOffset      Field = "base offset"
	FieldAttributes      Field = "attributes"
	FieldLastOffsetDelta Field = "last offset delta"
	FieldCount           Field = "record count"
	FieldProducer        Field = "producer id, epoch and sequence"
	FieldCodec           Field = "codec"
	FieldCompressed      Field = "compressed records"
	FieldRecord          Field = "record length"
	FieldTimestamp       Field = "timestamp"
	FieldOffset          Field = "offset delta"
	FieldKey             Field = "key"
	FieldValue           Field = "value"
	FieldHeaders         Field = "headers"
	FieldRest            Field = "bytes after the last record"
)

// NoRecord is the record number of an error that is about the whole batch.
const NoRecord = -1

// CorruptError says that bytes are not a batch, or not the batch that was
// written. errors.Is(err, ErrCorrupt) holds.
type CorruptError struct {
	Field      Field
	BaseOffset int64 // as the header has it; itself not to be trusted
	Record     int   // number of the record in the batch, or NoRecord
	Got, Want  int64 // for FieldCRC, FieldLength, FieldMagic and counts
	Err        error // the cause, if there is one: of package compress
}

// Error implements error.
func (e *CorruptError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "corrupt record batch with base offset %d", e.BaseOffset)
	if e.Record != NoRecord {
		fmt.Fprintf(&s, ", record %d", e.Record)
	}
	fmt.Fprintf(&s, ": bad %s", e.Field)
	switch {
	case e.Err != nil:
		fmt.Fprintf(&s, ": %v", e.Err)
	case e.Field == FieldCRC:
		fmt.Fprintf(&s, ": computed %08x, stored %08x", uint32(e.Got), uint32(e.Want))
	case e.Got != e.Want:
		fmt.Fprintf(&s, ": %d, want %d", e.Got, e.Want)
	}
	return s.String()
}

// Unwrap returns the cause, which may be nil.
func (e *CorruptError) Unwrap() error { return e.Err }

// Is reports true for ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// RecordError is what is wrong with one record of a batch: an entry of a
// produce response's record errors (KIP-467).
type RecordError struct {
	Record int // number in the batch, from 0
	Field  Field
	Reason string
}

// InvalidError says that a batch is whole but not one that a client may
// append. errors.Is(err, ErrInvalidTimestamp) holds if any record's timestamp
// is refused, otherwise errors.Is(err, ErrInvalidRecord).
type InvalidError struct {
	Field   Field
	Reason  string        // for the whole batch; empty when Records says it
	Records []RecordError // at most MaxRecordErrors
	Refused int           // how many records are refused, also beyond those
	Err     error         // the cause, if a record cannot be read
}

// MaxRecordErrors bounds how many records an InvalidError lists.
const MaxRecordErrors = 100

// Error implements error.
func (e *InvalidError) Error() string {
	if len(e.Records) == 0 {
		return fmt.Sprintf("invalid record batch: %s: %s", e.Field, e.Reason)
	}
	first := e.Records[0]
	s := fmt.Sprintf("invalid record batch: record %d: %s: %s", first.Record, first.Field, first.Reason)
	if e.Refused > 1 {
		s += fmt.Sprintf(" (and %d more)", e.Refused-1)
	}
	return s
}

// Unwrap returns the cause, which may be nil.
func (e *InvalidError) Unwrap() error { return e.Err }

// Is reports true for ErrInvalidTimestamp or ErrInvalidRecord, as the type's
// comment says.
func (e *InvalidError) Is(target error) bool {
	if e.Field == FieldTimestamp {
		return target == ErrInvalidTimestamp
	}
	return target == ErrInvalidRecord
}
