package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
)

// snapshotChunk is how many bytes of batches are copied at a time.
const snapshotChunk = 4 << 20

// Snapshot writes a backup of the store to dir, which must not exist or be empty. Appends and reads go on meanwhile.
// The backup is itself a closed store: to restore, open it, or put it in the place of the lost one. It has the same
// cluster and topic ids, settings, leader epochs and offsets, and of each partition the records that it had at one moment of
// the call: each transaction is in it whole or, if it was open then, will be aborted when the backup is opened; committed
// offsets are never ahead of their records. Each batch's checksum is checked on the way; a corrupt range is left out, as a gap, and named in the
// error, which is then a *log.CorruptionError beside a complete backup of the rest. After any other error dir is
// not a backup and should be removed.
func (s *Store) Snapshot(ctx context.Context, dir string) error {
	return s.snapshot(ctx, s.outside(), dir, false)
}

// SnapshotTo is Snapshot to a directory of another file system, and finishes each partition's last segment behind the last
// record: the store opened from it appends to new files only, so copies of the backup may share the others (see
// partitiontest.Disk and kafkatest.Snapshot).
func (s *Store) SnapshotTo(ctx context.Context, fsys FS, dir string) error {
	return s.snapshot(ctx, fsys, dir, true)
}

func (s *Store) snapshot(ctx context.Context, fsys vfs.FS, dir string, roll bool) error {
	if s.closed.Load() {
		return ErrClosed
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("snapshot to %q: %w", dir, err)
	}
	entries, err := fsys.ReadDir(root)
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("snapshot to %s: %w: the directory is not empty", root, ErrNotStore)
	}
	b, err := open(root, Config{FS: fsys, Sync: SyncNever, Clock: s.config.Clock, LowSpaceBytes: Unlimited}, false)
	if err != nil {
		return fmt.Errorf("snapshot to %s: %w", root, err)
	}
	damage, err := s.copyTo(ctx, b, roll)
	if err != nil {
		b.abort()
		return fmt.Errorf("snapshot to %s: %w", root, err)
	}
	if err := b.Close(); err != nil {
		return fmt.Errorf("snapshot to %s: %w", root, err)
	}
	if damage != nil {
		return fmt.Errorf("snapshot to %s: %w", root, damage)
	}
	return nil
}

// outside is the file system in which the paths are that a caller names.
func (s *Store) outside() vfs.FS {
	if s.root == memoryRoot {
		return vfs.OS
	}
	return s.fs
}

// copyTo copies the catalogue, with the admin lock held against changes, and then all records.
func (s *Store) copyTo(ctx context.Context, b *Store, roll bool) (damage, err error) {
	s.admin.Lock()
	state := s.copyCatalogue()
	topics := s.index.Load()
	names := sortedKeys(topics.byName)
	slices.SortStableFunc(names, func(x, y string) int { return cmp.Compare(snapshotRank(x), snapshotRank(y)) })
	ends := s.cut(topics, names) // before a topic is made that would be missing: a transaction may be in it, committed offsets even
	s.admin.Unlock()
	if err := b.takeCatalogue(state); err != nil {
		return nil, err
	}
	var bad []error
	for _, name := range names {
		for i, p := range *topics.byName[name].parts.Load() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			target, err := b.part(TopicPartition{name, int32(i)}, TopicID{})
			if err != nil {
				return nil, err
			}
			damage, err := p.copyTo(ctx, target, ends[p], roll)
			if err = p.gone(err); errors.Is(err, ErrUnknownTopicOrPartition) || errors.Is(err, ErrNotLeaderOrFollower) {
				continue // deleted meanwhile, or on other nodes only: the backup has an empty topic of its id
			}
			if err != nil {
				return nil, fmt.Errorf("partition %s: %w", p.tp, err)
			}
			if damage != nil {
				bad = append(bad, damage)
			}
		}
	}
	return errors.Join(bad...), nil
}

// copyCatalogue returns the catalogue as a backup has it: nothing deleted is pending, and no offset is known yet.
func (s *Store) copyCatalogue() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newCatalogue()
	_ = c.restore(s.cat.encode()) // cannot fail on its own encoding
	clear(c.deleted)
	for _, t := range c.topics {
		for i := range t.parts {
			t.parts[i] = catPart{logStart: t.parts[i].logStart, cleaned: t.parts[i].cleaned}
		}
	}
	c.clean = false
	return c.encode()
}

// takeCatalogue makes a new store one with these topics. It has its own directory id.
func (b *Store) takeCatalogue(state []byte) error {
	if err := b.replaceCatalogue(state); err != nil {
		return err
	}
	return b.writeMetaProperties()
}

func (b *Store) replaceCatalogue(state []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	directory := b.cat.directoryID
	if err := b.cat.restore(state); err != nil {
		return err
	}
	b.cat.directoryID = directory
	b.refreshLocked(true, nil)
	for _, t := range b.cat.topics { // now that all are known to be empty: until Close tells the end, as in any open store
		for i := range t.parts {
			t.parts[i].end = -1
		}
	}
	// An entry first: a snapshot of the journal is one after its last entry, and must be newer than what it replaces.
	var e encoder
	e.int(b.cat.nextID)
	if err := b.commitLocked(eventProducerIDs, e.buf); err != nil {
		return err
	}
	if err := b.journal.Compact(b.cat.encode()); err != nil {
		return err
	}
	for _, t := range b.index.Load().byName {
		st := *t.settings.Load()
		st.log.Sync = SyncNever // whatever the topic's mode is: the backup is synced once, by its Close
		t.settings.Store(&st)
	}
	return nil
}

// copyTo copies all durable batches of p to a partition of a new store.
func (p *part) copyTo(ctx context.Context, target *part, end Offset, roll bool) (damage, err error) {
	if start := p.startsWith(); p.log.Load() == nil && start.clean && start.end == 0 {
		return nil, nil
	}
	l, err := p.open()
	if err != nil {
		return nil, err
	}
	if err := l.Sync(); err != nil {
		return nil, err
	}
	next := l.Start()
	end = min(end, l.Durable())
	target.start.logStart = next
	var buf []byte
	for next < end {
		if err := ctx.Err(); err != nil {
			return damage, err
		}
		chunk, after, err := l.ReadInto(buf[:0], next, end, snapshotChunk)
		if bad, ok := errors.AsType[*log.CorruptionError](err); ok {
			damage = errors.Join(damage, err)
			next = bad.NextOffset
			continue
		}
		if errors.Is(err, ErrOffsetOutOfRange) && l.Start() > next {
			next = l.Start() // retention was faster
			continue
		}
		if err != nil {
			return damage, err
		}
		if len(chunk) == 0 {
			break
		}
		if err := target.takeBatches(chunk); err != nil {
			return damage, err
		}
		buf, next = chunk, after
	}
	if tl := target.log.Load(); tl != nil {
		target.suspect.Store(tl.LastStable() < tl.End()) // its record may be behind the cut
		if roll {
			if err := tl.Roll(); err != nil {
				return damage, err
			}
		}
		return damage, tl.Park()
	}
	return damage, nil
}

// snapshotRank orders topics for a cut: what speaks of records comes before them. A transaction that the cut has as prepared
// has all its records in it, committed offsets among them, and no offset is committed of a record that is not there.
func snapshotRank(topic string) int {
	switch {
	case topic == txn.Topic:
		return 0
	case internalTopic(topic):
		return 1
	}
	return 2
}

// cut returns the end of each partition as a backup is to have it, all of one moment in which no transaction has markers in
// some of its partitions only: so each is in the backup whole, or will be ended there as a whole.
func (s *Store) cut(topics *topicIndex, names []string) map[*part]Offset {
	for _, name := range names {
		for _, p := range *topics.byName[name].parts.Load() {
			if !p.startsWith().clean {
				_, _ = p.open() // the copy reports what is wrong with it
			}
		}
	}
	s.marking.Lock()
	defer s.marking.Unlock()
	ends := map[*part]Offset{}
	for _, name := range names {
		for _, p := range *topics.byName[name].parts.Load() {
			ends[p] = p.startsWith().end
			if l := p.log.Load(); l != nil {
				ends[p] = l.Written()
			}
		}
	}
	return ends
}

// takeBatches appends batches with their offsets and leader epochs, after checking each one's checksum.
func (p *part) takeBatches(chunk []byte) error {
	for len(chunk) > 0 {
		b, err := batch.Peek(chunk)
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return err
		}
		if p.log.Load() == nil {
			// The first batch may begin below the log start offset; the log has to begin with the batch.
			p.start.logStart, p.start.end = min(p.start.logStart, Offset(b.BaseOffset())), 0
			p.start.clean = false
		}
		l, err := p.open()
		if err != nil {
			return err
		}
		if _, err := l.Append(b, log.AppendOptions{Origin: log.OriginReplica}); err != nil {
			return err
		}
		chunk = chunk[len(b):]
	}
	return nil
}
