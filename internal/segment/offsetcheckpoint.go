package segment

import (
	"strconv"

	"github.com/partlog/partlog/internal/vfs"
)

// OffsetEntry is a line of an offset checkpoint: of a recovery point, a high
// watermark, a log start offset or a cleaner offset, by the file's name.
type OffsetEntry struct {
	Topic     string
	Partition int32
	Offset    int64
}

// AppendOffsetCheckpoint appends the content of an offset checkpoint to dst.
func AppendOffsetCheckpoint(dst []byte, entries []OffsetEntry) []byte {
	dst = appendCheckpointHeader(dst, len(entries))
	for _, e := range entries {
		dst = append(dst, e.Topic...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(e.Partition), 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, e.Offset, 10)
		dst = append(dst, '\n')
	}
	return dst
}

// ParseOffsetCheckpoint parses the content of an offset checkpoint. No bytes are
// no entries, as for Kafka. Errors are *CorruptError and *VersionError.
func ParseOffsetCheckpoint(data []byte) ([]OffsetEntry, error) {
	type key struct {
		topic     string
		partition int32
	}
	var entries []OffsetEntry
	seen := make(map[key]bool)
	err := parseCheckpoint(data, 3, func(position int, f []string) error {
		partition, ok := parseDecimal(f[1])
		if !ok || partition > 1<<31-1 {
			return corrupt(position, "checkpoint line has no partition")
		}
		offset, ok := parseDecimal(f[2])
		if !ok {
			return corrupt(position, "checkpoint line has no offset")
		}
		k := key{f[0], int32(partition)}
		if seen[k] {
			return corrupt(position, "checkpoint has %s-%d twice", k.topic, k.partition)
		}
		seen[k] = true
		entries = append(entries, OffsetEntry{k.topic, k.partition, offset})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// WriteOffsetCheckpoint replaces the offset checkpoint at path. It is complete
// and synced when it returns nil.
func WriteOffsetCheckpoint(fsys vfs.FS, path string, entries []OffsetEntry) error {
	return vfs.WriteFileAtomic(fsys, path, AppendOffsetCheckpoint(nil, entries))
}

// ReadOffsetCheckpoint reads the offset checkpoint at path. Errors are
// ParseOffsetCheckpoint's and the file system's.
func ReadOffsetCheckpoint(fsys vfs.FS, path string) ([]OffsetEntry, error) {
	data, err := readFile(fsys, path, maxCheckpointBytes)
	if err != nil {
		return nil, err
	}
	entries, err := ParseOffsetCheckpoint(data)
	return entries, at(path, err)
}
