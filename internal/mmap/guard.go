package mmap

import (
	"fmt"
	"runtime/debug"
)

// FaultError says that mapped memory could not be read: the file is shorter than the mapping (somebody cut it), or the
// disk failed to deliver the page.
type FaultError struct {
	Addr uintptr // the address that was touched
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("mapped memory at %#x could not be read: the file was cut short, or the disk failed", e.Addr)
}

// Guard runs f and returns nil, or the *FaultError of a fault that ended it: then f has stopped in the middle, at the
// touch that failed, and what it was copying to is partly filled. Any other panic passes through, nil dereferences
// included. f must not hold a lock that it would not release by defer.
//
// It protects this goroutine only, and only for the duration of the call; a goroutine that f starts needs its own.
// Calls may nest. It costs some nanoseconds and allocates nothing when f does not escape.
func Guard(f func()) (err error) {
	before := debug.SetPanicOnFault(true)
	done := false
	defer func() {
		debug.SetPanicOnFault(before)
		if done {
			return
		}
		// The runtime gives an address to faults only. A nil dereference (below the first page) has none, so it stays
		// the caller's bug.
		switch cause := recover().(type) {
		case nil: // Goexit goes on
		case interface {
			error
			Addr() uintptr
		}:
			err = &FaultError{Addr: cause.Addr()}
		default:
			panic(cause)
		}
	}()
	f()
	done = true
	return nil
}
