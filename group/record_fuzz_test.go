package group

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is decoded, and written in the same version, is decoded as the same; and kmsg agrees.
func FuzzDecodeRecord(f *testing.F) {
	for _, v := range goldenOffsets {
		f.Add(fromHex(f, goldenOffsetKey), fromHex(f, v))
	}
	f.Add(fromHex(f, goldenGroupKey), fromHex(f, goldenGroup))
	f.Add([]byte("\x00\x01\x00\x0200\x00\x02000000"), []byte("\x00\x04000000000000\x02000000000\x01\x00\x00")) // a topic id of no bytes
	f.Add([]byte("\x00\x01\x00\x0200\x00\x02000000"), []byte("\x00\x0100000000\x00\x0100000000000000000"))     // one that expires
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, ok, err := decodeRecord(key, value)
		switch {
		case err != nil:
			require.ErrorIs(t, err, ErrCorruptRecord)
			require.False(t, ok)
		case !ok || value == nil:
		case r.isOffset:
			var k kmsg.OffsetCommitValue
			require.NoError(t, k.ReadFrom(value))
			require.EqualValues(t, k.Offset, r.offset.Offset)
			require.Equal(t, k.Metadata, r.offset.Metadata)
			again, _, err := decodeRecord(key, offsetCommitRecord(r.group, r.tp, r.offset).value)
			require.NoError(t, err)
			require.Equal(t, r, again)
		default:
			once, _, err := decodeRecord(key, r.metadata.append(nil, 4))
			require.NoError(t, err)
			twice, _, err := decodeRecord(key, once.metadata.append(nil, 4))
			require.NoError(t, err)
			require.Equal(t, once, twice)
		}
	})
}
