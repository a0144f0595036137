package simulate

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Payload is what a simulated client writes as a record's value: it says itself where it belongs, so that a record which turns up
// somewhere else, twice, or not as it was written is known for what it is.
type Payload struct {
	Producer  uint32 // the client
	Sequence  uint64 // of all that the client has written to the partition, from 0
	Partition uint32
	Txn       uint64 // the client's transaction, from 1; 0: none
}

const payloadSize = 4 + 8 + 4 + 8 + 4

// ErrPayload says that a record's value is not one that a client has written.
var ErrPayload = errors.New("simulate: not a payload, or damaged")

// Append appends the payload's bytes, the checksum last.
func (p Payload) Append(b []byte) []byte {
	from := len(b)
	b = binary.BigEndian.AppendUint32(b, p.Producer)
	b = binary.BigEndian.AppendUint64(b, p.Sequence)
	b = binary.BigEndian.AppendUint32(b, p.Partition)
	b = binary.BigEndian.AppendUint64(b, p.Txn)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
}

// ParsePayload reads what Append wrote.
func ParsePayload(b []byte) (Payload, error) {
	if len(b) != payloadSize || binary.BigEndian.Uint32(b[payloadSize-4:]) != crc32.ChecksumIEEE(b[:payloadSize-4]) {
		return Payload{}, ErrPayload
	}
	return Payload{
		Producer:  binary.BigEndian.Uint32(b),
		Sequence:  binary.BigEndian.Uint64(b[4:]),
		Partition: binary.BigEndian.Uint32(b[12:]),
		Txn:       binary.BigEndian.Uint64(b[16:]),
	}, nil
}
