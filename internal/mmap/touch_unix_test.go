//go:build linux || darwin

package mmap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The way without a system call, which other kernels need, does the same.
func TestTouchReadsEveryPageOrFails(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(2*pageSize))
	r, err := Map(int(f.Fd()), 4*pageSize)
	require.NoError(t, err)
	defer r.Unmap()
	require.NoError(t, touch(r.Bytes()[:2*pageSize]))
	_, ok := errors.AsType[*FaultError](touch(r.Bytes()))
	require.True(t, ok)
}
