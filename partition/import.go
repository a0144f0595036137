package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/internal/vfs"
)

// ImportOptions are choices of Import. The zero value imports all topics with default settings.
type ImportOptions struct {
	// Topics gives imported topics their settings, which a Kafka log directory does not hold. A topic that a broker
	// has cleaned (cleaner-offset-checkpoint) is compacted without being named here. Partitions is taken if it is
	// more than there are directories.
	Topics map[string]TopicConfig
	// Only limits the import to these topics; empty means all but __cluster_metadata, and but __transaction_state if this
	// store has transactions of its own.
	Only []string
}

// ImportReport says what Import has taken over.
type ImportReport struct {
	Topics     []string            `json:"topics"`
	Bytes      int64               `json:"bytes"`
	Partitions []PartitionRecovery `json:"partitions"` // what the check of each one's files found
}

// importing is one topic on its way in.
type importing struct {
	topic *catTopic
	dirs  map[int32]string // of each partition: where it was copied to
}

// Import takes over the topics of a Kafka log directory (log.dirs of a broker that is not running), with their ids,
// offsets, leader epochs and idempotent producers; the directory is only read. Records are checked as after an unclean
// end, so what Kafka had not flushed is found out. A topic whose name is taken is ErrTopicAlreadyExists, before
// anything is copied. Topics become visible one at a time, each with all its partitions; after an error the ones
// in the report are there.
//
// Transactions that are open in what was imported are ended: as the imported __transaction_state says, and aborted where it
// says nothing or stays behind. A transaction that a broker had decided and not yet written everywhere is whole only if
// __transaction_state comes along.
//
// ErrUnsupported in a cluster: an import goes into a store that is alone, whose directory then becomes the first node's.
func (s *Store) Import(ctx context.Context, logDir string, o ImportOptions) (*ImportReport, error) {
	root, err := filepath.Abs(logDir)
	if err != nil {
		return nil, fmt.Errorf("import %q: %w", logDir, err)
	}
	r := &ImportReport{}
	if s.config.Cluster != nil {
		return r, fmt.Errorf("import %s: %w: import into a store that is alone, and make it the first node of a cluster then", root, ErrUnsupported)
	}
	var parts []*part
	s.admin.Lock()
	err = s.importFrom(ctx, root, o, r, &parts)
	s.admin.Unlock()
	if err = errors.Join(err, s.takeTransactions(parts)); err != nil {
		return r, fmt.Errorf("import %s: %w", root, s.closedOr(err))
	}
	return r, nil
}

func (s *Store) importFrom(ctx context.Context, root string, o ImportOptions, r *ImportReport, parts *[]*part) error {
	if s.closed.Load() {
		return ErrClosed
	}
	if s.readOnly {
		return ErrReadOnly
	}
	if err := s.settle(); err != nil {
		return err
	}
	from := s.outside()
	found, err := s.findImports(from, root, o)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(found) {
		im := found[name]
		if err := s.copyImport(ctx, from, root, im, r); err != nil {
			s.dropImport(im)
			return fmt.Errorf("topic %q: %w", name, noSpace(err))
		}
		if err := s.publishImport(im, r); err != nil {
			return fmt.Errorf("topic %q: %w", name, noSpace(err))
		}
		r.Topics = append(r.Topics, name)
		*parts = append(*parts, *s.index.Load().byName[name].parts.Load()...)
	}
	return nil
}

// findImports lists the topics of a log directory and checks that all of them can come in.
func (s *Store) findImports(from vfs.FS, root string, o ImportOptions) (map[string]*importing, error) {
	entries, err := from.ReadDir(root)
	if err != nil {
		return nil, err
	}
	cleaned := map[string]bool{offsetsTopic: true, txn.Topic: true}
	if lines, err := segment.ReadOffsetCheckpoint(from, filepath.Join(root, segment.CleanerOffsetName)); err == nil {
		for _, l := range lines {
			cleaned[l.Topic] = true
		}
	}
	only := map[string]bool{}
	for _, name := range o.Only {
		only[name] = true
	}
	found := map[string]*importing{}
	for _, e := range entries {
		d, err := segment.ParseDirName(e.Name())
		if err != nil || !e.IsDir() || d.State != segment.DirLive || len(only) > 0 && !only[d.Topic] {
			continue
		}
		if own := s.hasTransactions(); len(only) == 0 && (d.Topic == "__cluster_metadata" || d.Topic == txn.Topic && own) {
			continue
		} else if own && d.Topic == txn.Topic {
			return nil, fmt.Errorf("%w: %q: this store has transactions of its own", ErrTopicAlreadyExists, d.Topic)
		}
		im := found[d.Topic]
		if im == nil {
			if im, err = s.newImport(from, root, d, o, cleaned[d.Topic]); err != nil {
				return nil, err
			}
			found[d.Topic] = im
		}
		if int(d.Partition) >= maxPartitions {
			return nil, fmt.Errorf("%w: %s", ErrInvalidPartitions, e.Name())
		}
		if n := int(d.Partition) + 1; n > len(im.topic.parts) {
			im.topic.parts = grow(im.topic.parts, n)
		}
		im.dirs[d.Partition] = ""
		if epochs, err := segment.ReadEpochs(from, filepath.Join(root, e.Name())); err == nil {
			if e, ok := epochs.Latest(); ok {
				im.topic.epoch = max(im.topic.epoch, LeaderEpoch(e.Epoch)+1)
			}
		}
	}
	if im := found[txn.Topic]; im != nil && o.Topics[txn.Topic].Partitions == 0 && len(im.dirs) < len(im.topic.parts) {
		im.topic.parts = grow(im.topic.parts, max(len(im.topic.parts), txn.Partitions)) // as below
	}
	if im := found[offsetsTopic]; im != nil && o.Topics[offsetsTopic].Partitions == 0 && len(im.dirs) < len(im.topic.parts) {
		// Where a group's offsets are depends on how many partitions there are. Holes mean that some had no
		// directory, or are elsewhere: then the broker's default is the best guess.
		im.topic.parts = grow(im.topic.parts, max(len(im.topic.parts), int(offsetsTopicConfig.Partitions)))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: no partitions in it", ErrUnknownTopicOrPartition)
	}
	return found, nil
}

func (s *Store) newImport(from vfs.FS, root string, d segment.DirName, o ImportOptions, compacted bool) (*importing, error) {
	if err := validTopicName(d.Topic); err != nil {
		return nil, err
	}
	if err := s.nameIsFree(d.Topic); err != nil {
		return nil, err
	}
	c := o.Topics[d.Topic]
	if compacted && c.CleanupPolicy == "" {
		c.CleanupPolicy = CleanupCompact
	}
	overrides, err := c.overrides()
	if err != nil {
		return nil, err
	}
	ct := &catTopic{name: d.Topic, created: s.config.Clock.Now(), overrides: overrides, parts: make([]catPart, max(c.Partitions, 0))}
	if id, err := segment.ReadPartitionMetadata(from, filepath.Join(root, d.String())); err == nil {
		ct.id = TopicID(id)
	} else {
		ct.id = newUUID()
	}
	return &importing{topic: ct, dirs: map[int32]string{}}, s.directoriesAreFree(d.Topic, 0, maxPartitions)
}

// copyImport copies the partitions' directories beside their places, under names that Kafka gives to replicas that move.
func (s *Store) copyImport(ctx context.Context, from vfs.FS, root string, im *importing, r *ImportReport) error {
	data := filepath.Join(s.root, dataDirName)
	for i := range im.dirs {
		source := filepath.Join(root, segment.PartitionDirName(im.topic.name, i))
		name := segment.DirName{Topic: im.topic.name, Partition: i}.WithState(segment.DirFuture, newUUID()).String()
		target := filepath.Join(data, name)
		if err := s.fs.Mkdir(target, dirMode); err != nil {
			return err
		}
		im.dirs[i] = target
		files, err := from.ReadDir(source)
		if err != nil {
			return err
		}
		for _, f := range files {
			n := segment.ParseName(f.Name())
			if n.Kind == segment.KindForeign || n.Kind == segment.KindPartitionMetadata || n.State == segment.Tmp || f.IsDir() {
				continue // what is not Kafka's stays behind; what a cleaner had not finished is finished or taken back by the open
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			n2, err := copyFile(from, filepath.Join(source, f.Name()), s.fs, filepath.Join(target, f.Name()))
			if err != nil {
				return err
			}
			r.Bytes += n2
		}
		if err := segment.WritePartitionMetadata(s.fs, target, im.topic.id); err != nil {
			return err
		}
		if err := s.fs.SyncDir(target); err != nil {
			return err
		}
	}
	return s.fs.SyncDir(data)
}

// publishImport makes a copied topic part of the catalogue, and then gives its directories their names; the next open
// does what a crash keeps this from doing.
func (s *Store) publishImport(im *importing, r *ImportReport) error {
	data := filepath.Join(s.root, dataDirName)
	var e encoder
	e.topic(im.topic)
	s.mu.Lock()
	err := s.commitLocked(eventTopicCreated, e.buf)
	s.mu.Unlock()
	if err != nil {
		s.dropImport(im)
		return err
	}
	for i, dir := range im.dirs {
		if err := s.fs.Rename(dir, filepath.Join(data, segment.PartitionDirName(im.topic.name, i))); err != nil {
			return err
		}
	}
	if err := s.fs.SyncDir(data); err != nil {
		return err
	}
	s.mu.Lock()
	s.refreshLocked(false, nil)
	s.mu.Unlock()
	t := s.index.Load().byName[im.topic.name]
	var nextID int64
	var errs []error
	for _, p := range *t.parts.Load() {
		if _, ok := im.dirs[p.tp.Partition]; !ok {
			continue
		}
		p.mu.Lock()
		p.start.copied = true
		p.mu.Unlock()
		l, err := p.open()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.Partitions = append(r.Partitions, l.Report())
		producers, err := l.Producers()
		errs = append(errs, err)
		for _, x := range producers {
			nextID = max(nextID, x.ProducerID+1)
		}
		errs = append(errs, l.Park())
	}
	errs = append(errs, s.reserveIDs(nextID))
	return errors.Join(errs...)
}

// hasTransactions reports whether there is a coordinator, or a topic for one.
func (s *Store) hasTransactions() bool {
	return s.txns.Load() != nil || s.index.Load().byName[txn.Topic] != nil
}

func (s *Store) dropImport(im *importing) {
	for _, dir := range im.dirs {
		if dir != "" && strings.HasPrefix(dir, s.root) {
			s.shell.unlink(dir)
		}
	}
}

// copyFile copies a file and syncs the copy.
func copyFile(from vfs.FS, source string, to vfs.FS, target string) (n int64, err error) {
	in, err := from.OpenFile(source, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := to.OpenFile(target, os.O_RDWR|os.O_CREATE|os.O_EXCL, fs.FileMode(fileMode))
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 1<<20)
	for {
		k, rerr := in.ReadAt(buf, n)
		if k > 0 {
			if _, werr := out.WriteAt(buf[:k], n); werr != nil {
				return n, errors.Join(werr, out.Close())
			}
			n += int64(k)
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return n, errors.Join(rerr, out.Close())
		}
	}
	return n, errors.Join(out.Sync(), out.Close())
}
