package log

import "time"

// Finding kinds: what recovery or Verify found at a place.
const (
	CleanEnd       = "clean-end"       // the segment ends with a whole batch
	TornTail       = "torn-tail"       // an unfinished write at the end
	ZeroTail       = "zero-tail"       // only zeros after the last batch (preallocation)
	StaleTail      = "stale-tail"      // old bytes after the last batch
	CorruptMiddle  = "corrupt-middle"  // bad bytes with good batches after them
	MissingSegment = "missing-segment" // offsets that no file holds
	WrongIndex     = "wrong-index"     // an index that disagrees with its segment
	WrongSum       = "wrong-sum"       // a .sum sidecar that is damaged itself
	WrongSnapshot  = "wrong-snapshot"  // a producer snapshot that cannot be believed
	WrongEpochs    = "wrong-epochs"    // a leader-epoch-checkpoint that cannot be believed
	WrongMetadata  = "wrong-metadata"  // a partition.metadata that cannot be believed
	Foreign        = "foreign"         // a file that is not ours; left alone
)

// Actions: what was done about a finding.
const (
	ActionNone        = "none"
	ActionTruncated   = "truncated"   // cut off at Position; the bytes are in SavedAs unless all were zero
	ActionQuarantined = "quarantined" // left in place; reading it returns *CorruptionError
	ActionRebuilt     = "rebuilt"     // a cache, made again from the batches
	ActionRemoved     = "removed"     // a leftover of our own
	ActionKept        = "kept"        // left in place, not used
)

// Finding is one thing that recovery or Verify has to say about a file.
type Finding struct {
	Kind       string `json:"kind"`
	Path       string `json:"path"`
	Position   int64  `json:"position"`    // bytes
	Offset     Offset `json:"offset"`      // first offset concerned
	NextOffset Offset `json:"next_offset"` // first offset not concerned any more
	Bytes      int64  `json:"bytes"`
	Action     string `json:"action"`
	SavedAs    string `json:"saved_as,omitempty"`
	Detail     string `json:"detail,omitempty"`
}

// RecoveryReport says what Open found and did. After a clean close nothing is scanned, and what the first use of a segment
// finds later is added to Log.Report.
type RecoveryReport struct {
	Topic         string        `json:"topic"`
	Partition     int32         `json:"partition"`
	Clean         bool          `json:"clean"` // the last close was clean and is believed
	RecoveryPoint Offset        `json:"recovery_point"`
	Start         Offset        `json:"start"`
	End           Offset        `json:"end"`
	Findings      []Finding     `json:"findings,omitempty"`
	Truncated     int64         `json:"truncated"`     // bytes cut off, zeros not counted
	ScannedBytes  int64         `json:"scanned_bytes"` // bytes read and checked
	Duration      time.Duration `json:"duration"`
	// Lossy says that records may have been lost: the open was unclean, or records below the recovery point are gone. The
	// next leader epoch must be higher than every epoch in the log.
	Lossy bool `json:"lossy"`
}
