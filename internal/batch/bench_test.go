package batch

import (
	"testing"

	"github.com/partlog/partlog/internal/compress"
)

func BenchmarkBuilder(b *testing.B) {
	value := make([]byte, 100)
	key := []byte("customer-42")
	b.Run("reset-append-100B-finish", func(b *testing.B) {
		b.ReportAllocs()
		var w Builder
		for b.Loop() {
			w.Reset(nil, Options{})
			w.Append(1700000000000, nil, value, nil)
			if _, err := w.Finish(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append-100B-key", func(b *testing.B) {
		b.ReportAllocs()
		var w Builder
		w.Reset(nil, Options{})
		for b.Loop() {
			if w.Len() > 64<<10 {
				w.Reset(nil, Options{})
			}
			w.Append(1700000000000, key, value, nil)
		}
	})
	b.Run("append-100B-2-headers", func(b *testing.B) {
		b.ReportAllocs()
		headers := []Header{{Key: "trace", Value: key}, {Key: "none"}}
		var w Builder
		w.Reset(nil, Options{})
		for b.Loop() {
			if w.Len() > 64<<10 {
				w.Reset(nil, Options{})
			}
			w.Append(1700000000000, key, value, headers)
		}
	})
}

func BenchmarkIterate(b *testing.B) {
	value := make([]byte, 100)
	for i := range value {
		value[i] = byte(i * 7)
	}
	for _, headers := range [][]Header{nil, {{Key: "trace", Value: []byte("x")}, {Key: "none"}}} {
		for _, codec := range []compress.Codec{0, 1, 2, 3, 4} {
			name := codec.String()
			if headers != nil {
				name += "-headers"
			}
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				var w Builder
				w.Reset(nil, Options{Codec: codec})
				const records = 500
				for i := range records {
					w.Append(1700000000000+int64(i), []byte("customer-42"), value, headers)
				}
				whole, err := w.Finish()
				if err != nil {
					b.Fatal(err)
				}
				var it Iterator
				n := 0
				for b.Loop() {
					for whole.Iterate(&it, DefaultMaxBytes); it.Next(); {
						n += len(it.Record().Value)
					}
				}
				if it.Err() != nil {
					b.Fatal(it.Err())
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
			})
		}
	}
}

func BenchmarkChecks(b *testing.B) {
	var w Builder
	w.Reset(nil, Options{Idempotent: true})
	for range 100 {
		w.Append(1700000000000, []byte("key"), make([]byte, 100), nil)
	}
	whole, _ := w.Finish()
	b.Run("shape", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if whole.CheckShape() != nil {
				b.Fatal()
			}
		}
	})
	b.Run("crc", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(whole)))
		for b.Loop() {
			if whole.CheckCRC() != nil {
				b.Fatal()
			}
		}
	})
	b.Run("validate-100-records", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := whole.Validate(ValidateOptions{Client: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
