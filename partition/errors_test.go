package partition

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/log"
	"github.com/stretchr/testify/require"
)

// The table is Kafka's: the classes "retriable" and "retriable after a refresh of the metadata" of its error codes.
func TestRetriableIsWhatAnotherTryMayCure(t *testing.T) {
	for err, want := range map[error]bool{
		ErrTimeout: true, ErrUnknownTopicOrPartition: true, ErrUnknownTopicID: true, ErrFencedLeaderEpoch: true,
		ErrUnknownLeaderEpoch: true, ErrCorruptMessage: true,
		ErrClosed: false, ErrMessageTooLarge: false, ErrRecordListTooLarge: false, ErrInvalidTimestamp: false, ErrInvalidRecord: false, ErrOffsetOutOfRange: false,
		ErrNoSpace: false, ErrOutOfOrderSequence: false, ErrInvalidProducerEpoch: false, ErrStorage: false, ErrReadOnly: false,
		ErrTopicAlreadyExists: false, ErrInvalidTopic: false, ErrInvalidPartitions: false, ErrInvalidConfig: false,
		ErrInvalidRequiredAcks: false, ErrPolicyViolation: false, ErrUnsupported: false, ErrStoreInUse: false, ErrNotStore: false,
		ErrConcurrentTransactions: true, ErrProducerFenced: false, ErrInvalidTxnState: false, ErrInvalidProducerIDMapping: false,
		ErrInvalidTransactionTimeout: false, ErrTransactionAbortable: false, ErrTransactionCoordinatorFenced: false,
		ErrTransactionalIDNotFound: false, ErrNewerFormat: false, context.Canceled: false, context.DeadlineExceeded: false,
		&log.OffsetOutOfRangeError{}: false, &log.CorruptionError{}: false,
	} {
		require.Equal(t, want, Retriable(err), "%v", err)
		require.Equal(t, want, Retriable(fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
	require.False(t, Retriable(nil))
	require.False(t, Retriable(errors.Join(ErrTimeout, context.Canceled)))
}

func TestErrorsNameWhatWhereAndWhatToDo(t *testing.T) {
	e := &OpenLeasesError{}
	for i := range 12 {
		e.Leases = append(e.Leases, OpenLease{TopicPartition{"t", int32(i)}, 2, time.Minute})
	}
	require.Contains(t, e.Error(), "t-0 (2, oldest 1m0s)")
	require.Contains(t, e.Error(), "and 2 partitions more")
	u := &StoreInUseError{Dir: "/d", PID: 7, Host: "h", Since: time.UnixMilli(0)}
	require.Equal(t, "store /d is in use by process 7 on host h since 1970-01-01T00:00:00Z; close it there, or use OpenReadOnly", u.Error())
	require.ErrorIs(t, u, ErrStoreInUse)
	require.Contains(t, (&StoreInUseError{Dir: "/d"}).Error(), "/d")
	require.Equal(t, `invalid configuration: unknown key "x"`, (&ConfigError{Key: "x"}).Error())
	require.ErrorIs(t, ErrClosed, log.ErrClosed, "a sentinel of a lower floor keeps its identity")
}

func TestTopicIDsAreKafkasText(t *testing.T) {
	id := TopicID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}
	require.Equal(t, "ASNFZ4mrze_-3LqYdlQyEA", id.String())
	var back TopicID
	require.NoError(t, back.UnmarshalText([]byte(id.String())))
	require.Equal(t, id, back)
	for _, bad := range []string{"", "x", "ASNFZ4mrze_-3LqYdlQyE", "ASNFZ4mrze_-3LqYdlQyEB", "ASNFZ4mrze/+3LqYdlQyEA", "ASNFZ4mrze_-3LqYdlQyEA=="} {
		_, err := ParseTopicID(bad)
		require.Error(t, err, "%q", bad)
	}
	for range 1000 {
		id := newUUID()
		require.NotEqual(t, byte('-'), id.String()[0])
		require.Len(t, id.String(), 22)
	}
}

func TestSmallTextsAreKafkas(t *testing.T) {
	require.Equal(t, "all 1 0 Acks(7)", strings.Join([]string{AcksAll.String(), AcksLeader.String(), AcksNone.String(), Acks(7).String()}, " "))
	require.Equal(t, "a-b-3", TopicPartition{"a-b", 3}.String())
	for name, want := range map[string]Codec{"none": CodecNone, "uncompressed": CodecNone, "gzip": CodecGzip, "snappy": CodecSnappy, "lz4": CodecLZ4, "zstd": CodecZstd} {
		c, err := ParseCodec(name)
		require.NoError(t, err)
		require.Equal(t, want, c)
	}
	_, err := ParseCodec("rar")
	require.ErrorIs(t, err, ErrInvalidConfig)
	require.ErrorContains(t, err, "rar")
}

// Arguments that no correct caller passes: each is refused with a typed error.
func TestNonsenseIsRefusedWithATypedError(t *testing.T) {
	s := memory(t, Config{})
	topic := create(t, s, "t", TopicConfig{})
	ctx := t.Context()
	tp, none := TopicPartition{"t", 0}, TopicPartition{"none", 0}
	for name, c := range map[string]struct {
		f    func() error
		want error
	}{
		"list offsets of nothing":      {func() error { _, err := s.ListOffsets(ctx, none, -1); return err }, ErrUnknownTopicOrPartition},
		"list offsets, timestamp -9":   {func() error { _, err := s.ListOffsets(ctx, tp, -9); return err }, ErrInvalidConfig},
		"epoch end of nothing":         {func() error { _, _, err := s.EpochEnd(ctx, none, 0); return err }, ErrUnknownTopicOrPartition},
		"delete records above the end": {func() error { _, err := s.DeleteRecords(ctx, tp, 5); return err }, ErrOffsetOutOfRange},
		"delete records at -2":         {func() error { _, err := s.DeleteRecords(ctx, tp, -2); return err }, ErrOffsetOutOfRange},
		"topic":                        {func() error { _, err := s.Topic("none"); return err }, ErrUnknownTopicOrPartition},
		"partition":                    {func() error { _, err := topic.Partition(1); return err }, ErrUnknownTopicOrPartition},
		"describe":                     {func() error { _, err := s.DescribeTopic(ctx, "none"); return err }, ErrUnknownTopicOrPartition},
		"alter":                        {func() error { return s.AlterTopicConfig(ctx, "none", nil) }, ErrUnknownTopicOrPartition},
		"append of nothing":            {func() error { _, err := s.Append(ctx, AppendRequest{TopicPartition: tp}); return err }, ErrInvalidRecord},
		"append of noise": {func() error {
			_, err := s.Append(ctx, AppendRequest{TopicPartition: tp, Batch: make([]byte, 100)})
			return err
		}, ErrInvalidRecord},
		"append to partition -1": {func() error {
			_, err := s.Append(ctx, AppendRequest{TopicPartition: TopicPartition{"t", -1}, Batch: records("x")})
			return err
		}, ErrUnknownTopicOrPartition},
		"import of nothing": {func() error { _, err := s.Import(ctx, t.TempDir(), ImportOptions{}); return err }, ErrUnknownTopicOrPartition},
	} {
		require.ErrorIs(t, c.f(), c.want, name)
	}
	rs, err := s.Fetch(ctx, FetchRequest{MaxWait: time.Hour})
	require.NoError(t, err, "a fetch of no partitions does not wait")
	require.Empty(t, rs)
	compacted := create(t, s, "c", TopicConfig{CleanupPolicy: CleanupCompact})
	p, err := compacted.Partition(0)
	require.NoError(t, err)
	appendTo(t, s, "c", 0, "x")
	_, err = p.DeleteRecords(ctx, 1)
	require.ErrorIs(t, err, ErrPolicyViolation)
}

func TestListOffsetsFindsTimesAndEnds(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{})
	tp := TopicPartition{"t", 0}
	ask := func(ts int64) Offset {
		o, err := s.ListOffsets(t.Context(), tp, ts)
		require.NoError(t, err)
		return o
	}
	require.Equal(t, OffsetUnknown, ask(TimestampMax))
	require.Equal(t, OffsetUnknown, ask(0))
	require.Zero(t, ask(TimestampLatest))
	appendTo(t, s, "t", 0, "a", "b", "c") // at 900_000_000_000 and the two milliseconds after
	appendTo(t, s, "t", 0, "d")           // at 900_000_000_000 again
	require.Equal(t, Offset(4), ask(TimestampLatest))
	require.Equal(t, Offset(0), ask(TimestampEarliest))
	require.Equal(t, Offset(2), ask(TimestampMax))
	require.Equal(t, Offset(0), ask(0))
	require.Equal(t, Offset(1), ask(900_000_000_001))
	require.Equal(t, OffsetUnknown, ask(900_000_000_003))
	start, err := s.DeleteRecords(t.Context(), tp, 2)
	require.NoError(t, err)
	require.Equal(t, Offset(2), start)
	require.Equal(t, Offset(2), ask(TimestampEarliest))
	require.Equal(t, Offset(2), ask(0), "not below the log start offset")
	start, err = s.DeleteRecords(t.Context(), tp, 1)
	require.NoError(t, err)
	require.Equal(t, Offset(2), start, "it never goes back")
	start, err = s.DeleteRecords(t.Context(), tp, -1)
	require.NoError(t, err)
	require.Equal(t, Offset(4), start, "−1 is the high watermark")
}
