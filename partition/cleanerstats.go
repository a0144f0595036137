package partition

import (
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/log"
)

// partCleaning is what Stats says of a partition's compaction.
type partCleaning struct {
	uncleanable                atomic.Bool
	dirtiness                  atomic.Pointer[log.Dirtiness] // at the last look
	cleanings                  atomic.Int64
	bytesRead, bytesKept       atomic.Int64
	time, maxTime, mapUseMille atomic.Int64
	work                       atomic.Int64 // of the pass that is going on
}

// Compacted is an argument of Events.Compacted.
type Compacted struct {
	FirstDirty, Cleaned        Offset // the first dirty offset before and after
	RecordsRead, RecordsKept   int64
	BytesRead, BytesKept       int64
	SegmentsRead, SegmentsKept int
	Keys                       int     // in the map from keys to offsets
	MapUse                     float64 // how much of it they took
	Took                       time.Duration
}

// count adds what a pass has done.
func (x *partCleaning) count(r log.CleanResult, ended bool) {
	x.work.Store(0)
	x.bytesRead.Add(r.Bytes)
	x.bytesKept.Add(r.KeptBytes)
	if !ended {
		return
	}
	x.cleanings.Add(1)
	x.time.Add(int64(r.Took))
	x.maxTime.Store(max(x.maxTime.Load(), int64(r.Took)))
	x.mapUseMille.Store(int64(r.MapUse * 1000))
}

// stats sets what st says of compaction.
func (x *partCleaning) stats(st *PartitionStats) {
	st.Compactions = x.cleanings.Load()
	st.CompactionTime, st.MaxCompactionTime = time.Duration(x.time.Load()), time.Duration(x.maxTime.Load())
	st.CompactionRead, st.CompactionKept = x.bytesRead.Load(), x.bytesKept.Load()
	st.CompactionWork = x.work.Load()
	st.CompactionMapUse = float64(x.mapUseMille.Load()) / 1000
	st.Uncleanable = x.uncleanable.Load()
	if d := x.dirtiness.Load(); d != nil {
		st.DirtyRatio, st.CompactionOverdue = d.Ratio, d.Overdue
	}
}
