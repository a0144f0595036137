package log

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

func benchLog(b *testing.B, mode SyncMode) *Log { return benchLogOf(b, mode) }

func benchLogOf(b testing.TB, mode SyncMode) *Log {
	c := testConfig(vfs.OS)
	c.Dir = filepath.Join(b.TempDir(), "topic-0")
	c.Settings.Sync = mode
	l, _, err := Open(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return l
}

// The limit of the next one: the same bytes by the same call.
func BenchmarkRawWrite(b *testing.B) {
	f, err := vfs.OS.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	bt := make1(1000, 1, string(make([]byte, 100-68)))
	b.SetBytes(int64(len(bt)))
	b.ReportAllocs()
	var at int64
	for b.Loop() {
		if _, err := f.WriteAt(bt, at); err != nil {
			b.Fatal(err)
		}
		at += int64(len(bt))
	}
}

func BenchmarkAppendUncontended(b *testing.B) {
	l := benchLog(b, SyncNever)
	bt := make1(1000, 1, string(make([]byte, 100-68)))
	b.SetBytes(int64(len(bt)))
	b.ReportAllocs()
	for b.Loop() {
		batch.Batch(bt).SetBaseOffset(0)
		if _, err := l.Append(bt, AppendOptions{Durable: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendIdempotent(b *testing.B) {
	l := benchLog(b, SyncNever)
	bt := makeIdempotent(7, 0, 0, 1, string(make([]byte, 100-68)))
	b.SetBytes(int64(len(bt)))
	b.ReportAllocs()
	sequence := int32(0)
	for b.Loop() {
		batch.Batch(bt).SetBaseOffset(0)
		batch.Batch(bt).SetProducer(7, 0, sequence)
		sequence++
		if _, err := l.Append(bt, AppendOptions{Durable: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendContended(b *testing.B) {
	l := benchLog(b, SyncNever)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		bt := make1(1000, 1, string(make([]byte, 100-68)))
		for p.Next() {
			batch.Batch(bt).SetBaseOffset(0)
			if _, err := l.Append(bt, AppendOptions{Durable: true}); err != nil {
				b.Error(err)
			}
		}
	})
}

func benchSync(b *testing.B, writers int) {
	l := benchLog(b, SyncAlways)
	procs := 2
	b.SetParallelism(max(writers/procs, 1))
	b.SetBytes(1024)
	b.ReportAllocs()
	var failed atomic.Bool
	b.RunParallel(func(p *testing.PB) {
		bt := make1(1000, 1, string(make([]byte, 1024-71)))
		for p.Next() {
			batch.Batch(bt).SetBaseOffset(0)
			if _, err := l.Append(bt, AppendOptions{Durable: true}); err != nil {
				failed.Store(true)
			}
		}
	})
	if failed.Load() {
		b.Fatal("append failed")
	}
	st := l.Stats()
	b.ReportMetric(float64(st.Appends)/float64(st.Syncs), "appends/sync")
	b.ReportMetric(float64(st.SyncNanos)/float64(st.Syncs)/1000, "µs/sync")
}

func BenchmarkAppendSync2(b *testing.B)   { benchSync(b, 2) }
func BenchmarkAppendSync16(b *testing.B)  { benchSync(b, 16) }
func BenchmarkAppendSync64(b *testing.B)  { benchSync(b, 64) }
func BenchmarkAppendSync256(b *testing.B) { benchSync(b, 256) }

// One batch of a thousand records at a time.
func BenchmarkAppendSyncBig(b *testing.B) {
	l := benchLog(b, SyncAlways)
	s := l.Settings()
	s.MaxMessageBytes = 2 << 20
	if err := l.SetSettings(s); err != nil {
		b.Fatal(err)
	}
	bt := make1(1000, 1, string(make([]byte, 1<<20)))
	b.SetBytes(int64(len(bt)))
	for b.Loop() {
		batch.Batch(bt).SetBaseOffset(0)
		if _, err := l.Append(bt, AppendOptions{Durable: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadBorrowed(b *testing.B) {
	l := benchLog(b, SyncNever)
	bt := make1(1000, 1, string(make([]byte, 1024-71)))
	const n = 64 << 10
	for range n {
		batch.Batch(bt).SetBaseOffset(0)
		if _, err := l.Append(bt, AppendOptions{Durable: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var from Offset
	var touched int64
	for b.Loop() {
		v, err := l.Read(from, 1<<62, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i < len(v.Bytes); i += 64 {
			touched += int64(v.Bytes[i])
		}
		b.SetBytes(int64(len(v.Bytes)))
		from = v.Next
		if from == n {
			from = 0
		}
		v.Release()
	}
}

// One batch a read: what a read costs beside its bytes.
func BenchmarkReadBorrowedSingle(b *testing.B) {
	l := benchLog(b, SyncNever)
	const n = 64 << 10
	bt := make1(1000, 1, string(make([]byte, 1024-71)))
	for range n {
		batch.Batch(bt).SetBaseOffset(0)
		if _, err := l.Append(bt, AppendOptions{Durable: true}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	var from Offset
	for b.Loop() {
		v, err := l.Read(from, 1<<62, 1)
		if err != nil {
			b.Fatal(err)
		}
		from = v.Next
		if from == n {
			from = 0
		}
		v.Release()
	}
}

// A transaction of one batch: guard, batch, marker.
func BenchmarkAppendTransaction(b *testing.B) {
	l := benchLog(b, SyncNever)
	b.ReportAllocs()
	epoch := int16(0)
	for b.Loop() {
		guard, _, err := l.TxnGuard(1, epoch, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.Append(makeTxn(1, epoch, 0, 1, "value"), AppendOptions{Durable: true, Guard: guard}); err != nil {
			b.Fatal(err)
		}
		// An epoch can be raised 32766 times; the marker of the version before leaves it.
		if _, err := l.Append(makeMarker(1, epoch, true), AppendOptions{Durable: true, Origin: OriginCoordinator}); err != nil {
			b.Fatal(err)
		}
	}
}

// Reading where half of 20,000 transactions were aborted, beside the same with BenchmarkReadBorrowed's call.
func BenchmarkReadCommittedHalfAborted(b *testing.B) {
	l := benchLog(b, SyncNever)
	client := &txnClient{log: l}
	for i := range 20_000 {
		if err := client.send(int64(i%100), 10, "value of some length", true); err != nil {
			b.Fatal(err)
		}
		if err := client.end(int64(i%100), i%2 == 0, true); err != nil {
			b.Fatal(err)
		}
	}
	for _, committed := range []bool{false, true} {
		b.Run(map[bool]string{false: "uncommitted", true: "committed"}[committed], func(b *testing.B) {
			b.ReportAllocs()
			var list []AbortedTxn
			next, bytes := Offset(0), int64(0)
			for b.Loop() {
				var v View
				var err error
				if committed {
					v, list, err = l.ReadCommitted(list[:0], next, noOffset, 1<<20)
				} else {
					v, err = l.Read(next, noOffset, 1<<20)
				}
				if err != nil {
					b.Fatal(err)
				}
				bytes += int64(len(v.Bytes))
				if next = v.Next; next >= l.LastStable() {
					next = 0
				}
				v.Release()
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/1024, "KiB/op")
		})
	}
}
