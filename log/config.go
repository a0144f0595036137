package log

import (
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/vfs"
)

// Config says which log to open and what its owner knows about it. Nothing in it is read from the log's own directory: what
// the owner says here is believed before the files.
type Config struct {
	FS        vfs.FS // required
	Dir       string // the partition's directory, made if it is not there
	Topic     string
	Partition int32
	TopicID   [16]byte    // zero: unknown; otherwise written to a new partition.metadata and compared with an old one
	Clock     clock.Clock // nil: clock.System
	Settings  Settings

	LeaderEpoch   LeaderEpoch // stamped on appended batches
	Clean         bool        // the last Close returned nil and nobody has opened the log since: believe the files, scan nothing
	CleanEnd      Offset      // End at that close; Unlimited (-1) when it is not known
	RecoveryPoint Offset      // everything below it is known to have been synced
	LogStart      Offset      // lower offsets were deleted on purpose
	Cleaned       Offset      // the owner's copy of Log.Cleaned: up to here compaction has been; above 0, gaps are lawful whatever Settings.Compacted says

	Copied bool // the files are a synced copy: where Compacted, a segment that ends before the next one begins was cleaned so, not cut short

	Maps       *mmap.Budget // cap on mappings, shared by many logs; nil: none. Spent: reads are copies made by pread
	Notify     func()       // called with no lock held after readers can see more; must be quick and must not call Append
	ReadOnly   bool         // change nothing; beside a live writer too. Recovery is done in memory only
	LazyCreate bool         // make a missing directory at the first append, not at Open

	// Replicated says that other nodes have copies of the log. Visible is the high watermark then, which only SetHighWatermark raises;
	// between Lead and Follow the log takes appends of its own, otherwise those of AppendReplica. Notify is called after Written or
	// Durable has moved.
	Replicated    bool
	HighWatermark Offset // that the owner last knew; Replicated only. Too low a one costs nothing that leader and followers do not find out again
}
