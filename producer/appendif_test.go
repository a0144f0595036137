package producer_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func TestAppendIfAppendsAllRecordsOfAKeyOrNone(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 3, KeyIndex: true})
	require.NoError(t, err)
	var seen []producer.Result
	p, err := producer.New(store, producer.Config{Interceptors: []producer.Interceptor{{OnResult: func(r producer.Result) { seen = append(seen, r) }}}})
	require.NoError(t, err)
	defer p.Close()
	events := producer.For(p, "t", producer.String, producer.String)
	last, err := events.AppendIf(t.Context(), partition.NoRecord, "a", "one", "two")
	require.NoError(t, err)
	require.Equal(t, partition.Offset(1), last.Offset)
	require.Len(t, seen, 2)
	_, err = events.AppendIf(t.Context(), 0, "a", "three")
	conflict, ok := errors.AsType[*partition.VersionConflictError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, last.Offset, conflict.Actual)
	last, err = events.AppendIf(t.Context(), conflict.Actual, "a", "three")
	require.NoError(t, err)
	require.Equal(t, partition.Offset(2), last.Offset)

	_, err = p.AppendIf(t.Context(), 2, producer.Record{Topic: "t", Key: []byte("a")}, producer.Record{Topic: "t", Key: []byte("b")})
	require.ErrorIs(t, err, partition.ErrInvalidRecord)
	_, err = p.AppendIf(t.Context(), 2, producer.Record{Topic: "t"})
	require.ErrorIs(t, err, partition.ErrInvalidRecord)
	_, err = p.AppendIf(t.Context(), 2)
	require.ErrorIs(t, err, partition.ErrInvalidRecord)
	_, err = p.AppendIf(t.Context(), 2, producer.Record{Topic: "t", Key: []byte("a"), Acks: producer.Need(partition.AcksNone)})
	require.ErrorIs(t, err, partition.ErrInvalidRequiredAcks)
}
