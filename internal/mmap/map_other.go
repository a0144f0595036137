//go:build !linux && !darwin

package mmap

import (
	"errors"
	"fmt"
)

// Map returns errors.ErrUnsupported: on this system files are read by pread.
func Map(_ int, n int64) (Region, error) {
	return nil, fmt.Errorf("map %d bytes: %w", n, errors.ErrUnsupported)
}
