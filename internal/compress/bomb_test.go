package compress

import (
	"encoding/binary"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// allocated returns how many bytes f asks the heap for.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// zstdFrame returns a frame header without content size and with the given
// window descriptor, followed by n blocks of 128 KiB of zeros, four bytes
// each.
func zstdFrame(window byte, n int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, window}
	for i := range n {
		block := uint32(zstdBlock)<<3 | 1<<1
		if i == n-1 {
			block |= 1
		}
		b = append(b, byte(block), byte(block>>8), byte(block>>16), 0)
	}
	return b
}

// A bomb is a few bytes that decompress to very many. None may get more
// memory than in proportion to what the caller allows.
func TestBombsAreRefusedWithinTheMemoryAllowed(t *testing.T) {
	const limit = 1 << 20
	zeros := make([]byte, 16<<20)
	bombs := map[string]struct {
		codec Codec
		bytes []byte
	}{
		"snappy, raw, declares 4 GiB":           {codec: Snappy, bytes: []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}},
		"zstd, no size, 128 KiB per four bytes": {codec: Zstd, bytes: zstdFrame(0x68, 1<<14)},
		"lz4, declares 8 EiB":                   {codec: LZ4, bytes: lz4WithSize(math.MaxUint64)},
	}
	for _, c := range all[1:] {
		packed, err := Compress(nil, zeros, c, DefaultLevel)
		require.NoError(t, err)
		bombs[c.String()+", 16 MiB of zeros"] = struct {
			codec Codec
			bytes []byte
		}{codec: c, bytes: packed}
	}
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			_, _ = Decompress(nil, bomb.bytes, bomb.codec, limit) // pools and tables
			var err error
			used := allocated(func() { _, err = Decompress(nil, bomb.bytes, bomb.codec, limit) })
			var tooLarge *TooLargeError
			require.ErrorAs(t, err, &tooLarge)
			require.Less(t, used, uint64(6*limit))
		})
	}
}

// A length field within the limit must not be believed either when the bytes
// cannot hold that much.
func TestALyingLengthAllocatesNothing(t *testing.T) {
	const limit = 1 << 30
	for name, lie := range map[string]struct {
		codec Codec
		bytes []byte
	}{
		"snappy":                {Snappy, binary.AppendUvarint(nil, limit)},
		"snappy, with contents": {Snappy, append(binary.AppendUvarint(nil, limit), 0, 'a')},
		"zstd":                  {Zstd, append(binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x58}, limit), 1, 0, 0)},
		"lz4":                   {LZ4, lz4WithSize(limit)},
	} {
		t.Run(name, func(t *testing.T) {
			_, _ = Decompress(nil, lie.bytes, lie.codec, limit)
			var err error
			used := allocated(func() { _, err = Decompress(nil, lie.bytes, lie.codec, limit) })
			require.ErrorIs(t, err, ErrCorrupt)
			require.Less(t, used, uint64(64<<10))
		})
	}
}

func TestAZstdWindowAboveTheBoundIsRefused(t *testing.T) {
	out, err := Decompress(nil, zstdFrame(0x68, 1), Zstd, zstdBlock) // 8 MiB
	require.NoError(t, err)
	require.Len(t, out, zstdBlock)

	_, err = Decompress(nil, zstdFrame(0x70, 1), Zstd, zstdBlock) // 16 MiB
	var tooLarge *TooLargeError
	require.ErrorAs(t, err, &tooLarge)
	require.True(t, tooLarge.Window)
	require.Equal(t, int64(16<<20), tooLarge.Declared)
	require.ErrorContains(t, err, "window")
}

func lz4WithSize(size uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, lz4Magic)
	b = append(b, lz4FLG|lz4ContentSize, lz4BD)
	b = binary.LittleEndian.AppendUint64(b, size)
	b = append(b, byte(xxh32(b[4:])>>8))
	return append(b, 0, 0, 0, 0)
}
