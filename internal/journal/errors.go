package journal

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("journal: closed")

	// ErrFailed is returned by the call whose write, sync or truncation failed, wrapped with the reason, and by every
	// later one until Reopen succeeds. What the failed call wrote may or may not be there.
	ErrFailed = errors.New("journal: failed")

	// ErrNewerVersion is what a *VersionError Is.
	ErrNewerVersion = errors.New("journal: written by a newer format version")

	// ErrCorrupt is what a *CorruptError Is.
	ErrCorrupt = errors.New("journal: corrupt")

	// ErrReadOnly is returned by the writing methods of a journal opened with ReadOnly.
	ErrReadOnly = errors.New("journal: opened read-only")

	// ErrTooLarge is returned for a payload above MaxPayload or a snapshot above MaxSnapshot. Nothing has been written.
	ErrTooLarge = errors.New("journal: too large")
)

// CorruptError is returned by Open for damage that is no torn write. Nothing has been modified. It Is ErrCorrupt.
type CorruptError struct {
	Path     string // of the damaged file, or of the directory when a file is missing
	Index    uint64 // of the first entry that cannot be believed
	Position int64  // of the damage in the file, in bytes; -1 when it has no place
	Err      error  // what is wrong
}

// Error says what is wrong and where.
func (e *CorruptError) Error() string {
	if e.Position < 0 {
		return fmt.Sprintf("journal: corrupt: %s: entry %d: %v", e.Path, e.Index, e.Err)
	}
	return fmt.Sprintf("journal: corrupt: %s: entry %d at position %d: %v", e.Path, e.Index, e.Position, e.Err)
}

// Unwrap returns ErrCorrupt and what is wrong.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// VersionError is returned by Open for a journal that a newer program has written. Nothing has been modified. It Is
// ErrNewerVersion.
type VersionError struct {
	Path      string // of the file that says so
	Version   uint8  // what it says
	Supported uint8  // the highest that this program reads
}

// Error names the file and both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("journal: %s has format version %d, this program reads up to %d", e.Path, e.Version, e.Supported)
}

// Is reports whether target is ErrNewerVersion.
func (e *VersionError) Is(target error) bool { return target == ErrNewerVersion }
