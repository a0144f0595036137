package segment

import (
	"errors"
	"fmt"
)

// ErrCorrupt is what every *CorruptError is: the file exists and could be
// read, but its bytes are not what its writer can have meant.
var ErrCorrupt = errors.New("segment: corrupt file")

// ErrNewerVersion is what every *VersionError is: the file is of a version
// that this program does not know, and must be left alone.
var ErrNewerVersion = errors.New("segment: file of a newer version")

// CorruptError says where a file stopped making sense. It is ErrCorrupt. The
// readers of this package change nothing: whether the file is rebuilt, set
// aside or fatal is the caller's decision.
type CorruptError struct {
	Path     string // the file, as it was opened; empty when bytes were parsed
	Position int64  // byte at which the reader gave up
	Reason   string // one phrase, no punctuation
}

// Error names the file, the position and the reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("segment: %s corrupt at byte %d: %s", nameOf(e.Path), e.Position, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// VersionError says that a file claims a version above the newest known one.
// It is ErrNewerVersion.
type VersionError struct {
	Path      string // the file, as it was opened; empty when bytes were parsed
	Version   int64  // what the file claims
	Supported int64  // the newest version that is understood
}

// Error names the file and both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("segment: %s has version %d, newest supported is %d", nameOf(e.Path), e.Version, e.Supported)
}

// Is reports whether target is ErrNewerVersion.
func (e *VersionError) Is(target error) bool { return target == ErrNewerVersion }

func nameOf(path string) string {
	if path == "" {
		return "file"
	}
	return path
}

func corrupt(position int, format string, args ...any) error {
	return &CorruptError{Position: int64(position), Reason: fmt.Sprintf(format, args...)}
}

// checkVersion accepts the versions 0 to newest of a file. What is far above
// them is garbage, not the future.
func checkVersion(found, newest int64, position int) error {
	switch {
	case found < 0 || found > newest+100:
		return corrupt(position, "version %d", found)
	case found > newest:
		return &VersionError{Version: found, Supported: newest}
	}
	return nil
}

// at fills in the path of an error that a parser returned.
func at(path string, err error) error {
	if e, ok := errors.AsType[*CorruptError](err); ok {
		e.Path = path
	} else if e, ok := errors.AsType[*VersionError](err); ok {
		e.Path = path
	}
	return err
}
