package batch

// A record batch. All integers are big-endian; varint and varlong are zigzag
// LEB128.
//
//	 0  i64  base offset               stamped by the leader, outside the CRC
//	 8  i32  length of what follows    total size - 12
//	12  i32  partition leader epoch    stamped by the leader, outside the CRC
//	16  i8   magic, 2
//	17  u32  CRC-32C of all that follows
//	21  i16  attributes
//	           0-2 codec   3 log append time   4 transactional
//	             5 control   6 delete horizon (KIP-534)   7-15 unused
//	23  i32  last offset delta         also the sequence delta
//	27  i64  base timestamp            or the delete horizon; -1 when emptied
//	35  i64  max timestamp             or the log append time
//	43  i64  producer id               -1 none
//	51  i16  producer epoch            -1 none
//	53  i32  base sequence             -1 none
//	57  i32  records really present    0 after compaction emptied the batch
//	61       records, compressed as one stream if there is a codec
//
// A record:
//
//	varint   length of what follows
//	i8       attributes, unused
//	varlong  timestamp - base timestamp
//	varint   offset - base offset
//	varint   key length, -1 null; key
//	varint   value length, -1 null; value
//	varint   number of headers; for each:
//	           varint key length; key; varint value length, -1 null; value
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57

	// HeaderSize is the size of a batch without records, in bytes.
	HeaderSize = 61

	// FrameSize is how many bytes the base offset and the length take: a
	// batch is FrameSize plus its length field long.
	FrameSize = 12

	// Magic is the only message format this package reads and writes.
	Magic = 2

	// MaxRecordOverhead is the most bytes that a record without headers
	// takes beyond its key and value, the count of headers and the two
	// lengths included.
	MaxRecordOverhead = 5 + 1 + 10 + 5 + 5 + 5 + 5

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40

	// length, attributes, two deltas, two lengths and a header count, a
	// byte each: no record is smaller.
	minRecordSize = 7
	minHeaderSize = 2

	controlBatchSize = 78
)

// None stands for "no value" in a batch's producer id, producer epoch, base
// sequence, leader epoch and timestamps.
const None = -1

// DefaultMaxBytes is a bound for decompression that suits callers who have no
// reason for another: far above any sane batch, far below a process's memory.
const DefaultMaxBytes = 128 << 20
