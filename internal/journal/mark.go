package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// mark names an entry that is durable, by its index and by the CRC that vouches for all entries up to it.
type mark struct {
	index uint64
	chain uint32
}

// encode returns the file's bytes.
func (m mark) encode() []byte {
	b := make([]byte, 0, markSize)
	b = append(b, markMagic...)
	b = append(b, formatVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, m.index)
	b = binary.BigEndian.AppendUint32(b, m.chain)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMark decodes a whole file.
func decodeMark(b []byte) (mark, error) {
	if err := checkWhole(b, markMagic, markSize); err != nil {
		return mark{}, err
	}
	if len(b) != markSize {
		return mark{}, errLength
	}
	return mark{index: binary.BigEndian.Uint64(b[8:]), chain: binary.BigEndian.Uint32(b[16:])}, nil
}
