package partition

import (
	"hash/crc32"
	"math/rand/v2"

	"github.com/cespare/xxhash/v2"
)

// ConsistentRandom returns librdkafka's default partitioner: CRC-32 of the key, at random for null and empty keys. A
// topic that C, C++, Python, Go (confluent) or .NET producers write too needs it.
func ConsistentRandom() Partitioner {
	return hashed{empty: true, keyless: random{}, hash: func(key []byte, n int32) int32 {
		return int32(crc32.ChecksumIEEE(key) % uint32(n))
	}}
}

// FNV1a returns the default partitioner of the Go client sarama: the absolute value of FNV-1a of the key, at random for
// null keys.
func FNV1a() Partitioner {
	return hashed{keyless: random{}, hash: func(key []byte, n int32) int32 {
		h := uint32(2166136261)
		for _, c := range key {
			h = (h ^ uint32(c)) * 16777619
		}
		p := int32(h) % n
		if p < 0 {
			p = -p
		}
		return p
	}}
}

// XXH64 returns a partitioner by xxHash64 of the key, faster than Murmur2 for long keys; null keys are sticky. No
// other client's default is compatible with it.
func XXH64() Partitioner {
	return hashed{keyless: Sticky(), hash: func(key []byte, n int32) int32 {
		return int32(xxhash.Sum64(key) % uint64(n))
	}}
}

// random deals records at random.
type random struct{}

func (random) Partition(_ string, _, _ []byte, n int32) int32 { return rand.Int32N(n) }
