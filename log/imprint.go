package log

import (
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
)

// Imprint tells the file of the active segment from any other. Nothing in a segment that has no sum yet says whose it is: another
// partition's file in its place would pass every other check. So the owner keeps an imprint where the file is not, and hands it to
// CheckImprint after the next open. The zero Imprint fits every file.
type Imprint struct {
	Base  Offset      // of the segment
	First uint32      // checksum of its first batch; 0: not known
	Next  Offset      // after a later batch of it
	Last  uint32      // checksum of that one; 0: not known
	Epoch LeaderEpoch // that appends were stamped with: what has a later one was written after a crash that took this
}

// Imprint returns what the writers know of the active segment: all of it once something has been appended since Open.
func (l *Log) Imprint() Imprint {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.imprint
	i.Epoch = l.epoch
	return i
}

// imprintOf adds a batch that was written at position of the active segment.
func (w *writer) imprintOf(b batch.Batch, position int64) {
	if position == 0 {
		w.imprint = Imprint{Base: w.segment.base, First: b.CRC()}
	}
	w.imprint.Next, w.imprint.Last = Offset(b.LastOffset())+1, b.CRC()
}

// CheckImprint returns a *CorruptionError if the file of the segment that i is of is another one. What is not there, or cannot be read,
// is not compared: reading it says so.
func (l *Log) CheckImprint(i Imprint) error {
	list := l.segmentList()
	at := segmentAt(list, i.Base)
	if at < 0 || list[at].base != i.Base {
		return nil // deleted since
	}
	s, last := list[at], at == len(list)-1
	if !last && (s.hasSum.Load() || l.gapsLawful()) {
		return nil // it has a sum, or has been cleaned
	}
	if err := l.compareFirst(i, s); err != nil || i.Last == 0 || !last && i.Next > list[at+1].base {
		return err
	}
	return l.compareLast(i, s)
}

// compareFirst compares the batch that the file begins with, whatever its base offset claims.
func (l *Log) compareFirst(i Imprint, s *logSegment) error {
	if i.First == 0 {
		return nil
	}
	file, err := l.openForRead(s)
	if err != nil {
		return nil
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return storageError(nil, "stat", l.logPath(s), err)
	}
	src := source{segment: s, file: file, end: size} // also what recovery did not take
	defer src.close()
	b, err := src.whole(0)
	if err != nil || b.CheckCRC() != nil || b.CRC() == i.First || l.laterThan(i, b) {
		return nil
	}
	return l.foreign(s, b, i.First)
}

// compareLast compares the batch before i.Next.
func (l *Log) compareLast(i Imprint, s *logSegment) error {
	if i.Next <= l.Start() || i.Next > l.Visible() {
		return nil
	}
	data, _, err := l.ReadInto(nil, i.Next-1, l.Visible(), 1)
	if err != nil || len(data) < batch.HeaderSize {
		if errors.Is(err, ErrCorrupt) {
			return nil
		}
		return err
	}
	b := batch.Batch(data)
	if b.CRC() == i.Last && Offset(b.LastOffset())+1 == i.Next || l.laterThan(i, b) {
		return nil
	}
	return l.foreign(s, b, i.Last)
}

func (l *Log) foreign(s *logSegment, b batch.Batch, want uint32) error {
	return &CorruptionError{Path: l.logPath(s), Offset: max(s.base, l.Start()), NextOffset: l.End(), Err: fmt.Errorf(
		"the batch with offsets %d to %d has checksum %08x, and should have %08x: the file is another one", b.BaseOffset(), b.LastOffset(), b.CRC(), want)}
}

// laterThan says that b was written after the imprint's was lost. This open's own epoch, after a crash, has
// written nothing yet.
func (l *Log) laterThan(i Imprint, b batch.Batch) bool {
	epoch, now := LeaderEpoch(b.LeaderEpoch()), l.Epoch()
	return epoch > i.Epoch && (epoch < now || l.config.Clean && epoch == now)
}
