package partition

import (
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"
)

// The hashes are those of the xxHash specification with seed 0. A topic stays keyed as it was only as long as neither
// they nor the mapping change: the hash, as an unsigned number, modulo the number of partitions.
func TestXXH64IsTheHashModuloThePartitions(t *testing.T) {
	for _, v := range []struct {
		key                       string
		hash                      uint64
		mod3, mod7, mod10, mod1e5 int32
	}{
		{"", 0xef46db3751d8e999, 0, 6, 1, 76921}, // an empty key is a key
		{"a", 0xd24ec4f1a98c6e5b, 2, 6, 5, 12955},
		{"abc", 0x44bc2cf5ad770999, 0, 0, 9, 72249},
	} {
		require.Equal(t, v.hash, xxhash.Sum64String(v.key), "%q", v.key)
		for n, want := range map[int32]int32{1: 0, 3: v.mod3, 7: v.mod7, 10: v.mod10, 100_000: v.mod1e5} {
			require.Equal(t, want, XXH64().Partition("t", []byte(v.key), []byte("value"), n), "%q of %d", v.key, n)
		}
	}
}

func TestXXH64SpreadsNullKeysLikeTheStickyPartitioner(t *testing.T) {
	p, seen := XXH64(), map[int32]bool{}
	value := make([]byte, 1<<10)
	last, changes := p.Partition("t", nil, value, 4), 0
	for range 4000 {
		got := p.Partition("t", nil, value, 4)
		if seen[got] = true; got != last {
			last, changes = got, changes+1
		}
	}
	require.Len(t, seen, 4)
	require.Less(t, changes, 4000/10, "it stays with a partition for about a batch")
}
