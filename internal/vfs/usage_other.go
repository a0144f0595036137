//go:build !linux && !darwin && !windows

package vfs

import "errors"

// Usage returns errors.ErrUnsupported.
func (osFS) Usage(name string) (Usage, error) {
	return Usage{}, pathError("statfs", name, errors.ErrUnsupported)
}
