package journal

import (
	"encoding/binary"
	"hash/crc32"
)

// snapshot is the owner's state after an entry.
type snapshot struct {
	index   uint64
	chain   uint32 // the CRC of the entry at index
	payload []byte
}

// appendSnapshot appends the file's bytes to dst.
func appendSnapshot(dst []byte, s snapshot) []byte {
	at := len(dst)
	dst = append(dst, snapshotMagic...)
	dst = append(dst, formatVersion, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, s.index)
	dst = binary.BigEndian.AppendUint32(dst, s.chain)
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(s.payload)))
	dst = append(dst, s.payload...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// decodeSnapshot decodes a whole file; the payload aliases it.
func decodeSnapshot(b []byte) (snapshot, error) {
	if err := checkWhole(b, snapshotMagic, snapshotHeader+crcSize); err != nil {
		return snapshot{}, err
	}
	payload := b[snapshotHeader : len(b)-crcSize : len(b)-crcSize]
	if binary.BigEndian.Uint64(b[20:]) != uint64(len(payload)) {
		return snapshot{}, errLength
	}
	return snapshot{
		index:   binary.BigEndian.Uint64(b[8:]),
		chain:   binary.BigEndian.Uint32(b[16:]),
		payload: payload,
	}, nil
}
