package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	"github.com/partlog/partlog/internal/batch"
)

// ErrSearchLimit is in the Err of a tail behind which the search for valid
// batches was given up: bytes made to look like batches can make it compute any
// number of checksums. There may be valid batches behind such a tail.
var ErrSearchLimit = errors.New("segment: search for the next valid batch given up")

// A search may compute checksums of searchFactor times what is scanned, and
// searchFloor more. Real data needs less than once.
const (
	searchFactor = 4
	searchFloor  = 16 << 20
)

const sectorSize = 512

// invalid decides about bytes at s.pos that are no valid batch by themselves.
//
// Where the next batch begins is found in the order of what proves more:
//
//  1. The header is the expected one, so its length is believed: there.
//  2. The header is the expected one but for its length, which the checksum
//     leaves out: where the checksum comes out right.
//  3. By search. It never looks inside of a batch whose header is whole: values
//     may contain anything, batches too, and a write that was torn must not
//     turn a value into a record. What remains, because nothing in Kafka's
//     format ties a batch to its log, is a value with two batches of the right
//     offsets in a batch that lost its header and nothing else.
func (s *scanner) invalid(f fault) error {
	cause := s.cause(f)
	if zero, err := s.allZero(s.pos); err != nil {
		return err
	} else if zero {
		return s.tail(ZeroTail, cause)
	}
	if foreign, err := s.legacy(); err != nil {
		return err
	} else if foreign {
		return s.tail(ForeignTail, cause)
	}
	if s.size-s.pos < batch.HeaderSize {
		return s.tail(TornTail, cause)
	}
	b, err := s.w.at(s.pos, batch.HeaderSize)
	if err != nil {
		return err
	}
	h := append(batch.Batch(nil), b...)
	length := frameLength(h)
	end := s.pos + length
	expected := h.BaseOffset() == s.next || s.options.Compacted && h.BaseOffset() > s.next && h.BaseOffset()-s.base <= MaxRelativeOffset

	if expected && length >= batch.HeaderSize && end < s.size {
		b, f, err := s.frame(end)
		if err != nil {
			return err
		}
		if f == faultNone && s.continues(b) {
			base := b.BaseOffset()
			ok := base == h.NextOffset()
			if !ok {
				if ok, err = s.confirmed(end+int64(len(b)), b.NextOffset()); err != nil {
					return err
				}
			}
			if ok {
				return s.damaged(end, base, cause)
			}
		}
	}
	if f == faultMagic && length >= batch.HeaderSize && end <= s.size {
		// Nor does the checksum cover the magic: the batch may have nothing else.
		if whole, err := s.checksum(s.pos, length); err != nil {
			return err
		} else if whole {
			return s.search(end, TornTail, cause)
		}
	}
	if expected && h.Magic() == magic2 {
		position, next, err := s.searchLength(h)
		if err != nil {
			return err
		}
		if position > 0 {
			return s.damaged(position, next, &batch.CorruptError{Field: batch.FieldLength, BaseOffset: h.BaseOffset(),
				Record: batch.NoRecord, Got: length, Want: position - s.pos})
		}
		switch {
		case end > s.size:
			return s.tail(TornTail, cause)
		case length >= batch.HeaderSize:
			return s.search(end, TornTail, cause)
		}
	}
	return s.search(s.pos+1, TornTail, cause)
}

// stale decides about a valid batch at s.pos that does not continue the log.
// Neither do those that continue it.
func (s *scanner) stale(cause error) error {
	position, next := s.pos, int64(NoOffset)
	for position < s.size {
		b, f, err := s.frame(position)
		if err != nil {
			return err
		}
		if f != faultNone || next != NoOffset && b.BaseOffset() != next && s.continues(b) {
			break
		}
		position += int64(len(b))
		next = b.NextOffset()
	}
	return s.search(position, StaleTail, cause)
}

// continues reports whether the valid batch b may be the next one behind
// damage.
func (s *scanner) continues(b batch.Batch) bool {
	return b.BaseOffset() >= s.next && s.fits(b) && s.epochFits(b.LeaderEpoch())
}

// search looks for the next batch from position on, and notes the damage before
// it, or the tail if there is none. Batches that are damaged but for their header
// may come first: where one ends, with the offset that is due, or with its
// successor behind it. It does not look inside of those either.
func (s *scanner) search(position int64, tail ScanKind, cause error) error {
	border := position
	for position <= s.size-batch.HeaderSize {
		b, err := s.w.rest(position, batch.HeaderSize)
		if err != nil {
			return err
		}
		// Most positions are ruled out by their magic alone.
		i := bytes.IndexByte(b[batchMagic:len(b)-batch.HeaderSize+batchMagic+1], magic2)
		if i < 0 {
			position += int64(len(b) - batch.HeaderSize + 1)
			continue
		}
		position += int64(i)
		h := b[i : i+batch.HeaderSize]
		if !s.plausible(h, position) {
			position++
			continue
		}
		length, base, next := frameLength(h), batch.Batch(h).BaseOffset(), batch.Batch(h).NextOffset()
		if s.budget -= length; s.budget < 0 {
			return s.tail(tail, errors.Join(cause, ErrSearchLimit))
		}
		_, f, err := s.frame(position)
		if err != nil {
			return err
		}
		proof := s.confirmed
		if f != faultNone {
			proof = s.succeeded // to pass over it
		}
		ok, err := proof(position+length, next)
		if err != nil {
			return err
		}
		switch {
		case f == faultNone && ok:
			return s.damaged(position, base, cause)
		case f == faultNone || ok || (position == border || base == s.next) && length <= windowLimit:
			position += length
			border = position
		default:
			position++
		}
	}
	return s.tail(tail, cause)
}

// plausible reports whether a header could be that of a batch behind the damage.
// It is cheap, and lets through about one in 10^9 of random bytes.
func (s *scanner) plausible(header []byte, position int64) bool {
	h := batch.Batch(header)
	length := frameLength(header)
	return h.Magic() == magic2 && length >= batch.HeaderSize && length <= s.size-position &&
		h.LastOffsetDelta() >= 0 && h.Attributes() >= 0 && h.Attributes() < 1<<7 && h.Count() >= 0 &&
		s.continues(h)
}

// confirmed reports whether what lies at position goes with a valid batch that
// ends there, before offset next: the end of the file, zeros up to it, or the
// beginning of a batch with that offset. A batch inside a value has nothing of
// this behind it.
func (s *scanner) confirmed(position, next int64) (bool, error) {
	if n := s.size - position; n < batch.HeaderSize {
		var want [8]byte
		binary.BigEndian.PutUint64(want[:], uint64(next))
		b, err := s.w.at(position, int(min(n, 8)))
		if err != nil || bytes.HasPrefix(want[:], b) {
			return err == nil, err
		}
	}
	if zero, err := s.allZero(position); zero || err != nil {
		return zero, err
	}
	return s.succeeded(position, next)
}

// succeeded reports whether at position there is a header for a batch that
// follows one that ends before offset next.
func (s *scanner) succeeded(position, next int64) (bool, error) {
	if s.size-position < batch.HeaderSize {
		return false, nil
	}
	h, err := s.w.at(position, batch.HeaderSize)
	if err != nil || h[batchMagic] != magic2 {
		return false, err
	}
	base := batch.Batch(h).BaseOffset()
	return base == next || s.options.Compacted && base > next && base-s.base <= MaxRelativeOffset, nil
}

// searchLength looks for the end of a batch at s.pos whose header h is right but
// for its length: a later header that continues it and up to which its checksum
// is right. It returns that position and offset, or 0.
func (s *scanner) searchLength(h batch.Batch) (position, next int64, err error) {
	if h.LastOffsetDelta() < 0 || h.BaseOffset() > math.MaxInt64-MaxRelativeOffset-2 {
		return 0, 0, nil
	}
	want, follower := h.CRC(), h.NextOffset()
	var crc uint32
	summed := s.pos + batchCovered
	for position = s.pos + batch.HeaderSize; position <= s.size-batch.HeaderSize; position++ {
		b, err := s.w.rest(position, batch.HeaderSize)
		if err != nil {
			return 0, 0, err
		}
		i := bytes.IndexByte(b[batchMagic:len(b)-batch.HeaderSize+batchMagic+1], magic2)
		if i < 0 {
			position += int64(len(b) - batch.HeaderSize)
			continue
		}
		position += int64(i)
		b = b[i : i+batch.HeaderSize]
		base := batch.Batch(b).BaseOffset()
		if base != follower && (!s.options.Compacted || base < follower) || !s.epochFits(batch.Batch(b).LeaderEpoch()) {
			continue
		}
		if crc, err = s.crc(crc, summed, position); err != nil {
			return 0, 0, err
		}
		if summed = position; crc != want {
			continue
		}
		if _, f, err := s.frame(position); err != nil || f == faultNone {
			return position, base, err
		}
	}
	return 0, 0, nil
}

// legacy reports whether a valid message of magic 0 or 1 is at s.pos. Those have
// their checksum, a CRC-32 of all behind it, where magic 2 has the leader epoch.
func (s *scanner) legacy() (bool, error) {
	const smallest, crc, covered = 26, 12, 16
	if s.size-s.pos < smallest {
		return false, nil
	}
	h, err := s.w.at(s.pos, smallest)
	if err != nil {
		return false, err
	}
	length, want := frameLength(h), binary.BigEndian.Uint32(h[crc:])
	if h[batchMagic] > 1 || length < smallest || length > s.size-s.pos || length > windowLimit {
		return false, nil
	}
	b, err := s.w.at(s.pos, int(length))
	if err != nil {
		return false, err
	}
	return crc32.ChecksumIEEE(b[covered:]) == want, nil
}

// allZero reports whether all bytes from position on are zero.
func (s *scanner) allZero(position int64) (bool, error) {
	if s.zeros < 0 {
		from := s.size
		for from > 0 {
			n := min(from, windowSize/4)
			b, err := s.w.at(from-n, int(n))
			if err != nil {
				return false, err
			}
			i := len(b)
			for i >= sectorSize && isZero(b[i-sectorSize:i]) {
				i -= sectorSize
			}
			for i > 0 && b[i-1] == 0 {
				i--
			}
			if from += int64(i) - n; i > 0 {
				break
			}
		}
		s.zeros = from
	}
	return position >= s.zeros, nil
}

// zeroed counts the bytes of [from, to) that lie in sectors which are all zero
// within it.
func (s *scanner) zeroed(from, to int64) (n int64, err error) {
	for from < to {
		end := min(to, (from/sectorSize+1)*sectorSize)
		b, err := s.w.at(from, int(end-from))
		if err != nil {
			return 0, err
		}
		if isZero(b) {
			n += int64(len(b))
		}
		from = end
	}
	return n, nil
}
