//go:build linux || darwin

package mmap

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Map maps [0, n) of the file behind fd, shared and read-only. n may lie past the end of the file: bytes that the file
// grows by later appear in the region, and until then touching them faults. n of 0 is an empty region. fd may be closed
// while the region lives on.
func Map(fd int, n int64) (Region, error) {
	if n < 0 || n > math.MaxInt {
		return nil, fmt.Errorf("map %d bytes: %w", n, unix.EINVAL)
	}
	if n == 0 {
		return &region{}, nil
	}
	data, err := unix.Mmap(fd, 0, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", n, err)
	}
	// A host that forks must not leave the child with pages that may fault there. Failing to say so harms nobody here.
	_ = dontFork(data)
	return &region{data: data}, nil
}

// region is a mapping that the kernel made.
type region struct {
	data []byte
}

func (r *region) Bytes() []byte { return r.data }

func (r *region) Unmap() error {
	if r.data == nil {
		return nil
	}
	data := r.data
	r.data = nil
	if err := unix.Munmap(data); err != nil {
		return fmt.Errorf("unmap %d bytes: %w", len(data), err)
	}
	return nil
}

func (r *region) Populate(off, n int64) error {
	size := int64(len(r.data))
	if n <= 0 || off >= size {
		return nil
	}
	end := size
	if n < size-max(off, 0) {
		end = off + n
	}
	off = max(off, 0)
	off -= off % pageSize // the kernel wants whole pages
	if end <= off {
		return nil
	}
	return populate(r.data[off:end])
}

// touch reads a byte of every page. It is what is left where the kernel has no call to populate a range.
func touch(b []byte) error {
	return Guard(func() {
		var sum byte
		for i := 0; i < len(b); i += int(pageSize) {
			sum ^= b[i]
		}
		sink(sum)
	})
}

// sink keeps the compiler from dropping loads whose result nobody uses.
//
//go:noinline
func sink(byte) {}

var pageSize = int64(os.Getpagesize())
