package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

var keyIndexID = SumID{TopicID: [16]byte{1, 2, 3}, Partition: 4, Base: 100}

func keyIndexFile(t testing.TB, entries []KeyEntry, next int64) []byte {
	mem := vfs.NewMem()
	require.NoError(t, mem.Mkdir("/d", 0o700))
	require.NoError(t, WriteKeyIndex(mem, "/d", keyIndexID, next, entries))
	data, err := vfs.ReadFile(mem, "/d/"+KeyIndexName(100), 1<<30)
	require.NoError(t, err)
	return data
}

func TestKeyIndexFindsExactlyTheEntriesOfEachHashWhateverTheirNumber(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, keysPerPage - 1, keysPerPage, keysPerPage + 1, 5000, 40_000} {
		var entries []KeyEntry
		model := map[uint64][]uint32{}
		for i := range uint32(n) {
			hash := rng.Uint64()
			switch rng.IntN(4) {
			case 0:
				hash = rng.Uint64N(5) << 62 // few, with many entries each, also at both ends
			case 1:
				hash = ^uint64(0)
			}
			entries = append(entries, KeyEntry{hash, i})
			model[hash] = append(model[hash], i)
		}
		rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		data := keyIndexFile(t, entries, 9999)
		k, err := OpenKeyIndex(bytes.NewReader(data), int64(len(data)), keyIndexID, 9999)
		require.NoError(t, err)
		for hash, want := range model {
			got, err := k.Lookup(bytes.NewReader(data), hash, nil)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		for range 1000 {
			hash := rng.Uint64()
			got, err := k.Lookup(bytes.NewReader(data), hash, nil)
			require.NoError(t, err)
			require.Equal(t, model[hash], got)
		}
	}
}

func TestKeyIndexOfAnotherSegmentOrEndIsCorrupt(t *testing.T) {
	data := keyIndexFile(t, []KeyEntry{{1, 2}}, 50)
	other := keyIndexID
	other.Partition++
	_, err := OpenKeyIndex(bytes.NewReader(data), int64(len(data)), other, 50)
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = OpenKeyIndex(bytes.NewReader(data), int64(len(data)), keyIndexID, 51)
	require.ErrorIs(t, err, ErrCorrupt)
}

// The layout is on disk: a new one gets a new number of the format.
func TestKeyIndexLayout(t *testing.T) {
	data := keyIndexFile(t, []KeyEntry{{0x1122334455667788, 7}, {1, 9}}, 0x0203)
	require.Len(t, data, 2*keyPageSize)
	require.Equal(t, "partlogk\x00\x00\x00\x01\x01\x02\x03", string(data[:15]))
	require.Equal(t, []byte{0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 2}, data[28:56])
	page := data[keyPageSize:]
	require.Equal(t, []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 7, 0xff}, page[:25])
	require.EqualValues(t, 1, binary.BigEndian.Uint64(page[keyPageSize-16:]))
	require.Equal(t, xxhash.Sum64(page[:keyPageSize-8]), binary.BigEndian.Uint64(page[keyPageSize-8:]))
}

func FuzzKeyIndex(f *testing.F) {
	f.Add(keyIndexFile(f, []KeyEntry{{1, 2}, {3, 4}}, 50), uint64(3))
	f.Add(keyIndexFile(f, slices.Repeat([]KeyEntry{{7, 7}}, 800), 50), uint64(7))
	f.Fuzz(func(t *testing.T, data []byte, hash uint64) {
		data = slices.Clone(data)
		for at := 0; at+keyPageSize <= len(data); at += keyPageSize { // or nothing would get past the checksums
			binary.BigEndian.PutUint64(data[at+keyPageSize-16:], uint64(at/keyPageSize))
			binary.BigEndian.PutUint64(data[at+keyPageSize-8:], xxhash.Sum64(data[at:at+keyPageSize-8]))
		}
		k, err := OpenKeyIndex(bytes.NewReader(data), int64(len(data)), keyIndexID, 50)
		if err == nil {
			_, err = k.Lookup(bytes.NewReader(data), hash, nil)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
