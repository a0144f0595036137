package segment

import (
	"encoding/binary"
	"sort"
)

// OffsetIndex maps offsets of one segment to positions in its log file, as
// Kafka's OffsetIndex does: an entry is the last offset of a batch and the
// position at which that batch starts. It is sparse, and a cache: everything in
// it follows from the log file.
//
// It lives in memory, 8 bytes an entry, and costs nothing while empty. Any
// number of goroutines may read while one adds or truncates.
type OffsetIndex struct {
	base  int64
	limit int // most entries
	table table[offsetEntry]
}

type offsetEntry struct{ relative, position uint32 }

// NewOffsetIndex returns the empty index of the segment that begins at base.
// maxBytes bounds its file, as Kafka's segment.index.bytes.
func NewOffsetIndex(base int64, maxBytes int) *OffsetIndex {
	x := new(OffsetIndex)
	x.reset(base, maxBytes)
	return x
}

func (x *OffsetIndex) reset(base int64, maxBytes int) {
	x.base, x.limit = base, maxBytes/offsetEntrySize
	x.table.replace(nil, 0)
}

// Len is the number of entries.
func (x *OffsetIndex) Len() int { return len(x.table.view()) }

// Full reports whether no further entry fits, which makes the segment roll.
func (x *OffsetIndex) Full() bool { return x.Len() >= x.limit }

// Entry returns entry i, 0 ≤ i < Len().
func (x *OffsetIndex) Entry(i int) (offset, position int64) {
	e := x.table.view()[i]
	return x.base + int64(e.relative), int64(e.position)
}

// Last returns the last entry; ok is false when there is none.
func (x *OffsetIndex) Last() (offset, position int64, ok bool) {
	view := x.table.view()
	if len(view) == 0 {
		return x.base, 0, false
	}
	e := view[len(view)-1]
	return x.base + int64(e.relative), int64(e.position), true
}

// Add appends an entry: the batch at position ends with offset. It reports
// false, and adds nothing, when the index is full or the entry would not be
// above the last one or does not fit into 31 bits: an index never holds a wrong
// entry, it rather lacks one.
func (x *OffsetIndex) Add(offset, position int64) bool {
	relative := offset - x.base
	if relative < 0 || relative > MaxRelativeOffset || position < 0 || position > MaxRelativeOffset || x.Full() {
		return false
	}
	if lastOffset, lastPosition, ok := x.Last(); ok && (offset <= lastOffset || position <= lastPosition) {
		return false
	}
	x.table.add(offsetEntry{uint32(relative), uint32(position)})
	return true
}

// Lookup returns the greatest entry whose offset is at most offset, or the
// beginning of the segment. The batch that holds offset starts at position or
// after it.
func (x *OffsetIndex) Lookup(offset int64) (entry, position int64) {
	view := x.table.view()
	relative := offset - x.base
	i := sort.Search(len(view), func(i int) bool { return int64(view[i].relative) > relative })
	if i == 0 {
		return x.base, 0
	}
	return x.base + int64(view[i-1].relative), int64(view[i-1].position)
}

// LookupPosition returns the greatest entry whose position is at most position,
// or the beginning of the segment: where a scan that wants to reach position
// can start on a batch.
func (x *OffsetIndex) LookupPosition(position int64) (entry, start int64) {
	view := x.table.view()
	i := sort.Search(len(view), func(i int) bool { return int64(view[i].position) > position })
	if i == 0 {
		return x.base, 0
	}
	return x.base + int64(view[i-1].relative), int64(view[i-1].position)
}

// Truncate removes the entries of batches that end at offset or above it.
func (x *OffsetIndex) Truncate(offset int64) {
	view := x.table.view()
	n := sort.Search(len(view), func(i int) bool { return x.base+int64(view[i].relative) >= offset })
	if n < len(view) {
		x.table.replace(view[:n], n)
	}
}

// AppendTo appends the content of the .index file to dst.
func (x *OffsetIndex) AppendTo(dst []byte) []byte {
	for _, e := range x.table.view() {
		dst = binary.BigEndian.AppendUint32(dst, e.relative)
		dst = binary.BigEndian.AppendUint32(dst, e.position)
	}
	return dst
}

// Decode replaces the content by that of an .index file. logSize is the size of
// the log file that the positions must lie in. An index that a broker had open
// ends in zeros, which are not entries. A *CorruptError says that the index must
// be rebuilt; x is empty then.
func (x *OffsetIndex) Decode(data []byte, logSize int64) error {
	x.table.replace(nil, 0)
	if len(data)%offsetEntrySize != 0 {
		return corrupt(len(data), "offset index is no multiple of %d bytes", offsetEntrySize)
	}
	data = trimZeros(data, offsetEntrySize)
	entries := make([]offsetEntry, len(data)/offsetEntrySize)
	last := offsetEntry{}
	for i := range entries {
		b := data[i*offsetEntrySize:]
		e := offsetEntry{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
		switch {
		case e.relative > MaxRelativeOffset || e.position > MaxRelativeOffset:
			return corrupt(i*offsetEntrySize, "offset index entry out of range")
		// The first batch of a segment never gets an entry, so even the first
		// entry has a position above 0, and an offset above the base.
		case e.relative <= last.relative || e.position <= last.position:
			return corrupt(i*offsetEntrySize, "offset index entry is not above the one before")
		case int64(e.position) >= logSize:
			return corrupt(i*offsetEntrySize, "offset index entry points behind the end of the log")
		}
		entries[i], last = e, e
	}
	x.table.replace(entries, len(entries))
	return nil
}

// trimZeros cuts the entries of size bytes off the end that are all zero: the
// preallocated part of an index file.
func trimZeros(data []byte, size int) []byte {
	for len(data) >= size && isZero(data[len(data)-size:]) {
		data = data[:len(data)-size]
	}
	return data
}

func isZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
