package quorum

// EventKind says what happened.
type EventKind string

// The kinds of Event.
const (
	EventWarning EventKind = "warning" // raft's own words, for a reader
	EventRefused EventKind = "refused" // a message that was not heeded
	EventFailed  EventKind = "failed"  // this Raft takes no part any more
)

// Event is something that a person may want to know.
type Event struct {
	Kind   EventKind `json:"kind"`
	Node   int32     `json:"node"` // whose message it was; -1: nobody's
	Detail string    `json:"detail"`
	Err    error     `json:"-"`
}
