package consumer

import (
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// counters are cheap enough for the hot path: most are added to once a fetch.
type counters struct {
	skipped, truncations, resets                           atomic.Int64
	fetches, fetchTime, maxFetchTime                       atomic.Int64
	polls, pollTime, pollInterval, maxPollInterval         atomic.Int64
	commits, commitErrors, commitTime, maxCommitTime       atomic.Int64
	rebalances, failedRebalances                           atomic.Int64
	rebalanceTime, maxRebalanceTime, joinTime, syncingTime atomic.Int64
}

// tally adds what the loop has taken of a chunk to its cursor. The caller has the turn.
func (c *Consumer) tally(k *cursor) {
	k.records.Add(c.given)
	k.bytes.Add(c.givenBytes)
	c.given, c.givenBytes = 0, 0
}

// pollBegins counts a Poll that was called at this time and has become the loop.
func (c *Consumer) pollBegins(called time.Duration) {
	if c.polls.Add(1) > 1 {
		between := int64(called - c.calledAt)
		c.pollInterval.Add(between)
		if between > c.maxPollInterval.Load() { // one Poll at a time
			c.maxPollInterval.Store(between)
		}
	}
	c.calledAt = called
}

// pollEnds ends what pollBegins began; the caller is still the loop.
func (c *Consumer) pollEnds() { c.pollTime.Add(int64(clock.Elapsed(c.clock) - c.calledAt)) }

// Stats is a snapshot of a consumer's counters. Kafka's names of the figures are in brackets.
type Stats struct {
	Fetches      int64         // answered (fetch-total)
	FetchTime    time.Duration // in all, waits for records included (fetch-latency-avg)
	MaxFetchTime time.Duration // of one (fetch-latency-max)

	// Of Poll and PollBorrowed. A loop over Records has no such calls, and no clock is read for each of its records; what
	// it has waited is in FetchTime.
	Polls           int64         // calls
	PollTime        time.Duration // in calls that have returned; its part of PollInterval is poll-idle-ratio-avg
	PollInterval    time.Duration // in all, from one call to the next; over Polls − 1 it is time-between-poll-avg
	MaxPollInterval time.Duration // of these (time-between-poll-max)

	Skipped       int64         // damaged ranges that OnCorruption Skip went over
	Truncations   int64         // lost tails that were told and left
	Resets        int64         // positions that Config.Reset, or a lost tail, has moved
	Commits       int64         // tried (commit-total)
	CommitErrors  int64         // failed
	CommitTime    time.Duration // in all (commit-latency-avg)
	MaxCommitTime time.Duration // of one (commit-latency-max)

	Rebalances       int64         // complete, that of Join included (rebalance-total)
	FailedRebalances int64         // attempts at a generation that was over before the member had its part (failed-rebalance-total)
	RebalanceTime    time.Duration // in all, from joining to having the assignment (rebalance-latency-total)
	MaxRebalanceTime time.Duration // of one (rebalance-latency-max)
	JoinTime         time.Duration // of RebalanceTime, waiting for the other members (join-time-avg)
	SyncTime         time.Duration // of RebalanceTime, for the assignment (sync-time-avg)

	Work WorkStats // of Work

	Partitions []PartitionStats // assigned (assigned-partitions)
}

// PartitionStats is one assigned partition's part of Stats.
type PartitionStats struct {
	partition.TopicPartition
	Records, Bytes int64            // yielded: keys and values (records-consumed-total, bytes-consumed-total); counted by the fetch
	Position       partition.Offset // behind the last finished record
	Committed      partition.Offset // the last committed offset that the member knows of, −1 if none
	HighWatermark  partition.Offset // at the last fetch; −1 before the first
	LastStable     partition.Offset // at the last fetch; −1 before the first
	LogStart       partition.Offset // at the last fetch
	Lag            int64            // HighWatermark, with ReadCommitted LastStable, − Position; −1 before the first fetch (records-lag)
	Lead           int64            // Position − LogStart, −1 before the first fetch (records-lead)
}

// Stats returns a snapshot. Figures that belong together may be of moments that lie a little apart.
func (c *Consumer) Stats() Stats {
	s := Stats{
		Fetches: c.fetches.Load(), FetchTime: time.Duration(c.fetchTime.Load()), MaxFetchTime: time.Duration(c.maxFetchTime.Load()),
		Polls: c.polls.Load(), PollTime: time.Duration(c.pollTime.Load()),
		PollInterval: time.Duration(c.pollInterval.Load()), MaxPollInterval: time.Duration(c.maxPollInterval.Load()),
		Skipped: c.skipped.Load(), Truncations: c.truncations.Load(), Resets: c.resets.Load(),
		Commits: c.commits.Load(), CommitErrors: c.commitErrors.Load(),
		CommitTime: time.Duration(c.commitTime.Load()), MaxCommitTime: time.Duration(c.maxCommitTime.Load()),
		Rebalances: c.rebalances.Load(), FailedRebalances: c.failedRebalances.Load(),
		RebalanceTime: time.Duration(c.rebalanceTime.Load()), MaxRebalanceTime: time.Duration(c.maxRebalanceTime.Load()),
		JoinTime: time.Duration(c.joinTime.Load()), SyncTime: time.Duration(c.syncingTime.Load()),
	}
	s.Work = c.workStats()
	c.mu.Lock()
	cursors := c.assigned
	c.mu.Unlock()
	for _, k := range cursors {
		p := PartitionStats{
			TopicPartition: k.tp, Records: k.records.Load(), Bytes: k.bytes.Load(), Position: k.place(),
			Committed: partition.Offset(k.committed.Load()), HighWatermark: partition.Offset(k.highWatermark.Load()),
			LastStable: partition.Offset(k.lastStable.Load()), LogStart: partition.Offset(k.logStart.Load()), Lag: -1, Lead: -1,
		}
		if p.HighWatermark >= 0 {
			p.Lag = k.lag(c.config.Isolation)
			p.Lead = int64(max(0, p.Position-p.LogStart))
		}
		s.Partitions = append(s.Partitions, p)
	}
	return s
}

// lag is how far the place is behind the end at the last fetch.
func (k *cursor) lag(i Isolation) int64 {
	end := k.highWatermark.Load()
	if i == ReadCommitted {
		end = k.lastStable.Load()
	}
	return max(0, end-int64(k.place()))
}
