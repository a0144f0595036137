package log

import (
	"cmp"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// ProducerState is what the log knows of one idempotent producer.
type ProducerState struct {
	ProducerID       int64
	Epoch            int16
	CoordinatorEpoch int32  // -1: no transaction has ended here
	LastSequence     int32  // -1: no data
	LastOffset       Offset // -1: no data
	LastTimestamp    int64  // milliseconds
	TxnStart         Offset // first offset of the open transaction, -1
}

// Producers returns the state of every idempotent producer (DescribeProducers, KIP-664), ordered by id.
func (l *Log) Producers() ([]ProducerState, error) {
	if err := l.touch(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	entries := l.producers.entries()
	l.mu.Unlock()
	states := make([]ProducerState, len(entries))
	for i, e := range entries {
		states[i] = ProducerState{ProducerID: e.ProducerID, Epoch: e.Epoch, CoordinatorEpoch: e.CoordinatorEpoch,
			LastSequence: e.LastSequence, LastOffset: Offset(e.LastOffset), LastTimestamp: e.Timestamp, TxnStart: Offset(e.TxnFirstOffset)}
	}
	return states, nil
}

// entries is the state as a snapshot has it, ordered by producer id: of the window only the last batch.
func (s *producers) entries() []segment.ProducerEntry {
	entries := make([]segment.ProducerEntry, 0, len(s.byID))
	for id, p := range s.byID {
		e := segment.ProducerEntry{ProducerID: id, Epoch: p.epoch, LastSequence: batch.None, LastOffset: batch.None,
			Timestamp: p.timestamp, CoordinatorEpoch: p.coordinatorEpoch, TxnFirstOffset: int64(p.txnStart)}
		if last := p.last(); last != nil {
			e.LastSequence, e.LastOffset, e.OffsetDelta = last.lastSequence, int64(last.lastOffset), last.offsetDelta
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b segment.ProducerEntry) int {
		if a.ProducerID < b.ProducerID {
			return -1
		}
		return 1
	})
	return entries
}

// restore is the inverse of entries.
func restore(entries []segment.ProducerEntry) *producers {
	s := &producers{}
	if len(entries) > 0 {
		s.byID = make(map[int64]*producer, len(entries))
	}
	for _, e := range entries {
		p := &producer{epoch: e.Epoch, coordinatorEpoch: e.CoordinatorEpoch, timestamp: e.Timestamp, txnStart: Offset(e.TxnFirstOffset)}
		if e.LastOffset >= 0 {
			p.push(sentBatch{lastOffset: Offset(e.LastOffset), timestamp: e.Timestamp, lastSequence: e.LastSequence, offsetDelta: e.OffsetDelta})
		}
		s.byID[e.ProducerID] = p
		if p.txnStart >= 0 {
			s.open = append(s.open, openTxn{p.txnStart, e.ProducerID})
		}
	}
	slices.SortFunc(s.open, func(a, b openTxn) int { return cmp.Compare(a.first, b.first) })
	return s
}
