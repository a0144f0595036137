package txn

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TransactionState of Apache Kafka: its numbers, names and validPreviousStates.
func TestStatesHaveKafkasNumbersAndPredecessors(t *testing.T) {
	idle := []State{Empty, CompleteCommit, CompleteAbort}
	for n, c := range []struct {
		state  State
		name   string
		before []State
	}{
		{Empty, "Empty", idle},
		{Ongoing, "Ongoing", append([]State{Ongoing}, idle...)},
		{PrepareCommit, "PrepareCommit", []State{Ongoing}},
		{PrepareAbort, "PrepareAbort", append([]State{Ongoing, PrepareEpochFence}, idle...)},
		{CompleteCommit, "CompleteCommit", []State{PrepareCommit}},
		{CompleteAbort, "CompleteAbort", []State{PrepareAbort}},
		{Dead, "Dead", idle},
		{PrepareEpochFence, "PrepareEpochFence", []State{Ongoing}},
	} {
		require.Equal(t, State(n), c.state)
		require.Equal(t, c.name, c.state.String())
		parsed, ok := ParseState(c.name)
		require.True(t, ok)
		require.Equal(t, c.state, parsed)
		var before []State
		for s := range State(8) {
			if c.state.follows(s) {
				before = append(before, s)
			}
		}
		require.ElementsMatch(t, c.before, before, c.name)
	}
	require.Equal(t, "State(8)", State(8).String())
	_, ok := ParseState("Gone")
	require.False(t, ok)
}

// A two-phase commit, which has the largest timeout, is nobody's to abort but its client's (KIP-939).
func TestTransactionWithTheLargestTimeoutNeverTimesOut(t *testing.T) {
	for timeout, aborted := range map[int32]bool{math.MaxInt32: false, math.MaxInt32 - 1: true} {
		m := &Machine{MaxTimeout: math.MaxInt32}
		m.Step(1000, Init{Call: 1, ID: "a", Timeout: timeout, Last: None, LastEpoch: None, Fresh: 7}, nil)
		m.Step(1000, Written{ID: "a"}, nil)
		m.Step(1000, Add{Call: 2, ID: "a", ProducerID: 7, Partitions: []Partition{{"t", 0}}, Version: 2}, nil)
		m.Step(1000, Written{ID: "a"}, nil)
		meta, ok := m.Describe("a")
		require.True(t, ok)
		require.Equal(t, Ongoing, meta.State)
		require.Equal(t, aborted, len(m.Step(1000+2*math.MaxInt32, Tick{}, nil)) > 0)
	}
}
