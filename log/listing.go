package log

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/partlog/partlog/internal/segment"
)

// listing is what a partition's directory holds, by name.
type listing struct {
	segments  []*logSegment // ascending
	snapshots []Offset      // of producers, ascending
	orphans   []segment.Name
	cleaned   []segment.Name // compaction's, not complete
	swapped   []segment.Name // compaction's, on their way to their places
	deleted   []string       // renamed for deletion by Apache Kafka: a positive mark, so they may go
	temporary []string       // never completed, never read
	torn      []string       // kept by recovery
	foreign   []string
	doubt     bool // a sync has failed since the last open
}

// list reads the directory. A missing one is empty.
func (l *Log) list() (listing, error) {
	var d listing
	entries, err := l.config.FS.ReadDir(l.config.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, storageError(nil, "list", l.config.Dir, err)
	}
	var attached []segment.Name
	for _, e := range entries {
		n := segment.ParseName(e.Name())
		switch {
		case e.IsDir() || n.Kind == segment.KindForeign:
			d.foreign = append(d.foreign, e.Name())
		case n.State == segment.Cleaned:
			d.cleaned = append(d.cleaned, n)
		case n.State == segment.Swap:
			d.swapped = append(d.swapped, n)
		case n.State == segment.Deleted:
			d.deleted = append(d.deleted, e.Name())
		case n.State == segment.Tmp:
			d.temporary = append(d.temporary, e.Name())
		case n.Kind == segment.KindLog:
			info, err := e.Info()
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) {
					continue // removed by a live writer beside which this one reads
				}
				return d, storageError(nil, "stat", l.path(e.Name()), err)
			}
			d.segments = append(d.segments, &logSegment{base: Offset(n.Base), size: info.Size(), modified: info.ModTime().UnixMilli()})
		case n.Kind == segment.KindSnapshot:
			d.snapshots = append(d.snapshots, Offset(n.Base))
		case n.Kind == segment.KindTorn:
			d.torn = append(d.torn, e.Name())
		case n.Kind == segment.KindDoubt:
			d.doubt = true
		case n.Kind == segment.KindEpochCheckpoint || n.Kind == segment.KindPartitionMetadata:
		default:
			attached = append(attached, n)
		}
	}
	slices.SortFunc(d.segments, func(a, b *logSegment) int { return int(min(max(a.base-b.base, -1), 1)) })
	slices.Sort(d.snapshots)
	for _, n := range attached {
		i := segmentAt(d.segments, Offset(n.Base))
		if i < 0 || int64(d.segments[i].base) != n.Base {
			d.orphans = append(d.orphans, n)
		} else if n.Kind == segment.KindSum {
			d.segments[i].hasSum.Store(true)
		} else if n.Kind == segment.KindTxnIndex {
			d.segments[i].hasTxnIndex.Store(true)
		}
	}
	return d, nil
}

// sweep removes leftovers of our own making: files that were never completed or are marked as deleted, and caches of segments that do
// not exist, above the end, where they would be mistaken for a later segment's, or below the beginning. Those in between say that a
// segment is missing; they and everything else are left alone.
func (l *Log) sweep(d listing, end Offset) {
	if l.config.ReadOnly {
		return
	}
	for _, name := range append(d.temporary, d.deleted...) {
		_ = l.config.FS.Remove(l.path(name)) // tried again at the next open
	}
	var first Offset
	if len(d.segments) > 0 {
		first = d.segments[0].base
	}
	for _, n := range d.orphans {
		if Offset(n.Base) >= end || Offset(n.Base) < first {
			_ = l.config.FS.Remove(l.path(orphanName(n)))
		}
	}
	// As Apache Kafka: snapshots of segments stay, and the newest.
	for i, at := range d.snapshots {
		newest := i == len(d.snapshots)-1 || d.snapshots[i+1] > end
		if at > end || at < first || !newest && !hasBase(d.segments, at) {
			_ = l.config.FS.Remove(l.path(segment.SnapshotName(int64(at))))
		}
	}
}

func hasBase(list []*logSegment, base Offset) bool {
	i := segmentAt(list, base)
	return i >= 0 && list[i].base == base
}

func orphanName(n segment.Name) string {
	switch n.Kind {
	case segment.KindIndex:
		return segment.IndexName(n.Base)
	case segment.KindTimeIndex:
		return segment.TimeIndexName(n.Base)
	case segment.KindTxnIndex:
		return segment.TxnIndexName(n.Base)
	case segment.KindKeyIndex:
		return segment.KeyIndexName(n.Base)
	}
	return segment.SumName(n.Base)
}
