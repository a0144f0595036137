package partition

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/log"
)

// storeCounters are the counters of a whole store that no partition has.
type storeCounters struct {
	fetches           atomic.Int64
	parkedFetches     atomic.Int64
	openPartitions    atomic.Int64
	failedPartitions  atomic.Int64
	failedCheckpoints atomic.Int64
	freeBytes         atomic.Int64
	lowSpace          atomic.Bool
}

// partCounters count what the log does not. None is touched by an append that succeeds.
type partCounters struct {
	bytesOut         atomic.Int64
	failedAppends    atomic.Int64
	failedFetches    atomic.Int64
	rejectedBytes    atomic.Int64
	recompressed     atomic.Int64
	corruptReads     atomic.Int64
	failures         atomic.Int64
	retainedSegments atomic.Int64
	retainedBytes    atomic.Int64
}

// Stats is a snapshot of a store's counters and gauges. Counters count since Open. The comments name the metric of
// Kafka that each corresponds to.
type Stats struct {
	Uptime            time.Duration
	Topics            int // GlobalTopicCount
	Partitions        int // GlobalPartitionCount
	OpenPartitions    int // those that have been used
	OfflinePartitions int // those whose storage has failed; OfflineLogDirectoryCount has no better equivalent
	Fetches           int64
	ParkedFetches     int // DelayedFetch PurgatorySize
	MappingsInUse     int
	FreeBytes         int64 // at the last look, which is each second while there are appends
	LowSpace          bool  // below Config.LowSpaceBytes
	FailedCheckpoints int64
	JournalBytes      int64 // that an open would replay
	JournalAppends    int64

	Transactions TransactionStats

	UncleanablePartitions int // uncleanable-partitions-count

	Total       PartitionStats   // sums; offsets are 0, of MaxSyncTime, MaxCompactionTime, DirtyRatio, CompactionOverdue and CompactionMapUse it is the largest
	ByPartition []PartitionStats // partitions that have been used since Open, by name
}

// PartitionStats are the figures of one partition.
type PartitionStats struct {
	TopicPartition
	LogStart      Offset // LogStartOffset
	HighWatermark Offset
	LogEnd        Offset // LogEndOffset
	RecoveryPoint Offset
	Segments      int   // NumLogSegments
	Bytes         int64 // Size

	Appends       int64 // batches; TotalProduceRequestsPerSec
	Records       int64 // MessagesInPerSec
	BytesIn       int64 // BytesInPerSec
	BytesOut      int64 // BytesOutPerSec
	BytesRejected int64 // BytesRejectedPerSec
	Duplicates    int64
	FailedAppends int64 // FailedProduceRequestsPerSec
	FailedFetches int64 // FailedFetchRequestsPerSec
	Recompressed  int64
	CorruptReads  int64
	Failures      int64 // of background work and syncs

	Writes      int64
	Syncs       int64         // LogFlushRateAndTimeMs, count
	SyncTime    time.Duration // LogFlushRateAndTimeMs, sum
	MaxSyncTime time.Duration

	RetainedSegments int64 // dropped by retention
	RetainedBytes    int64

	Compactions       int64 // passes that have ended well
	CompactionTime    time.Duration
	MaxCompactionTime time.Duration // max-clean-time-secs
	CompactionRead    int64         // bytes read to be compacted
	CompactionKept    int64         // of them
	CompactionWork    int64         // bytes that the pass that is going on has read and written so far; 0: none is
	CompactionMapUse  float64       // of the last pass, the part of the map that keys took (max-buffer-utilization-percent)
	FirstDirty        Offset        // compacted up to here
	DirtyRatio        float64       // at the last look (max-dirty-percent)
	CompactionOverdue time.Duration // at the last look, past max.compaction.lag.ms (max-compaction-delay-secs)
	Uncleanable       bool          // see Events.Uncleanable (uncleanable-partitions-count)

	Producers   int // idempotent producers remembered
	Leases      int
	OldestLease time.Duration
	Failed      bool
}

// Stats returns the store's counters. It takes no lock that appends take and touches no file.
func (s *Store) Stats() Stats {
	st := Stats{
		Uptime:            s.config.Clock.Now().Sub(s.opened),
		OpenPartitions:    int(s.counters.openPartitions.Load()),
		OfflinePartitions: int(s.counters.failedPartitions.Load()),
		Fetches:           s.counters.fetches.Load(),
		ParkedFetches:     int(s.counters.parkedFetches.Load()),
		MappingsInUse:     s.maps.InUse(),
		FreeBytes:         s.counters.freeBytes.Load(),
		LowSpace:          s.counters.lowSpace.Load(),
		FailedCheckpoints: s.counters.failedCheckpoints.Load(),
	}
	j := s.journal.Stats()
	st.JournalBytes, st.JournalAppends = j.ReplayBytes, j.Appends
	st.Transactions = s.transactionStats()
	for _, t := range s.index.Load().byName {
		st.Topics++
		st.Partitions += len(*t.parts.Load())
	}
	s.openLogs(func(p *part, l *log.Log) {
		x := p.stats(l)
		st.ByPartition = append(st.ByPartition, x)
		st.Total.add(x)
		if x.Uncleanable {
			st.UncleanablePartitions++
		}
	})
	slices.SortFunc(st.ByPartition, func(a, b PartitionStats) int { return compareTopicPartition(a.TopicPartition, b.TopicPartition) })
	return st
}

func (p *part) stats(l *log.Log) PartitionStats {
	x, c, leases := l.Stats(), &p.counters, l.Leases()
	st := PartitionStats{
		TopicPartition: p.tp,
		LogStart:       x.Start, HighWatermark: p.highWatermark(l), LogEnd: x.End, RecoveryPoint: x.RecoveryPoint,
		Segments: x.Segments, Bytes: x.Bytes,
		Appends: x.Appends, Records: x.AppendedRecords, BytesIn: x.AppendedBytes, Duplicates: x.Duplicates,
		BytesOut: c.bytesOut.Load(), BytesRejected: c.rejectedBytes.Load(),
		FailedAppends: c.failedAppends.Load(), FailedFetches: c.failedFetches.Load(),
		Recompressed: c.recompressed.Load(), CorruptReads: c.corruptReads.Load(), Failures: c.failures.Load(),
		Writes: x.Writes, Syncs: x.Syncs, SyncTime: time.Duration(x.SyncNanos), MaxSyncTime: time.Duration(x.MaxSyncNanos),
		RetainedSegments: c.retainedSegments.Load(), RetainedBytes: c.retainedBytes.Load(),
		Producers: x.Producers, Leases: leases.Count, OldestLease: leases.OldestAge,
		Failed: x.Poisoned || p.failed.Load(),
	}
	p.cleaning.stats(&st)
	st.FirstDirty = l.Cleaned()
	return st
}

// add makes t the sum of t and x.
func (t *PartitionStats) add(x PartitionStats) {
	t.Segments += x.Segments
	t.Bytes += x.Bytes
	t.Appends += x.Appends
	t.Records += x.Records
	t.BytesIn += x.BytesIn
	t.BytesOut += x.BytesOut
	t.BytesRejected += x.BytesRejected
	t.Duplicates += x.Duplicates
	t.FailedAppends += x.FailedAppends
	t.FailedFetches += x.FailedFetches
	t.Recompressed += x.Recompressed
	t.CorruptReads += x.CorruptReads
	t.Failures += x.Failures
	t.Writes += x.Writes
	t.Syncs += x.Syncs
	t.SyncTime += x.SyncTime
	t.MaxSyncTime = max(t.MaxSyncTime, x.MaxSyncTime)
	t.RetainedSegments += x.RetainedSegments
	t.RetainedBytes += x.RetainedBytes
	t.Compactions += x.Compactions
	t.CompactionTime += x.CompactionTime
	t.MaxCompactionTime = max(t.MaxCompactionTime, x.MaxCompactionTime)
	t.CompactionRead += x.CompactionRead
	t.CompactionKept += x.CompactionKept
	t.CompactionWork += x.CompactionWork
	t.CompactionMapUse = max(t.CompactionMapUse, x.CompactionMapUse)
	t.DirtyRatio = max(t.DirtyRatio, x.DirtyRatio)
	t.CompactionOverdue = max(t.CompactionOverdue, x.CompactionOverdue)
	t.Uncleanable = t.Uncleanable || x.Uncleanable
	t.Producers += x.Producers
	t.Leases += x.Leases
	t.OldestLease = max(t.OldestLease, x.OldestLease)
	t.Failed = t.Failed || x.Failed
}
