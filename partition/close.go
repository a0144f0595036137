package partition

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/log"
)

// Close closes the store, in this order: services end, the last started first, while the store still works; the
// transaction coordinator finishes what it is writing, and leaves the rest to the next open; then
// every call returns ErrClosed, fetches that wait included, and appends that had begun are finished; background work
// ends; all partitions are synced and closed; Kafka's checkpoints and, last, the marker of a clean shutdown are
// written. What can hang is bounded by Config.CloseTimeout. Later calls return the result of the first.
//
// *OpenLeasesError names borrowed bytes that were not given back; the store is closed and clean nevertheless. Those that
// somebody is reading at this very moment are among them: end the readers first. After any other error the next open
// goes through recovery.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	serviceErr := s.closeServices()
	serviceErr = errors.Join(serviceErr, s.closeTransactions())

	s.closed.Store(true)
	close(s.shell.closing) // wakes parked fetches
	s.admin.Lock()         // a change of topics under way is finished
	defer s.admin.Unlock()
	s.shell.stop()

	var mu sync.Mutex
	var errs []error
	parts := s.allParts()
	inParallel(s.config.OpenConcurrency, parts, func(p *part) {
		if err := p.close(); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		}
	})
	err := errors.Join(errs...)
	if !s.readOnly {
		err = s.closeCatalogue(err)
	}
	s.mu.Lock()
	s.journalClosed = true
	if cerr := s.journal.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close catalogue: %w", cerr)
	}
	s.mu.Unlock()
	if s.lock != nil {
		record := fmt.Sprintf("%s%d\n", lockMagic, storeFormat)
		_ = writeRecord(s.fs, filepath.Join(s.root, lockName), record) // without it the next holder is named late, no more
		if cerr := s.lock.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("unlock store: %w", cerr)
		}
	}
	// Last, so that whoever was just copying has given its bytes back.
	if leases := openLeases(parts); len(leases) > 0 && err == nil && serviceErr == nil {
		return &OpenLeasesError{Leases: leases}
	}
	return errors.Join(err, serviceErr)
}

func openLeases(parts []*part) (leases []OpenLease) {
	for _, p := range parts {
		if l := p.log.Load(); l != nil {
			if n := l.Leases(); n.Count > 0 {
				leases = append(leases, OpenLease{p.tp, n.Count, n.OldestAge})
			}
		}
	}
	return leases
}

// closeServices ends all services, or reports those that did not end in time.
func (s *Store) closeServices() error {
	var errs []error
	for _, x := range s.services.take() {
		done := make(chan error, 1)
		go func() { done <- x.inst.Close() }() // nobody waits for one that hangs
		late := make(chan struct{})
		stop := s.config.Clock.AfterFunc(s.config.CloseTimeout, func() { close(late) })
		select {
		case err := <-done:
			if err != nil {
				errs = append(errs, fmt.Errorf("close service %q: %w", x.name, err))
			}
		case <-late:
			errs = append(errs, fmt.Errorf("close service %q: %w after %s", x.name, ErrTimeout, s.config.CloseTimeout))
		}
		stop()
	}
	return errors.Join(errs...)
}

// closeCatalogue records that the store was closed cleanly, unless failed is not nil: ends of partitions in the
// journal, Kafka's checkpoints, and last the marker. It returns failed or its own failure.
func (s *Store) closeCatalogue(failed error) error {
	if failed != nil {
		return failed // no marker: the next open shall look at the partitions
	}
	data := filepath.Join(s.root, dataDirName)
	var e, watermarks encoder
	marked := 0
	var highs, points, starts, cleaned []segment.OffsetEntry
	ends := s.ends()
	e.int(int64(len(ends)))
	for _, x := range ends {
		e.mark(x.mark)
		entry := func(o Offset) segment.OffsetEntry {
			return segment.OffsetEntry{Topic: x.topic, Partition: x.partition, Offset: int64(o)}
		}
		if x.lazy {
			continue // Kafka's tools expect a directory behind each line
		}
		high := x.offset
		if s.config.Cluster != nil {
			high = min(x.high, x.offset)
			watermarks.mark(mark{id: x.id, partition: x.partition, offset: high})
			marked++
		}
		highs = append(highs, entry(high))
		points = append(points, entry(x.offset))
		if x.start > 0 {
			starts = append(starts, entry(x.start))
		}
		if x.cleaned > 0 {
			cleaned = append(cleaned, entry(x.cleaned))
		}
	}
	for name, entries := range map[string][]segment.OffsetEntry{
		segment.HighWatermarkName: highs, segment.RecoveryPointName: points, segment.LogStartOffsetName: starts,
		segment.CleanerOffsetName: cleaned,
	} {
		if err := segment.WriteOffsetCheckpoint(s.fs, filepath.Join(data, name), entries); err != nil {
			return fmt.Errorf("close store: %w", noSpace(err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if marked > 0 {
		s.saveMarksLocked(eventHighWatermarks, marked, &watermarks)
	}
	if err := s.commitLocked(eventClosed, e.buf); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	if err := s.journal.Compact(s.cat.encode()); err != nil {
		return fmt.Errorf("close store: %w", noSpace(err))
	}
	if err := segment.WriteCleanShutdown(s.fs, data, s.cat.incarnation); err != nil {
		return fmt.Errorf("close store: %w", noSpace(err))
	}
	return nil
}

// closedEnd is where a partition ended.
type closedEnd struct {
	mark
	topic   string
	lazy    bool   // has no directory
	cleaned Offset // first dirty
	high    Offset // high watermark
}

// ends returns the ends of all partitions, which have been closed, by name.
func (s *Store) ends() []closedEnd {
	var out []closedEnd
	index := s.index.Load()
	for _, name := range sortedKeys(index.byName) {
		t := index.byName[name]
		for i, p := range *t.parts.Load() {
			p.mu.Lock()
			last, elsewhere := p.last, s.config.Cluster != nil && !p.hosted
			p.mu.Unlock()
			if last.end < 0 || elsewhere {
				continue // was never opened since an unclean end: it stays unknown
			}
			out = append(out, closedEnd{mark{t.id, int32(i), last.end, last.start, last.imprint}, name, t.internal && last.end == 0, last.cleaned, last.high})
		}
	}
	return out
}

// allParts returns every partition that there is now.
func (s *Store) allParts() []*part {
	var out []*part
	for _, t := range s.index.Load().byName {
		out = append(out, *t.parts.Load()...)
	}
	return out
}

// openLogs calls f for every partition that has been used.
func (s *Store) openLogs(f func(*part, *log.Log)) {
	for _, t := range s.index.Load().byName {
		for _, p := range *t.parts.Load() {
			if l := p.log.Load(); l != nil {
				f(p, l)
			}
		}
	}
}
