// Package journal keeps the catalogue of a store: an ordered list of small changes, each durable before it is
// acknowledged, replayed once at open.
//
// An entry is one change: a kind, which the owner gives meaning to, and a payload. Its index is one more than the
// index of the entry before it; the first is 1. A snapshot is the owner's whole state after an entry. Open hands the
// owner the newest snapshot and then every later entry; afterwards the owner answers from its memory and the journal is
// never read again.
//
//	j, recovery, err := journal.Open(journal.Options{
//		Dir:      dir,
//		Snapshot: catalogue.Restore, // the newest snapshot, if there is one
//		Replay:   catalogue.Apply,   // every entry after it, in order
//	})
//	...
//	index, err := j.Append(kindTopicCreated, payload) // durable when err is nil
//	...
//	if j.Size() > limit {
//		err = j.Compact(catalogue.Encode())
//	}
//	err = j.Close()
//
// # Guarantees
//
// An entry whose Append returned nil is replayed by every later Open, exactly once and in order, or Open fails with a
// *CorruptError; it is never left out silently. What no format can see, after a crash (not after Close): damage to the very
// last entry looks like a write that the crash tore, and is repaired as one, with the removed bytes kept and named by the
// recovery report; and if somebody has cut whole entries off the end, those since the last mark are not missed. An entry
// whose Append failed may or may not be replayed.
//
// One logical change is one entry. There is no batch: whatever must happen together belongs into one payload.
//
// The first error of a write, a sync or a truncation closes the journal for writing: every later call returns an error
// that Is ErrFailed. Reopen, or Close and Open, go through recovery before anything is believed again.
//
// # Torn, or lost
//
// Every entry carries the index of the last entry that was durable when it was written, and its checksum covers the
// checksum of the entry before it. The mark file carries the same two figures for the end of the journal, written at open,
// when a segment is full, and at close. A damaged end is a torn write only if it lies above all of them: it is
// cut, and the bytes are kept in a file beside. Anything else (a damaged middle, fewer entries than were durable, a whole
// entry that does not continue the chain) is corruption, and nothing is modified.
//
// # Two storages
//
// On a real directory the entries are kept by tidwall/wal, behind rules that its audit made necessary: nobody else touches
// it, it never sees a file that was not verified first, it is never retried after an error, its segments are small, and
// what it does not do (lock, fsync directories, check contiguity) is done here. On any other vfs.FS (memory, faults,
// simulation) they are one append-only file. Envelope, snapshots, mark and recovery are the same code.
//
// # Compaction
//
// Compact writes a snapshot and then drops the entries that the snapshot before it already covered. So two snapshots are
// kept, and all entries after the older one: a damaged newest snapshot loses nothing.
package journal
