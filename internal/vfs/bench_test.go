package vfs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/partlog/partlog/internal/vfs"
)

func benchFile(b *testing.B, fsys vfs.FS, dir string) vfs.File {
	b.Helper()
	f, err := fsys.OpenFile(filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return f
}

// crashImage is a file of 64 KiB of which some pages are unsynced, with names to decide about.
func crashImage(b *testing.B) *vfs.Mem {
	b.Helper()
	m := vfs.NewCrashMem(vfs.Strict)
	f := benchFile(b, m, "/")
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	_, err := f.WriteAt(make([]byte, 64<<10), 0)
	must(err)
	must(f.Sync())
	must(m.SyncDir("/"))
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range int64(20) {
		p := make([]byte, 300)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		_, err = f.WriteAt(p, 40<<10+i*300)
		must(err)
	}
	must(m.Rename("f", "g"))
	return m
}

func BenchmarkCrashClone64KiB(b *testing.B) {
	m := crashImage(b)
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		m.CrashClone(rng)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "clones/s")
}

func BenchmarkCrashCloneReadAndHash64KiB(b *testing.B) {
	m := crashImage(b)
	rng := rand.New(rand.NewPCG(1, 1))
	p := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		after := m.CrashClone(rng)
		after.Hash()
		for _, name := range []string{"f", "g"} {
			if f, err := after.OpenFile(name, os.O_RDONLY, 0); err == nil {
				_, _ = f.ReadAt(p, 0)
				_ = f.Close()
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "clones/s")
}

func BenchmarkEachCrash(b *testing.B) {
	m := crashImage(b)
	n := 0
	for b.Loop() {
		m.EachCrash(1000, func(*vfs.Mem, string) bool { n++; return true })
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "clones/s")
}

func BenchmarkMemWriteAt(b *testing.B) {
	for name, m := range map[string]*vfs.Mem{"plain": vfs.NewMem(), "crash": vfs.NewCrashMem(vfs.Strict)} {
		b.Run(name, func(b *testing.B) {
			f := benchFile(b, m, "/")
			p := make([]byte, 100)
			off := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.WriteAt(p, off); err != nil {
					b.Fatal(err)
				}
				off = (off + 100) % 1_000_000
			}
		})
	}
}

func BenchmarkFaultWriteAt(b *testing.B) {
	for rules := range 2 {
		b.Run(fmt.Sprintf("rules-%d", rules), func(b *testing.B) {
			fault := vfs.NewFault(vfs.NewMem())
			for range rules {
				fault.Add(vfs.Rule{Op: vfs.OpSync})
			}
			f := benchFile(b, fault, "/")
			p := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.WriteAt(p, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
