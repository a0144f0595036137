package segment

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/partlog/partlog/internal/vfs"
)

// maxMetadataBytes bounds what is read of a metadata file.
const maxMetadataBytes = 1 << 20

// AppendPartitionMetadata appends the content of partition.metadata to dst
// (KIP-516).
func AppendPartitionMetadata(dst []byte, topicID [16]byte) []byte {
	dst = append(dst, "version: "...)
	dst = strconv.AppendInt(dst, metadataVersion, 10)
	dst = append(dst, "\ntopic_id: "...)
	return append(dst, FormatUUID(topicID)...)
}

// ParsePartitionMetadata parses the content of partition.metadata. The zero id
// is corrupt. Errors are *CorruptError and *VersionError.
func ParsePartitionMetadata(data []byte) (topicID [16]byte, err error) {
	first, rest, ok := strings.Cut(string(data), "\n")
	number, isVersion := strings.CutPrefix(first, "version:")
	version, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
	if !ok || !isVersion || err != nil {
		return topicID, corrupt(0, "first line of partition.metadata is no version")
	}
	if err := checkVersion(version, metadataVersion, 0); err != nil {
		return topicID, err
	}
	text, isID := strings.CutPrefix(strings.TrimSuffix(rest, "\n"), "topic_id:")
	topicID, err = ParseUUID(strings.TrimSpace(text))
	if !isID || err != nil || topicID == [16]byte{} {
		return [16]byte{}, corrupt(len(first)+1, "second line of partition.metadata is no topic id")
	}
	return topicID, nil
}

// WritePartitionMetadata replaces partition.metadata in dir. It is complete and
// synced when it returns nil.
func WritePartitionMetadata(fsys vfs.FS, dir string, topicID [16]byte) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, PartitionMetadataName), AppendPartitionMetadata(nil, topicID))
}

// ReadPartitionMetadata reads the topic id from partition.metadata in dir.
// Errors are ParsePartitionMetadata's and the file system's.
func ReadPartitionMetadata(fsys vfs.FS, dir string) (topicID [16]byte, err error) {
	path := filepath.Join(dir, PartitionMetadataName)
	data, err := readFile(fsys, path, maxMetadataBytes)
	if err != nil {
		return topicID, err
	}
	topicID, err = ParsePartitionMetadata(data)
	return topicID, at(path, err)
}
