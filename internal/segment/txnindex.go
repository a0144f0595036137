package segment

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/partlog/partlog/internal/vfs"
)

// AbortedTxn is an entry of a .txnindex file (KIP-98): a transaction that was
// aborted and has its marker in the segment.
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64 // of its first batch, maybe in an earlier segment
	LastOffset       int64 // the marker's
	LastStableOffset int64 // the last stable offset that the marker gave
}

// TxnEntrySize is the number of bytes of an entry of a .txnindex file.
const TxnEntrySize = txnEntrySize

// AppendTxnEntry appends an entry as a .txnindex file has it to dst.
func AppendTxnEntry(dst []byte, t AbortedTxn) []byte {
	dst = binary.BigEndian.AppendUint16(dst, txnIndexVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.ProducerID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.FirstOffset))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.LastOffset))
	return binary.BigEndian.AppendUint64(dst, uint64(t.LastStableOffset))
}

// AppendTxnIndex appends the content of a .txnindex file to dst.
func AppendTxnIndex(dst []byte, entries []AbortedTxn) []byte {
	for _, e := range entries {
		dst = AppendTxnEntry(dst, e)
	}
	return dst
}

// ParseTxnIndex parses the content of the .txnindex file of a segment that
// begins with base. Entries are in the order of their markers, which lie in
// [base, base + MaxRelativeOffset]. Errors are *CorruptError and *VersionError.
func ParseTxnIndex(data []byte, base int64) ([]AbortedTxn, error) {
	if rest := len(data) % txnEntrySize; rest != 0 {
		return nil, corrupt(len(data)-rest, "transaction index is cut in an entry")
	}
	entries := make([]AbortedTxn, len(data)/txnEntrySize)
	last := base - 1
	for i := range entries {
		b := data[i*txnEntrySize:]
		if err := checkVersion(int64(int16(binary.BigEndian.Uint16(b))), txnIndexVersion, i*txnEntrySize); err != nil {
			return nil, err
		}
		e := AbortedTxn{
			ProducerID:       int64(binary.BigEndian.Uint64(b[2:])),
			FirstOffset:      int64(binary.BigEndian.Uint64(b[10:])),
			LastOffset:       int64(binary.BigEndian.Uint64(b[18:])),
			LastStableOffset: int64(binary.BigEndian.Uint64(b[26:])),
		}
		switch {
		case e.ProducerID < 0:
			return nil, corrupt(i*txnEntrySize+2, "transaction of producer %d", e.ProducerID)
		case e.LastOffset <= last || e.LastOffset-base > MaxRelativeOffset:
			return nil, corrupt(i*txnEntrySize+18, "marker at offset %d", e.LastOffset)
		case e.FirstOffset < 0 || e.FirstOffset >= e.LastOffset:
			return nil, corrupt(i*txnEntrySize+10, "transaction from offset %d with its marker at %d", e.FirstOffset, e.LastOffset)
		case e.LastStableOffset < 0 || e.LastStableOffset > e.LastOffset+1:
			return nil, corrupt(i*txnEntrySize+26, "last stable offset %d of a marker at %d", e.LastStableOffset, e.LastOffset)
		}
		last = e.LastOffset
		entries[i] = e
	}
	return entries, nil
}

// WriteTxnIndex writes the .txnindex file of the segment that begins with base
// into dir, or, as there is none without an entry, removes it. What it writes
// is complete and synced when it returns nil.
func WriteTxnIndex(fsys vfs.FS, dir string, base int64, data []byte) error {
	path := filepath.Join(dir, TxnIndexName(base))
	if len(data) == 0 {
		if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return vfs.WriteFileAtomic(fsys, path, data)
}

// maxTxnIndexBytes bounds what is read of a transaction index: more than the
// markers that a segment of 2 GiB has room for.
const maxTxnIndexBytes = 1 << 30

// ReadTxnIndex reads the .txnindex file of the segment that begins with base
// from dir. Errors are the file system's, and a *CorruptError if it is too long.
func ReadTxnIndex(fsys vfs.FS, dir string, base int64) ([]byte, error) {
	return readFile(fsys, filepath.Join(dir, TxnIndexName(base)), maxTxnIndexBytes)
}
