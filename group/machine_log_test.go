package group

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// entry is a record of the log, or a marker of a producer.
type entry struct {
	record
	at       partition.Offset
	producer int64 // of a transaction, or 0
	marker   *markerEvent
}

// write puts records into the log and returns where the first one is.
func (s *story) write(e appendEffect) partition.Offset {
	base := s.end
	for _, r := range e.records {
		at := entry{record: r, at: s.end}
		if e.txn != nil {
			at.producer = e.txn.Producer.ID
		}
		s.log = append(s.log, at)
		s.end++
	}
	return base
}

// replay reads the log into a machine.
func (s *story) replay(m *machine) {
	for _, e := range s.log {
		if e.marker != nil {
			m.stepMarker(*e.marker)
			continue
		}
		v, ok, err := decodeRecord(e.key, e.value)
		require.NoError(s.t, err)
		require.True(s.t, ok)
		if e.producer != 0 {
			m.replayTransactional(e.producer, &v, e.at)
		} else {
			m.replay(&v, e.at)
		}
	}
}

// compact leaves the last record of each key below the first transaction that is open, as the cleaner does; aborted ones
// go, markers stay.
func (s *story) compact() {
	outcome := make(map[partition.Offset]bool) // of records in transactions that have ended
	next := make(map[int64]*markerEvent)
	for _, e := range slices.Backward(s.log) {
		if e.marker != nil {
			next[e.marker.producer] = e.marker
		} else if m := next[e.producer]; m != nil {
			outcome[e.at] = m.commit
		}
	}
	bound := s.end
	for _, e := range s.log {
		if _, ended := outcome[e.at]; e.producer != 0 && !ended {
			bound = min(bound, e.at)
		}
	}
	last := make(map[string]partition.Offset)
	for _, e := range s.log {
		if e.marker == nil && e.at < bound && (e.producer == 0 || outcome[e.at]) {
			last[string(e.key)] = e.at
		}
	}
	s.log = slices.DeleteFunc(s.log, func(e entry) bool {
		return e.marker == nil && e.at < bound && last[string(e.key)] != e.at
	})
}
