// Package segment reads and writes the files of one partition's directory, and
// of the log directory around it, byte for byte as Apache Kafka does.
//
// A segment is a log file of record batches that begins at its base offset, an
// OffsetIndex and a TimeIndex over it, held together by Index, the transactions
// that were aborted in it (AbortedTxn), and once it is sealed a Sum. Beside the segments lie producer snapshots, the leader epochs
// (Epochs) and partition.metadata; one directory up the offset checkpoints,
// meta.properties and the clean shutdown marker. filenames.go knows all names,
// format.go draws all layouts. The nouns of a log that is open, and when which
// file is written, are package log's.
//
//	index := segment.NewIndex(base, segment.IndexOptions{Interval: 4096, MaxBytes: 10 << 20})
//	result, err := segment.Scan(file, 0, size, base, segment.ScanOptions{},
//		func(position int64, b batch.Batch) error {
//			index.Add(position, b)
//			return nil
//		})
//	if err != nil {
//		return err // the disk's
//	}
//	for _, d := range result.Damage {
//		report(d.Kind, d.Position, d.NextPosition, d.Offset, d.NextOffset)
//	}
//	index.Close()
//	err = index.Write(fsys, dir)
//
// What is read is never believed: a file that is cut, zeroed, of another segment
// or of a newer version gives a typed error (ErrCorrupt, ErrNewerVersion) and no
// half result, and whoever asked rebuilds it from the batches. Nothing here
// deletes or repairs a file on its own.
//
// Offsets count records, positions count bytes. There is no goroutine, clock or
// lock in this package.
package segment
