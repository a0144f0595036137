// Package compress holds the four codecs that Apache Kafka's record batches
// use: gzip, snappy, lz4 and zstd, in exactly the framing that Kafka's own
// clients write and accept.
//
// The codec wraps the concatenated records of one batch as one stream:
//
//	gzip    one RFC 1952 member (several in a row are accepted)
//	snappy  xerial framing: magic, two version words, then blocks of at most
//	        32 KiB of input, each with its length in front; a single raw block
//	        without the magic is accepted too
//	lz4     the frame format, independent 64 KiB blocks, no checksums
//	zstd    ordinary frames, no dictionary
//
// Decompress is safe to call on bytes that a stranger sent: the result never
// grows past the caller's limit, and memory is asked for only in proportion
// to what has really been decoded or what the input could at most expand to,
// never because a length field says so.
//
// All functions may be called from any number of goroutines. Codec state is
// pooled, so in steady state nothing is allocated when the destination has
// room.
package compress
