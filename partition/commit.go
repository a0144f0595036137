package partition

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/partlog/partlog/internal/journal"
	"github.com/partlog/partlog/internal/segment"
)

// compactJournal is how many bytes of entries an open may have to replay before the catalogue is written whole.
const compactJournal = 1 << 20

// commitLocked makes one event durable and then applies it. After an error the catalogue is as before; should the
// event have reached the disk nevertheless, the next commit finds it there and applies it first.
func (s *Store) commitLocked(kind uint8, payload []byte) error {
	if err := s.commitEntryLocked(kind, payload); err != nil {
		return err
	}
	if s.journal.Size() > compactJournal {
		if err := s.journal.Compact(s.cat.encode()); err != nil {
			s.counters.failedCheckpoints.Add(1) // it grows on, and the next commit tries again
		}
	}
	return nil
}

// commitEntryLocked is commitLocked without a compaction of the journal.
func (s *Store) commitEntryLocked(kind uint8, payload []byte) error {
	switch {
	case s.readOnly:
		return ErrReadOnly
	case s.journalClosed:
		return ErrClosed
	}
	if s.journal.Err() != nil {
		if err := s.reviveLocked(); err != nil {
			return err
		}
	}
	if _, err := s.journal.Append(kind, payload); err != nil {
		return fmt.Errorf("write catalogue: %w", noSpace(err))
	}
	if err := s.cat.apply(kind, payload); err != nil {
		panic("BUG: the catalogue refuses its own event: " + err.Error())
	}
	s.settingsStamp.Store(s.cat.stamp)
	return nil
}

// commitLargeLocked is commitLocked for an event that is too large for an entry: the state behind it is written whole, at once. A crash, or an
// error, leaves the state before it or behind it, so the event has to be one that may be made again.
func (s *Store) commitLargeLocked(kind uint8, payload []byte) error {
	next := newCatalogue()
	if err := next.restore(s.cat.encode()); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	if err := next.apply(kind, payload); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	var nothing encoder
	nothing.changes(nil)
	for range 2 { // twice: should the last snapshot turn out damaged, the one before has the event too
		if err := s.commitEntryLocked(eventSettings, nothing.buf); err != nil { // a snapshot is of the last entry, and there may be one of it
			return err
		}
		err := s.journal.Compact(next.encode())
		switch {
		case errors.Is(err, journal.ErrTooLarge):
			return fmt.Errorf("%w: %w", ErrMessageTooLarge, err)
		case err != nil:
			return fmt.Errorf("write catalogue: %w", noSpace(err))
		}
	}
	if err := s.cat.apply(kind, payload); err != nil {
		panic("BUG: the catalogue refuses what it has taken: " + err.Error())
	}
	s.settingsStamp.Store(s.cat.stamp)
	return nil
}

// reviveLocked puts a journal back to work that has failed, as on a full disk. An event whose commit failed may turn
// out to be there after all; then it is applied.
func (s *Store) reviveLocked() error {
	_, err := s.journal.Reopen(func(e journal.Entry) error { return s.cat.apply(e.Kind, e.Payload) })
	if err != nil {
		return fmt.Errorf("write catalogue: %w", noSpace(err))
	}
	s.settingsStamp.Store(s.cat.stamp)
	s.orphans = append(s.orphans, s.refreshLocked(false, nil)...)
	return nil
}

// settle makes sure, before a change of topics looks at them, that no earlier one is still in doubt. The caller holds
// admin, so that only changes that do not depend on topics can come between this and its commit.
func (s *Store) settle() error {
	s.mu.Lock()
	var err error
	if s.journal.Err() != nil && !s.journalClosed {
		err = s.reviveLocked()
	}
	orphans := s.orphans
	s.orphans = nil
	s.mu.Unlock()
	for _, t := range orphans {
		err = errors.Join(err, s.removeTopic(t))
	}
	return err
}

// refreshLocked makes the live topics those of the catalogue, and returns those that are no longer in it. clean says
// that new ones may trust the end that the catalogue has; present, if not nil, which directories there are.
func (s *Store) refreshLocked(clean bool, present map[string]bool) (gone []*topic) {
	old := s.index.Load()
	next := &topicIndex{byName: make(map[string]*topic, len(s.cat.topics)), byID: make(map[TopicID]*topic, len(s.cat.topics))}
	for name, ct := range s.cat.topics {
		t := old.byName[name]
		if t != nil && t.id != ct.id {
			gone = append(gone, t)
			t = nil
		}
		if t == nil {
			t = &topic{name: name, id: ct.id, internal: internalTopic(name)}
		}
		next.byName[name], next.byID[t.id] = t, t
		s.refreshTopic(t, ct, clean, present)
	}
	for name, t := range old.byName {
		if next.byName[name] == nil {
			gone = append(gone, t)
		}
	}
	for _, t := range gone {
		t.deleted.Store(true)
	}
	s.index.Store(next)
	return gone
}

func (s *Store) refreshTopic(t *topic, ct *catTopic, clean bool, present map[string]bool) {
	if t.settings.Load() == nil {
		t.settings.Store(s.resolve(ct.overrides))
		t.own = ct.overrides
	}
	var have []*part
	if ps := t.parts.Load(); ps != nil {
		have = *ps
	}
	if len(have) == len(ct.parts) {
		return
	}
	parts := slices.Clip(slices.Clone(have))
	fresh := make([]part, len(ct.parts)-len(have)) // one allocation for thousands
	for i := len(have); i < len(ct.parts); i++ {
		cp := ct.parts[i]
		p := &fresh[i-len(have)]
		p.s, p.t, p.tp = s, t, TopicPartition{t.name, int32(i)}
		p.start = partStart{clean: clean && cp.end >= 0, end: cp.end, recoveryPoint: cp.recoveryPoint, logStart: cp.logStart, cleaned: cp.cleaned, epoch: ct.epoch, imprint: cp.imprint}
		p.hosted = present[segment.PartitionDirName(t.name, int32(i))]
		if clean && present != nil && cp.end > 0 && !p.hosted {
			p.start.clean = false // somebody removed it: recovery shall say so
		}
		if p.start.highWatermark = cp.highWatermark; s.cat.shared == 0 {
			p.start.highWatermark = math.MaxInt64 // of a store that was alone, all of it
		}
		parts = append(parts, p)
	}
	decodeRaised(s.cat.settings[raisedPrefix+t.id.String()], func(i, times int32) {
		if int(i) >= len(have) && int(i) < len(parts) {
			parts[i].raised.Store(times)
		}
	})
	t.parts.Store(&parts)
}

// noSpace adds ErrNoSpace to the errors by which a system says that a disk or a quota is full.
func noSpace(err error) error {
	if errors.Is(err, ErrNoSpace) || !(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoSpace, err)
}

// inParallel calls f for each item, at most n at a time, and returns when all have returned.
func inParallel[T any](n int, items []T, f func(T)) {
	if len(items) == 1 {
		f(items[0])
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, len(items)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(items) {
					return
				}
				f(items[i])
			}
		})
	}
	wg.Wait()
}

func compareTopicPartition(a, b TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func formatInt(v int64) string { return strconv.FormatInt(v, 10) }
