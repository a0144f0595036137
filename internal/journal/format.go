package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// The version of all formats in this file. A program refuses every file with a higher one and modifies nothing.
//
// What every later version keeps, so that an older program can tell "newer" from "damaged": the magics; the version byte
// behind them; in an envelope the places of length and CRC; in a snapshot and in the mark, the CRC in the last four bytes.
const formatVersion = 1

// An envelope holds one entry. All integers are big-endian.
//
//	 0  magic    4  "PLJe"
//	 4  version  1
//	 5  kind     1  the owner's
//	 6  zero     2
//	 8  index    8  of this entry
//	16  synced   8  index of the last entry that was durable when this one was written
//	24  chain    4  CRC of the entry before (of the first entry: 0)
//	28  length   4  of the payload
//	32  CRC      4  CRC-32C of bytes 0..31 and the payload
//	36  payload
//
// The CRC covers the CRC of the entry before, so an entry vouches for all that precede it; and since that one
// is carried too, each can be verified alone.
const (
	envelopeMagic = "PLJe"
	envelopeSize  = 36 // without the payload

	// MaxPayload is the largest payload that Append takes, in bytes.
	MaxPayload = 16 << 20
)

// A snapshot is a whole file.
//
//	 0  magic    4  "PLJs"
//	 4  version  1
//	 5  zero     3
//	 8  index    8  of the last entry that it covers
//	16  chain    4  CRC of that entry (of index 0: 0)
//	20  length   8  of the payload
//	28  payload
//	 -  CRC      4  CRC-32C of everything before it
const (
	snapshotMagic  = "PLJs"
	snapshotHeader = 28

	// MaxSnapshot is the largest snapshot that Compact takes, in bytes.
	MaxSnapshot = 1 << 30
)

// The mark says how far the journal certainly reached. It is a whole file.
//
//	 0  magic    4  "PLJm"
//	 4  version  1
//	 5  zero     3
//	 8  index    8  of an entry that is durable
//	16  chain    4  CRC of that entry (of index 0: 0)
//	20  CRC      4  CRC-32C of bytes 0..19
const (
	markMagic = "PLJm"
	markSize  = 24
)

const crcSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Why bytes are not what their place says. They are wrapped by *CorruptError and never leave the package alone.
var (
	errShort        = errors.New("cut short")
	errMagic        = errors.New("wrong magic")
	errReserved     = errors.New("reserved bytes are not zero")
	errLength       = errors.New("impossible length")
	errCRC          = errors.New("wrong checksum")
	errNewer        = errors.New("written by a newer format version")
	errVersion      = errors.New("impossible format version")
	errFrame        = errors.New("frame and envelope differ in length")
	errChain        = errors.New("does not continue the entry before it")
	errLost         = errors.New("durable entries are missing")
	errSwapped      = errors.New("is not the entry that the mark or the snapshot recorded")
	errName         = errors.New("name and content differ")
	errNotJournal   = errors.New("not a journal")
	errBase         = errors.New("no intact snapshot, and the entries do not begin at 1")
	errTruncation   = errors.New("marked as truncated at both ends")
	errOtherStorage = errors.New("belongs to the other storage: opened through the wrong file system")
)

// envelope is a decoded entry; payload aliases the input.
type envelope struct {
	kind          uint8
	index, synced uint64
	chain, crc    uint32
	payload       []byte
}

// size is the envelope's length on disk in bytes.
func (e *envelope) size() int { return envelopeSize + len(e.payload) }

// appendEnvelope appends the entry to dst and sets e.crc.
func appendEnvelope(dst []byte, e *envelope) []byte {
	at := len(dst)
	dst = append(dst, envelopeMagic...)
	dst = append(dst, formatVersion, e.kind, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, e.index)
	dst = binary.BigEndian.AppendUint64(dst, e.synced)
	dst = binary.BigEndian.AppendUint32(dst, e.chain)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.payload)))
	e.crc = crc32.Update(crc32.Checksum(dst[at:], castagnoli), castagnoli, e.payload)
	dst = binary.BigEndian.AppendUint32(dst, e.crc)
	return append(dst, e.payload...)
}

// decodeEnvelope decodes the entry at the beginning of b, which may be longer. The checksum is verified before anything
// else but magic and length is looked at, so an error other than errNewer means damage.
func decodeEnvelope(b []byte) (envelope, error) {
	if len(b) < envelopeSize {
		return envelope{}, errShort
	}
	if string(b[:4]) != envelopeMagic {
		return envelope{}, errMagic
	}
	n := binary.BigEndian.Uint32(b[28:])
	if n > MaxPayload {
		return envelope{}, errLength
	}
	if uint32(len(b)-envelopeSize) < n {
		return envelope{}, errShort
	}
	payload := b[envelopeSize : envelopeSize+int(n) : envelopeSize+int(n)]
	crc := binary.BigEndian.Uint32(b[32:])
	if crc32.Update(crc32.Checksum(b[:32], castagnoli), castagnoli, payload) != crc {
		return envelope{}, errCRC
	}
	switch version := b[4]; {
	case version > formatVersion:
		return envelope{}, errNewer
	case version != formatVersion:
		return envelope{}, errVersion
	case b[6] != 0 || b[7] != 0:
		return envelope{}, errReserved
	}
	return envelope{
		kind:    b[5],
		index:   binary.BigEndian.Uint64(b[8:]),
		synced:  binary.BigEndian.Uint64(b[16:]),
		chain:   binary.BigEndian.Uint32(b[24:]),
		crc:     crc,
		payload: payload,
	}, nil
}

// checkWhole verifies what a snapshot and the mark have in common: magic, the CRC at the end, version, zero bytes.
func checkWhole(b []byte, magic string, least int) error {
	switch {
	case len(b) < least:
		return errShort
	case string(b[:4]) != magic:
		return errMagic
	case crc32.Checksum(b[:len(b)-crcSize], castagnoli) != binary.BigEndian.Uint32(b[len(b)-crcSize:]):
		return errCRC
	case b[4] > formatVersion:
		return errNewer
	case b[4] != formatVersion:
		return errVersion
	case b[5] != 0 || b[6] != 0 || b[7] != 0:
		return errReserved
	}
	return nil
}
