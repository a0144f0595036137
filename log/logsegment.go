package log

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/internal/segment"
)

// logSegment is one segment of a log: a .log file from base on and what is remembered of it. A segment that nobody has touched since
// Open is only what the directory's listing said.
type logSegment struct {
	base Offset

	// written and shown are marks (see mark): the end of what is in the page cache, and of what readers may see. Valid once loaded.
	written, shown atomic.Uint64
	loaded         atomic.Bool
	removed        atomic.Bool // retention or truncation has taken it out of the log
	replaced       atomic.Bool // and a cleaned segment is in its place
	swapped        atomic.Bool // its file has the name that ends in .swap still

	index   atomic.Pointer[segment.Index] // set before loaded; lookups need no lock, changes the writer role
	mapping atomic.Pointer[mapped]
	hints   [8]atomic.Uint64 // marks where recent reads ended, so that a reader that goes on finds its place at once
	checked checks

	aborted      atomic.Pointer[abortedList] // nil: not known yet
	hasTxnIndex  atomic.Bool                 // there is such a file
	abortedDirty atomic.Bool                 // and it may not be, complete and synced, what aborted says

	keying sync.Mutex // guards the making of keys, and their order
	keys   atomic.Pointer[keyList]

	mu       sync.Mutex // guards loading, mapping and all below
	size     int64      // of the file when it was listed or sealed
	modified int64      // milliseconds: of the file, when it was listed; of the roll
	seen     int64      // milliseconds: when this process saw the segment finished
	hasSum   atomic.Bool
	noSum    atomic.Bool // damaged: a sum would call it right
	noMap    bool        // this file system has no mappings
	damage   []damage
	damaged  atomic.Bool // damage is not empty
}

// damage is a range of a segment that cannot be served.
type damage struct {
	position, nextPosition int64
	offset, next           Offset
	err                    error
}

// mark puts an offset and the position that belongs to it into one word, so that readers see both or neither: the offset's
// distance from base in the upper half, the position in the lower. Both fit: a segment's offsets span 31 bits, and so do its bytes.
func (s *logSegment) mark(offset Offset, position int64) uint64 {
	return uint64(offset-s.base)<<32 | uint64(position)
}

func (s *logSegment) unmark(m uint64) (offset Offset, position int64) {
	return s.base + Offset(m>>32), int64(uint32(m))
}

// end returns what readers may see.
func (s *logSegment) end() (next Offset, position int64) { return s.unmark(s.shown.Load()) }

// writtenEnd returns what is in the page cache.
func (s *logSegment) writtenEnd() (next Offset, position int64) { return s.unmark(s.written.Load()) }

// bytes returns the size of the segment's batches, or of its file while it is not loaded.
func (s *logSegment) bytes() int64 {
	if s.loaded.Load() {
		_, position := s.writtenEnd()
		return position
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *logSegment) hintSlot(offset Offset) *atomic.Uint64 {
	return &s.hints[(uint64(offset)*0x9E3779B97F4A7C15)>>61]
}

// remember notes that a batch starts with offset at position.
func (s *logSegment) remember(offset Offset, position int64) {
	s.hintSlot(offset).Store(s.mark(offset, position))
}

// recall returns a position at or before the batch that holds offset, where a batch starts, and whether it is exact.
func (s *logSegment) recall(offset Offset) (position int64, exact bool) {
	if o, p := s.unmark(s.hintSlot(offset).Load()); o == offset {
		return p, true
	}
	_, position = s.index.Load().Offsets.Lookup(int64(offset))
	return position, false
}

func (l *Log) path(name string) string { return filepath.Join(l.config.Dir, name) }

func (l *Log) logPath(s *logSegment) string { return l.path(segment.LogName(int64(s.base))) }

func (s *Settings) index() segment.IndexOptions {
	return segment.IndexOptions{Interval: s.IndexInterval, MaxBytes: s.IndexBytes}
}

// checks remembers which blocks of a segment's file have been checked since Open, so that each is checked once. Bytes from trusted
// on need none: this process wrote them, or recovery has scanned them.
//
// Bits are only ever set, by any number of readers at a time; two that check the same block do it twice.
type checks struct {
	trusted int64
	bits    []atomic.Uint32
	sum     *segment.FileSum // of the .log file; nil without a sidecar
}

const checkBlock = segment.SumBlockSize

// reset makes [0, trusted) unchecked.
func (c *checks) reset(trusted int64) {
	c.trusted, c.sum = trusted, nil
	c.bits = make([]atomic.Uint32, (trusted+32*checkBlock-1)/(32*checkBlock))
}

func (c *checks) done(block int64) bool { return c.bits[block/32].Load()&(1<<(block%32)) != 0 }

func (c *checks) set(block int64) { c.bits[block/32].Or(1 << (block % 32)) }

// firstUnchecked returns the first block of [from, to) that has to be checked, -1 when there is none.
func (c *checks) firstUnchecked(from, to int64) int64 {
	for block := from / checkBlock; block*checkBlock < min(to, c.trusted); block++ {
		if !c.done(block) {
			return block
		}
	}
	return -1
}
