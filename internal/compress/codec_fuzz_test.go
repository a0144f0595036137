package compress

import (
	"bytes"
	"testing"
)

// fuzz feeds a decompressor anything: it must not panic nor exceed its limit,
// say the same with a used buffer as with none, and whatever it accepts must
// come back the same after being compressed again.
func fuzz(f *testing.F, c Codec) {
	for _, src := range [][]byte{nil, []byte("a"), bytes.Repeat([]byte("partlog "), 200), bytes.Repeat([]byte{0}, 100<<10)} {
		packed, err := Compress(nil, src, c, DefaultLevel)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		f.Add(packed[:len(packed)/2])
	}
	const limit = 256 << 10
	used := make([]byte, 0, 2*limit)
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := Decompress(nil, src, c, limit)
		again, againErr := Decompress(used, src, c, limit)
		if (err == nil) != (againErr == nil) || !bytes.Equal(out, again) {
			t.Fatalf("%v with %d bytes, then %v with %d", err, len(out), againErr, len(again))
		}
		if len(out) > limit {
			t.Fatalf("%d bytes", len(out))
		}
		if err != nil {
			return
		}
		packed, err := Compress(nil, out, c, DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decompress(nil, packed, c, len(out))
		if err != nil || !bytes.Equal(back, out) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}

func FuzzGzip(f *testing.F) { fuzz(f, Gzip) }

func FuzzSnappy(f *testing.F) {
	f.Add([]byte{8, 3 << 2, 'a', 'b', 'c', 'd', 1, 4})
	fuzz(f, Snappy)
}

func FuzzLZ4(f *testing.F) {
	f.Add(lz4WithSize(0))
	fuzz(f, LZ4)
}

func FuzzZstd(f *testing.F) {
	f.Add(zstdFrame(0x58, 2))
	fuzz(f, Zstd)
}
