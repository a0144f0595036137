package group

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzDecodeSubscription(f *testing.F) {
	for _, s := range []string{goldenV0, goldenV1, goldenV2, goldenV3} {
		f.Add(fromHex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSubscription(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCorruptRecord)
			return
		}
		// What is written once more is read as the same; topics and partitions have an order then.
		once, err := DecodeSubscription(s.Append(nil))
		require.NoError(t, err)
		twice, err := DecodeSubscription(once.Append(nil))
		require.NoError(t, err)
		require.Equal(t, once, twice)
	})
}

func FuzzDecodeAssignment(f *testing.F) {
	f.Add(fromHex(f, goldenAssignment))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAssignment(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCorruptRecord)
			return
		}
		once, err := DecodeAssignment(a.Append(nil))
		require.NoError(t, err)
		require.ElementsMatch(t, a.Partitions, once.Partitions)
	})
}
