package log

import (
	"sync/atomic"
	"time"
)

// Stats are counters since Open and gauges of now.
type Stats struct {
	Start, End, Written, Durable, Visible Offset

	RecoveryPoint Offset
	Segments      int
	Bytes         int64 // of all record batches on disk, preallocation not counted
	Producers     int   // idempotent producers with state
	OpenTxns      int   // transactions that have begun here and have no marker yet
	Leases        int   // views that are out
	Loaded        bool  // files have been opened since Open
	Poisoned      bool

	counts
	Duplicates  int64 // batches that were answered as duplicates
	Corruptions int64 // ranges found that cannot be served

	Reads, ReadBytes int64
	PreadReads       int64 // of Reads, those without a mapping
}

// counts are what the holders of the writer role count.
type counts struct {
	Appends, AppendedRecords, AppendedBytes int64 // batches, records, bytes
	Writes, Syncs                           int64 // calls of the file system; Appends over Syncs is what group commit gains
	SyncNanos, MaxSyncNanos                 int64
	FailedWrites, FailedSyncs               int64
	Rolls                                   int64
	ZeroFilled                              int64 // bytes preallocated
}

func (c *counts) sync(took time.Duration) {
	c.Syncs++
	c.SyncNanos += int64(took)
	c.MaxSyncNanos = max(c.MaxSyncNanos, int64(took))
}

// readCounts are counted by readers, apart from what appends write.
type readCounts struct {
	_                   [64]byte
	reads, bytes, pread atomic.Int64
	_                   [40]byte
}

// Stats returns counters and gauges. It touches no file.
func (l *Log) Stats() Stats {
	st := Stats{
		Reads: l.reads.reads.Load(), ReadBytes: l.reads.bytes.Load(), PreadReads: l.reads.pread.Load(),
		RecoveryPoint: l.RecoveryPoint(), Start: l.Start(), Leases: l.Leases().Count,
	}
	list := l.segmentList()
	st.Segments = len(list)
	for _, s := range list {
		st.Bytes += s.bytes()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	st.counts = l.counts
	st.Duplicates, st.Corruptions = l.duplicates, l.corruptions
	st.End, st.Written, st.Durable, st.Visible = l.next, l.Written(), l.Durable(), l.Visible()
	st.Producers = l.producers.count()
	if l.producers != nil {
		st.OpenTxns = len(l.producers.open)
	}
	st.Loaded = l.state != stateCold
	st.Poisoned = l.failure != nil
	return st
}

func (s *producers) count() int {
	if s == nil {
		return 0
	}
	return len(s.byID)
}
