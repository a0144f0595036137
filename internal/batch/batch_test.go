package batch

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/compress"
)

// build makes a batch of n small records.
func build(t testing.TB, n int, o Options) Batch {
	var w Builder
	w.Reset(nil, o)
	for i := range int64(n) {
		w.Append(goldenTime+i, []byte("key"), []byte("value"), nil)
	}
	b, err := w.Finish()
	require.NoError(t, err)
	return b
}

// requireSameHeader compares all accessors with what franz-go reads.
func requireSameHeader(t testing.TB, b Batch) {
	var k kmsg.RecordBatch
	require.NoError(t, k.ReadFrom(b))
	require.Equal(t, k.FirstOffset, b.BaseOffset())
	require.Equal(t, int(k.Length)+FrameSize, b.Length())
	require.Equal(t, k.PartitionLeaderEpoch, b.LeaderEpoch())
	require.Equal(t, k.Magic, b.Magic())
	require.Equal(t, k.CRC, int32(b.CRC()))
	require.Equal(t, k.Attributes, b.Attributes())
	require.Equal(t, k.LastOffsetDelta, b.LastOffsetDelta())
	require.Equal(t, k.FirstOffset+int64(k.LastOffsetDelta), b.LastOffset())
	require.Equal(t, k.FirstTimestamp, b.BaseTimestamp())
	require.Equal(t, k.MaxTimestamp, b.MaxTimestamp())
	require.Equal(t, k.ProducerID, b.ProducerID())
	require.Equal(t, k.ProducerID >= 0, b.HasProducer())
	require.Equal(t, k.ProducerEpoch, b.ProducerEpoch())
	require.Equal(t, k.FirstSequence, b.BaseSequence())
	require.Equal(t, k.NumRecords, b.Count())
	require.Equal(t, k.Attributes&7, int16(b.Codec()))
	require.Equal(t, k.Attributes&8 != 0, b.IsLogAppendTime())
	require.Equal(t, k.Attributes&16 != 0, b.IsTransactional())
	require.Equal(t, k.Attributes&32 != 0, b.IsControl())
	require.Equal(t, k.Attributes&64 != 0, b.HasDeleteHorizon())
	require.Equal(t, len(k.Records), len(b.Records()))
}

func TestAccessorsReadWhatFranzGoReads(t *testing.T) {
	for _, text := range []string{goldenPlain, goldenTransactional, goldenCommit, goldenAbort, goldenEmpty} {
		requireSameHeader(t, unhex(t, text))
	}
	for _, text := range goldenCompressed {
		requireSameHeader(t, unhex(t, text))
	}
}

func TestOffsetAndEpochLieOutsideTheCRC(t *testing.T) {
	b := build(t, 3, Options{})
	crc := b.CRC()
	b.SetBaseOffset(math.MaxInt64 - 3)
	b.SetLeaderEpoch(math.MaxInt32)
	require.Equal(t, crc, b.CRC())
	require.NoError(t, b.CheckCRC())
	require.Equal(t, int64(math.MaxInt64-1), b.LastOffset())
	require.Equal(t, int64(math.MaxInt64), b.NextOffset())
	requireSameHeader(t, b)
}

func TestEveryFlippedBitUnderTheCRCIsFound(t *testing.T) {
	b := build(t, 3, Options{})
	for i := posCRC; i < len(b); i++ {
		for bit := range 8 {
			b[i] ^= 1 << bit
			err := b.CheckCRC()
			require.ErrorIs(t, err, ErrCorrupt)
			var corrupt *CorruptError
			require.ErrorAs(t, err, &corrupt)
			require.Equal(t, FieldCRC, corrupt.Field)
			b[i] ^= 1 << bit
		}
	}
	require.NoError(t, b.CheckCRC())
}

func TestLogAppendTimeIsEveryRecordsTimestamp(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.LZ4} {
		b := build(t, 3, Options{Codec: codec})
		b.SetLogAppendTime(goldenTime + 77)
		require.NoError(t, b.CheckCRC())
		require.True(t, b.IsLogAppendTime())
		require.Equal(t, codec, b.Codec())
		require.Equal(t, int64(goldenTime+77), b.MaxTimestamp())
		require.Equal(t, int64(goldenTime), b.BaseTimestamp())
		for _, r := range records(t, b) {
			require.Equal(t, int64(goldenTime+77), r.Timestamp)
		}
		require.NoError(t, b.Validate(ValidateOptions{}))
	}
}

func TestSetProducerKeepsTheBatchWhole(t *testing.T) {
	b := build(t, 3, Options{})
	b.SetProducer(9, 8, 7)
	require.NoError(t, b.CheckCRC())
	require.Equal(t, build(t, 3, Options{Idempotent: true, ProducerID: 9, Epoch: 8, BaseSequence: 7}), b)
}

func TestSetMaxTimestampKeepsTheBatchWhole(t *testing.T) {
	b := build(t, 3, Options{})
	for _, ms := range []int64{goldenTime + 9, goldenTime + 9, None} {
		b.SetMaxTimestamp(ms)
		require.Equal(t, ms, b.MaxTimestamp())
		require.NoError(t, b.CheckCRC())
	}
}

func TestSequenceNumbersWrapToZero(t *testing.T) {
	require.Equal(t, int32(0), AddSequence(math.MaxInt32, 1))
	require.Equal(t, int32(4), AddSequence(math.MaxInt32-2, 7))
	require.Equal(t, int32(12), AddSequence(5, 7))
	require.Equal(t, int32(math.MaxInt32-1), AddSequence(math.MaxInt32, math.MaxInt32))
	b := build(t, 3, Options{Idempotent: true, BaseSequence: math.MaxInt32})
	require.Equal(t, int32(1), b.LastSequence())
}

// With a delete horizon the base timestamp is the horizon, and the deltas are
// relative to it.
func TestDeleteHorizonLeavesTimestampsAlone(t *testing.T) {
	b := build(t, 1, Options{})
	b[posAttributes+1] |= attrDeleteHorizon
	b.UpdateCRC()
	require.True(t, b.HasDeleteHorizon())
	require.Equal(t, int64(goldenTime), records(t, b)[0].Timestamp)
	require.NoError(t, b.Validate(ValidateOptions{}))
	require.ErrorIs(t, b.CheckShape(), ErrInvalidRecord)
	require.False(t, Batch(BuildEmpty(nil, b)).HasDeleteHorizon())
}
