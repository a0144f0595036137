package batch

import (
	"encoding/binary"
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

// What usualFrame takes is what frame takes, with the same numbers, whatever has been done to the bytes; and it takes what is
// usual, which is why it is there.
func TestTheUsualFrameIsTheFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Int32Range(0, 20_000), rapid.Int32Range(1<<20-2, 1<<20+2), rapid.Int32Min(0)).Draw(t, "number")
		delta := rapid.OneOf(rapid.Int64Range(-9000, 9000), rapid.Int64()).Draw(t, "delta")
		key, value := rapid.IntRange(-1, 9000).Draw(t, "key"), rapid.IntRange(-1, 9000).Draw(t, "value")
		data := frameOf(number, delta, key, value)
		changes := rapid.IntRange(0, 2).Draw(t, "changes")
		for range changes {
			data[rapid.IntRange(0, min(len(data), 24)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		if rapid.Bool().Draw(t, "last") { // nothing behind it
			data = data[:len(data)-frameWindow]
		}
		d, k, size := usualFrame(data, number)
		if size > 0 {
			wantD, wantK, want := frame(data, number)
			require.Equal(t, []int64{wantD, int64(wantK), int64(want)}, []int64{d, int64(k), int64(size)})
		} else if changes == 0 && len(data) >= frameWindow && number < 1<<20 && delta >= -8192 && delta < 8192 && max(key, 0)+max(value, 0) < 8000 {
			t.Fatal("not taken")
		}
	})
}

// frameOf is a record, and as many bytes behind it as usualFrame wants; key and value are lengths, -1 is null.
func frameOf(number int32, delta int64, key, value int) []byte {
	body := binary.AppendVarint([]byte{0}, delta)
	body = binary.AppendVarint(body, int64(number))
	for _, n := range []int{key, value} {
		body = append(binary.AppendVarint(body, int64(n)), make([]byte, max(n, 0))...)
	}
	body = append(body, 0)
	return append(append(binary.AppendVarint(nil, int64(len(body))), body...), make([]byte, frameWindow)...)
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
