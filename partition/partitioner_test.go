package partition

import (
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMurmur2IsKafkas(t *testing.T) {
	for _, v := range []struct {
		key         string
		hash        int32
		mod6, mod10 int32
	}{
		{"", 275646681, 3, 1},
		{"a", -1563381124, 4, 4},
		{"ab", 316155434, 2, 4},
		{"abc", 479470107, 3, 7},
		{"abcd", -1323649548, 2, 0},
		{"21", -973932308, 0, 0},
		{"foobar", -790332482, 0, 6},
		{"a-little-bit-long-string", -985981536, 2, 2},
		{"a-little-bit-longer-string", -1486304829, 5, 9},
		{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 5, 7},
		{"key-0", 29210041, 1, 1},
		{"key-1", 193331640, 0, 0},
		{"user-42", 1459644460, 4, 0},
		{"kafka", -798503068, 4, 0},
		{"\xff\xfe\x80\x00\x01", -112508915, 3, 3},
	} {
		require.Equal(t, v.hash, int32(murmur2([]byte(v.key))), "%q", v.key)
		require.Equal(t, v.mod6, Murmur2().Partition("t", []byte(v.key), nil, 6), "%q", v.key)
		require.Equal(t, v.mod10, Murmur2().Partition("t", []byte(v.key), nil, 10), "%q", v.key)
	}
}

func TestConsistentRandomIsLibrdkafkas(t *testing.T) {
	// The keys and checksums of librdkafka's own test of its partitioners.
	for key, sum := range map[string]uint32{"23456": 0xb1b451d7, "this is another string with more length to it perhaps": 0xb0150df7, "hejsan": 0xd077037e} {
		require.Equal(t, sum, crc32.ChecksumIEEE([]byte(key)), "%q", key)
		require.Equal(t, int32(sum%17), ConsistentRandom().Partition("t", []byte(key), nil, 17))
	}
	seen := map[int32]bool{}
	for range 1000 {
		seen[ConsistentRandom().Partition("t", []byte{}, nil, 4)] = true // empty counts as null there
		seen[ConsistentRandom().Partition("t", nil, nil, 4)] = true
	}
	require.Len(t, seen, 4)
}

func TestFNV1aIsSaramas(t *testing.T) {
	for i := range 1000 {
		key := []byte("key-" + strconv.Itoa(i))
		h := fnv.New32a()
		h.Write(key)
		want := int32(h.Sum32()) % 7
		if want < 0 {
			want = -want
		}
		require.Equal(t, want, FNV1a().Partition("t", key, nil, 7))
	}
}

func TestRoundRobinDealsEachTopicInTurn(t *testing.T) {
	p := RoundRobin()
	for i := range int32(10) {
		require.Equal(t, i%3, p.Partition("a", []byte("same"), nil, 3))
	}
	require.Equal(t, int32(0), p.Partition("b", nil, nil, 3))
}

func TestManualChoosesNothing(t *testing.T) {
	require.Equal(t, int32(-1), Manual().Partition("t", []byte("k"), nil, 3))
}

func TestStickyStaysForABatchAndLoadsAllPartitionsEqually(t *testing.T) {
	const records, n = 160_000, 4
	p := NewSticky(1600, 7)
	value := make([]byte, 84) // 100 bytes with the overhead: 16 records a batch
	counts, runs, last := map[int32]int{}, 0, int32(-1)
	for range records {
		got := p.Partition("t", nil, value, n)
		counts[got]++
		if got != last {
			runs++
		}
		last = got
	}
	require.Less(t, runs, records/16+1)
	require.Greater(t, runs, records/16/2, "another one is drawn for each batch, and it is the same one in 4")
	for i := range int32(n) {
		require.InDelta(t, records/n, counts[i], records/n/10)
	}
}

func TestStickyFollowsAShrunkenTopic(t *testing.T) {
	p := NewSticky(1<<20, 3)
	for range 100 {
		p.Partition("t", nil, nil, 100)
		require.Less(t, p.Partition("t", nil, nil, 2), int32(2))
	}
}

func TestPartitionersAllocateNothing(t *testing.T) {
	key := binary.BigEndian.AppendUint64(nil, 42)
	for name, p := range map[string]Partitioner{
		"murmur2": Murmur2(), "sticky": Sticky(), "roundrobin": RoundRobin(), "crc32": ConsistentRandom(), "fnv1a": FNV1a(), "xxh64": XXH64(),
	} {
		p.Partition("t", nil, key, 8)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			p.Partition("t", key, key, 8)
			p.Partition("t", nil, key, 8)
		}), name)
	}
}

func FuzzPartitionersStayInRange(f *testing.F) {
	f.Add([]byte("key"), int32(3))
	f.Add([]byte{}, int32(1))
	ps := []Partitioner{Murmur2(), Sticky(), RoundRobin(), ConsistentRandom(), FNV1a(), XXH64()}
	f.Fuzz(func(t *testing.T, key []byte, n int32) {
		if n < 1 {
			t.Skip()
		}
		for _, p := range ps {
			got := p.Partition("t", key, nil, n)
			require.True(t, got >= 0 && got < n)
		}
	})
}
