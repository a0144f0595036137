package log

import (
	"context"

	"github.com/partlog/partlog/internal/vfs"
)

// VerifyReport is what Verify found, machine readable.
type VerifyReport struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Dir       string    `json:"dir"`
	Start     Offset    `json:"start"`
	End       Offset    `json:"end"`
	Segments  int       `json:"segments"`
	Batches   int64     `json:"batches"`
	Records   int64     `json:"records"`
	Bytes     int64     `json:"bytes"`
	Findings  []Finding `json:"findings,omitempty"`
	// Damaged says that at least one finding concerns records or files that are not caches.
	Damaged bool `json:"damaged"`
}

// VerifyOptions say what an offline Verify may take as known.
type VerifyOptions struct {
	Topic     string
	Partition int32
	TopicID   [16]byte
	Compacted bool   // gaps between offsets are lawful
	Start     Offset // records below it are not expected to be there
	End       Offset // records up to it must be there; -1 unknown
	Live      bool   // somebody is writing: an unfinished tail is no damage
}

// Verify reads every file of the log and checks it. Appends and reads go on meanwhile.
func (l *Log) Verify(ctx context.Context) (*VerifyReport, error) { return nil, ErrClosed }

// VerifyDir checks a partition's directory without opening it as a log. It changes nothing.
func VerifyDir(ctx context.Context, fsys vfs.FS, dir string, o VerifyOptions) (*VerifyReport, error) {
	return nil, ErrClosed
}
