// Package batch reads, checks and writes record batches, the unit in which
// Apache Kafka stores, sends and compresses records (message format v2, magic
// 2, KIP-98). The bytes of a batch are the same in a producer's memory, in a
// segment file and on the wire, so nothing here copies or re-encodes them.
//
// A Batch is a view of the bytes of exactly one batch. Peek finds the first
// one in a longer run of bytes; CheckCRC, CheckShape and Validate say whether
// to believe it; an Iterator walks its records, decompressing when needed,
// and is made to be kept and used again; a Builder appends records straight
// into the wire layout.
//
//	var b batch.Builder
//	b.Reset(nil, batch.Options{})
//	b.Append(now, []byte("key"), []byte("value"), nil)
//	whole, err := b.Finish()
//	...
//	var it batch.Iterator
//	for whole.Iterate(&it, batch.DefaultMaxBytes); it.Next(); {
//		r := it.Record() // borrowed until the next Next
//	}
//	err = it.Err()
//
// Nil and empty are different everywhere: a nil key, value or header value is
// null, an empty one that is not nil has length zero.
//
// No type of this package may be used by two goroutines at once, except that
// a Batch that nobody writes to may be read by any number.
package batch
