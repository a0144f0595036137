package batch

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Whatever the bytes of a control record are, they are read as franz-go reads them, or refused as corrupt; nothing of
// the record is changed.
func FuzzParseControl(f *testing.F) {
	for _, text := range []string{goldenCommit, goldenAbort} {
		var it Iterator
		b := Batch(unhex(f, text))
		b.Iterate(&it, 0)
		require.True(f, it.Next())
		f.Add(it.Record().Key, it.Record().Value)
	}
	f.Add([]byte(nil), []byte(nil))
	f.Add([]byte{0, 0, 0, 2}, []byte{0, 0})
	f.Add([]byte{0xff, 0xff, 0, 0}, make([]byte, controlValueSize))
	f.Add([]byte{0, 9, 0, 1, 42}, []byte{0, 9, 0, 0, 1, 0, 42})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r := Record{Key: bytes.Clone(key), Value: bytes.Clone(value), Offset: 7}
		c, err := ParseControl(&r)
		require.True(t, bytes.Equal(key, r.Key) && bytes.Equal(value, r.Value))

		var k kmsg.ControlRecordKey
		var v kmsg.EndTxnMarker
		readable := k.ReadFrom(key) == nil && k.Version >= 0
		marker := k.Type == kmsg.ControlRecordKeyTypeAbort || k.Type == kmsg.ControlRecordKeyTypeCommit
		if readable && marker {
			readable = v.ReadFrom(value) == nil
		}
		if !readable {
			require.ErrorIs(t, err, ErrCorrupt)
			require.Zero(t, c)
			return
		}
		require.NoError(t, err)
		require.Equal(t, k.Version, c.Version)
		require.EqualValues(t, k.Type, c.Type)
		require.Equal(t, marker, c.IsMarker())
		require.NotEmpty(t, c.Type.String())
		require.Equal(t, v.CoordinatorEpoch, c.CoordinatorEpoch)
		if marker && c.Version == 0 {
			built := Batch(BuildControl(nil, c.Type, 1, 2, c.CoordinatorEpoch, 3))
			var it Iterator
			built.Iterate(&it, 0)
			require.True(t, it.Next())
			again, err := ParseControl(it.Record())
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
	})
}
