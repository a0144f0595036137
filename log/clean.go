package log

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/mutant"
)

// ErrCleaningAborted says that a cleaning found its segments changed under it, by retention or truncation, or that the log was closed.
// What had been swapped in stays; the rest is as before. A later cleaning does it again.
var ErrCleaningAborted = errors.New("cleaning was aborted")

// cleaner is what compaction is at.
type cleaner struct {
	mu      sync.Mutex // one step at a time; taken before admin
	current *Cleaning  // begun and not over
	mending bool       // a damaged segment is being mended
	cleaned atomic.Int64
	swap    atomic.Pointer[swap] // committed but not finished, see swap.finish
}

// Cleaned returns the first dirty offset: below it, compaction has been. The owner has to persist it (Config.Cleaned) after
// each Clean: an older one costs time, one that is too high would let deleted keys come back.
func (l *Log) Cleaned() Offset { return Offset(l.cleaner.cleaned.Load()) }

// gapsLawful says whether offsets may be missing without any damage: compaction removes records, not offsets.
func (l *Log) gapsLawful() bool {
	return l.settings.Load().Compacted || l.config.Cleaned > 0 || l.cleaner.cleaned.Load() > 0
}

// Dirtiness says how much a log has for compaction to do (Apache Kafka's LogToClean).
type Dirtiness struct {
	FirstDirty  Offset // compaction has been up to here
	Uncleanable Offset // and may go up to here: not into the active segment, behind LastStable, or into what MinCompactionLag keeps
	CleanBytes  int64  // of the segments below FirstDirty
	DirtyBytes  int64  // of those that may be cleaned
	Ratio       float64
	Overdue     time.Duration // the oldest dirty record is past MaxCompactionLag by that much
	Due         bool          // Ratio is above MinDirtyRatio, or something is overdue
	LagDecides  bool          // time alone can make it due
}

// Dirty measures the log at time now. It reads one header a dirty segment where a compaction lag is set, and loads segments that have
// not been used since Open.
func (l *Log) Dirty(now time.Time) (Dirtiness, error) {
	d := Dirtiness{FirstDirty: l.firstDirty()}
	if l.closed.Load() {
		return d, ErrClosed
	}
	if err := l.touch(); err != nil {
		return d, err
	}
	s, list := l.settings.Load(), l.segmentList()
	if len(list) == 0 {
		d.Uncleanable = d.FirstDirty
		return d, nil
	}
	last, err := l.firstUncleanable(list, d.FirstDirty, now, s)
	if err != nil {
		return d, err
	}
	d.Uncleanable = max(list[last].base, d.FirstDirty)
	first := max(segmentAt(list, d.FirstDirty), 0)
	for i, seg := range list[:last] {
		if i < first {
			d.CleanBytes += seg.bytes()
		} else {
			d.DirtyBytes += seg.bytes()
		}
	}
	if d.DirtyBytes > 0 {
		d.Ratio = float64(d.DirtyBytes) / float64(d.CleanBytes+d.DirtyBytes)
	}
	if s.MaxCompactionLag != Unlimited {
		oldest, err := l.oldestBatch(list[first : len(list)-1])
		if err != nil {
			return d, err
		}
		if until := milliseconds(now) - s.MaxCompactionLag.Milliseconds(); oldest > 0 && oldest < until {
			d.Overdue = time.Duration(until-oldest) * time.Millisecond
		}
	}
	d.LagDecides = len(list)-1 > first && (s.MaxCompactionLag != Unlimited || s.MinCompactionLag > 0 && last < len(list)-1)
	d.Due = d.DirtyBytes > 0 && (d.Ratio > max(s.MinDirtyRatio, 0) || d.Overdue > 0)
	return d, nil
}

// firstDirty returns Cleaned where the log still has it.
func (l *Log) firstDirty() Offset {
	dirty := l.Cleaned()
	if start := l.Start(); dirty < start || dirty > l.Written() {
		return start
	}
	return dirty
}

// firstUncleanable returns the number of the first segment of list that must not be cleaned: the one that is active or holds what is
// not stable, or the first dirty one with a record within MinCompactionLag.
func (l *Log) firstUncleanable(list []*logSegment, dirty Offset, now time.Time, s *Settings) (int, error) {
	last := min(len(list)-1, max(segmentAt(list, l.LastStable()), 0))
	if mutant.On(mutant.CleanUncommitted) {
		last = len(list) - 1
	}
	if s.MinCompactionLag <= 0 {
		return last, nil
	}
	young := milliseconds(now) - s.MinCompactionLag.Milliseconds()
	for i := max(segmentAt(list, dirty), 0); i < last; i++ {
		if err := l.ensure(list[i]); err != nil {
			return 0, err
		}
		newest, _ := list[i].index.Load().MaxTimestamp()
		if newest < 0 { // no record has one: the file's
			list[i].mu.Lock()
			newest = list[i].modified
			list[i].mu.Unlock()
		}
		if newest > young {
			return i, nil
		}
	}
	return last, nil
}

// oldestBatch returns the least of the first timestamps of the segments, in milliseconds; 0 when none has one.
func (l *Log) oldestBatch(list []*logSegment) (int64, error) {
	var oldest int64
	for _, s := range list {
		if err := l.ensure(s); err != nil {
			return 0, err
		}
		_, size := s.writtenEnd()
		if size == 0 {
			continue
		}
		file, err := l.openForRead(s)
		if err != nil {
			return 0, err
		}
		src := source{segment: s, file: file, end: size}
		b, _, err := src.header(0)
		var first int64
		if err == nil {
			first = b.MaxTimestamp()
		}
		src.close()
		_ = file.Close()
		if err != nil {
			return 0, err
		}
		if first > 0 && (oldest == 0 || first < oldest) {
			oldest = first
		}
	}
	return oldest, nil
}
