package journal

// Recovery says what Open found and did. Every field has a JSON tag, for tools.
type Recovery struct {
	// Created: the directory held no journal, an empty one has been made.
	Created bool `json:"created"`
	// Snapshot is the index of the snapshot that was handed out; 0 with HasSnapshot false: none.
	Snapshot    uint64 `json:"snapshot"`
	HasSnapshot bool   `json:"hasSnapshot"`
	// First and Last are the indexes of the first entry kept on disk and of the last one. First is Last+1 when there is none.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Replayed counts the entries that were handed out.
	Replayed int `json:"replayed"`
	// Lossy: Salvage gave up entries that had been durable.
	Lossy bool `json:"lossy"`
	// Findings is empty after a clean close.
	Findings []Finding `json:"findings"`
}

// Finding is one irregularity.
type Finding struct {
	Kind     FindingKind `json:"kind"`
	Path     string      `json:"path"`
	Position int64       `json:"position"` // in bytes
	Bytes    int64       `json:"bytes"`    // concerned, from Position
	Index    uint64      `json:"index"`    // of the first entry concerned, 0 when there is none
	Action   Action      `json:"action"`
	SavedAs  string      `json:"savedAs,omitempty"` // where removed bytes were kept
	Detail   string      `json:"detail,omitempty"`
}

// FindingKind says what was found.
type FindingKind string

// The kinds of Finding.
const (
	TornTail              FindingKind = "torn-tail"              // the last write did not finish
	ZeroTail              FindingKind = "zero-tail"              // nothing but zeros after the last entry
	TrailingBytes         FindingKind = "trailing-bytes"         // garbage between the last entry of a segment and the next segment
	CoveredDamage         FindingKind = "covered-damage"         // damaged or missing entries that the snapshot makes unnecessary
	DamagedSnapshot       FindingKind = "damaged-snapshot"       // an older one is used instead
	DamagedMark           FindingKind = "damaged-mark"           // without it a lost end cannot be told from a torn one
	MissingMark           FindingKind = "missing-mark"           // likewise
	InterruptedTruncation FindingKind = "interrupted-truncation" // a crash during Compact
	Draft                 FindingKind = "draft"                  // temporary file of an interrupted atomic write
	Foreign               FindingKind = "foreign"                // a file that is not the journal's
	Salvaged              FindingKind = "salvaged"               // given up because Salvage was set
)

// Action says what was done about a Finding.
type Action string

// The values of Action.
const (
	ActionNone     Action = "none"      // read-only, or nothing to do
	ActionCut      Action = "cut"       // removed from the end of the file
	ActionReplaced Action = "replaced"  // the file was written anew without it
	ActionSetAside Action = "set-aside" // the file was renamed
	ActionFinished Action = "finished"  // the interrupted work was completed
	ActionRemoved  Action = "removed"   // the file was deleted
)

// Repaired reports whether anything on disk was changed other than making a new journal.
func (r *Recovery) Repaired() bool {
	for _, f := range r.Findings {
		if f.Action != ActionNone {
			return true
		}
	}
	return false
}
