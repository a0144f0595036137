package batch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/compress"
)

// What stays of any batch is what an Iterator reads of it, with and without a horizon, in every codec; the header's other fields stay.
func TestRewriterKeepsRecordsAndHeaderFields(t *testing.T) {
	var w Rewriter
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Codec: compress.Codec(rapid.IntRange(0, 4).Draw(t, "codec")), Idempotent: true, ProducerID: 7, Epoch: 3, BaseSequence: 11,
			Transactional: rapid.Bool().Draw(t, "transactional")}
		var b Builder
		b.Reset(nil, o)
		n := rapid.IntRange(1, 20).Draw(t, "records")
		for i := range n {
			var key, value []byte
			if rapid.IntRange(0, 4).Draw(t, "key") > 0 {
				key = fmt.Append(nil, "key", i)
			}
			if rapid.IntRange(0, 4).Draw(t, "value") > 0 {
				value = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")
			}
			b.Append(rapid.Int64Range(0, 1<<45).Draw(t, "time"), key, value, []Header{{Key: "h", Value: []byte{byte(i)}}}[:i%2])
		}
		source, err := b.Finish()
		require.NoError(t, err)
		source.SetBaseOffset(500)
		source.SetLeaderEpoch(9)
		if rapid.Bool().Draw(t, "append time") {
			source.SetLogAppendTime(123_456)
		}
		horizon := rapid.SampledFrom([]int64{-1, 0, 1 << 44}).Draw(t, "horizon")

		require.NoError(t, w.Read(source, 0))
		var it Iterator
		var want []string
		newest := int64(-1)
		source.Iterate(&it, 0)
		for w.Next() {
			require.True(t, it.Next())
			r := it.Record()
			require.Equal(t, r.Offset, w.Offset())
			require.Equal(t, r.Key == nil, w.Key() == nil)
			require.Equal(t, string(r.Key), string(w.Key()))
			require.Equal(t, r.Value == nil, w.ValueNull())
			if rapid.Bool().Draw(t, "keep") {
				w.Keep()
				want = append(want, text(r))
				newest = max(newest, r.Timestamp)
			}
		}
		require.NoError(t, w.Err())
		require.Equal(t, len(want), w.Kept())
		if len(want) == 0 {
			return
		}
		out, err := w.Append([]byte("before"), horizon)
		require.NoError(t, err)
		require.Equal(t, "before", string(out[:6]))
		got, err := Peek(out[6:])
		require.NoError(t, err)
		require.Len(t, got, len(out)-6)
		require.NoError(t, got.CheckCRC())
		var left []string
		for got.Iterate(&it, 0); it.Next(); {
			left = append(left, text(it.Record()))
		}
		require.NoError(t, it.Err())
		require.Equal(t, want, left)
		require.Equal(t, horizon >= 0, got.HasDeleteHorizon())
		if horizon >= 0 {
			require.Equal(t, horizon, got.BaseTimestamp())
		}
		require.Equal(t, newest, got.MaxTimestamp())
		require.Equal(t, []any{source.BaseOffset(), source.LastOffset(), source.LeaderEpoch(), source.ProducerID(), source.ProducerEpoch(), source.BaseSequence(),
			source.Codec(), source.IsTransactional(), source.IsLogAppendTime()},
			[]any{got.BaseOffset(), got.LastOffset(), got.LeaderEpoch(), got.ProducerID(), got.ProducerEpoch(), got.BaseSequence(),
				got.Codec(), got.IsTransactional(), got.IsLogAppendTime()})
	})
}

func text(r *Record) string {
	return fmt.Sprintf("%d %d %q %q %v %v %v", r.Offset, r.Timestamp, r.Key, r.Value, r.Key == nil, r.Value == nil, r.Headers)
}

func TestGapIsNobodysBatch(t *testing.T) {
	var b Builder
	b.Reset(nil, Options{Transactional: true, ProducerID: 7, Epoch: 3, BaseSequence: 11, Codec: compress.Zstd})
	b.Append(5, []byte("k"), nil, nil)
	b.Append(9, []byte("k"), nil, nil)
	source, err := b.Finish()
	require.NoError(t, err)
	source.SetBaseOffset(40)
	source.SetLeaderEpoch(2)
	gap := Batch(BuildGap(nil, source))
	require.Len(t, gap, HeaderSize)
	require.NoError(t, gap.CheckCRC())
	require.Equal(t, []int64{40, 41, 2, 0, -1, -1, -1, -1, 9},
		[]int64{gap.BaseOffset(), gap.LastOffset(), int64(gap.LeaderEpoch()), int64(gap.Count()), gap.ProducerID(), int64(gap.ProducerEpoch()), int64(gap.BaseSequence()),
			gap.BaseTimestamp(), gap.MaxTimestamp()})
	require.False(t, gap.IsTransactional() || gap.IsControl() || gap.HasDeleteHorizon())
}

func TestRewriterRefusesWhatIsNoBatch(t *testing.T) {
	var b Builder
	b.Reset(nil, Options{})
	for i := range 3 {
		b.Append(int64(i), []byte("key"), []byte("value"), nil)
	}
	source, err := b.Finish()
	require.NoError(t, err)
	walk := func(b Batch) error {
		var w Rewriter
		if err := w.Read(b, 0); err != nil {
			return err
		}
		for w.Next() {
			w.Keep()
		}
		return w.Err()
	}
	require.NoError(t, walk(source))
	for i := posAttributes; i < len(source); i++ {
		for bit := range 8 {
			damaged := append(Batch(nil), source...)
			damaged[i] ^= 1 << bit
			if err := walk(damaged); err != nil {
				require.True(t, errors.Is(err, ErrCorrupt), "%v", err)
			}
		}
	}
}

func FuzzRewriter(f *testing.F) {
	var b Builder
	b.Reset(nil, Options{})
	b.Append(1, []byte("key"), []byte("value"), []Header{{Key: "h"}})
	b.Append(2, nil, nil, nil)
	source, _ := b.Finish()
	f.Add([]byte(source), int64(7))
	f.Fuzz(func(t *testing.T, data []byte, horizon int64) {
		one, err := Peek(data)
		if err != nil {
			return
		}
		var w Rewriter
		if w.Read(one, 1<<20) != nil {
			return
		}
		n := 0
		for w.Next() {
			if n++; n%2 == 1 {
				w.Keep()
			}
		}
		if w.Err() != nil || w.Kept() == 0 {
			return
		}
		out, err := w.Append(nil, horizon)
		if err != nil {
			return
		}
		var again Rewriter
		if err := again.Read(Batch(out), 0); err != nil {
			t.Fatal(err)
		}
		for again.Next() {
			again.Keep()
		}
		if again.Err() != nil || again.Kept() != w.Kept() {
			t.Fatal(again.Err(), again.Kept(), w.Kept())
		}
	})
}
