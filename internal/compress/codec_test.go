package compress

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var all = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// samples are inputs of every kind a codec treats differently: empty, tiny,
// around block borders, runs, text, noise.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 140<<10)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	var text []byte
	for i := range 3500 {
		text = fmt.Appendf(text, `{"id":%d,"user":"user-%d","amount":%d}`, i, i%97, rng.IntN(100000))
	}
	return map[string][]byte{
		"empty": {}, "one byte": {7}, "text": text, "noise": noise,
		"32 KiB": text[:32<<10], "32 KiB + 1": text[:32<<10+1],
		"64 KiB": text[:64<<10], "64 KiB - 1": text[:64<<10-1], "64 KiB + 1": text[:64<<10+1],
		"run":   bytes.Repeat([]byte{0}, 1<<20),
		"mixed": slices.Concat(noise[:70<<10], text[:70<<10], bytes.Repeat([]byte("ab"), 50<<10)),
	}
}

func levels(c Codec) []int {
	switch c {
	case Gzip:
		return []int{DefaultLevel, -1, 1, 5, 9}
	case LZ4:
		return []int{DefaultLevel, 1, 3, 9, 10, 17}
	case Zstd:
		return []int{DefaultLevel, -131072, -5, 0, 1, 3, 7, 12, 22}
	}
	return []int{DefaultLevel, 0, 99}
}

func TestEverythingComesBackAtEveryLevel(t *testing.T) {
	for name, src := range samples() {
		for _, c := range all {
			for _, level := range levels(c) {
				packed, err := Compress([]byte("head"), src, c, level)
				require.NoError(t, err, "%s %s %d", name, c, level)
				require.Equal(t, "head", string(packed[:4]))
				out, err := Decompress([]byte("front"), packed[4:], c, len(src))
				require.NoError(t, err, "%s %s %d", name, c, level)
				require.Equal(t, "front", string(out[:5]))
				require.True(t, bytes.Equal(src, out[5:]), "%s %s %d", name, c, level)
			}
		}
	}
}

func TestOneByteOverTheLimitIsRefused(t *testing.T) {
	for name, src := range samples() {
		if len(src) == 0 {
			continue
		}
		for _, c := range all {
			packed, err := Compress(nil, src, c, DefaultLevel)
			require.NoError(t, err)
			dst := []byte("kept")
			for _, limit := range []int{len(src) - 1, len(src) / 2, 0, -1} {
				out, err := Decompress(dst, packed, c, limit)
				var tooLarge *TooLargeError
				require.ErrorAs(t, err, &tooLarge, "%s %s %d", name, c, limit)
				require.Equal(t, c, tooLarge.Codec)
				require.Equal(t, max(limit, 0), tooLarge.Max)
				require.NotEmpty(t, err.Error())
				require.Equal(t, "kept", string(out))
			}
		}
	}
}

func TestACutStreamIsCorrupt(t *testing.T) {
	src := samples()["mixed"]
	for _, c := range all[1:] {
		packed, err := Compress(nil, src, c, DefaultLevel)
		require.NoError(t, err)
		for n := 0; n < len(packed); n += 1 + n/7 {
			out, err := Decompress(nil, packed[:n], c, len(src))
			if c == Snappy && err == nil {
				// Xerial framing has no end mark: cut between blocks it is a
				// shorter stream, which the batch's record count catches.
				require.True(t, bytes.HasPrefix(src, out))
				continue
			}
			require.ErrorIs(t, err, ErrCorrupt, "%s cut at %d", c, n)
		}
		if c != Gzip && c != Zstd {
			_, err = Decompress(nil, append(packed[:len(packed):len(packed)], 1), c, len(src))
			require.ErrorIs(t, err, ErrCorrupt, "%s with a byte too many", c)
		}
	}
}

func TestFlippedBitsNeverPanicNorExceedTheLimit(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	src := samples()["text"][:5000]
	for _, c := range all[1:] {
		packed, err := Compress(nil, src, c, DefaultLevel)
		require.NoError(t, err)
		for range 3000 {
			bad := bytes.Clone(packed)
			for range 1 + rng.IntN(3) {
				bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
			}
			out, err := Decompress(nil, bad, c, 6000)
			require.LessOrEqual(t, len(out), 6000)
			if err != nil {
				require.Empty(t, out)
			}
		}
	}
}

func TestUnknownCodecsAndLevelsAreNamed(t *testing.T) {
	for _, c := range all {
		parsed, err := ParseCodec(c.String())
		require.NoError(t, err)
		require.Equal(t, c, parsed)
		require.True(t, c.Valid())
	}
	_, err := ParseCodec("brotli")
	require.ErrorContains(t, err, `"brotli"`)
	for _, c := range []Codec{-1, 5, 7} {
		require.False(t, c.Valid())
		var unknown *UnknownCodecError
		_, err := Compress(nil, nil, c, DefaultLevel)
		require.ErrorAs(t, err, &unknown)
		_, err = Decompress(nil, nil, c, 1)
		require.ErrorAs(t, err, &unknown)
		require.Equal(t, c, unknown.Codec)
		require.True(t, strings.Contains(c.String(), fmt.Sprint(int8(c))))
	}
	for c, bad := range map[Codec][]int{Gzip: {0, -2, 10}, LZ4: {0, 18, -1}, Zstd: {23, -131073}} {
		for _, level := range bad {
			var wrong *LevelError
			_, err := Compress(nil, nil, c, level)
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, level, wrong.Level)
			require.ErrorContains(t, err, c.String())
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("a pool keeps nothing under the race detector")
	}
	src := samples()["text"][:60<<10]
	for _, c := range all {
		packed, err := Compress(nil, src, c, DefaultLevel)
		require.NoError(t, err)
		into, out := make([]byte, 0, 2*len(src)), make([]byte, 0, 2*len(src))
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
			into, _ = Compress(into[:0], src, c, DefaultLevel)
		}), 0.5, "compress %s", c)
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
			out, _ = Decompress(out[:0], packed, c, len(src))
		}), 0.5, "decompress %s", c)
	}
}

func TestAnyBytesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunk := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "chunk")
		src := bytes.Repeat(chunk, rapid.IntRange(0, 400).Draw(t, "times"))
		c := rapid.SampledFrom(all).Draw(t, "codec")
		level := rapid.SampledFrom(levels(c)).Draw(t, "level")
		packed, err := Compress(nil, src, c, level)
		require.NoError(t, err)
		out, err := Decompress(nil, packed, c, len(src))
		require.NoError(t, err)
		require.True(t, bytes.Equal(src, out))
	})
}

func BenchmarkCodecs(b *testing.B) {
	src := samples()["text"][:64<<10]
	for _, c := range all[1:] {
		packed, _ := Compress(nil, src, c, DefaultLevel)
		b.Run("compress-"+c.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(src)))
			out := make([]byte, 0, 2*len(src))
			for b.Loop() {
				out, _ = Compress(out[:0], src, c, DefaultLevel)
			}
			b.ReportMetric(float64(len(src))/float64(len(out)), "ratio")
		})
		b.Run("decompress-"+c.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(src)))
			out := make([]byte, 0, 2*len(src))
			for b.Loop() {
				out, _ = Decompress(out[:0], packed, c, len(src))
			}
		})
	}
}
