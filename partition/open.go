package partition

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/partlog/partlog/internal/journal"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// Open opens the store in dir, making it if dir does not exist or is empty. A relative dir is resolved now. Files get
// mode 0600 and directories 0700. Only one process, and in it only one Store, can have it open: *StoreInUseError names
// who has. Errors: ErrStoreInUse, ErrNotStore for a directory that has something else in it, ErrNewerFormat,
// *ConfigError, an unreadable catalogue, and errors of the file system.
//
// After an unclean end every partition is recovered before Open returns; RecoveryReport says what was found. A
// partition that cannot be recovered does not keep the others from being served.
func Open(dir string, c Config) (*Store, error) {
	if dir == "" {
		return nil, &ConfigError{Key: "dir", Value: dir, Range: "the path of a directory"}
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %q: %w", dir, err)
	}
	if c.FS == nil {
		c.FS = vfs.OS
	}
	return open(root, c, false)
}

// OpenMemory opens a new store without a disk: the same engine over files in the heap, which end with Close.
func OpenMemory(c Config) (*Store, error) {
	c.FS = vfs.NewMem()
	return open(memoryRoot, c, false)
}

// OpenReadOnly opens the store in dir for reading, also while another process has it open for writing. It takes no
// lock and writes nothing. Topics and records are those of the moment at which they are first looked at. Methods that
// change something return ErrReadOnly.
func OpenReadOnly(dir string, c Config) (*Store, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %q: %w", dir, err)
	}
	if c.FS == nil {
		c.FS = vfs.OS
	}
	return open(root, c, true)
}

func open(root string, c Config, readOnly bool) (_ *Store, err error) {
	c = c.withDefaults()
	defaults, err := c.validate()
	if err != nil {
		return nil, err
	}
	s := &Store{
		config:   c,
		fs:       c.FS,
		root:     root,
		readOnly: readOnly,
		maps:     mmap.NewBudget(c.MaxMappings),
		cat:      newCatalogue(),
		opened:   c.Clock.Now(),
	}
	s.defaults.Store(&defaults)
	s.index.Store(&topicIndex{byName: map[string]*topic{}})
	s.idsTurn = make(chan struct{}, 1)
	s.idsTurn <- struct{}{}
	s.shell.init(s)
	exists, err := claim(s.fs, root)
	if err != nil {
		return nil, err
	}
	if readOnly {
		if !exists {
			return nil, fmt.Errorf("%w: %s has no store to read", ErrNotStore, root)
		}
	} else if err := s.begin(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.abort()
		}
	}()
	s.inspectVolume()
	if err := s.loadCatalogue(); err != nil {
		return nil, err
	}
	clean, err := s.markOpened()
	if err != nil {
		return nil, err
	}
	if err := s.adopt(clean); err != nil {
		return nil, err
	}
	if !readOnly {
		s.shell.checkSpace()
		s.shell.start()
		if s.config.Cluster == nil {
			s.openTransactions()
		}
	}
	return s, nil
}

// begin makes the directories and takes the lock.
func (s *Store) begin() error {
	if err := makeRoot(s.fs, s.root); err != nil {
		return fmt.Errorf("make store %s: %w", s.root, noSpace(err))
	}
	lock, err := takeLock(s.fs, s.root, s.opened)
	if err != nil {
		return err
	}
	s.lock = lock
	err = s.fs.MkdirAll(filepath.Join(s.root, dataDirName), dirMode)
	if err == nil {
		err = s.fs.SyncDir(s.root)
	}
	if err != nil {
		err = fmt.Errorf("make store %s: %w", s.root, noSpace(err))
		s.abort()
	}
	return err
}

// makeRoot makes the store's directory and those above it that are missing, durably. The parent of one that is there
// already is synced too: it may have been made by an open that crashed.
func makeRoot(fsys vfs.FS, root string) error {
	var made []string
	for dir := root; ; dir = filepath.Dir(dir) {
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		made = append(made, parent)
		if _, err := fsys.Stat(dir); err == nil {
			break
		}
	}
	if err := fsys.MkdirAll(root, dirMode); err != nil {
		return err
	}
	for _, parent := range made {
		if err := fsys.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err // one may be allowed to pass through a directory and not to open it
		}
	}
	return nil
}

// abort lets go of everything after a failed open.
func (s *Store) abort() {
	s.closed.Store(true)
	s.shell.stop()
	for _, t := range s.index.Load().byName {
		for _, p := range *t.parts.Load() {
			if l := p.log.Load(); l != nil {
				l.Abandon()
			}
		}
	}
	if s.journal != nil {
		_ = s.journal.Close() // the open's own error tells more
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// loadCatalogue replays the journal; in a new store it writes the first entry.
func (s *Store) loadCatalogue() error {
	fresh := true
	j, found, err := journal.Open(journal.Options{
		FS:       s.fs,
		Dir:      filepath.Join(s.root, journalDirName),
		ReadOnly: s.readOnly,
		Snapshot: func(state []byte) error {
			fresh = false
			return s.cat.restore(state)
		},
		Replay: func(e journal.Entry) error {
			fresh = false
			return s.cat.apply(e.Kind, e.Payload)
		},
	})
	if errors.Is(err, journal.ErrNewerVersion) {
		err = fmt.Errorf("%w: %w", ErrNewerFormat, err)
	}
	if err != nil {
		return fmt.Errorf("open catalogue of store %s: %w", s.root, noSpace(err))
	}
	s.journal = j
	if !fresh {
		s.reportCatalogue(found)
		return nil
	}
	if s.readOnly {
		return fmt.Errorf("%w: %s has an empty catalogue", ErrNotStore, s.root)
	}
	// A crash in the first open leaves an empty journal, and nothing in data. Partitions without a catalogue mean
	// that the journal has been lost: to begin anew would hide them.
	entries, err := s.fs.ReadDir(filepath.Join(s.root, dataDirName))
	if err != nil {
		return fmt.Errorf("open store %s: %w", s.root, err)
	}
	for _, e := range entries {
		if e.IsDir() {
			return fmt.Errorf("%w: %s has partitions but its catalogue (%s) is empty or missing; put the catalogue back, or Import %s into a new store",
				ErrNotStore, s.root, journalDirName, dataDirName)
		}
	}
	cluster := newUUID()
	if s.config.ClusterID != "" {
		cluster, _ = ParseTopicID(s.config.ClusterID) // validated
	}
	var e encoder
	e.id(cluster)
	e.id(newUUID())
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commitLocked(eventFormatted, e.buf)
}

// reportCatalogue passes on what the journal found out of order.
func (s *Store) reportCatalogue(found *journal.Recovery) {
	if len(found.Findings) == 0 {
		return
	}
	s.mu.Lock()
	s.recovery = &RecoveryReport{Incarnation: s.cat.incarnation + 1, Catalogue: found}
	s.mu.Unlock()
	for _, f := range found.Findings {
		s.warn(f.Path, fmt.Sprintf("catalogue: %s at position %d (%d bytes), %s %s", f.Kind, f.Position, f.Bytes, f.Action, f.Detail))
	}
}

// markOpened decides whether the last close was clean, and makes sure that the next open cannot think so if this one
// crashes.
func (s *Store) markOpened() (clean bool, err error) {
	name := filepath.Join(s.root, dataDirName, segment.CleanShutdownName)
	if s.cat.clean {
		// The journal knows; but if somebody else, as a broker, has opened data since, its marker is gone or another.
		epoch, err := segment.ReadCleanShutdown(s.fs, filepath.Join(s.root, dataDirName))
		clean = err == nil && epoch == s.cat.incarnation
	}
	if s.readOnly {
		return clean, nil
	}
	if err := removeIfThere(s.fs, name); err != nil {
		return false, fmt.Errorf("open store %s: %w", s.root, err)
	}
	if err := s.writeMetaProperties(); err != nil {
		return false, fmt.Errorf("open store %s: %w", s.root, noSpace(err))
	}
	first := s.cat.incarnation == 0
	var e encoder
	e.int(s.cat.incarnation + 1)
	e.bool(!clean && !first)
	s.mu.Lock()
	defer s.mu.Unlock()
	return clean, s.commitLocked(eventOpened, e.buf)
}

func (s *Store) writeMetaProperties() error {
	dir := filepath.Join(s.root, dataDirName)
	want := segment.MetaProperties{Version: 1, ClusterID: s.ClusterID(), NodeID: s.nodeID(), DirectoryID: s.cat.directoryID.String()}
	if have, err := segment.ReadMetaProperties(s.fs, dir); err == nil && have == want {
		return nil
	}
	return segment.WriteMetaProperties(s.fs, dir, want)
}

// inspectVolume warns of file systems whose promises are weaker than a disk's. Mappings of a file that another machine
// may change are not made: reads copy.
func (s *Store) inspectVolume() {
	u, err := s.fs.Usage(s.root)
	if err != nil {
		return
	}
	switch {
	case u.Network:
		s.maps = mmap.NewBudget(0)
		s.warn(s.root, fmt.Sprintf("the store is on a network file system (%s): its lock and its syncs may not hold across machines", u.Kind))
	case u.Overlay:
		s.warn(s.root, fmt.Sprintf("the store is on a container's layer (%s): it is slower, and gone with the container; mount a volume", u.Kind))
	}
}

// newUUID draws a random id that Kafka would accept: not one of its reserved ones, and without '-' in front, which its
// tools take for an option.
func newUUID() TopicID {
	for {
		var id TopicID
		_, _ = rand.Read(id[:]) // never fails
		if id[0] != 0 && id.String()[0] != '-' {
			return id
		}
	}
}
