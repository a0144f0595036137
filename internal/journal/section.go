package journal

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// section is one file of entries, read whole.
type section struct {
	name   string // in the directory
	base   uint64 // index of the first entry according to the name; 0: the name does not say
	framed bool   // every envelope is preceded by its length as a uvarint, as tidwall/wal writes it
	data   []byte
}

// piece is a stretch of a section: an intact entry, or a gap.
type piece struct {
	start, end int
	entry      envelope
	gap        error // not nil: bytes that hold no intact entry, and why the first of them does not
	unframed   bool  // the envelope is intact, but its frame belongs to the gap before
}

// pieces cuts the section into entries and gaps. The only error is errNewer, with the position of the envelope.
func (s *section) pieces() ([]piece, int, error) {
	var list []piece
	for at := 0; at < len(s.data); {
		entry, size, err := s.decode(at)
		if err == errNewer {
			return nil, at + size, err
		}
		if err == nil {
			list = append(list, piece{start: at, end: at + size, entry: entry})
			at += size
			continue
		}
		next, newer := s.resync(at)
		if newer {
			return nil, next.start, errNewer
		}
		list = append(list, piece{start: at, end: next.start, gap: err})
		if next.start < len(s.data) {
			list = append(list, next)
		}
		at = next.end
	}
	return list, 0, nil
}

// decode decodes the entry at a position and returns how many bytes it takes there; with errNewer, of its frame alone.
func (s *section) decode(at int) (envelope, int, error) {
	if !s.framed {
		entry, err := decodeEnvelope(s.data[at:])
		if err != nil {
			return envelope{}, 0, err
		}
		return entry, entry.size(), nil
	}
	length, n := binary.Uvarint(s.data[at:])
	if n == 0 {
		return envelope{}, 0, errShort
	}
	if n < 0 || length < envelopeSize || length > envelopeSize+MaxPayload {
		return envelope{}, 0, errFrame
	}
	entry, err := decodeEnvelope(s.data[at+n:])
	if err != nil {
		return envelope{}, n, err
	}
	// A uvarint has spellings with needless zero bits; tidwall/wal never writes them.
	if uint64(entry.size()) != length || n != uvarintLen(length) {
		return envelope{}, n, errFrame
	}
	return entry, n + entry.size(), nil
}

// resync finds the first intact envelope behind a damaged place. None: an empty piece at the end of the data.
func (s *section) resync(damaged int) (next piece, newer bool) {
	for at := damaged; ; at++ {
		found := bytes.Index(s.data[at:], []byte(envelopeMagic))
		if found < 0 {
			return piece{start: len(s.data), end: len(s.data)}, false
		}
		at += found
		if at == damaged && !s.framed {
			continue // that is the damaged one
		}
		entry, err := decodeEnvelope(s.data[at:])
		if err == errNewer {
			return piece{start: at}, true
		}
		if err != nil {
			continue
		}
		next = piece{start: at, end: at + entry.size(), entry: entry}
		if s.framed {
			var frame [binary.MaxVarintLen64]byte
			n := binary.PutUvarint(frame[:], uint64(entry.size()))
			if at-n > damaged && bytes.Equal(s.data[at-n:at], frame[:n]) {
				next.start = at - n
			} else {
				next.unframed = true
			}
		}
		return next, false
	}
}

// zeros reports whether there is nothing else from a position to the end.
func (s *section) zeros(from int) bool {
	return strings.Trim(string(s.data[from:]), "\x00") == ""
}

func uvarintLen(v uint64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], v)
}
