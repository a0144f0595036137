//go:build linux || darwin

package mmap_test

import (
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/mmap"
)

const page = 64 << 10 // at least a page on every machine

func file(t testing.TB, size int) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	_, err = f.Write(data)
	require.NoError(t, err)
	return f
}

func mapped(t testing.TB, f *os.File, n int64) mmap.Region {
	t.Helper()
	r, err := mmap.Map(int(f.Fd()), n)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Unmap() })
	return r
}

func TestMapShowsTheFileAndLaterWrites(t *testing.T) {
	f := file(t, 10)
	r := mapped(t, f, page)
	require.Len(t, r.Bytes(), page)
	require.Equal(t, byte(9), r.Bytes()[9])
	_, err := f.WriteAt([]byte{200}, 9)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{201}, page-1)
	require.NoError(t, err)
	require.Equal(t, byte(200), r.Bytes()[9])
	require.Equal(t, byte(201), r.Bytes()[page-1], "the file has grown into the mapping")
	require.NoError(t, f.Close())
	require.Equal(t, byte(200), r.Bytes()[9], "the mapping outlives the descriptor")
	require.NoError(t, r.Unmap())
	require.NoError(t, r.Unmap())
	require.Nil(t, r.Bytes())
}

func TestMapRefusesWhatCannotBeMapped(t *testing.T) {
	f := file(t, 10)
	_, err := mmap.Map(int(f.Fd()), -1)
	require.Error(t, err)
	_, err = mmap.Map(-1, 10)
	require.Error(t, err)
	r := mapped(t, f, 0)
	require.Empty(t, r.Bytes())
	require.NoError(t, r.Populate(0, 10))
	require.NoError(t, r.Unmap())
}

// Each way of touching memory that the log uses, on a file that somebody cut: an error, and the process lives.
func TestFileTruncatedUnderLiveMappingIsAFaultError(t *testing.T) {
	f := file(t, 4*page)
	b := mapped(t, f, 4*page).Bytes()
	require.NoError(t, f.Truncate(page))
	hole := b[2*page:]
	for name, touch := range map[string]func(){
		"load":    func() { sink = int(hole[1]) },
		"copy":    func() { sink = copy(make([]byte, page), hole) },
		"append":  func() { sink = len(append([]byte(nil), hole...)) },
		"crc32c":  func() { sink = int(crc32.Checksum(hole, crc32.MakeTable(crc32.Castagnoli))) },
		"string":  func() { text = string(hole) },
		"compare": func() { sink = len(map[string]int{string(hole): 1}) },
	} {
		err := mmap.Guard(touch)
		fault, ok := errors.AsType[*mmap.FaultError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.NotZero(t, fault.Addr)
		require.Contains(t, fault.Error(), "cut short")
	}
	require.NoError(t, mmap.Guard(func() { sink = int(b[page-1]) }), "what is left of the file is there")
}

var (
	sink int
	text string
)

func TestPopulateOfWhatTheFileDoesNotHaveIsAFaultError(t *testing.T) {
	f := file(t, 2*page)
	r := mapped(t, f, 4*page)
	require.NoError(t, r.Populate(0, 2*page))
	require.NoError(t, r.Populate(page+1, 1))
	require.NoError(t, r.Populate(page+1, page-1))
	require.NoError(t, r.Populate(0, 0))
	require.NoError(t, r.Populate(5*page, 1))
	err := r.Populate(0, 4*page)
	_, ok := errors.AsType[*mmap.FaultError](err)
	require.True(t, ok, "%v", err)
	err = r.Populate(3*page, 1<<62)
	_, ok = errors.AsType[*mmap.FaultError](err)
	require.True(t, ok, "%v", err)
}

func TestGuardProtectsEachGoroutineThatUsesIt(t *testing.T) {
	f := file(t, page)
	b := mapped(t, f, 2*page).Bytes()
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- mmap.Guard(func() { sinkOf(b[page]) }) }()
	}
	for range cap(errs) {
		_, ok := errors.AsType[*mmap.FaultError](<-errs)
		require.True(t, ok)
	}
}

//go:noinline
func sinkOf(byte) {}

func TestUnmappedWhenRetiredAndReleased(t *testing.T) {
	f := file(t, page)
	m := mmap.NewMapping(mapped(t, f, page))
	require.True(t, m.Acquire())
	m.Retire()
	require.Equal(t, byte(1), m.Bytes()[1], "a reader holds it")
	m.Release()
	require.Nil(t, m.Region().Bytes())
	require.False(t, m.Acquire())
}

func BenchmarkGuard(b *testing.B) {
	data := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := mmap.Guard(func() { n = int(data[8]) }); err != nil {
			b.Fatal(err)
		}
		sink = n
	}
}
