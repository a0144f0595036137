package segment

import (
	"encoding/binary"
	"hash/crc32"
	"path/filepath"

	"github.com/partlog/partlog/internal/vfs"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ProducerEntry is what a producer snapshot keeps of one producer (KIP-98): its
// last batch only, not the five that a running partition remembers.
type ProducerEntry struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // −1: no data batch yet
	LastOffset       int64 // −1: no data batch yet
	OffsetDelta      int32 // last − first offset of the last batch
	Timestamp        int64 // of the last batch, for expiry
	CoordinatorEpoch int32 // −1 unless a marker was seen
	TxnFirstOffset   int64 // first offset of the open transaction, −1 none
}

// AppendSnapshot appends the content of a .snapshot file to dst, in the order
// given.
func AppendSnapshot(dst []byte, entries []ProducerEntry) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(entries)))
	for _, e := range entries {
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.ProducerID))
		dst = binary.BigEndian.AppendUint16(dst, uint16(e.Epoch))
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.LastSequence))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.LastOffset))
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.OffsetDelta))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.Timestamp))
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.CoordinatorEpoch))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.TxnFirstOffset))
	}
	crc := crc32.Checksum(dst[start+6:], castagnoli)
	binary.BigEndian.PutUint32(dst[start+2:], crc)
	return dst
}

// ParseSnapshot parses the content of a .snapshot file. Errors are
// *CorruptError and *VersionError; Kafka then tries the next older snapshot.
func ParseSnapshot(data []byte) ([]ProducerEntry, error) {
	if len(data) < 2 {
		return nil, corrupt(len(data), "producer snapshot is cut in its header")
	}
	version := int16(binary.BigEndian.Uint16(data))
	if err := checkVersion(int64(version), snapshotVersion, 0); err != nil {
		return nil, err
	}
	if version != snapshotVersion {
		return nil, corrupt(0, "producer snapshot has version %d", version)
	}
	if len(data) < snapshotHeaderSize {
		return nil, corrupt(len(data), "producer snapshot is cut in its header")
	}
	if crc32.Checksum(data[6:], castagnoli) != binary.BigEndian.Uint32(data[2:]) {
		return nil, corrupt(2, "producer snapshot fails its checksum")
	}
	count := int64(int32(binary.BigEndian.Uint32(data[6:])))
	if count < 0 || count*snapshotEntrySize != int64(len(data)-snapshotHeaderSize) {
		return nil, corrupt(6, "producer snapshot has %d bytes for %d entries", len(data), count)
	}
	entries := make([]ProducerEntry, count)
	for i := range entries {
		b := data[snapshotHeaderSize+i*snapshotEntrySize:]
		entries[i] = ProducerEntry{
			ProducerID:       int64(binary.BigEndian.Uint64(b)),
			Epoch:            int16(binary.BigEndian.Uint16(b[8:])),
			LastSequence:     int32(binary.BigEndian.Uint32(b[10:])),
			LastOffset:       int64(binary.BigEndian.Uint64(b[14:])),
			OffsetDelta:      int32(binary.BigEndian.Uint32(b[22:])),
			Timestamp:        int64(binary.BigEndian.Uint64(b[26:])),
			CoordinatorEpoch: int32(binary.BigEndian.Uint32(b[34:])),
			TxnFirstOffset:   int64(binary.BigEndian.Uint64(b[38:])),
		}
	}
	return entries, nil
}

// WriteSnapshot writes the snapshot that covers all offsets below end into dir.
// It is complete and synced when it returns nil.
func WriteSnapshot(fsys vfs.FS, dir string, end int64, entries []ProducerEntry) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, SnapshotName(end)), AppendSnapshot(nil, entries))
}

// maxSnapshotBytes bounds what is read of a snapshot: more than five million
// producers.
const maxSnapshotBytes = 256 << 20

// ReadSnapshot reads the snapshot that covers all offsets below end from dir.
// Errors are ParseSnapshot's and the file system's.
func ReadSnapshot(fsys vfs.FS, dir string, end int64) ([]ProducerEntry, error) {
	path := filepath.Join(dir, SnapshotName(end))
	data, err := readFile(fsys, path, maxSnapshotBytes)
	if err != nil {
		return nil, err
	}
	entries, err := ParseSnapshot(data)
	return entries, at(path, err)
}
