package batch

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever is done to the records of a batch, the short walk takes it if the long one does, with the same largest timestamp.
func TestTheShortWalkTakesWhatTheIteratorTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Builder
		w.Reset(nil, Options{})
		for range rapid.IntRange(1, 100).Draw(t, "records") {
			r := drawRecord(t)
			w.Append(r.Timestamp, r.Key, r.Value, r.Headers)
		}
		b, err := w.Finish()
		require.NoError(t, err)
		b = slices.Clone(b)
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			b[rapid.IntRange(HeaderSize, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		o := ValidateOptions{Client: true, SkipCRC: true, KeyRequired: rapid.Bool().Draw(t, "keys")}
		if rapid.Bool().Draw(t, "bounded") {
			o.OldestTimestamp, o.NewestTimestamp = rapid.Int64().Draw(t, "oldest"), rapid.Int64().Draw(t, "newest")
		}
		var it Iterator
		b.Iterate(&it, 0)
		want, invalid := b.validateRecords(&it, o)
		got, ok := b.walk(&o)
		require.Equal(t, it.Err() == nil && invalid == nil, ok, "%v %v", it.Err(), invalid)
		if ok {
			require.Equal(t, want, got)
		}
	})
}

func TestTheShortWalkSeesEveryCutAndEveryBit(t *testing.T) {
	var w Builder
	w.Reset(nil, Options{})
	w.Append(1000, []byte("k"), []byte("v"), []Header{{Key: "a", Value: []byte("b")}, {Key: "null"}})
	w.Append(900, nil, nil, nil)
	w.Append(1<<40, []byte{}, make([]byte, 70), nil)
	b, err := w.Finish()
	require.NoError(t, err)
	o := ValidateOptions{Client: true, SkipCRC: true}
	agree := func(b Batch, about ...any) {
		var it Iterator
		b.Iterate(&it, 0)
		want, invalid := b.validateRecords(&it, o)
		got, ok := b.walk(&o)
		require.Equal(t, it.Err() == nil && invalid == nil, ok, about...)
		if ok {
			require.Equal(t, want, got, about...)
		}
	}
	for cut := HeaderSize; cut <= len(b); cut++ {
		agree(b[:cut], "cut", cut)
	}
	for at := HeaderSize; at < len(b); at++ {
		for value := range 256 {
			c := slices.Clone(b)
			c[at] = byte(value)
			agree(c, at, value)
		}
	}
}
