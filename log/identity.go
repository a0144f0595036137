package log

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/partlog/partlog/internal/segment"
)

// prepareDir makes the directory and its partition.metadata.
func (l *Log) prepareDir() error {
	c := &l.config
	if err := l.identify(); err != nil || c.ReadOnly || l.hasMetadata.Load() {
		return err
	}
	if err := l.makeDir(); err != nil {
		return err
	}
	if c.TopicID != [16]byte{} {
		if err := segment.WritePartitionMetadata(c.FS, c.Dir, c.TopicID); err != nil {
			return writeError("write", l.path(segment.PartitionMetadataName), err)
		}
	}
	l.hasMetadata.Store(true)
	return nil
}

// identify makes sure that the directory is not another topic's, once.
func (l *Log) identify() error {
	if l.identified.Load() {
		return nil
	}
	c := &l.config
	id, err := segment.ReadPartitionMetadata(c.FS, c.Dir)
	path := l.path(segment.PartitionMetadataName)
	unknown := c.TopicID == [16]byte{}
	switch {
	case err == nil && (unknown || id == c.TopicID):
		l.hasMetadata.Store(true)
	case err == nil && distance(segment.FormatUUID(id), segment.FormatUUID(c.TopicID)) > 2:
		return storageError(ErrForeign, "open", path, fmt.Errorf("topic id is %s, not %s", segment.FormatUUID(id), segment.FormatUUID(c.TopicID)))
	case !errors.Is(err, fs.ErrNotExist):
		// The owner's id is believed: the file has no checksum, and a flipped bit must not take the partition away.
		detail := "another id"
		if err != nil {
			detail = err.Error()
		}
		l.find(Finding{Kind: WrongMetadata, Path: path, Action: ActionRebuilt, Detail: detail})
	}
	l.identified.Store(true)
	return nil
}

// distance counts the characters in which two texts of one length differ.
func distance(a, b string) int {
	n := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// makeDir makes the partition's directory, durably.
func (l *Log) makeDir() error {
	c := &l.config
	if _, err := c.FS.Stat(c.Dir); err == nil {
		return nil
	}
	if err := c.FS.MkdirAll(c.Dir, 0o700); err != nil {
		return writeError("make directory", c.Dir, err)
	}
	if err := c.FS.SyncDir(filepath.Dir(c.Dir)); err != nil {
		return storageError(nil, "sync directory", filepath.Dir(c.Dir), err)
	}
	return nil
}
