package partition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/internal/vfs"
)

// The lock file begins with a line that says whose directory this is and in which format, and while the store is open
// it names its owner:
//
//	partlog store 1
//	pid 4711
//	host example
//	since 2026-01-02T03:04:05Z
const (
	lockMagic     = "partlog store "
	storeFormat   = 1
	maxLockRecord = 4096
)

// claim finds out whether root is, or can become, a store of ours. It changes nothing. exists is false if there is
// nothing yet.
func claim(fsys vfs.FS, root string) (exists bool, err error) {
	entries, err := fsys.ReadDir(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("open store %s: %w", root, err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Name() != "lost+found" {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return false, nil
	}
	if !slices.Contains(names, lockName) {
		return false, fmt.Errorf("%w: %s has %q and no %s file; name an empty or a new directory", ErrNotStore, root, names[0], lockName)
	}
	record, err := vfs.ReadFile(fsys, filepath.Join(root, lockName), maxLockRecord)
	if err != nil {
		return false, fmt.Errorf("open store %s: %w", root, err)
	}
	first, _, _ := strings.Cut(string(record), "\n")
	if strings.Trim(first, "\x00") == "" {
		// A crash before the record was on the disk: of the first open, and then there is nothing else, or of any.
		if slices.Contains(names, dataDirName) || slices.Contains(names, journalDirName) {
			return true, nil // or a torn record: the journal decides
		}
		return false, nil
	}
	version, ok := strings.CutPrefix(first, lockMagic)
	if !ok {
		return false, fmt.Errorf("%w: %s is not of partlog", ErrNotStore, filepath.Join(root, lockName))
	}
	if n, err := strconv.Atoi(version); err != nil || n < 1 {
		return false, fmt.Errorf("%w: %s begins with %q", ErrNotStore, filepath.Join(root, lockName), first)
	} else if n > storeFormat {
		return false, fmt.Errorf("%w: %s has format %d, this program reads up to %d", ErrNewerFormat, root, n, storeFormat)
	}
	return true, nil
}

// takeLock locks the store and writes the owner record.
func takeLock(fsys vfs.FS, root string, now time.Time) (io.Closer, error) {
	name := filepath.Join(root, lockName)
	held, err := fsys.Lock(name)
	if errors.Is(err, vfs.ErrLocked) {
		e := &StoreInUseError{Dir: root}
		if record, err := vfs.ReadFile(fsys, name, maxLockRecord); err == nil {
			e.parse(string(record))
		}
		return nil, e
	}
	if err != nil {
		return nil, fmt.Errorf("lock store %s: %w", root, err)
	}
	host, _ := os.Hostname()
	record := fmt.Sprintf("%s%d\npid %d\nhost %s\nsince %s\n", lockMagic, storeFormat, os.Getpid(), host, now.UTC().Format(time.RFC3339))
	err = writeRecord(fsys, name, record)
	if err == nil {
		err = fsys.SyncDir(root) // its name says whose directory this is: it comes before anything else in it
	}
	if err != nil {
		_ = held.Close()
		return nil, fmt.Errorf("lock store %s: %w", root, err)
	}
	return held, nil
}

// writeRecord replaces the record in place: a rename would replace the locked file by another.
func writeRecord(fsys vfs.FS, name, record string) error {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(record), 0)
	if err == nil {
		err = f.Truncate(int64(len(record)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// parse reads the owner from a lock file's record; what cannot be read stays zero.
func (e *StoreInUseError) parse(record string) {
	for line := range strings.Lines(record) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "pid":
			e.PID, _ = strconv.Atoi(value)
		case "host":
			e.Host = value
		case "since":
			e.Since, _ = time.Parse(time.RFC3339, value)
		}
	}
}
