package segment

// Every layout that this package reads or writes, drawn. Integers are
// big-endian. Record batches, the content of a .log file, are drawn in package
// batch.
//
// Offset index (.index), entries of 8 bytes in strictly increasing order:
//
//	 0       4       8
//	+-------+-------+
//	|  rel  |  pos  |   rel: last offset of a batch − base offset of the segment
//	+-------+-------+   pos: position at which that same batch starts
//
// Time index (.timeindex), entries of 12 bytes, timestamps strictly increasing,
// offsets never decreasing:
//
//	 0               8       12
//	+---------------+-------+
//	|   timestamp   |  rel  |   no record up to base+rel has a larger timestamp;
//	+---------------+-------+   base+rel is the last offset of the batch that has it
//
// Both end where the entries end. While a broker has a segment open, the file
// is longer and its tail is zeros; it is cut at a roll and at a clean close.
//
// Transaction index (.txnindex), entries of 34 bytes, one an aborted
// transaction, in the order of their markers:
//
//	 0   2            10            18           26                 34
//	+---+------------+-------------+------------+------------------+
//	| 0 | producerId | firstOffset | lastOffset | lastStableOffset |
//	+---+------------+-------------+------------+------------------+
//
// Producer snapshot (.snapshot), KIP-98; the file's name is the exclusive end
// offset that it covers; crc is CRC-32C of all that follows it:
//
//	 0   2     6       10
//	+---+-----+-------+------------------------------+
//	| 1 | crc | count | count entries of 46 bytes    |
//	+---+-----+-------+------------------------------+
//
//	 0            8       10        14           22            26          34                 38           46
//	+------------+-------+---------+------------+-------------+-----------+------------------+------------+
//	| producerId | epoch | lastSeq | lastOffset | offsetDelta | timestamp | coordinatorEpoch | txnFirst   |
//	+------------+-------+---------+------------+-------------+-----------+------------------+------------+
//
// Text checkpoints, UTF-8, each line ended by '\n': a line "0" (version), a line
// with the number of entries, and the entries: "<epoch> <start offset>" in
// leader-epoch-checkpoint, "<topic> <partition> <offset>" in the others.
//
//	partition.metadata     version: 0\ntopic_id: <22 characters of base64url>
//	meta.properties        Java properties: version, cluster.id, node.id, directory.id
//	.kafka_cleanshutdown   {"version":0,"brokerEpoch":<int64>}
//
// Sum (.sum), ours: a checksum of a sealed segment's files that also says whose
// they are, which Kafka's formats do not. Its last 8 bytes are xxh64 of all
// that precedes them:
//
//	 0       8   10          14        30          34         42      46
//	+-------+---+-----------+---------+-----------+----------+-------+-------+-------+
//	| magic | 1 | blockSize | topicId | partition | base     | count | files | xxh64 |
//	+-------+---+-----------+---------+-----------+----------+-------+-------+-------+
//
//	 0         2      2+n    10+n
//	+---------+------+------+---------------------------------------+
//	| n       | name | size | xxh64 of each block, the last is short|
//	+---------+------+------+---------------------------------------+
const (
	offsetEntrySize = 8
	timeEntrySize   = 12
	txnEntrySize    = 34

	snapshotVersion    = 1
	snapshotHeaderSize = 10
	snapshotEntrySize  = 46

	checkpointVersion     = 0
	metadataVersion       = 0
	txnIndexVersion       = 0
	metaPropertiesVersion = 1
	cleanShutdownVersion  = 0

	sumMagic      = "plog.sum"
	sumVersion    = 1
	sumHeaderSize = 46

	// SumBlockSize is the number of bytes that one checksum of a .sum file
	// covers.
	SumBlockSize = 64 << 10
)

// MaxRelativeOffset is the largest distance between a segment's base offset and
// an offset in it: indexes keep the difference in 31 bits.
const MaxRelativeOffset = 1<<31 - 1
