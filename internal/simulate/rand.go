package simulate

import "math/rand/v2"

// Stream returns a source of randomness for one purpose: the same for the same seed and label, independent of all others. A
// purpose of its own keeps its draws when something else in the run is left out, which is what shrinking needs.
func Stream(seed uint64, label string) *rand.Rand {
	h := uint64(offset64)
	for i := range len(label) {
		h = (h ^ uint64(label[i])) * prime64
	}
	return rand.New(rand.NewPCG(mix(seed), mix(h)))
}

// FNV-1a's numbers.
const (
	offset64 = 14695981039346656037
	prime64  = 1099511628211
)

// mix spreads the bits of x over the whole word (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
