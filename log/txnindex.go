package log

import (
	"cmp"
	"errors"
	"os"
	"slices"

	"github.com/partlog/partlog/internal/segment"
)

// AbortedTxn is a transaction that was aborted: its batches are those of the producer from First to Last.
type AbortedTxn struct {
	ProducerID  int64
	First, Last Offset // Last is the marker's
	LastStable  Offset // the last stable offset that the marker gave
}

// abortedList is the aborted transactions that have their marker in one segment. It does not change once it is published, but for
// entries behind its end, which the writer adds.
type abortedList struct {
	entries []AbortedTxn // by Last
	// from is where the list begins: markers below it have not been looked for. At most the segment's base: the list is complete.
	from Offset
	// openAtEnd is where the oldest transaction begins that is open at the end of the segment, noOffset if there is none. 0 says that it
	// is not known, which is so while the segment is active.
	openAtEnd Offset
}

// Aborted appends to dst the aborted transactions that have records in [from, to), ordered by First. to is at most LastStable: what
// lies above is not decided. It costs nothing where no transaction was aborted, but for the first call that comes to a segment after an
// open. Whoever has read records already, and wants to know of theirs, calls ReadCommitted. Errors: ErrOffsetOutOfRange, ErrClosed, and
// those of the file system.
func (l *Log) Aborted(dst []AbortedTxn, from, to Offset) ([]AbortedTxn, error) {
	if l.closed.Load() {
		return dst, ErrClosed
	}
	for {
		list := l.segmentList()
		i := segmentAt(list, from)
		if i < 0 && len(list) > 0 && from < to {
			return dst, &OffsetOutOfRangeError{Offset: from, Start: list[0].base, End: l.Visible()}
		}
		out, replaced, err := l.collectAborted(dst, list[max(i, 0):], from, to)
		if !replaced {
			return out, err
		}
	}
}

// collectAborted is Aborted in the segments of list. replaced says that one of them is not of the log any more, and its files are gone.
func (l *Log) collectAborted(dst []AbortedTxn, list []*logSegment, from, to Offset) (out []AbortedTxn, replaced bool, err error) {
	out = dst
	for i, s := range list {
		t := s.aborted.Load()
		if t == nil || max(from, s.base) < t.from {
			if t, err = l.loadAborted(s); s.removed.Load() || errors.Is(err, errReplaced) {
				return dst, true, nil
			} else if err != nil {
				return dst, false, err
			}
		}
		decided := false
		for k := firstEndingFrom(t.entries, from); k < len(t.entries) && !decided; k++ {
			e := &t.entries[k]
			if e.First < to {
				out = append(out, *e)
			}
			decided = e.LastStable >= to // what ends later began behind it
		}
		if decided || i+1 < len(list) && min(t.openAtEnd, list[i+1].base) >= to {
			break
		}
	}
	if len(out) > len(dst)+1 {
		slices.SortFunc(out[len(dst):], func(a, b AbortedTxn) int { return cmp.Compare(a.First, b.First) })
	}
	return out, false, nil
}

// firstEndingFrom returns the number of the first entry whose marker is at from or later.
func firstEndingFrom(entries []AbortedTxn, from Offset) int {
	low, high := 0, len(entries)
	for low < high {
		if m := (low + high) / 2; entries[m].Last < from {
			low = m + 1
		} else {
			high = m
		}
	}
	return low
}

// ReadCommitted is Read for a reader of committed records: it stops at LastStable, and appends to dst the aborted transactions that have
// records in the view, ordered by First, as the log was when it had the view's bytes. Errors are Read's.
func (l *Log) ReadCommitted(dst []AbortedTxn, from, limit Offset, maxBytes int) (View, []AbortedTxn, error) {
	if !l.stableKnown.Load() {
		if err := l.loadStable(); err != nil {
			return View{Next: from}, dst, err
		}
	}
	limit = min(limit, l.LastStable())
	for {
		v, s, err := l.read(&l.visible, from, limit, maxBytes)
		if err != nil || s == nil {
			return v, dst, err
		}
		out, err := l.Aborted(dst, from, v.Next)
		// Retention or compaction may have come in between, and with them another list of aborted transactions.
		if list := l.segmentList(); err == nil || errors.Is(err, ErrOffsetOutOfRange) {
			if i := segmentAt(list, s.base); i < 0 || list[i] != s {
				v.Release()
				continue
			}
		}
		if err != nil {
			v.Release()
			return View{Next: from}, dst, err
		}
		return v, out, nil
	}
}

// indexAborted adds a transaction that has ended in the active segment, for readers and to the file: the latter as Apache Kafka does,
// when the marker is written and without a sync. Whatever a crash leaves of the file is made again from the batches.
func (l *Log) indexAborted(e *endedTxn) {
	s := l.writer.segment
	s.abortedDirty.Store(true)
	t := s.updateAborted(func(t *abortedList) { t.add(e) })
	if t.from > s.base || l.writer.noTxnIndex {
		return // Seal or Close writes all of it
	}
	l.writer.noTxnIndex = l.writeTxnEntry(t.entries) != nil
}

// updateAborted publishes a changed copy of the list of s. Of two who change it at the same time, the writer and whoever loads what is
// older, one does it again.
func (s *logSegment) updateAborted(change func(t *abortedList)) *abortedList {
	for {
		known := s.aborted.Load()
		var t abortedList
		if known != nil {
			t = *known
		}
		change(&t)
		if s.aborted.CompareAndSwap(known, &t) {
			return &t
		}
	}
}

func (t *abortedList) add(e *endedTxn) {
	t.entries = append(t.entries, AbortedTxn{ProducerID: e.producerID, First: e.first, Last: e.last, LastStable: e.lastStable})
}

// writeTxnEntry writes the last of the active segment's entries to its file.
func (l *Log) writeTxnEntry(entries []AbortedTxn) error {
	w := &l.writer
	if w.txnFile == nil {
		file, err := l.config.FS.OpenFile(l.path(segment.TxnIndexName(int64(w.segment.base))), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		w.txnFile = file
		w.segment.hasTxnIndex.Store(true)
	}
	var buf [segment.TxnEntrySize]byte
	n := len(entries) - 1
	_, err := w.txnFile.WriteAt(encodeAborted(buf[:0], entries[n:]), int64(n)*segment.TxnEntrySize)
	return err
}

// closeTxnIndex gives back the descriptor of the active segment's file.
func (l *Log) closeTxnIndex() {
	if w := &l.writer; w.txnFile != nil {
		_ = w.txnFile.Close() // a cache
		w.txnFile = nil
	}
}

// saveAborted makes the .txnindex of s what is known of it, complete and synced, if it may not be so.
func (l *Log) saveAborted(s *logSegment) error {
	if !s.abortedDirty.Load() {
		return nil
	}
	t, err := l.loadAbortedReady(s)
	if err != nil {
		return err
	}
	if len(t.entries) > 0 || s.hasTxnIndex.Load() {
		data := encodeAborted(nil, t.entries)
		if err := segment.WriteTxnIndex(l.config.FS, l.config.Dir, int64(s.base), data); err != nil {
			return writeError("write", l.path(segment.TxnIndexName(int64(s.base))), err)
		}
		s.hasTxnIndex.Store(len(data) > 0)
	}
	s.abortedDirty.Store(false)
	return nil
}

func encodeAborted(dst []byte, entries []AbortedTxn) []byte {
	for i := range entries {
		e := &entries[i]
		dst = segment.AppendTxnEntry(dst, segment.AbortedTxn{ProducerID: e.ProducerID, FirstOffset: int64(e.First),
			LastOffset: int64(e.Last), LastStableOffset: int64(e.LastStable)})
	}
	return dst
}

func decodeAborted(data []byte, base Offset) ([]AbortedTxn, error) {
	parsed, err := segment.ParseTxnIndex(data, int64(base))
	entries := make([]AbortedTxn, len(parsed))
	for i, e := range parsed {
		entries[i] = AbortedTxn{ProducerID: e.ProducerID, First: Offset(e.FirstOffset), Last: Offset(e.LastOffset), LastStable: Offset(e.LastStableOffset)}
	}
	return entries, err
}
