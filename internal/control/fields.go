package control

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Encodings are of fields in a fixed order: integers as varints, byte strings and lists with their lengths before. What may get more fields later has
// its length before it, and readers pass over what they do not know at its end.

// ErrMalformed is what Decode and Restore say of bytes that are no encoding.
var ErrMalformed = errors.New("malformed encoding of the controller's state")

type writer struct{ b []byte }

func (w *writer) uint(v uint64) { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)   { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) id(v [16]byte) { w.b = append(w.b, v[:]...) }

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) bytes(v []byte) {
	w.uint(uint64(len(v)))
	w.b = append(w.b, v...)
}

func (w *writer) string(v string) {
	w.uint(uint64(len(v)))
	w.b = append(w.b, v...)
}

func (w *writer) nodes(ids []NodeID) {
	w.uint(uint64(len(ids)))
	for _, id := range ids {
		w.int(int64(id))
	}
}

func (w *writer) assignment(a [][]NodeID) {
	w.uint(uint64(len(a)))
	for _, ids := range a {
		w.nodes(ids)
	}
}

func (w *writer) partition(p PartitionID) {
	w.id(p.Topic)
	w.int(int64(p.Index))
}

// sized writes fields with their length before them.
func (w *writer) sized(fields func()) {
	const room = 5 // of a length that is put in afterwards, shifted if it needs less
	at := len(w.b)
	w.b = append(w.b, make([]byte, room)...)
	fields()
	n := len(w.b) - at - room
	var length [binary.MaxVarintLen64]byte
	l := binary.PutUvarint(length[:], uint64(n))
	if l != room {
		copy(w.b[at+l:], w.b[at+room:])
		w.b = w.b[:at+l+n]
	}
	copy(w.b[at:], length[:l])
}

type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	r.b = nil
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("an integer")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("an integer")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// within reads an integer of a range.
func (r *reader) within(low, high int64) int64 {
	v := r.int()
	if v < low || v > high {
		r.fail("an integer out of its range")
		return 0
	}
	return v
}

func (r *reader) int32() int32 { return int32(r.within(-1<<31, 1<<31-1)) }
func (r *reader) int16() int16 { return int16(r.within(-1<<15, 1<<15-1)) }
func (r *reader) node() NodeID { return NodeID(r.int32()) }

func (r *reader) bool() bool {
	if len(r.b) == 0 || r.b[0] > 1 {
		r.fail("a truth value")
		return false
	}
	v := r.b[0] == 1
	r.b = r.b[1:]
	return v
}

func (r *reader) id() (v [16]byte) {
	if len(r.b) < len(v) {
		r.fail("an id")
		return v
	}
	copy(v[:], r.b)
	r.b = r.b[len(v):]
	return v
}

// bytes returns the caller's own.
func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail("a length")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	if n == 0 {
		return nil
	}
	return v
}

func (r *reader) string() string { return string(r.bytes()) }

// count reads how many elements follow, each of at least size bytes.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.fail("a count")
		return 0
	}
	return int(n)
}

func (r *reader) nodes() []NodeID {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	ids := make([]NodeID, n)
	for i := range ids {
		ids[i] = r.node()
	}
	return ids
}

func (r *reader) assignment() [][]NodeID {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	a := make([][]NodeID, n)
	for i := range a {
		a[i] = r.nodes()
	}
	return a
}

func (r *reader) partition() PartitionID { return PartitionID{r.id(), r.int32()} }

// sized reads fields that have their length before them; what fields leaves is passed over.
func (r *reader) sized(fields func(r *reader)) {
	inner := reader{b: r.bytes(), err: r.err}
	if r.err != nil {
		return
	}
	fields(&inner)
	if inner.err != nil {
		r.fail("fields")
		r.err = inner.err
	}
}

// list reads elements that have their lengths before them.
func list[T any](r *reader, fields func(r *reader) T) []T {
	n := r.count(1)
	if n == 0 || r.err != nil {
		return nil
	}
	all := make([]T, 0, min(n, 1024))
	for range n {
		r.sized(func(r *reader) { all = append(all, fields(r)) })
		if r.err != nil {
			return nil
		}
	}
	return all
}

func writeList[T any](w *writer, all []T, fields func(T)) {
	w.uint(uint64(len(all)))
	for _, v := range all {
		w.sized(func() { fields(v) })
	}
}
