package txn

import (
	"encoding/binary"
	"fmt"
)

// reader reads Kafka's types from bytes. After a failure everything is zero.
type reader struct {
	b        []byte
	flexible bool
	failed   bool
}

func (r *reader) bytes(n int) []byte {
	if r.failed || n < 0 || n > len(r.b) {
		r.failed = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) int8() int8 {
	if b := r.bytes(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *reader) int16() int16 {
	if b := r.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.failed || n <= 0 || v > 1<<31 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads the length of an array whose elements have at least size bytes; null is 0.
func (r *reader) count(size int) int {
	var n int
	if r.flexible {
		n = int(r.uvarint()) - 1
	} else {
		n = int(r.int32())
	}
	if n > len(r.b)/size {
		r.failed = true
	}
	if r.failed {
		return 0
	}
	return max(n, 0)
}

func (r *reader) string() string {
	if r.flexible {
		return string(r.bytes(int(r.uvarint()) - 1))
	}
	return string(r.bytes(int(r.int16())))
}

func (r *reader) tags(f func(tag uint64, field *reader)) {
	for range r.uvarint() {
		tag := r.uvarint()
		field := reader{b: r.bytes(int(r.uvarint())), flexible: true}
		if r.failed {
			return
		}
		f(tag, &field)
		r.failed = r.failed || field.failed
	}
}

func (r *reader) skipTags() {
	if r.flexible {
		r.tags(func(uint64, *reader) {})
	}
}

// err is ErrCorruptRecord if what was read is not all there is.
func (r *reader) err(what string) error {
	if r.failed || len(r.b) > 0 {
		return fmt.Errorf("%s: %w", what, ErrCorruptRecord)
	}
	return nil
}

// errOpen is err where more may follow.
func (r *reader) errOpen(what string) error {
	r.b = nil
	return r.err(what)
}
