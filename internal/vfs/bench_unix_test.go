//go:build linux || darwin

package vfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/internal/vfs"
)

// The price of File above the system call, for the records of the log's fast path.

func BenchmarkOSWriteAt100B(b *testing.B) {
	f := benchFile(b, vfs.OS, b.TempDir())
	p := make([]byte, 100)
	off := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + 100) % 1_000_000
	}
}

func BenchmarkRawPwrite100B(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	p := make([]byte, 100)
	off := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unix.Pwrite(fd, p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + 100) % 1_000_000
	}
}

func BenchmarkOSReadAt100B(b *testing.B) {
	f := benchFile(b, vfs.OS, b.TempDir())
	p := make([]byte, 100)
	if _, err := f.WriteAt(make([]byte, 1<<20), 0); err != nil {
		b.Fatal(err)
	}
	off := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.ReadAt(p, off); err != nil {
			b.Fatal(err)
		}
		off = (off + 100) % 1_000_000
	}
}
