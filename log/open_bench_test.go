package log

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

// BenchmarkOpenClean opens logs that were closed cleanly, a different one each time, and keeps them open: heap a log is reported.
func BenchmarkOpenClean(b *testing.B) {
	dir := b.TempDir()
	const n = 500
	config := func(i int) Config {
		c := testConfig(vfs.OS)
		c.Dir = filepath.Join(dir, fmt.Sprintf("topic-%d", i))
		c.Settings.NoPreallocation = true
		c.Settings.Sync = SyncNever
		return c
	}
	for i := range n {
		l, _, err := Open(config(i))
		if err != nil {
			b.Fatal(err)
		}
		bt := make1(1000, 1, "value")
		batch.Batch(bt).SetBaseOffset(0)
		if _, err := l.Append(bt, AppendOptions{}); err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var logs []*Log
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	i := 0
	for b.Loop() {
		c := config(i % n)
		c.Clean, c.CleanEnd = true, 1
		l, _, err := Open(c)
		if err != nil {
			b.Fatal(err)
		}
		if len(logs) < n {
			logs = append(logs, l)
		}
		i++
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(len(logs)), "heap-B/log")
	for _, l := range logs {
		l.Abandon()
	}
}

// BenchmarkOpenTail recovers 256 MiB of a log that was killed in SyncNever, in a warm cache.
func BenchmarkOpenTail(b *testing.B) {
	c := testConfig(vfs.OS)
	c.Dir = filepath.Join(b.TempDir(), "topic-0")
	c.Settings.Sync = SyncNever
	l, _, err := Open(c)
	if err != nil {
		b.Fatal(err)
	}
	bt := make1(1000, 1, string(make([]byte, 16000)))
	var size int64
	for size < 256<<20 {
		batch.Batch(bt).SetBaseOffset(0)
		if _, err := l.Append(bt, AppendOptions{}); err != nil {
			b.Fatal(err)
		}
		size += int64(len(bt))
	}
	l.Abandon()
	b.SetBytes(size)
	for b.Loop() {
		l, _, err := Open(c)
		if err != nil {
			b.Fatal(err)
		}
		l.Abandon()
	}
}

// The limit of the last one: the same bytes read and summed.
func BenchmarkRawReadAndCRC(b *testing.B) {
	name := filepath.Join(b.TempDir(), "raw")
	f, err := vfs.OS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const size = 256 << 20
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(buf)) {
		if _, err := f.WriteAt(buf, at); err != nil {
			b.Fatal(err)
		}
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	b.SetBytes(size)
	for b.Loop() {
		sum := uint32(0)
		for at := int64(0); at < size; at += int64(len(buf)) {
			if _, err := f.ReadAt(buf, at); err != nil {
				b.Fatal(err)
			}
			sum = crc32.Update(sum, table, buf)
		}
		_ = sum
	}
}
