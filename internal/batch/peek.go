package batch

import "encoding/binary"

// Peek returns the first batch in b as a slice of b, after looking only at
// its length and magic: what it returns is at least HeaderSize long and
// exactly as long as its length field says, and nothing else is known of it.
// The error is ErrShort if b ends before the batch does, and otherwise a
// *CorruptError. When it returns ErrShort for 17 bytes or more, PeekLength
// says how many are needed.
func Peek(b []byte) (Batch, error) {
	n, err := PeekLength(b)
	if err != nil {
		return nil, err
	}
	if n > len(b) {
		return nil, ErrShort
	}
	return Batch(b[:n:n]), nil
}

// PeekLength returns the total size of the batch that begins at b, which may
// be longer than b. It needs 17 bytes, up to the magic, and returns ErrShort
// for fewer unless they are wrong already. Errors are as for Peek.
func PeekLength(b []byte) (int, error) {
	if len(b) < FrameSize {
		return 0, ErrShort
	}
	length := int32(binary.BigEndian.Uint32(b[posLength:]))
	if length < HeaderSize-FrameSize {
		return 0, peekError(b, length)
	}
	if len(b) <= posMagic {
		return 0, ErrShort
	}
	if b[posMagic] != Magic {
		return 0, peekError(b, length)
	}
	return FrameSize + int(length), nil
}

// peekError says what is wrong at b. A message of the formats before v2 may
// be shorter than a v2 header, so its magic is the better explanation.
func peekError(b []byte, length int32) error {
	e := &CorruptError{Field: FieldLength, Record: NoRecord, Got: int64(length) + FrameSize, Want: HeaderSize,
		BaseOffset: int64(binary.BigEndian.Uint64(b))}
	const smallestLegacy = 14
	if len(b) > posMagic && length >= smallestLegacy && b[posMagic] != Magic {
		e.Field, e.Got, e.Want = FieldMagic, int64(int8(b[posMagic])), Magic
	}
	return e
}
