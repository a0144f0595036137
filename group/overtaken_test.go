package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// A producer has its answer when the commit is decided, so the offsets of its next transaction may come before the marker has been
// read. They are not those that the marker is about, and do not replace them.
func TestOffsetsOfTheNextTransactionDoNotReplaceThoseBeforeTheMarker(t *testing.T) {
	tp := partition.TopicPartition{Topic: "t", Partition: 0}
	at := func(offset, record partition.Offset) offsetRecord {
		return offsetRecord{tp, storedOffset{CommittedOffset: CommittedOffset{Offset: offset}, at: record}}
	}
	for _, second := range []bool{false, true} {
		m := machine{offsets: map[partition.TopicPartition]storedOffset{}}
		m.await(7, at(10, 1))
		m.await(7, at(11, 2)) // again in the same transaction
		m.await(7, at(20, 5)) // in the next one
		m.stepMarker(markerEvent{producer: 7, at: 4, commit: true})
		require.EqualValues(t, 11, m.offsets[tp].Offset)
		require.True(t, m.unstable(tp))
		m.stepMarker(markerEvent{producer: 7, at: 6, commit: second})
		require.Equal(t, map[bool]partition.Offset{false: 11, true: 20}[second], m.offsets[tp].Offset)
		require.False(t, m.unstable(tp))
		require.Empty(t, m.overtaken)
		require.Empty(t, m.awaited)
	}
	m := machine{offsets: map[partition.TopicPartition]storedOffset{}}
	m.await(7, at(10, 1))
	m.await(7, at(20, 5))
	m.drop(tp, 3) // a tombstone in between
	m.stepMarker(markerEvent{producer: 7, at: 4, commit: true})
	require.Empty(t, m.offsets)
	m.stepMarker(markerEvent{producer: 7, at: 6, commit: true})
	require.EqualValues(t, 20, m.offsets[tp].Offset)
}
