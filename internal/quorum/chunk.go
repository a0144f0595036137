package quorum

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A piece of a message.
//
//	 0  version  1
//	 1  zero     3
//	 4  CRC      4  CRC-32C of the whole message: which one it is
//	 8  total    8  its length in bytes
//	16  position 8  of this piece in it
//	24  bytes
const chunkHeader = 24

// Split cuts a message into pieces of at most size bytes, which Assembler puts together again.
func Split(message []byte, size int) [][]byte {
	size = max(size-chunkHeader, 1)
	sum := crc32.Checksum(message, castagnoli)
	var list [][]byte
	for at := 0; at < len(message); at += size {
		part := message[at:min(at+size, len(message))]
		b := make([]byte, 0, chunkHeader+len(part))
		b = append(b, formatVersion, 0, 0, 0)
		b = binary.BigEndian.AppendUint32(b, sum)
		b = binary.BigEndian.AppendUint64(b, uint64(len(message)))
		b = binary.BigEndian.AppendUint64(b, uint64(at))
		list = append(list, append(b, part...))
	}
	return list
}

// Assembler puts the pieces of messages together, of one message per node at a time. Only a message of which every byte has
// come, and that has the checksum it was announced with, leaves it. The zero value is ready. Not safe for concurrent use.
type Assembler struct {
	partial map[int32]*partial
}

type partial struct {
	sum   uint32
	total uint64
	bytes []byte
}

// Add takes a piece that node from sent. When it was the last, message is the whole. A piece that does not continue the ones
// before it drops them, with ErrMalformed; so does none at all, by Drop. A piece that begins a message drops the one before.
func (a *Assembler) Add(from int32, piece []byte) (message []byte, err error) {
	if len(piece) > 0 && piece[0] > formatVersion {
		return nil, fmt.Errorf("%w: piece of format %d", ErrNewerVersion, piece[0])
	}
	if len(piece) <= chunkHeader || piece[0] != formatVersion {
		a.Drop(from)
		return nil, fmt.Errorf("%w: piece of %d bytes", ErrMalformed, len(piece))
	}
	sum, total, position := binary.BigEndian.Uint32(piece[4:]), binary.BigEndian.Uint64(piece[8:]), binary.BigEndian.Uint64(piece[16:])
	part := piece[chunkHeader:]
	if total > MaxSnapshotBytes+1<<20 {
		a.Drop(from)
		return nil, fmt.Errorf("%w: message of %d bytes in pieces", ErrTooLarge, total)
	}
	p := a.partial[from]
	if position == 0 {
		p = &partial{sum: sum, total: total}
		if a.partial == nil {
			a.partial = map[int32]*partial{}
		}
		a.partial[from] = p
	}
	if p == nil || p.sum != sum || p.total != total || uint64(len(p.bytes)) != position || uint64(len(part)) > total-position {
		a.Drop(from)
		return nil, fmt.Errorf("%w: piece at %d of %d does not continue", ErrMalformed, position, total)
	}
	p.bytes = append(p.bytes, part...)
	if uint64(len(p.bytes)) < total {
		return nil, nil
	}
	a.Drop(from)
	if crc32.Checksum(p.bytes, castagnoli) != sum {
		return nil, fmt.Errorf("%w: message in pieces has the wrong checksum", ErrMalformed)
	}
	return p.bytes, nil
}

// Drop forgets what has come of a message from a node: the connection is gone.
func (a *Assembler) Drop(from int32) { delete(a.partial, from) }
