package consumer

import (
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/partition"
)

// counters are cheap enough for the hot path: most are added to once a fetch.
type counters struct {
	skipped, fetches, fetchTime, maxFetchTime atomic.Int64
	commits, commitErrors, commitTime         atomic.Int64
	rebalances                                atomic.Int64
}

// tally adds what the loop has taken of a chunk to its cursor. The caller has the turn.
func (c *Consumer) tally(k *cursor) {
	k.records.Add(c.given)
	k.bytes.Add(c.givenBytes)
	c.given, c.givenBytes = 0, 0
}

// Stats is a snapshot of a consumer's counters. Kafka's names of the figures are in brackets.
type Stats struct {
	Fetches      int64         // answered (fetch-total)
	FetchTime    time.Duration // in all, waits for records included (fetch-latency-avg)
	MaxFetchTime time.Duration // of one (fetch-latency-max)
	Skipped      int64         // damaged ranges that OnCorruption Skip went over
	Commits      int64         // tried (commit-total)
	CommitErrors int64         // failed
	CommitTime   time.Duration // in all (commit-latency-avg)
	Rebalances   int64         // assignments that a member got (rebalance-total)
	Partitions   []PartitionStats
}

// PartitionStats is one assigned partition's part of Stats.
type PartitionStats struct {
	partition.TopicPartition
	Records, Bytes int64            // yielded: keys and values (records-consumed-total, bytes-consumed-total); counted by the fetch
	Position       partition.Offset // behind the last finished record
	HighWatermark  partition.Offset // at the last fetch; −1 before the first
	LogStart       partition.Offset // at the last fetch
	Lag            int64            // HighWatermark − Position, −1 before the first fetch (records-lag)
	Lead           int64            // Position − LogStart, −1 before the first fetch (records-lead)
}

// Stats returns a snapshot. Figures that belong together may be of moments that lie a little apart.
func (c *Consumer) Stats() Stats {
	s := Stats{
		Fetches: c.fetches.Load(), FetchTime: time.Duration(c.fetchTime.Load()), MaxFetchTime: time.Duration(c.maxFetchTime.Load()),
		Skipped: c.skipped.Load(), Commits: c.commits.Load(), CommitErrors: c.commitErrors.Load(),
		CommitTime: time.Duration(c.commitTime.Load()), Rebalances: c.rebalances.Load(),
	}
	c.mu.Lock()
	cursors := c.assigned
	c.mu.Unlock()
	for _, k := range cursors {
		p := PartitionStats{
			TopicPartition: k.tp, Records: k.records.Load(), Bytes: k.bytes.Load(), Position: k.place(),
			HighWatermark: partition.Offset(k.highWatermark.Load()), LogStart: partition.Offset(k.logStart.Load()), Lag: -1, Lead: -1,
		}
		if p.HighWatermark >= 0 {
			p.Lag = int64(max(0, p.HighWatermark-p.Position))
			p.Lead = int64(max(0, p.Position-p.LogStart))
		}
		s.Partitions = append(s.Partitions, p)
	}
	return s
}

// Position returns the offset behind the last record that the loop has finished, or where reading began; false for a
// partition that is not assigned.
func (c *Consumer) Position(tp partition.TopicPartition) (partition.Offset, bool) {
	c.mu.Lock()
	k := findCursor(c.assigned, tp)
	c.mu.Unlock()
	if k == nil {
		return 0, false
	}
	return k.place(), true
}
