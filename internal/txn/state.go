package txn

import "strconv"

// State is the state of a transactional id, with Kafka's numbers. * marks what is being written: until it is,
// the state is the one before.
//
//	          InitProducerID              AddPartitions                    EndTxn commit
//	(none) ──────────────────▶ Empty ───────────────────▶ Ongoing ─────────────────────────▶ PrepareCommit
//	                           ▲   ▲                      ▲  │ │                                   │ markers written
//	                           │   └──────────────┐       │  │ │ EndTxn abort, timeout, fence      ▼
//	                           │  InitProducerID  │       │  │ └──────────────┐              CompleteCommit ──┐
//	                           │                  │       │  ▼                ▼                    │         │
//	                           │                  │       │ PrepareEpochFence* ─▶ PrepareAbort     │         │
//	                           │                  │       │                        │ markers       │         │
//	                           │                  │       │                        ▼               │         │
//	                           │                  └───────┼───────────────── CompleteAbort         │         │
//	                           │                          └───── AddPartitions ────┴───────────────┘         │
//	                           └─────────────────────────────────────────────────────────────────────────────┘
//
// An abort of an id without an open transaction, which version 2 allows to a client that does not know, goes from
// Empty and Complete to PrepareAbort. Empty and Complete become Dead, and are forgotten, when they expire.
type State int8

// The states. PrepareEpochFence is never written.
const (
	Empty             State = 0
	Ongoing           State = 1
	PrepareCommit     State = 2
	PrepareAbort      State = 3
	CompleteCommit    State = 4
	CompleteAbort     State = 5
	Dead              State = 6
	PrepareEpochFence State = 7
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

// String returns Kafka's name for the state.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "State(" + strconv.Itoa(int(s)) + ")"
	}
	return stateNames[s]
}

// ParseState returns the state of a name.
func ParseState(name string) (State, bool) {
	for i, n := range stateNames {
		if n == name {
			return State(i), true
		}
	}
	return 0, false
}

// Prepared reports whether the outcome is decided and not yet complete.
func (s State) Prepared() bool { return s == PrepareCommit || s == PrepareAbort }

// follows reports whether a transition from before to s is one of Kafka's (TransactionState.validPreviousStates).
func (s State) follows(before State) bool {
	idle := before == Empty || before == CompleteCommit || before == CompleteAbort
	switch s {
	case Empty, Dead:
		return idle
	case Ongoing:
		return idle || before == Ongoing
	case PrepareCommit, PrepareEpochFence:
		return before == Ongoing
	case PrepareAbort:
		return idle || before == Ongoing || before == PrepareEpochFence
	case CompleteCommit:
		return before == PrepareCommit
	case CompleteAbort:
		return before == PrepareAbort
	}
	return false
}
