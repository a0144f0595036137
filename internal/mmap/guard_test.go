package mmap_test

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/mmap"
)

func TestGuardLetsOtherPanicsPass(t *testing.T) {
	boom := errors.New("boom")
	require.PanicsWithValue(t, boom, func() { _ = mmap.Guard(func() { panic(boom) }) })
	require.Panics(t, func() {
		_ = mmap.Guard(func() {
			var m *mmap.FaultError
			_ = m.Addr // a nil dereference is a bug, not a fault
		})
	})
	require.Panics(t, func() { _ = mmap.Guard(func() { _ = make([]int, 1)[len(t.Name())] }) })
}

func TestGuardRestoresWhatWasSetBefore(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(false))
	for _, before := range []bool{false, true} {
		debug.SetPanicOnFault(before)
		require.NoError(t, mmap.Guard(func() {
			require.NoError(t, mmap.Guard(func() {}))
			require.True(t, debug.SetPanicOnFault(true), "a nested guard does not take the outer one away")
		}))
		require.Equal(t, before, debug.SetPanicOnFault(before))
		func() {
			defer func() { _ = recover() }()
			_ = mmap.Guard(func() { panic("boom") })
		}()
		require.Equal(t, before, debug.SetPanicOnFault(before))
	}
}

func TestGuardEndsWithGoexit(t *testing.T) {
	returned := false
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = mmap.Guard(func() { runtime.Goexit() })
		returned = true
	})
	wg.Wait()
	require.False(t, returned)
}

func TestGuardAllocatesNothing(t *testing.T) {
	data := []byte{1, 2, 3}
	sum := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = mmap.Guard(func() { sum += int(data[1]) })
	}))
	require.Positive(t, sum)
}
