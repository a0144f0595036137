package log

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOffsetMapKnowsTheLastOffsetOfEachKeyThatFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newOffsetMap(rapid.Int64Range(1, 16*400).Draw(t, "bytes"), rapid.Int64Range(0, 300).Draw(t, "keys"), 0)
		records := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "records")
		end := Offset(len(records))
		for i, key := range records {
			if full, ok := m.put([]byte{key}, Offset(i)); !ok {
				end = full
				break
			}
		}
		if full, ok := m.flush(); !ok {
			end = full
		}
		model := map[byte]Offset{}
		for i, key := range records[:end] {
			model[key] = Offset(i)
		}
		require.Equal(t, len(model), m.keys)
		require.LessOrEqual(t, m.keys, m.limit)
		require.True(t, end == Offset(len(records)) || m.keys == m.limit)
		for key := range 256 {
			want, known := model[byte(key)]
			if !known {
				want = -1
			}
			require.Equal(t, want, m.get([]byte{byte(key)}))
		}
	})
}

func TestOffsetMapStopsAtTheFirstKeyThatDoesNotFit(t *testing.T) {
	m := newOffsetMap(16*1000, 1<<40, 0)
	require.Len(t, m.slots, 1000)
	var key [8]byte
	put := func(k, offset int) (Offset, bool) {
		binary.BigEndian.PutUint64(key[:], uint64(k))
		return m.put(key[:], Offset(offset))
	}
	var full Offset
	offset := 0
	for ok := true; ok; offset++ {
		// Each key twice.
		full, ok = put(offset/2, offset)
	}
	require.Equal(t, Offset(2*m.limit), full)
	for k := range m.limit {
		binary.BigEndian.PutUint64(key[:], uint64(k))
		require.Equal(t, Offset(2*k+1), m.get(key[:]))
	}
	binary.BigEndian.PutUint64(key[:], 1<<40)
	require.Equal(t, Offset(-1), m.get(key[:]))
	set := m.survivors(10, full)
	for at := Offset(10); at < full; at++ {
		require.Equal(t, at%2 == 1, set[(at-10)>>6]&(1<<((at-10)&63)) != 0)
	}
}

func BenchmarkOffsetMap(b *testing.B) {
	m := newOffsetMap(128<<20, 1<<40, 0)
	var key [16]byte
	i := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		binary.BigEndian.PutUint64(key[:], i*0x9E3779B97F4A7C15%1_000_000)
		if _, ok := m.put(key[:], Offset(i)); !ok {
			b.Fatal("full")
		}
	}
}

// Beyond a fifth of its memory the map grows once, and never holds more than was asked for.
func TestOffsetMapGrowsWithinItsMemory(t *testing.T) {
	const bytes = 16 * 500_000
	m := newOffsetMap(bytes, 1<<40, 1000)
	small := len(m.slots)
	require.Equal(t, bytes/5, small*mapSlotBytes)
	var key [8]byte
	put := func(k uint64, offset Offset) (Offset, bool) {
		binary.BigEndian.PutUint64(key[:], k)
		return m.put(key[:], offset)
	}
	n := uint64(0)
	var full Offset
	for ok := true; ok; n++ {
		full, ok = put(n, 1000+Offset(n))
	}
	require.LessOrEqual(t, (small+len(m.slots))*mapSlotBytes, bytes)
	require.Equal(t, m.limit, m.keys)
	require.Equal(t, Offset(1000+m.limit), full)
	for k := range uint64(m.limit) {
		binary.BigEndian.PutUint64(key[:], k)
		require.Equal(t, Offset(1000+k), m.get(key[:]))
	}
}

func TestOffsetTooFarForTheMapHasNoPlace(t *testing.T) {
	m := newOffsetMap(1<<20, 100, 7)
	_, ok := m.put([]byte("a"), 7)
	require.True(t, ok)
	full, ok := m.put([]byte("b"), 7+mapOffsetMask)
	require.False(t, ok)
	require.Equal(t, Offset(7+mapOffsetMask), full)
	require.Equal(t, Offset(7), m.get([]byte("a")))
}
