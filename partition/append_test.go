package partition

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
)

// What a client sends: one batch, and the rest of its bytes.
func TestBytesBehindAClientsBatchAreCutOffUnlessTheyAreAnother(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{})
	send := func(b []byte) (AppendResult, error) {
		return s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: b, Foreign: true})
	}
	one := records("x")
	for i, n := range []int{0, 1, 11, 16, 17, 60, len(one) - 1} {
		r, err := send(append(records("x"), one[:n]...))
		require.NoError(t, err, "%d bytes of a second batch", n)
		require.Equal(t, Offset(i), r.BaseOffset)
	}
	_, err := send(append(records("x"), one...))
	require.ErrorIs(t, err, ErrInvalidRecord)
	_, err = send(append(records("x"), make([]byte, 20)...))
	require.ErrorIs(t, err, ErrInvalidRecord)
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: append(records("x"), 0)})
	require.ErrorIs(t, err, ErrInvalidRecord, "this process's own batches end where they end")
	require.Len(t, fetchAll(t, s, "t", 0, 0), 7)
	p, err := s.part(TopicPartition{"t", 0}, TopicID{})
	require.NoError(t, err)
	l, err := p.open()
	require.NoError(t, err)
	require.Equal(t, int64(7*len(one)), l.Stats().Bytes, "of what was cut off nothing is stored")
}

func TestClientsBytesThatAreNoBatchAreToldFromDamage(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{})
	change := func(at int, v byte) []byte {
		b := records("x")
		b[at] = v
		return b
	}
	short := records("x")
	binary.BigEndian.PutUint32(short[8:], 20)
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":                 {nil, ErrInvalidRecord},
		"not all of it":           {records("x")[:65], ErrInvalidRecord},
		"message of format 0":     {change(16, 0), ErrInvalidRecord},
		"message of format 1":     {change(16, 1), ErrInvalidRecord},
		"format of the future":    {change(16, 3), ErrCorruptMessage},
		"no format":               {change(16, 0xff), ErrCorruptMessage},
		"zeros":                   {make([]byte, 100), ErrCorruptMessage},
		"shorter than its header": {short, ErrCorruptMessage},
		"a flipped bit":           {change(62, 99), ErrCorruptMessage},
	} {
		_, err := s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: c.b, Foreign: true})
		require.ErrorIs(t, err, c.want, name)
	}
	require.Empty(t, fetchAll(t, s, "t", 0, 0))
}

// Some old clients number the records of a compressed batch wrongly. Kafka's leader encodes such a batch again.
func TestCompressedBatchWithWrongOffsetsIsEncodedAgain(t *testing.T) {
	for _, c := range []struct {
		compression Compression
		sent, want  Codec
	}{
		{"", CodecGzip, CodecGzip}, {"", CodecSnappy, CodecSnappy}, {"", CodecLZ4, CodecLZ4}, {"", CodecZstd, CodecZstd},
		{CompressionLZ4, CodecGzip, CodecLZ4}, {CompressionNone, CodecZstd, CodecNone}, {"", CodecNone, 0},
	} {
		s := memory(t, Config{})
		create(t, s, "t", TopicConfig{Compression: c.compression})
		appendTo(t, s, "t", 0, "before")
		var w batch.Builder
		w.Reset(nil, batch.Options{Idempotent: true, ProducerID: 9, Epoch: 2, BaseSequence: 5})
		for _, v := range []string{"a", "b", "c"} {
			w.Append(900_000_000_000, []byte("k"), []byte(v), nil)
		}
		plain, err := w.Finish()
		require.NoError(t, err)
		raw := bytes.Clone(plain[batch.HeaderSize:])
		for at := 0; at < len(raw); at += 1 + int(raw[at]/2) { // length, attributes, timestamp: one byte each
			raw[at+3] = 0
		}
		packed, err := compress.Compress(nil, raw, c.sent, compress.DefaultLevel)
		require.NoError(t, err)
		wrong := batch.Batch(append(bytes.Clone(plain[:batch.HeaderSize]), packed...))
		binary.BigEndian.PutUint32(wrong[8:], uint32(len(wrong)-batch.FrameSize))
		wrong[22] |= byte(c.sent)
		wrong.UpdateCRC()

		r, err := s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: wrong, Foreign: true})
		if c.sent == CodecNone {
			require.ErrorIs(t, err, ErrInvalidRecord, "only compressed ones")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, Offset(1), r.BaseOffset)
		rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, Offset: 1, LeaderEpoch: -1}}})
		require.NoError(t, err)
		got := batch.Batch(rs[0].Batches)
		require.Equal(t, c.want, got.Codec())
		require.NoError(t, got.Validate(batch.ValidateOptions{}))
		require.Equal(t, []int64{1, 3, 9, 2, 5}, []int64{got.BaseOffset(), got.LastOffset(), got.ProducerID(), int64(got.ProducerEpoch()), int64(got.BaseSequence())})
		require.Equal(t, []string{"a", "b", "c"}, values(t, got))
		releaseAll(rs)
		r, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: wrong, Foreign: true})
		require.NoError(t, err)
		require.True(t, r.Duplicate)
	}
}

// What is encoded again may be larger than what was sent: the limit is looked at again.
func TestSizeIsLimitedAlsoAfterABatchWasEncodedAgain(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{Compression: CompressionNone, MaxMessageBytes: 1000})
	create(t, s, "small", TopicConfig{Compression: CompressionNone, Extra: map[string]string{"internal.segment.bytes": "1024"}})
	var w batch.Builder
	w.Reset(nil, batch.Options{Codec: CodecZstd})
	w.Append(900_000_000_000, []byte("k"), []byte(strings.Repeat("x", 2000)), nil)
	b, err := w.Finish()
	require.NoError(t, err)
	require.Less(t, len(b), 200)
	for _, foreign := range []bool{true, false} {
		_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: bytes.Clone(b), Foreign: foreign})
		require.ErrorIs(t, err, ErrMessageTooLarge)
		require.NotErrorIs(t, err, ErrRecordListTooLarge)
		_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"small", 0}, Batch: bytes.Clone(b), Foreign: foreign})
		require.ErrorIs(t, err, ErrRecordListTooLarge)
	}
}

// The header has the largest timestamp. The smallest may be anywhere.
func TestEveryRecordsTimestampIsBounded(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	s := memory(t, Config{Clock: now})
	create(t, s, "t", TopicConfig{TimestampBefore: time.Hour, TimestampAfter: time.Minute})
	create(t, s, "appended", TopicConfig{TimestampBefore: time.Hour, TimestampType: LogAppendTime})
	const h = int64(3_600_000)
	for name, c := range map[string]struct {
		times []int64
		want  error
	}{
		"at the bounds":            {[]int64{0, -h, 60_000}, nil},
		"none":                     {[]int64{0, -1_700_000_000_001, 0}, nil},
		"first too old":            {[]int64{-h - 1, 0, 0}, ErrInvalidTimestamp},
		"one in the middle":        {[]int64{0, -h - 1, 0}, ErrInvalidTimestamp},
		"the last one too far off": {[]int64{0, 0, 60_001}, ErrInvalidTimestamp},
	} {
		for _, codec := range []Codec{CodecNone, CodecLZ4} {
			var w batch.Builder
			w.Reset(nil, batch.Options{Codec: codec})
			for _, at := range c.times {
				w.Append(now.Now().UnixMilli()+at, []byte("k"), []byte("v"), nil)
			}
			b, err := w.Finish()
			require.NoError(t, err)
			for _, foreign := range []bool{true, false} {
				_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: bytes.Clone(b), Foreign: foreign})
				if c.want == nil {
					require.NoError(t, err, name)
				} else {
					require.ErrorIs(t, err, c.want, name)
				}
				_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"appended", 0}, Batch: bytes.Clone(b), Foreign: foreign})
				require.NoError(t, err, "the log's time counts there")
			}
		}
	}
}

// The payload of a batch that needs no other codec is stored as it was sent.
func TestBatchIsStoredAsItWasSentButForItsPlace(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{})
	appendTo(t, s, "t", 0, "before")
	for _, codec := range []Codec{CodecNone, CodecGzip, CodecSnappy, CodecLZ4, CodecZstd} {
		var w batch.Builder
		w.Reset(nil, batch.Options{Codec: codec})
		w.Append(900_000_000_007, []byte("k"), []byte("v"), []batch.Header{{Key: "h"}})
		w.Append(900_000_000_001, nil, nil, nil)
		sent, err := w.Finish()
		require.NoError(t, err)
		stored := batch.Batch(bytes.Clone(sent))
		wrong := batch.Batch(bytes.Clone(sent))
		wrong.SetMaxTimestamp(900_000_000_999) // is repaired
		r, err := s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: wrong, Foreign: true})
		require.NoError(t, err)
		require.Equal(t, int64(-1), r.LogAppendTime)
		require.Zero(t, r.LogStart)
		rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, Offset: r.BaseOffset, LeaderEpoch: -1}}})
		require.NoError(t, err)
		stored.SetBaseOffset(int64(r.BaseOffset))
		stored.SetLeaderEpoch(batch.Batch(rs[0].Batches).LeaderEpoch())
		require.Equal(t, []byte(stored), rs[0].Batches)
		releaseAll(rs)
	}
	start, err := s.DeleteRecords(t.Context(), TopicPartition{"t", 0}, 3)
	require.NoError(t, err)
	require.Equal(t, start, appendTo(t, s, "t", 0, "x").LogStart)
}

// Records are never without the id of their topic.
func TestTopicIDIsOnDiskBeforeTheFirstRecord(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	s, err := Open("/s", Config{FS: disk})
	require.NoError(t, err)
	defer s.Close()
	topic := create(t, s, "t", TopicConfig{})
	var writes atomic.Int32
	disk.OnOp(func(op vfs.Op) {
		if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Path, ".log") {
			if id, err := segment.ReadPartitionMetadata(disk, "/s/data/t-0"); err != nil || topic.ID() != TopicID(id) {
				t.Errorf("%s is written, and the id is %v, %v", op.Path, id, err)
			}
			writes.Add(1)
		}
	})
	appendTo(t, s, "t", 0, "x")
	disk.OnOp(nil)
	require.Positive(t, writes.Load())
}

// The coordinator's writes may have any timestamp, size and sequence; a client's may not.
func TestCoordinatorsBatchesAreHeldToFewerRules(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{MaxMessageBytes: 60})
	p, err := s.part(TopicPartition{"t", 0}, TopicID{})
	require.NoError(t, err)
	l, err := p.open()
	require.NoError(t, err)
	marker := batch.BuildControl(nil, batch.ControlCommit, 7, 0, 0, 1<<60)
	_, err = l.Append(bytes.Clone(marker), log.AppendOptions{})
	require.ErrorIs(t, err, ErrInvalidRecord)
	_, err = l.Append(marker, log.AppendOptions{Origin: log.OriginCoordinator})
	require.NoError(t, err)
}
