package batch

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/partlog/partlog/internal/compress"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is the bytes of exactly one record batch. The accessors read the
// header and are valid for every Batch that Peek or a Builder returned; on a
// slice shorter than HeaderSize they panic.
type Batch []byte

// BaseOffset returns the offset of the first record slot, which compaction
// keeps when it removes that record.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[posBaseOffset:])) }

// Length returns the total size of the batch in bytes as its header says,
// the twelve bytes in front of the length field's count included.
func (b Batch) Length() int {
	return FrameSize + int(int32(binary.BigEndian.Uint32(b[posLength:])))
}

// LeaderEpoch returns the epoch of the leader that appended the batch, or -1
// when no leader has.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[posLeaderEpoch:])) }

// Magic returns the message format, 2.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC returns the CRC-32C that the header holds; see CheckCRC.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes returns the attribute bits.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[posAttributes:])) }

// LastOffsetDelta returns the last record slot's offset minus BaseOffset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:]))
}

// LastOffset returns the offset of the last record slot.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset returns the offset that follows the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp returns what the records' timestamp deltas are relative to:
// the first record's timestamp in milliseconds, or the delete horizon if
// HasDeleteHorizon, or -1 in an emptied batch.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])) }

// MaxTimestamp returns the largest timestamp in milliseconds, which in a
// LogAppendTime batch is every record's.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])) }

// ProducerID returns the producer id, -1 for none.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[posProducerID:])) }

// ProducerEpoch returns the producer epoch, -1 for none.
func (b Batch) ProducerEpoch() int16 {
	return int16(binary.BigEndian.Uint16(b[posProducerEpoch:]))
}

// BaseSequence returns the first record's sequence number, -1 for none.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[posBaseSequence:])) }

// LastSequence returns the last record's sequence number, -1 for none.
// Sequence numbers go from 2147483647 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base < 0 {
		return None
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence returns sequence number s plus n, both not negative, going
// from 2147483647 to 0 as Kafka's do.
func AddSequence(s, n int32) int32 { return int32(uint32(s)+uint32(n)) & 0x7fffffff }

// Count returns how many records the batch really holds: after compaction
// fewer than LastOffsetDelta+1, or none.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[posCount:])) }

// Codec returns the codec of the records. It need not be a valid one.
func (b Batch) Codec() compress.Codec { return compress.Codec(b[posAttributes+1] & attrCodec) }

// IsLogAppendTime reports whether all records have MaxTimestamp as their
// timestamp (message.timestamp.type=LogAppendTime).
func (b Batch) IsLogAppendTime() bool { return b[posAttributes+1]&attrLogAppendTime != 0 }

// IsTransactional reports whether the batch is part of a transaction; that of
// a transaction marker is.
func (b Batch) IsTransactional() bool { return b[posAttributes+1]&attrTransactional != 0 }

// IsControl reports whether the records are control records, which are never
// shown to applications.
func (b Batch) IsControl() bool { return b[posAttributes+1]&attrControl != 0 }

// HasDeleteHorizon reports whether BaseTimestamp is the time after which
// compaction may remove the batch's tombstones (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b[posAttributes+1]&attrDeleteHorizon != 0 }

// HasProducer reports whether the batch carries a producer id.
func (b Batch) HasProducer() bool { return b.ProducerID() >= 0 }

// Records returns the bytes after the header, compressed if there is a codec.
func (b Batch) Records() []byte { return b[HeaderSize:] }

// SetBaseOffset stamps the offset of the first record. The CRC does not cover
// it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(offset))
}

// SetLeaderEpoch stamps the leader's epoch. The CRC does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(epoch))
}

// SetLogAppendTime makes ms, in milliseconds since 1970, the timestamp of all
// records, and recomputes the CRC.
func (b Batch) SetLogAppendTime(ms int64) {
	b[posAttributes+1] |= attrLogAppendTime
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	b.UpdateCRC()
}

// SetMaxTimestamp corrects the largest timestamp of a CreateTime batch, in
// milliseconds, and recomputes the CRC if it was another.
func (b Batch) SetMaxTimestamp(ms int64) {
	if b.MaxTimestamp() == ms {
		return
	}
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	b.UpdateCRC()
}

// SetProducer stamps producer id, epoch and the first record's sequence
// number, and recomputes the CRC. A Builder's SetProducer is cheaper.
func (b Batch) SetProducer(id int64, epoch int16, baseSequence int32) {
	binary.BigEndian.PutUint64(b[posProducerID:], uint64(id))
	binary.BigEndian.PutUint16(b[posProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b[posBaseSequence:], uint32(baseSequence))
	b.UpdateCRC()
}

// ComputeCRC returns the CRC-32C of the bytes that it covers.
func (b Batch) ComputeCRC() uint32 { return crc32.Update(0, castagnoli, b[posAttributes:]) }

// UpdateCRC stores ComputeCRC in the header.
func (b Batch) UpdateCRC() { binary.BigEndian.PutUint32(b[posCRC:], b.ComputeCRC()) }

// CheckCRC returns nil if the CRC is right, and a *CorruptError if not. It
// reads the whole batch.
func (b Batch) CheckCRC() error {
	if want, got := b.CRC(), b.ComputeCRC(); want != got {
		return &CorruptError{Field: FieldCRC, BaseOffset: b.BaseOffset(), Record: NoRecord,
			Got: int64(got), Want: int64(want)}
	}
	return nil
}
