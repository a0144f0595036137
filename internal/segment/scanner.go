package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/partlog/partlog/internal/batch"
)

// Positions in a batch's header of what a scan reads before it believes any of
// it; package batch draws the whole.
const (
	batchLength  = 8
	batchMagic   = 16
	batchCRC     = 17
	batchCovered = 21 // the checksum covers all from here on
	batchDelta   = 23

	magic2 = 2
)

const fieldLeaderEpoch batch.Field = "leader epoch"

// fault is why bytes are no valid batch by themselves.
type fault uint8

const (
	faultNone fault = iota
	faultShort
	faultMagic
	faultLength
	faultCRC
	faultDelta
)

// scanner is the state of one Scan. Invariant: everything below result.End is
// accounted for, and the next valid batch begins at pos with offset next or not
// at all.
type scanner struct {
	w       window
	base    int64
	size    int64
	options ScanOptions
	pos     int64
	next    int64
	epoch   int32 // lowest that the next batch may have
	zeros   int64 // where the zeros begin that the file ends with; −1 not known yet
	budget  int64 // bytes whose checksum a search may still compute
	result  ScanResult
}

func newScanner(r io.ReaderAt, from, size, base int64, o ScanOptions) *scanner {
	s := &scanner{w: newWindow(r, size), base: base, size: size, options: o, pos: from, next: o.Next, epoch: o.LeaderEpoch, zeros: -1}
	if s.next == 0 {
		s.next = base
	}
	if s.epoch == 0 {
		s.epoch = NoEpoch
	}
	if s.options.MaxLeaderEpoch == 0 {
		s.options.MaxLeaderEpoch = math.MaxInt32
	}
	s.budget = searchFloor + searchFactor*max(0, size-from)
	s.result = ScanResult{End: from, Next: s.next, LeaderEpoch: s.epoch, MaxTimestamp: NoTimestamp}
	return s
}

func (s *scanner) release() { s.w.release() }

func (s *scanner) run(visit func(position int64, b batch.Batch) error) error {
	for s.pos < s.size {
		b, fault := s.buffered(), faultNone
		if b == nil {
			var err error
			if b, fault, err = s.frame(s.pos); err != nil {
				return err
			}
		}
		if fault != faultNone || b.BaseOffset() != s.next || b.LeaderEpoch() != s.epoch || !s.fits(b) {
			var err error
			if b, err = s.doubt(b, fault); err != nil {
				return err
			}
			if b == nil {
				continue
			}
		}
		if err := visit(s.pos, b); err != nil {
			return err
		}
		s.accept(b)
	}
	return nil
}

func (s *scanner) accept(b batch.Batch) {
	s.pos += int64(len(b))
	s.next = b.NextOffset()
	s.epoch = b.LeaderEpoch()
	r := &s.result
	r.End, r.Next, r.LeaderEpoch = s.pos, s.next, s.epoch
	r.Batches++
	r.Bytes += int64(len(b))
	r.MaxTimestamp = max(r.MaxTimestamp, b.MaxTimestamp())
}

// fits reports whether the batch's offsets are representable in the segment.
func (s *scanner) fits(b batch.Batch) bool {
	base, last := b.BaseOffset(), b.LastOffset()
	return base >= s.base && last >= base && last < math.MaxInt64 && last-s.base <= MaxRelativeOffset
}

// epochFits reports whether a batch of this epoch may come next.
func (s *scanner) epochFits(epoch int32) bool {
	return epoch >= s.epoch && epoch <= s.options.MaxLeaderEpoch
}

// buffered is frame at s.pos for a batch that lies in the window, nil otherwise:
// of small batches it makes a third of the time.
func (s *scanner) buffered() batch.Batch {
	i := s.pos - s.w.start
	if i < 0 || i > int64(s.w.n)-batch.HeaderSize {
		return nil
	}
	b := s.w.buf[i:s.w.n]
	h := (*[batch.HeaderSize]byte)(b)
	length := batch.FrameSize + int(int32(binary.BigEndian.Uint32(h[batchLength:])))
	if h[batchMagic] != magic2 || uint(length)-batch.HeaderSize > uint(len(b)-batch.HeaderSize) || length > windowLimit {
		return nil
	}
	if crc32.Update(0, castagnoli, b[batchCovered:length]) != binary.BigEndian.Uint32(h[batchCRC:]) || int8(h[batchDelta]) < 0 {
		return nil
	}
	return b[:length:length]
}

// frame returns the batch at position if it is whole and its checksum right.
func (s *scanner) frame(position int64) (batch.Batch, fault, error) {
	if s.size-position < batch.HeaderSize {
		return nil, faultShort, nil
	}
	h, err := s.w.at(position, batch.HeaderSize)
	if err != nil {
		return nil, 0, err
	}
	length := frameLength(h)
	switch {
	case h[batchMagic] != magic2:
		return nil, faultMagic, nil
	case length < batch.HeaderSize:
		return nil, faultLength, nil
	case length > s.size-position:
		return nil, faultShort, nil
	case length > windowLimit:
		// Not worth the memory before the checksum says so.
		ok, err := s.checksum(position, length)
		if err != nil || !ok {
			return nil, faultCRC, err
		}
	}
	b, err := s.w.at(position, int(length))
	if err != nil {
		return nil, 0, err
	}
	if crc32.Checksum(b[batchCovered:], castagnoli) != binary.BigEndian.Uint32(b[batchCRC:]) {
		return nil, faultCRC, nil
	}
	if int32(binary.BigEndian.Uint32(b[batchDelta:])) < 0 {
		return nil, faultDelta, nil
	}
	return batch.Batch(b), faultNone, nil
}

// checksum compares the checksum of a batch of any size, piece by piece.
func (s *scanner) checksum(position, length int64) (bool, error) {
	h, err := s.w.at(position, batch.HeaderSize)
	if err != nil {
		return false, err
	}
	want := binary.BigEndian.Uint32(h[batchCRC:])
	crc, err := s.crc(0, position+batchCovered, position+length)
	return crc == want, err
}

// crc continues a CRC-32C over the bytes [from, to) of the file.
func (s *scanner) crc(crc uint32, from, to int64) (uint32, error) {
	for from < to {
		b, err := s.w.at(from, int(min(to-from, windowSize/4)))
		if err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, castagnoli, b)
		from += int64(len(b))
	}
	return crc, nil
}

func frameLength(header []byte) int64 {
	return batch.FrameSize + int64(int32(binary.BigEndian.Uint32(header[batchLength:])))
}

// doubt decides about bytes at s.pos that are no batch, or not obviously the
// next one. It returns the batch if it is the next one after all; otherwise it
// notes the damage and moves s.pos behind it.
func (s *scanner) doubt(b batch.Batch, f fault) (batch.Batch, error) {
	if f != faultNone {
		return nil, s.invalid(f)
	}
	// The checksum leaves out base offset and leader epoch. Whether they or their
	// neighbours are wrong shows in the header of the batch behind.
	length := len(b)
	both, err := s.w.at(s.pos, int(min(int64(length+batch.HeaderSize), s.size-s.pos)))
	if err != nil {
		return nil, err
	}
	b = batch.Batch(both[:length:length])
	base, end, epoch := b.BaseOffset(), b.NextOffset(), b.LeaderEpoch()
	behind := witnessOf(both[length:])

	fits := s.fits(b)
	chains := fits && (base == s.next || base > s.next && s.options.Compacted)
	epochFits := s.epochFits(epoch)
	problem, repaired := s.problem(b, chains, behind)
	if problem == "" {
		return b, nil
	}
	// b is invalid from here on: the window may move.
	cause := &batch.CorruptError{Field: problem, BaseOffset: base, Record: batch.NoRecord, Got: base, Want: s.next}
	if problem == fieldLeaderEpoch {
		cause.Got, cause.Want = int64(epoch), int64(s.epoch)
	}
	agree := false // the batch behind is valid, and so fit to be a witness
	if behind.ok && s.epochFits(behind.epoch) {
		next, f, err := s.frame(s.pos + int64(length))
		if err != nil {
			return nil, err
		}
		agree = f == faultNone && s.fits(next)
	}
	switch {
	case agree && repaired:
		return nil, s.damaged(s.pos+int64(length), behind.base, cause)
	case chains && epochFits:
		b, err := s.w.at(s.pos, length)
		return batch.Batch(b), err
	case agree && fits && base > s.next && epochFits && behind.base == end && behind.epoch >= epoch:
		// The batch and the one behind it agree: offsets are missing before them.
		// Nothing less will do, for a scan that comes when the tail has been cut
		// must find the same.
		return nil, s.damaged(s.pos, base, cause)
	}
	return nil, s.stale(cause)
}

// witness is what the header behind a batch says, if there is one.
type witness struct {
	ok    bool
	base  int64
	epoch int32
}

func witnessOf(header []byte) witness {
	if len(header) < batch.HeaderSize || header[batchMagic] != magic2 {
		return witness{}
	}
	h := batch.Batch(header)
	return witness{true, h.BaseOffset(), h.LeaderEpoch()}
}

// problem returns the field of the valid batch b at s.pos that keeps it from
// being the next one, empty if nothing does, and whether the log goes on
// with the batch behind as if b had only that field wrong.
func (s *scanner) problem(b batch.Batch, chains bool, behind witness) (problem batch.Field, repaired bool) {
	follows := func(next int64) bool {
		return behind.ok && (behind.base == next || behind.base > next && s.options.Compacted)
	}
	base, end, epoch := b.BaseOffset(), b.NextOffset(), b.LeaderEpoch()
	length := end - base
	switch {
	case !chains:
		return batch.FieldBaseOffset, follows(s.next + length)
	case !s.epochFits(epoch):
		return fieldLeaderEpoch, follows(end)
	case epoch > s.epoch && behind.epoch < epoch && follows(end) && s.epochFits(behind.epoch) && !s.begins(epoch, base):
		return fieldLeaderEpoch, true // too high: the log goes on with a lower one
	case base > s.next && follows(s.next+length) && behind.base < end:
		return batch.FieldBaseOffset, true // too high: the log goes on below its end
	}
	return "", false
}

// begins reports whether it is known that epoch begins at offset.
func (s *scanner) begins(epoch int32, offset int64) bool {
	return s.options.Epochs != nil && slices.Contains(s.options.Epochs.entries, EpochStart{epoch, offset})
}

// damaged notes that the bytes from s.pos to position are no batch of the log,
// and that it goes on there with the batch of base offset next.
func (s *scanner) damaged(position, next int64, cause error) error {
	zeroed, err := s.zeroed(s.pos, position)
	if err != nil {
		return err
	}
	s.result.Damage = append(s.result.Damage, Damage{Kind: CorruptMiddle, Position: s.pos, NextPosition: position,
		Offset: s.next, NextOffset: next, Zeroed: zeroed, Err: cause})
	s.pos, s.next = position, next
	return nil
}

// tail notes that nothing from s.pos on is a batch of the log, which ends the
// scan.
func (s *scanner) tail(k ScanKind, cause error) error {
	zeroed := s.size - s.pos
	if k != ZeroTail {
		var err error
		if zeroed, err = s.zeroed(s.pos, s.size); err != nil {
			return err
		}
	}
	s.result.Kind = k
	s.result.Damage = append(s.result.Damage, Damage{Kind: k, Position: s.pos, NextPosition: s.size,
		Offset: s.next, NextOffset: NoOffset, Zeroed: zeroed, Err: cause})
	s.pos = s.size
	return nil
}

// cause words a fault.
func (s *scanner) cause(f fault) error {
	if f == faultShort || s.size-s.pos < batch.HeaderSize {
		return batch.ErrShort
	}
	h, err := s.w.at(s.pos, batch.HeaderSize)
	if err != nil {
		return err
	}
	e := &batch.CorruptError{BaseOffset: batch.Batch(h).BaseOffset(), Record: batch.NoRecord}
	switch f {
	case faultMagic:
		e.Field, e.Got, e.Want = batch.FieldMagic, int64(int8(h[batchMagic])), magic2
	case faultLength:
		e.Field, e.Got, e.Want = batch.FieldLength, frameLength(h), batch.HeaderSize
	case faultCRC:
		e.Field, e.Want = batch.FieldCRC, int64(binary.BigEndian.Uint32(h[batchCRC:]))
		crc, err := s.crc(0, s.pos+batchCovered, s.pos+frameLength(h))
		if err != nil {
			return err
		}
		e.Got = int64(crc)
	case faultDelta:
		e.Field, e.Got = batch.FieldLastOffsetDelta, int64(batch.Batch(h).LastOffsetDelta())
	default:
		panic(fmt.Sprintf("BUG: fault %d", f))
	}
	return e
}
