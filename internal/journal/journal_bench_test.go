package journal

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func benchmarkHomes(b *testing.B) map[string]home {
	b.Helper()
	return map[string]home{
		"tidwall": {vfs.OS, filepath.Join(b.TempDir(), "journal")},
		"onefile": {vfs.NewMem(), "/journal"},
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, h := range benchmarkHomes(b) {
		b.Run(name, func(b *testing.B) {
			j, _, err := Open(Options{FS: h.fs, Dir: h.dir})
			require.NoError(b, err)
			payload := make([]byte, 200)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := j.Append(1, payload); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, j.Close())
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for name, h := range benchmarkHomes(b) {
		b.Run(name+"/10000", func(b *testing.B) {
			j, _, err := Open(Options{FS: h.fs, Dir: h.dir})
			require.NoError(b, err)
			for range 10_000 {
				if _, err := j.Append(1, make([]byte, 200)); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, j.Close())
			b.ReportAllocs()
			for b.Loop() {
				j, _, err := Open(Options{FS: h.fs, Dir: h.dir})
				if err != nil {
					b.Fatal(err)
				}
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
