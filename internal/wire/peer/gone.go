package peer

import (
	"errors"
	"syscall"
)

// NobodyListens reports whether an error of an attempt to connect (Events.Unreachable) says that the other machine answered, and no process listens at
// the address: that the node's process has ended is likely, though not certain.
func NobodyListens(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errRefused)
}
