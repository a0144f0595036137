package segment

import (
	"errors"

	"github.com/partlog/partlog/internal/vfs"
)

// readFile reads a whole file of at most limit bytes; a longer one is corrupt,
// not a reason to run out of memory.
func readFile(fsys vfs.FS, path string, limit int64) ([]byte, error) {
	data, err := vfs.ReadFile(fsys, path, limit)
	if errors.Is(err, vfs.ErrTooBig) {
		return nil, at(path, corrupt(int(limit), "larger than %d bytes", limit))
	}
	return data, err
}
