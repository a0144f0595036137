package group

import "strconv"

// State is the state of a group, in Kafka's words.
//
//	          first member joins
//	Empty ───────────────────────────▶ PreparingRebalance ◀───────────────┐
//	  ▲                                  │   ▲         │                  │ a member joins, leaves,
//	  │ nobody is left                   │   │         │ all have joined, │ expires, or brings other
//	  └──────────────────────────────────┘   │         │ or time is up    │ metadata
//	                                         │         ▼                  │
//	                 a member joins, leaves, │   CompletingRebalance ─────┤
//	                 or does not sync        └─────────┤                  │
//	                                                   │ leader's sync    │
//	                                                   ▼ is written       │
//	Dead ◀── any, when the coordinator ends          Stable ──────────────┘
type State uint8

const (
	// Empty groups have no members, but may have committed offsets.
	Empty State = iota
	// PreparingRebalance waits for all members to join the next generation.
	PreparingRebalance
	// CompletingRebalance waits for the leader's assignment.
	CompletingRebalance
	// Stable groups have an assignment that every member may fetch.
	Stable
	// Dead groups are gone: unknown, or their coordinator has ended.
	Dead
	// Assigning consumer groups (KIP-848) have changed since their target assignment was computed.
	Assigning
	// Reconciling consumer groups have members that are on their way to the target assignment.
	Reconciling
)

// String returns Kafka's name of the state.
func (s State) String() string {
	switch s {
	case Empty:
		return "Empty"
	case PreparingRebalance:
		return "PreparingRebalance"
	case CompletingRebalance:
		return "CompletingRebalance"
	case Stable:
		return "Stable"
	case Dead:
		return "Dead"
	case Assigning:
		return "Assigning"
	case Reconciling:
		return "Reconciling"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}
