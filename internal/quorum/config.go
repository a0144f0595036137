package quorum

import (
	"fmt"

	"github.com/partlog/partlog/internal/vfs"
)

// Limits that are no matter of configuration.
const (
	// MaxSnapshotBytes is the largest state that Compact and Bootstrap take.
	MaxSnapshotBytes = 512 << 20

	// MaxEntryBytes is the most that Config.MaxEntryBytes may say.
	MaxEntryBytes = 8 << 20
)

// Config says where the log is, and how patient the quorum is. Times are counted in ticks, whose length the caller decides.
type Config struct {
	// FS holds the directory. nil or vfs.OS: a real directory; see package journal.
	FS vfs.FS
	// Dir is the quorum's own directory; its parent must exist.
	Dir string
	// Applied is the index of the last entry that the caller's state already covers: the first to be handed out is the next.
	// If the log begins later, a snapshot is handed out first.
	Applied uint64
	// Known is the highest index that anything durable of the caller's has come from, Applied or more: it was committed, and a log
	// that ends before it has lost entries (see DamageError). Default: Applied.
	Known uint64

	// ElectionTicks without a word from a leader begin an election (randomised up to twice as many); a leader that has not
	// heard from a majority for as long resigns. 0: 10.
	ElectionTicks int
	// HeartbeatTicks are between a leader's heartbeats. 0: 1.
	HeartbeatTicks int

	// MaxEntryBytes bounds what Propose takes. 0: 1 MiB.
	MaxEntryBytes int
	// MaxUncommittedBytes bounds the entries of a leader that are not committed. 0: 16 MiB.
	MaxUncommittedBytes int
	// MaxMessageBytes bounds the entries in one message, but for one that is larger alone. 0: 256 KiB.
	MaxMessageBytes int
	// KeepEntries is how many entries before a snapshot stay for members that are a little behind. 0: 1000; -1: none.
	KeepEntries int
	// PromoteLag is by how many entries an observer may be behind what is committed, and be promoted. 0: 64.
	PromoteLag int
	// SegmentBytes is the journal's; see journal.Options. 0: its default.
	SegmentBytes int64

	// Events is told what has no caller to be returned to. It must not call the Raft. nil: nobody is.
	Events func(Event)
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		c.FS = vfs.OS
	}
	for _, f := range []struct {
		field *int
		value int
	}{
		{&c.ElectionTicks, 10}, {&c.HeartbeatTicks, 1}, {&c.MaxEntryBytes, 1 << 20}, {&c.MaxUncommittedBytes, 16 << 20},
		{&c.MaxMessageBytes, 256 << 10}, {&c.KeepEntries, 1000}, {&c.PromoteLag, 64},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	c.KeepEntries = max(c.KeepEntries, 0)
	c.Known = max(c.Known, c.Applied)
	return c
}

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("quorum: config: no directory")
	case c.HeartbeatTicks < 1 || c.ElectionTicks <= c.HeartbeatTicks:
		return fmt.Errorf("quorum: config: %d ticks to an election and %d between heartbeats: the first must be more, and both positive",
			c.ElectionTicks, c.HeartbeatTicks)
	case c.MaxEntryBytes < 1 || c.MaxEntryBytes > MaxEntryBytes:
		return fmt.Errorf("quorum: config: MaxEntryBytes %d is not in 1 to %d", c.MaxEntryBytes, MaxEntryBytes)
	case c.MaxUncommittedBytes < c.MaxEntryBytes:
		return fmt.Errorf("quorum: config: MaxUncommittedBytes %d is less than one entry of MaxEntryBytes %d", c.MaxUncommittedBytes, c.MaxEntryBytes)
	case c.MaxMessageBytes < 0 || c.MaxMessageBytes > MaxEntryBytes:
		return fmt.Errorf("quorum: config: MaxMessageBytes %d is not in 0 to %d", c.MaxMessageBytes, MaxEntryBytes)
	case c.PromoteLag < 0:
		return fmt.Errorf("quorum: config: PromoteLag %d is negative", c.PromoteLag)
	}
	return nil
}
