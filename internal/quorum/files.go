package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// journalLock is the file that a journal's opener holds.
func journalLock(dir string) string { return filepath.Join(dir, "lock") }

// moveAside renames the directory to one beside it, and returns its name.
func moveAside(c Config) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.lost-%d", c.Dir, n)
		if _, err := c.FS.Stat(name); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := c.FS.Rename(c.Dir, name); err != nil {
			return "", err
		}
		return name, c.FS.SyncDir(filepath.Dir(c.Dir))
	}
}
