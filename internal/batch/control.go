package batch

import (
	"encoding/binary"
	"fmt"
)

// ControlType is the kind of a control record (KIP-98, KIP-630, KIP-853).
type ControlType int16

// The kinds of control records. A reader skips those it does not know.
const (
	ControlAbort          ControlType = 0
	ControlCommit         ControlType = 1
	ControlLeaderChange   ControlType = 2
	ControlSnapshotHeader ControlType = 3
	ControlSnapshotFooter ControlType = 4
	ControlKRaftVersion   ControlType = 5
	ControlKRaftVoters    ControlType = 6
)

// String returns Kafka's name for the kind.
func (t ControlType) String() string {
	names := [...]string{"ABORT", "COMMIT", "LEADER_CHANGE", "SNAPSHOT_HEADER", "SNAPSHOT_FOOTER", "KRAFT_VERSION", "KRAFT_VOTERS"}
	if t < 0 || int(t) >= len(names) {
		return fmt.Sprintf("CONTROL(%d)", int16(t))
	}
	return names[t]
}

// Control is a parsed control record.
type Control struct {
	Type    ControlType
	Version int16 // of the key
	// CoordinatorEpoch is the transaction coordinator's epoch: only for
	// ControlAbort and ControlCommit.
	CoordinatorEpoch int32
}

// IsMarker reports whether the record ends a transaction.
func (c Control) IsMarker() bool { return c.Type == ControlAbort || c.Type == ControlCommit }

const (
	controlKeySize   = 4
	controlValueSize = 6
)

// BuildControl appends a transaction marker, a batch of 78 bytes, to dst and
// returns the longer slice. timestamp is in milliseconds. The batch has base
// offset 0 and leader epoch -1, for the leader to stamp.
func BuildControl(dst []byte, typ ControlType, producerID int64, producerEpoch int16, coordinatorEpoch int32, timestamp int64) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, controlBatchSize)...)
	b := Batch(dst[start:])
	b.setHeader(attrTransactional|attrControl, 0, 1)
	binary.BigEndian.PutUint64(b[posBaseTimestamp:], uint64(timestamp))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(timestamp))
	binary.BigEndian.PutUint64(b[posProducerID:], uint64(producerID))
	binary.BigEndian.PutUint16(b[posProducerEpoch:], uint16(producerEpoch))
	none := int32(None)
	binary.BigEndian.PutUint32(b[posBaseSequence:], uint32(none))

	// Length, attributes, timestamp delta, offset delta, key length; then a
	// key of version 0 and type; a value of version 0 and epoch; no headers.
	r := b[HeaderSize:]
	r[0], r[4] = (controlBatchSize-HeaderSize-1)<<1, controlKeySize<<1
	binary.BigEndian.PutUint16(r[7:], uint16(typ))
	r[9] = controlValueSize << 1
	binary.BigEndian.PutUint32(r[12:], uint32(coordinatorEpoch))
	b.UpdateCRC()
	return dst
}

// BuildEmpty appends what is left of b when compaction has removed all its
// records, a header of HeaderSize bytes, to dst and returns the longer slice.
// Offsets, leader epoch, producer and sequence stay, so that the producer's
// state survives; so do the largest timestamp and the transactional, control
// and time bits.
func BuildEmpty(dst []byte, b Batch) []byte {
	start := len(dst)
	dst = append(dst, b[:HeaderSize]...)
	e := Batch(dst[start:])
	e.setHeader(uint16(b.Attributes())&^(attrCodec|attrDeleteHorizon), b.LastOffsetDelta(), 0)
	e.SetBaseOffset(b.BaseOffset())
	e.SetLeaderEpoch(b.LeaderEpoch())
	none := int64(None)
	binary.BigEndian.PutUint64(e[posBaseTimestamp:], uint64(none))
	e.UpdateCRC()
	return dst
}

// setHeader writes the fields that follow from the size and those that every
// batch we write has, and leaves times, producer and CRC alone.
func (b Batch) setHeader(attributes uint16, lastOffsetDelta, count int32) {
	b.SetBaseOffset(0)
	b.SetLeaderEpoch(None)
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-FrameSize))
	b[posMagic] = Magic
	binary.BigEndian.PutUint16(b[posAttributes:], attributes)
	binary.BigEndian.PutUint32(b[posLastOffsetDelta:], uint32(lastOffsetDelta))
	binary.BigEndian.PutUint32(b[posCount:], uint32(count))
}

// ParseControl reads a record of a control batch. A version above the one we
// know is read as that one, and a kind that we do not know is not an error:
// its Type says so. Too short a key or marker value is an error for which
// errors.Is(err, ErrCorrupt) holds.
func ParseControl(r *Record) (Control, error) {
	if len(r.Key) < controlKeySize {
		return Control{}, &CorruptError{Field: FieldKey, BaseOffset: r.Offset, Record: 0,
			Got: int64(len(r.Key)), Want: controlKeySize}
	}
	c := Control{
		Version: int16(binary.BigEndian.Uint16(r.Key)),
		Type:    ControlType(binary.BigEndian.Uint16(r.Key[2:])),
	}
	if c.Version < 0 {
		return Control{}, &CorruptError{Field: FieldKey, BaseOffset: r.Offset, Record: 0, Got: int64(c.Version)}
	}
	if !c.IsMarker() {
		return c, nil
	}
	if len(r.Value) < controlValueSize {
		return Control{}, &CorruptError{Field: FieldValue, BaseOffset: r.Offset, Record: 0,
			Got: int64(len(r.Value)), Want: controlValueSize}
	}
	c.CoordinatorEpoch = int32(binary.BigEndian.Uint32(r.Value[2:]))
	return c, nil
}
