package mmap

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

func dontFork(b []byte) error { return unix.Madvise(b, unix.MADV_DONTFORK) }

// populate asks the kernel (5.14 and later) to read the pages in without a fault for each.
func populate(b []byte) error {
	for {
		switch err := unix.Madvise(b, unix.MADV_POPULATE_READ); {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
			return touch(b) // an older kernel
		case errors.Is(err, unix.EFAULT), errors.Is(err, unix.EHWPOISON):
			return &FaultError{Addr: uintptr(unsafe.Pointer(unsafe.SliceData(b)))}
		default:
			return fmt.Errorf("populate %d mapped bytes: %w", len(b), err)
		}
	}
}
