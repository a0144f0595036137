package quorum

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAMessageInPiecesIsTheMessage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, length := range []int{1, 2, 99, 100, 101, 1000, 4096} {
		for _, size := range []int{1, chunkHeader, chunkHeader + 1, 100, 5000} {
			message := make([]byte, length)
			for i := range message {
				message[i] = byte(rng.Uint32())
			}
			pieces := Split(message, size)
			var a Assembler
			for i, piece := range pieces {
				require.LessOrEqual(t, len(piece), max(size, chunkHeader+1))
				whole, err := a.Add(3, piece)
				require.NoError(t, err)
				if i < len(pieces)-1 {
					require.Nil(t, whole)
				} else {
					require.Equal(t, message, whole)
				}
			}
		}
	}
}

// A part is never taken for the whole: whatever is lost, doubled, swapped, mixed with another message or changed.
func TestAPartIsNeverTakenForTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	message := func() []byte {
		b := make([]byte, 50+rng.IntN(200))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	whole, refused := 0, 0
	for range 5000 {
		a, b := message(), message()
		pieces := Split(a, 60)
		switch rng.IntN(6) {
		case 0:
			i := rng.IntN(len(pieces))
			pieces = append(pieces[:i:i], pieces[i+1:]...)
		case 1:
			i := rng.IntN(len(pieces))
			pieces = append(pieces[:i:i], append([][]byte{pieces[i]}, pieces[i:]...)...)
		case 2:
			rng.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		case 3:
			other := Split(b, 60)
			i := rng.IntN(min(len(pieces), len(other)))
			pieces = append(pieces[:i:i], other[i:]...)
		case 4:
			i := rng.IntN(len(pieces))
			damaged := bytes.Clone(pieces[i])
			damaged[rng.IntN(len(damaged))] ^= 1 << rng.IntN(8)
			pieces[i] = damaged
		}
		var assembler Assembler
		for _, piece := range pieces {
			got, err := assembler.Add(1, piece)
			if err != nil {
				refused++
				require.Nil(t, got)
			} else if got != nil {
				whole++
				require.True(t, bytes.Equal(got, a) || bytes.Equal(got, b))
			}
		}
	}
	require.Positive(t, whole)
	require.Positive(t, refused)
}

func TestPiecesOfDifferentNodesDoNotMix(t *testing.T) {
	var a Assembler
	one, two := Split(bytes.Repeat([]byte("1"), 100), 60), Split(bytes.Repeat([]byte("2"), 100), 60)
	require.Len(t, one, 3)
	for i := range one {
		first, err := a.Add(1, one[i])
		require.NoError(t, err)
		second, err := a.Add(2, two[i])
		require.NoError(t, err)
		require.Equal(t, i == 2, first != nil && second != nil)
	}
	_, err := a.Add(1, one[0])
	require.NoError(t, err)
	a.Drop(1)
	_, err = a.Add(1, one[1])
	require.ErrorIs(t, err, ErrMalformed)
	newer := bytes.Clone(one[0])
	newer[0]++
	_, err = a.Add(1, newer)
	require.ErrorIs(t, err, ErrNewerVersion)
	huge := bytes.Clone(one[0])
	huge[8] = 1
	_, err = a.Add(1, huge)
	require.ErrorIs(t, err, ErrTooLarge)
}
