//go:build linux || darwin

package vfs

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// step is what the system answers to one call.
type step struct {
	n   int
	err error
}

func answers(steps ...step) (call func(int, []byte, int64) (int, error), offsets *[]int64) {
	offsets = new([]int64)
	return func(_ int, p []byte, off int64) (int, error) {
		*offsets = append(*offsets, off)
		s := steps[0]
		steps = steps[1:]
		return min(s.n, len(p)), s.err
	}, offsets
}

func TestShortAndInterruptedWritesGoOn(t *testing.T) {
	call, offsets := answers(step{3, nil}, step{-1, unix.EINTR}, step{4, nil}, step{9, nil})
	n, err := writeFull(call, 0, make([]byte, 10), 100)
	require.NoError(t, err)
	require.Equal(t, 10, n)
	require.Equal(t, []int64{100, 103, 103, 107}, *offsets)
}

func TestFailedWriteSaysHowMuchWasWritten(t *testing.T) {
	call, _ := answers(step{3, nil}, step{-1, unix.ENOSPC})
	n, err := writeFull(call, 0, make([]byte, 10), 0)
	require.Equal(t, unix.ENOSPC, err)
	require.Equal(t, 3, n)
	call, _ = answers(step{0, nil})
	_, err = writeFull(call, 0, make([]byte, 10), 0)
	require.Equal(t, io.ErrUnexpectedEOF, err, "not for ever")
}

func TestShortAndInterruptedReadsGoOn(t *testing.T) {
	call, offsets := answers(step{3, nil}, step{-1, unix.EINTR}, step{7, nil})
	n, err := readFull(call, 0, make([]byte, 10), 100)
	require.NoError(t, err)
	require.Equal(t, 10, n)
	require.Equal(t, []int64{100, 103, 103}, *offsets)
	call, _ = answers(step{3, nil}, step{0, nil})
	n, err = readFull(call, 0, make([]byte, 10), 0)
	require.Equal(t, io.EOF, err)
	require.Equal(t, 3, n)
	call, _ = answers(step{3, nil}, step{-1, unix.EIO})
	n, err = readFull(call, 0, make([]byte, 10), 0)
	require.Equal(t, unix.EIO, err)
	require.Equal(t, 3, n)
}

func TestRetryRepeatsInterruptedCalls(t *testing.T) {
	calls := 0
	require.Equal(t, unix.EIO, retry(func() error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return unix.EIO
	}))
	require.Equal(t, 3, calls)
}
