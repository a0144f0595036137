package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/partlog/partlog/internal/vfs"
)

// Open opens the journal, making it if the directory holds none, and hands out what it holds. It returns when the
// journal is ready for Append.
//
// Errors: *CorruptError (damage that is no torn write) and *VersionError (written by a newer program), after both of which
// the directory is as it was; vfs.ErrLocked (another opener); an error of Options.Snapshot or Options.Replay, as it is;
// fs.ErrNotExist for a ReadOnly Open where no journal is; wrapped I/O errors.
func Open(o Options) (*Journal, *Recovery, error) {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if onMachine(o.FS) {
		dir, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, nil, fmt.Errorf("journal: %w", err)
		}
		o.Dir = dir
	}
	j := &Journal{fs: o.FS, options: o}
	j.mu.Lock()
	defer j.mu.Unlock()
	if o.ReadOnly {
		report, err := j.recoverBesideWriterLocked()
		if err != nil {
			return nil, nil, err
		}
		return j, report, nil
	}
	if err := j.prepareLocked(); err != nil {
		return nil, nil, err
	}
	report, err := j.recoverLocked(o, mark{})
	if err != nil {
		j.releaseStoreLocked()
		return nil, nil, errors.Join(err, j.lock.Close())
	}
	return j, report, nil
}

// prepareLocked makes the directory and takes its lock.
func (j *Journal) prepareLocked() error {
	dir := j.options.Dir
	if _, err := j.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := j.fs.Mkdir(dir, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("journal: make directory: %w", err)
		}
	}
	// Even if it was there: whoever made it may have been killed, or have failed, right here.
	if err := j.fs.SyncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("journal: make directory: %w", err)
	}
	lock, err := j.fs.Lock(j.path(lockName))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.lock = lock
	return nil
}

// recoverBesideWriterLocked recovers without a write. The files may change under its hands; if they did, and it made no sense,
// it looks again.
func (j *Journal) recoverBesideWriterLocked() (*Recovery, error) {
	const attempts = 16
	for n := 0; ; n++ {
		before, err := j.fingerprint()
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		r := recovery{j: j, fs: j.fs, o: j.options, report: &Recovery{Findings: []Finding{}}}
		err = r.examine()
		if err == nil {
			err = r.refusal()
		}
		if err == nil {
			r.describe()
			return r.report, r.deliver()
		}
		after, finalErr := j.fingerprint()
		if finalErr != nil || before == after || n == attempts {
			return nil, err
		}
	}
}

// fingerprint is equal before and after if, very probably, no writer did anything in between.
func (j *Journal) fingerprint() (string, error) {
	files, err := j.fs.ReadDir(j.options.Dir)
	if err != nil {
		return "", err
	}
	var s string
	for _, file := range files {
		info, err := file.Info()
		if errors.Is(err, fs.ErrNotExist) {
			s += file.Name() + " gone\n"
			continue
		}
		if err != nil {
			return "", err
		}
		s += fmt.Sprintf("%s %d %d\n", file.Name(), info.Size(), info.ModTime().UnixNano())
	}
	return s, nil
}
