package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/journal"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// RecoveryReport says what an open after an unclean end found in each partition.
type RecoveryReport struct {
	Incarnation int64               `json:"incarnation"`
	Duration    time.Duration       `json:"duration"`
	Partitions  []PartitionRecovery `json:"partitions"`
	// Catalogue says what was found in the journal of the catalogue; nil if nothing.
	Catalogue *CatalogueRecovery `json:"catalogue,omitempty"`
	// Failed holds the partitions that could not be opened, with the reason. The others are served.
	Failed map[string]string `json:"failed,omitempty"`
}

// CatalogueRecovery says what an open found in the journal of the catalogue, and did about it.
type CatalogueRecovery = journal.Recovery

// RecoveryReport returns what the open found, or nil after a clean close and for a new store. A partition of a cleanly
// closed store is opened at its first use; if that finds something, Events.Recovered says so, and there is a report. The result is the caller's.
func (s *Store) RecoveryReport() *RecoveryReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovery == nil {
		return nil
	}
	r := *s.recovery
	r.Partitions = slices.Clone(r.Partitions)
	r.Failed = maps.Clone(r.Failed)
	return &r
}

// adopt makes the catalogue's topics live and puts data in order. It recovers all partitions unless the last close was
// clean.
func (s *Store) adopt(clean bool) error {
	entries, err := s.fs.ReadDir(filepath.Join(s.root, dataDirName))
	if err != nil && !(s.readOnly && errors.Is(err, fs.ErrNotExist)) {
		return fmt.Errorf("open store %s: %w", s.root, err)
	}
	present := map[string]bool{}
	for _, e := range entries {
		if e.IsDir() {
			present[e.Name()] = true
		}
	}
	if !s.readOnly {
		if err := s.finishInterrupted(present); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.refreshLocked(clean, present)
	s.mu.Unlock()

	var dirty []*part
	missing := false
	for _, name := range s.cat.names() {
		for _, p := range *s.index.Load().byName[name].parts.Load() {
			delete(present, segment.PartitionDirName(name, p.tp.Partition))
			if s.config.Cluster != nil && !p.hosted {
				if cp := s.cat.topics[name].parts[p.tp.Partition]; cp.recoveryPoint > 0 || cp.end > 0 {
					missing = true // somebody has removed it
				}
				continue // or another node has it
			}
			if !p.start.clean && !s.readOnly {
				dirty = append(dirty, p)
			}
		}
	}
	for _, name := range sortedKeys(present) {
		s.warn(filepath.Join(s.root, dataDirName, name), "a directory of no topic of this store; it was left alone")
	}
	if !clean && s.cat.incarnation > 1 || len(dirty) > 0 {
		s.recover(dirty)
	}
	s.suspects = dirty
	s.cleanOpen = !missing && (clean || !s.lostTail(dirty))
	return s.leaveCluster()
}

// recover opens partitions whose last bytes may be torn, several at a time.
func (s *Store) recover(dirty []*part) {
	began := s.config.Clock.Now()
	s.mu.Lock()
	if s.recovery == nil {
		s.recovery = &RecoveryReport{Incarnation: s.cat.incarnation}
	}
	s.mu.Unlock()
	inParallel(s.config.OpenConcurrency, dirty, func(p *part) {
		l, err := p.open()
		if err == nil {
			err = l.Park() // a descriptor for each of thousands would be too many
		}
		if err != nil {
			s.mu.Lock()
			if s.recovery.Failed == nil {
				s.recovery.Failed = map[string]string{}
			}
			s.recovery.Failed[p.tp.String()] = err.Error()
			s.mu.Unlock()
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovery.Duration = s.config.Clock.Now().Sub(began)
	slices.SortFunc(s.recovery.Partitions, func(a, b PartitionRecovery) int {
		return compareTopicPartition(TopicPartition{a.Topic, a.Partition}, TopicPartition{b.Topic, b.Partition})
	})
}

// report adds what the recovery of one partition found.
func (s *Store) report(r PartitionRecovery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovery == nil && len(r.Findings) > 0 {
		s.recovery = &RecoveryReport{Incarnation: s.cat.incarnation} // found by the first use of a clean partition
	}
	if s.recovery != nil {
		s.recovery.Partitions = append(s.recovery.Partitions, r)
	}
}

// finishInterrupted ends deletions and imports that a crash has cut short, and removes what was deleted.
func (s *Store) finishInterrupted(present map[string]bool) error {
	for id, t := range s.cat.deleted {
		if err := s.retire(id, t.name, t.parts, present); err != nil {
			return err
		}
		s.mu.Lock()
		var e encoder
		e.id(id)
		err := s.commitLocked(eventTopicPurged, e.buf)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(present) {
		d, err := segment.ParseDirName(name)
		if err != nil || d.State == segment.DirLive {
			continue
		}
		path := filepath.Join(s.root, dataDirName, name)
		switch {
		case d.State == segment.DirDelete:
			delete(present, name)
			s.shell.unlink(path)
		case d.State == segment.DirFuture && s.finishImport(d, path, present):
			delete(present, name)
		}
	}
	return nil
}

// finishImport gives an imported partition its name if a crash came between the catalogue's entry and the rename.
func (s *Store) finishImport(d segment.DirName, path string, present map[string]bool) bool {
	live := segment.PartitionDirName(d.Topic, d.Partition)
	t := s.cat.topics[d.Topic]
	if t == nil || present[live] || int(d.Partition) >= len(t.parts) {
		return false
	}
	if id, err := segment.ReadPartitionMetadata(s.fs, path); err != nil || TopicID(id) != t.id {
		return false
	}
	if err := s.fs.Rename(path, filepath.Join(s.root, dataDirName, live)); err != nil {
		return false
	}
	present[live] = true
	return true
}

// retire renames the directories of a deleted topic, so that its name is free, and has them removed in the background.
// A directory of that name that belongs to another topic id stays.
func (s *Store) retire(id TopicID, name string, parts int32, present map[string]bool) error {
	data := filepath.Join(s.root, dataDirName)
	renamed := false
	for i := range parts {
		live := segment.PartitionDirName(name, i)
		if present != nil && !present[live] {
			continue
		}
		from := filepath.Join(data, live)
		found, err := segment.ReadPartitionMetadata(s.fs, from)
		if err == nil && TopicID(found) != id {
			continue
		}
		var to string
		for err = fs.ErrExist; errors.Is(err, fs.ErrExist); { // random numbers that repeat, as seeded ones do, find the name taken
			to = filepath.Join(data, segment.DirName{Topic: name, Partition: i}.WithState(segment.DirDelete, newUUID()).String())
			err = s.fs.Rename(from, to)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("delete topic %q: %w", name, err)
		}
		delete(present, live)
		renamed = true
		s.shell.unlink(to)
	}
	if renamed {
		if err := s.fs.SyncDir(data); err != nil {
			return fmt.Errorf("delete topic %q: %w", name, err)
		}
	}
	return nil
}

func removeIfThere(fsys vfs.FS, name string) error {
	err := fsys.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}
