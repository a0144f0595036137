package compress

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
)

func TestSnappyIsWrittenInXerialBlocks(t *testing.T) {
	src := bytes.Repeat([]byte("partlog "), 10<<10) // 80 KiB
	packed, err := Compress(nil, src, Snappy, DefaultLevel)
	require.NoError(t, err)
	require.Equal(t, []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}, packed[:16])
	var sizes []int
	for rest := packed[16:]; len(rest) > 0; {
		n := binary.BigEndian.Uint32(rest)
		size, err := s2.DecodedLen(rest[4 : 4+n])
		require.NoError(t, err)
		sizes = append(sizes, size)
		rest = rest[4+n:]
	}
	require.Equal(t, []int{32 << 10, 32 << 10, 16 << 10}, sizes)
}

func TestARawSnappyBlockIsRead(t *testing.T) {
	src := bytes.Repeat([]byte("partlog "), 10<<10)
	out, err := Decompress(nil, snappy.Encode(nil, src), Snappy, len(src))
	require.NoError(t, err)
	require.Equal(t, src, out)
}

func TestAnS2RepeatIsNotSnappy(t *testing.T) {
	// A literal of four bytes, then a copy of four from offset zero.
	bad := []byte{8, 3 << 2, 'a', 'b', 'c', 'd', 1, 0}
	_, err := Decompress(nil, bad, Snappy, 100)
	require.ErrorIs(t, err, ErrCorrupt)
	bad[7] = 4
	out, err := Decompress(nil, bad, Snappy, 100)
	require.NoError(t, err)
	require.Equal(t, "abcdabcd", string(out))
}

func TestAnXerialVersionFromTheFutureIsRefused(t *testing.T) {
	packed, err := Compress(nil, []byte("x"), Snappy, DefaultLevel)
	require.NoError(t, err)
	packed[11] = 9
	_, err = Decompress(nil, packed, Snappy, 1)
	require.NoError(t, err, "the writer's version does not matter")
	packed[15] = 2
	_, err = Decompress(nil, packed, Snappy, 1)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestMalformedSnappyIsCorrupt(t *testing.T) {
	xerial := append(bytes.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	frame := func(b ...byte) []byte { return append(bytes.Clone(xerial), b...) }
	for name, bad := range map[string][]byte{
		"nothing":                        {},
		"length of six bytes":            {0xff, 0xff, 0xff, 0xff, 0xff, 0},
		"length of 35 bits":              {0xff, 0xff, 0xff, 0xff, 0x7f, 0},
		"literal beyond the end":         {4, 3 << 2, 'a'},
		"literal length beyond the end":  {4, 62 << 2, 1},
		"literal of 4 GiB":               {4, 63 << 2, 0xff, 0xff, 0xff, 0xff},
		"short copy beyond the end":      {4, 1},
		"copy beyond the end":            {4, 2, 1},
		"long copy beyond the end":       {4, 3, 1, 0, 0},
		"copy from offset zero":          {5, 0, 'a', 3<<2 | 2, 0, 0},
		"long copy from offset zero":     {5, 0, 'a', 3<<2 | 3, 0, 0, 0, 0},
		"copy from before the beginning": {5, 0, 'a', 3<<2 | 2, 9, 0},
		"less than declared":             {9, 0, 'a'},
		"more than declared":             {1, 1 << 2, 'a', 'b'},
		"xerial header cut":              xerial[:12],
		"xerial length cut":              frame(0, 0, 0),
		"xerial block cut":               frame(0, 0, 0, 9, 1, 0, 'a'),
		"xerial negative length":         frame(0xff, 0xff, 0xff, 0xff),
		"xerial block of nothing":        frame(0, 0, 0, 0),
	} {
		_, err := Decompress(nil, bad, Snappy, 1<<20)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	for _, good := range [][]byte{{0}, {8, 0, 'a', 6<<2 | 3, 1, 0, 0, 0}, {2, 60 << 2, 1, 'a', 'b'}} {
		_, err := Decompress(nil, good, Snappy, 1<<20)
		require.NoError(t, err)
	}
}

func TestLZ4HeaderIsTheOneKafkaWrites(t *testing.T) {
	packed, err := Compress(nil, []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), LZ4, DefaultLevel)
	require.NoError(t, err)
	require.Equal(t, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}, packed[:7])
	require.Equal(t, []byte{0, 0, 0, 0}, packed[len(packed)-4:])
}

// The frames of the library's own writer, with every flag, are what other
// clients send.
func TestLZ4FramesOfOtherWritersAreRead(t *testing.T) {
	for name, src := range samples() {
		for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
			for flags := range 8 {
				var packed bytes.Buffer
				w := lz4.NewWriter(&packed)
				options := []lz4.Option{lz4.BlockSizeOption(size), lz4.BlockChecksumOption(flags&1 != 0), lz4.ChecksumOption(flags&2 != 0)}
				if flags&4 != 0 {
					options = append(options, lz4.SizeOption(uint64(len(src))))
				}
				require.NoError(t, w.Apply(options...))
				_, err := w.Write(src)
				require.NoError(t, err)
				require.NoError(t, w.Close())
				out, err := Decompress(nil, packed.Bytes(), LZ4, len(src))
				require.NoError(t, err, "%s %v %d", name, size, flags)
				require.True(t, bytes.Equal(src, out))

				if flags&1 != 0 && len(src) > 0 { // a block checksum is looked at
					bad := packed.Bytes()
					at := 7 + flags&4*2 + 4
					bad[at+len(bad[at:])/2%1000] ^= 1
					_, err = Decompress(nil, bad, LZ4, len(src))
					require.Error(t, err)
				}
			}
		}
	}
}

func TestLZ4FramesThatKafkaRefusesAreRefused(t *testing.T) {
	good, err := Compress(nil, bytes.Repeat([]byte("partlog"), 100), LZ4, DefaultLevel)
	require.NoError(t, err)
	header := func(flg, bd byte) []byte {
		b := bytes.Clone(good)
		b[4], b[5] = flg, bd
		b[6] = byte(xxh32(b[4:6]) >> 8)
		return b
	}
	for name, bad := range map[string][]byte{
		"magic":              append([]byte{5}, good[1:]...),
		"version 2":          header(0xa0, 0x40),
		"dependent blocks":   header(0x40, 0x40),
		"dictionary":         header(0x61, 0x40),
		"reserved flag":      header(0x62, 0x40),
		"block size 3":       header(0x60, 0x30),
		"reserved size bits": header(0x60, 0x41),
		"highest size bit":   header(0x60, 0xc0),
		"header checksum":    append(append(bytes.Clone(good[:6]), 0x83), good[7:]...),
		"block too large":    append(append(bytes.Clone(good[:7]), 0x01, 0x00, 0x01, 0x00), make([]byte, 70<<10)...),
	} {
		_, err := Decompress(nil, bad, LZ4, 1<<20)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	_, err = Decompress(nil, header(0x60, 0x70), LZ4, 1<<20)
	require.NoError(t, err, "another block size is no error")
}

// The content checksum is read, as KafkaLZ4BlockInputStream does, and not compared; it must be there.
func TestLZ4ContentChecksumIsReadAndNotCompared(t *testing.T) {
	var packed bytes.Buffer
	w := lz4.NewWriter(&packed)
	require.NoError(t, w.Apply(lz4.ChecksumOption(true)))
	_, err := w.Write([]byte("partlog"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b := packed.Bytes()
	b[len(b)-1] ^= 0xff
	out, err := Decompress(nil, b, LZ4, 7)
	require.NoError(t, err)
	require.Equal(t, "partlog", string(out))
	_, err = Decompress(nil, b[:len(b)-1], LZ4, 7)
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = Decompress(nil, append(b, 0), LZ4, 7)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestGzipMembersInARowAreOneStream(t *testing.T) {
	packed, err := Compress(nil, []byte("part"), Gzip, DefaultLevel)
	require.NoError(t, err)
	packed, err = Compress(packed, []byte("log"), Gzip, 9)
	require.NoError(t, err)
	out, err := Decompress(nil, packed, Gzip, 7)
	require.NoError(t, err)
	require.Equal(t, "partlog", string(out))
}

func TestZstdFramesInARowAreOneStream(t *testing.T) {
	packed, err := Compress(nil, []byte("part"), Zstd, DefaultLevel)
	require.NoError(t, err)
	packed, err = Compress(packed, []byte("log"), Zstd, 9)
	require.NoError(t, err)
	out, err := Decompress(nil, packed, Zstd, 7)
	require.NoError(t, err)
	require.Equal(t, "partlog", string(out))
}

// The reference values of the xxHash specification.
func TestXXH32(t *testing.T) {
	require.Equal(t, uint32(0x02cc5d05), xxh32(nil))
	require.Equal(t, uint32(0x550d7456), xxh32([]byte("a")))
	require.Equal(t, uint32(0x32d153ff), xxh32([]byte("abc")))
	require.Equal(t, uint32(0x63a14d5f), xxh32([]byte("abcdefghijklmnopqrstuvwxyz")))
	require.Equal(t, byte(lz4HC), byte(xxh32([]byte{lz4FLG, lz4BD})>>8))
}

// A frame that does not declare its contents is what Kafka's Java client
// writes. The first guess at the room it needs may be too small.
func TestZstdStreamsWithoutContentSizeAreRead(t *testing.T) {
	for name, src := range samples() {
		var packed bytes.Buffer
		w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(2<<20), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		require.NoError(t, err)
		for rest := src; len(rest) > 0; { // in pieces, or the writer knows the size
			n := min(len(rest), 10000)
			_, err = w.Write(rest[:n])
			require.NoError(t, err)
			require.NoError(t, w.Flush())
			rest = rest[n:]
		}
		require.NoError(t, w.Close())

		out, err := Decompress(nil, packed.Bytes(), Zstd, len(src))
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(src, out))
		out, err = Decompress(make([]byte, 3, 5), packed.Bytes(), Zstd, 1<<30)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(src, out[3:]))
		if len(src) > 0 {
			_, err = Decompress(nil, packed.Bytes(), Zstd, len(src)-1)
			require.ErrorAs(t, err, new(*TooLargeError), name)
		}
	}
}

func TestASkippableZstdFrameIsSkipped(t *testing.T) {
	packed, err := Compress([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}, []byte("partlog"), Zstd, DefaultLevel)
	require.NoError(t, err)
	out, err := Decompress(nil, packed, Zstd, 7)
	require.NoError(t, err)
	require.Equal(t, "partlog", string(out))
}
