package partition

import (
	"time"

	"github.com/partlog/partlog/internal/txn"
)

// TransactionStats are the counters of the transaction coordinator since Open. The comments name Kafka's metric.
type TransactionStats struct {
	IDs       int   // transactional ids known
	Ongoing   int   // transactions open now
	Committed int64 // transactions ended, markers and all
	Aborted   int64 // for whatever reason, among them the next four
	TimedOut  int64
	ByFence   int64 // by a newer instance of their producer
	ByAdmin   int64
	ByRestart int64 // were open or prepared when the store was opened; committed ones are in Committed as well

	Fenced        int64 // requests answered with ErrProducerFenced
	FailedMarkers int64 // writes of a marker or of a transaction's end that failed; they are repeated

	// MarkerTime is from the moment at which an outcome was decided to that at which all of it was written, summed over
	// Committed and Aborted; MaxMarkerTime the longest.
	MarkerTime    time.Duration
	MaxMarkerTime time.Duration
}

// TransactionEnded is an argument of Events.TransactionEnded.
type TransactionEnded struct {
	TransactionalID string
	Committed       bool
	// Cause says who ended it: "producer", "fence" (a newer instance), "timeout", "admin" or "restart" (it was open or
	// prepared when the store was opened).
	Cause string
	// Took is from the beginning to the end, Markers the part of it after the outcome was decided.
	Took, Markers time.Duration
}

func (s *Store) transactionStats() TransactionStats {
	if s.config.Cluster != nil {
		return s.txnsLed.stats()
	}
	c := s.txns.Load()
	if c == nil {
		return TransactionStats{}
	}
	return c.statistics()
}

func (c *txnCoordinator) statistics() TransactionStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.stats
	st.IDs, st.Ongoing = c.m.Len(), c.m.Open()
	return st
}

func (c *txnCoordinator) endedLocked(e txn.Ended) {
	st := &c.stats
	if e.Commit {
		st.Committed++
	} else {
		st.Aborted++
	}
	switch e.Cause {
	case txn.ByTimeout:
		st.TimedOut++
	case txn.ByFence:
		st.ByFence++
	case txn.ByAdmin:
		st.ByAdmin++
	case txn.ByRestart:
		st.ByRestart++
	}
	took := milliseconds(e.Meta.Updated - e.Prepared)
	st.MarkerTime += took
	st.MaxMarkerTime = max(st.MaxMarkerTime, took)
}

func (c *txnCoordinator) tellEnded(e txn.Ended) {
	if f := c.s.config.Events.TransactionEnded; f != nil {
		f(TransactionEnded{TransactionalID: e.Meta.ID, Committed: e.Commit, Cause: e.Cause.String(),
			Took: milliseconds(e.Meta.Updated - e.Meta.Start), Markers: milliseconds(e.Meta.Updated - e.Prepared)})
	}
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
