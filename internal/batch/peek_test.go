package batch

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPeekFindsTheFirstBatch(t *testing.T) {
	first, second := build(t, 2, Options{}), build(t, 5, Options{})
	both := append(append([]byte(nil), first...), second...)
	b, err := Peek(both)
	require.NoError(t, err)
	require.Equal(t, first, b)
	require.Equal(t, len(b), cap(b), "an append to it must not reach its neighbour")
	b, err = Peek(both[len(first):])
	require.NoError(t, err)
	require.Equal(t, second, b)
	_, err = Peek(both[len(first)+len(second):])
	require.ErrorIs(t, err, ErrShort)
}

func TestPeekOfEveryPrefixIsShort(t *testing.T) {
	b := build(t, 2, Options{})
	for n := range len(b) {
		_, err := Peek(b[:n])
		require.ErrorIs(t, err, ErrShort, n)
		size, err := PeekLength(b[:n])
		if n <= posMagic {
			require.ErrorIs(t, err, ErrShort)
		} else {
			require.NoError(t, err)
			require.Equal(t, len(b), size)
		}
	}
}

func TestPeekRefusesWhatIsNotABatch(t *testing.T) {
	for name, c := range map[string]struct {
		length int32
		magic  byte
		field  Field
	}{
		"zero length":                {0, Magic, FieldLength},
		"negative length":            {-1, Magic, FieldLength},
		"smallest length":            {-1 << 31, Magic, FieldLength},
		"a byte too small":           {HeaderSize - FrameSize - 1, Magic, FieldLength},
		"message of the first kind":  {14, 0, FieldMagic},
		"message of the second kind": {200, 1, FieldMagic},
		"magic of the future":        {200, 3, FieldMagic},
	} {
		b := make([]byte, 300)
		binary.BigEndian.PutUint32(b[posLength:], uint32(c.length))
		b[posMagic] = c.magic
		_, err := Peek(b)
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, name)
		require.Equal(t, c.field, corrupt.Field, name)
		require.Equal(t, NoRecord, corrupt.Record)
		require.NotEmpty(t, err.Error())
	}
	_, err := Peek(make([]byte, FrameSize))
	require.ErrorIs(t, err, ErrCorrupt, "twelve zero bytes are enough to know")
}
