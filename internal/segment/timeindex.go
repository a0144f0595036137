package segment

import (
	"encoding/binary"
	"sort"
)

// NoTimestamp is the timestamp of a batch without one.
const NoTimestamp = -1

// TimeIndex maps timestamps of one segment to offsets, as Kafka's TimeIndex
// does (KIP-33): an entry (t, o) says that no record up to offset o has a
// timestamp above t, and o is the last offset of a batch whose largest
// timestamp is t. Sparse, and a cache.
//
// It lives in memory, 12 bytes an entry, and costs nothing while empty. Any
// number of goroutines may read while one adds or truncates.
type TimeIndex struct {
	base  int64
	limit int
	table table[timeEntry]
}

// timeEntry keeps its timestamp in halves, to be 12 bytes and not 16.
type timeEntry struct{ high, low, relative uint32 }

func (e timeEntry) timestamp() int64 { return int64(e.high)<<32 | int64(e.low) }

// NewTimeIndex returns the empty index of the segment that begins at base.
// maxBytes bounds its file, as Kafka's segment.index.bytes.
func NewTimeIndex(base int64, maxBytes int) *TimeIndex {
	x := new(TimeIndex)
	x.reset(base, maxBytes)
	return x
}

func (x *TimeIndex) reset(base int64, maxBytes int) {
	x.base, x.limit = base, maxBytes/timeEntrySize
	x.table.replace(nil, 0)
}

// Len is the number of entries.
func (x *TimeIndex) Len() int { return len(x.table.view()) }

// Full reports whether only the one reserved entry is left, which makes the
// segment roll.
func (x *TimeIndex) Full() bool { return x.Len() >= x.limit-1 }

// Entry returns entry i, 0 ≤ i < Len().
func (x *TimeIndex) Entry(i int) (timestamp, offset int64) {
	e := x.table.view()[i]
	return e.timestamp(), x.base + int64(e.relative)
}

// Last returns the last entry; without one (NoTimestamp, base, false).
func (x *TimeIndex) Last() (timestamp, offset int64, ok bool) {
	view := x.table.view()
	if len(view) == 0 {
		return NoTimestamp, x.base, false
	}
	e := view[len(view)-1]
	return e.timestamp(), x.base + int64(e.relative), true
}

// Add appends an entry if timestamp is above the last entry's, and reports
// whether it did. force takes the reserved slot of a full index: for the entry
// that closes a segment. As with OffsetIndex.Add, an entry that would be wrong
// is not added.
func (x *TimeIndex) Add(timestamp, offset int64, force bool) bool {
	relative := offset - x.base
	if timestamp < 0 || relative < 0 || relative > MaxRelativeOffset || x.Full() && !force {
		return false
	}
	if lastTimestamp, lastOffset, _ := x.Last(); timestamp <= lastTimestamp || offset < lastOffset {
		return false
	}
	x.table.add(timeEntry{uint32(timestamp >> 32), uint32(timestamp), uint32(relative)})
	return true
}

// Lookup returns the greatest entry whose timestamp is at most timestamp, or
// (NoTimestamp, base): the first record whose timestamp is above the entry's
// lies behind offset.
func (x *TimeIndex) Lookup(timestamp int64) (entry, offset int64) {
	view := x.table.view()
	i := sort.Search(len(view), func(i int) bool { return view[i].timestamp() > timestamp })
	if i == 0 {
		return NoTimestamp, x.base
	}
	return view[i-1].timestamp(), x.base + int64(view[i-1].relative)
}

// Truncate removes the entries of batches that end at offset or above it.
func (x *TimeIndex) Truncate(offset int64) {
	view := x.table.view()
	n := sort.Search(len(view), func(i int) bool { return x.base+int64(view[i].relative) >= offset })
	if n < len(view) {
		x.table.replace(view[:n], n)
	}
}

// AppendTo appends the content of the .timeindex file to dst.
func (x *TimeIndex) AppendTo(dst []byte) []byte {
	for _, e := range x.table.view() {
		dst = binary.BigEndian.AppendUint32(dst, e.high)
		dst = binary.BigEndian.AppendUint32(dst, e.low)
		dst = binary.BigEndian.AppendUint32(dst, e.relative)
	}
	return dst
}

// Decode replaces the content by that of a .timeindex file. next is the offset
// behind the last one of the segment. A *CorruptError says that the index must
// be rebuilt; x is empty then.
func (x *TimeIndex) Decode(data []byte, next int64) error {
	x.table.replace(nil, 0)
	if len(data)%timeEntrySize != 0 {
		return corrupt(len(data), "time index is no multiple of %d bytes", timeEntrySize)
	}
	// A lone zero entry is one: a single batch, written at the beginning of 1970.
	if len(data) > timeEntrySize {
		data = trimZeros(data, timeEntrySize)
	}
	entries := make([]timeEntry, len(data)/timeEntrySize)
	for i := range entries {
		b := data[i*timeEntrySize:]
		e := timeEntry{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])}
		switch {
		case e.timestamp() < 0 || e.relative > MaxRelativeOffset:
			return corrupt(i*timeEntrySize, "time index entry out of range")
		case i > 0 && (e.timestamp() <= entries[i-1].timestamp() || e.relative < entries[i-1].relative):
			return corrupt(i*timeEntrySize, "time index entry is not above the one before")
		case x.base+int64(e.relative) >= next:
			return corrupt(i*timeEntrySize, "time index entry points behind the end of the log")
		}
		entries[i] = e
	}
	x.table.replace(entries, len(entries))
	return nil
}
