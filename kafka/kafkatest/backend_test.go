package kafkatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
)

var (
	_ producer.Backend = (*kafkatest.Backend)(nil)
	_ group.Backend    = (*kafkatest.Backend)(nil)
	_ consumer.Source  = (*kafkatest.Backend)(nil)
)

// backend wraps a store in memory with topics of two partitions.
func backend(t testing.TB, c kafkatest.BackendConfig, topics ...string) (*kafkatest.Backend, *partition.Store) {
	t.Helper()
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	for _, name := range topics {
		_, err := store.CreateTopic(t.Context(), name, partition.TopicConfig{Partitions: 2})
		require.NoError(t, err)
	}
	b, err := kafkatest.NewBackend(store, c)
	require.NoError(t, err)
	return b, store
}

func appendTo(b *kafkatest.Backend, topic string, p int32) error {
	_, err := b.Append(context.Background(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: topic, Partition: p}, Batch: partitiontest.Batch(kafkatest.Record{Value: []byte("a")})})
	return err
}

func end(t testing.TB, s *partition.Store, topic string, p int32) partition.Offset {
	t.Helper()
	o, err := s.ListOffsets(t.Context(), partition.TopicPartition{Topic: topic, Partition: p}, partition.TimestampLatest)
	require.NoError(t, err)
	return o
}

func TestACallFailsWithTheErrorOfTheRulesCode(t *testing.T) {
	b, store := backend(t, kafkatest.BackendConfig{}, "orders")
	for _, test := range []struct {
		code      int16
		want      error
		retriable bool
	}{
		{kerr.MessageTooLarge.Code, partition.ErrMessageTooLarge, false},
		{kerr.ProducerFenced.Code, partition.ErrProducerFenced, false},
		{kerr.RequestTimedOut.Code, partition.ErrTimeout, true},
	} {
		rule := b.Inject(kafkatest.Rule{API: "Produce", Topic: "orders", Error: test.code})
		err := appendTo(b, "orders", 0)
		require.ErrorIs(t, err, test.want)
		require.Equal(t, test.retriable, partition.Retriable(err))
		require.Equal(t, 1, rule.Hits())
		rule.Remove()
	}
	b.Inject(kafkatest.Rule{API: "Produce", Error: kerr.NotLeaderForPartition.Code, Times: 1})
	err := appendTo(b, "orders", 0)
	var code *kafkatest.CodeError
	require.ErrorAs(t, err, &code)
	require.Equal(t, "NOT_LEADER_OR_FOLLOWER", code.Error())
	require.True(t, partition.Retriable(err))
	require.Zero(t, end(t, store, "orders", 0), "nothing has had an effect")
	require.NoError(t, appendTo(b, "orders", 0))
	require.EqualValues(t, 1, end(t, store, "orders", 0))
}

func TestALostAnswerHasItsEffectOnlyWithApply(t *testing.T) {
	b, store := backend(t, kafkatest.BackendConfig{}, "orders")
	b.Inject(kafkatest.Rule{API: "Produce", Times: 1, Close: true})
	err := appendTo(b, "orders", 0)
	require.ErrorIs(t, err, kafkatest.ErrLost)
	require.ErrorIs(t, err, partition.ErrTimeout)
	require.Zero(t, end(t, store, "orders", 0))
	b.Inject(kafkatest.Rule{API: "Produce", Times: 1, Close: true, Apply: true})
	require.ErrorIs(t, appendTo(b, "orders", 0), kafkatest.ErrLost)
	require.EqualValues(t, 1, end(t, store, "orders", 0))
	b.Inject(kafkatest.Rule{API: "Produce", Times: 1, Error: kerr.InvalidRecord.Code, Apply: true})
	require.ErrorIs(t, appendTo(b, "orders", 0), partition.ErrInvalidRecord)
	require.EqualValues(t, 2, end(t, store, "orders", 0))
}

func TestARuleIsAboutThePartitionsAndClientsItNames(t *testing.T) {
	b, _ := backend(t, kafkatest.BackendConfig{ClientID: "web", Rules: []kafkatest.Rule{
		{API: "Produce", Topic: "ord*", Partitions: []int32{1}, Error: kerr.InvalidRecord.Code},
		{API: "Produce", ClientID: "app", Error: kerr.MessageTooLarge.Code},
	}}, "orders", "other")
	require.NoError(t, appendTo(b, "orders", 0))
	require.ErrorIs(t, appendTo(b, "orders", 1), partition.ErrInvalidRecord)
	require.NoError(t, appendTo(b, "other", 1))
	_, err := kafkatest.NewBackend(unused(t), kafkatest.BackendConfig{Rules: []kafkatest.Rule{{API: "Nonsense"}}})
	require.ErrorContains(t, err, "Nonsense")
}

// unused is a store that nobody uses.
func unused(t testing.TB) *partition.Store {
	_, s := backend(t, kafkatest.BackendConfig{})
	return s
}

func TestAFetchFailsForSomePartitionsAndReadsTheOthers(t *testing.T) {
	b, _ := backend(t, kafkatest.BackendConfig{}, "orders")
	require.NoError(t, appendTo(b, "orders", 0))
	require.NoError(t, appendTo(b, "orders", 1))
	b.Inject(kafkatest.Rule{API: "Fetch", Partitions: []int32{0}, Times: 1, Error: kerr.OffsetOutOfRange.Code})
	var ps []partition.FetchPosition
	for p := range int32(2) {
		ps = append(ps, partition.FetchPosition{TopicPartition: partition.TopicPartition{Topic: "orders", Partition: p}, LeaderEpoch: partition.LeaderEpochUnknown})
	}
	rs, err := b.Fetch(t.Context(), partition.FetchRequest{Partitions: ps, MinBytes: 1 << 20, MaxWait: time.Hour})
	require.NoError(t, err)
	require.ErrorIs(t, rs[0].Err, partition.ErrOffsetOutOfRange)
	require.NoError(t, rs[1].Err)
	require.EqualValues(t, 1, rs[1].TopicPartition.Partition)
	records, err := partitiontest.Records(rs[1].Batches)
	require.NoError(t, err)
	require.Len(t, records, 1)
	rs[1].Lease.Release()
}

// A lost acknowledgement makes the producer send again, and idempotence keeps the record from being there twice.
func TestAProducerSendsAgainWhatItHasNoAnswerFor(t *testing.T) {
	b, store := backend(t, kafkatest.BackendConfig{}, "orders")
	lost := b.Inject(kafkatest.Rule{API: "Produce", Times: 1, Close: true, Apply: true})
	p, err := producer.New(b, producer.Config{})
	require.NoError(t, err)
	defer p.Close()
	r, err := producer.For(p, "orders", producer.String, producer.String).Send(bound(t), "k", "v")
	require.NoError(t, err)
	require.Equal(t, 1, lost.Hits())
	require.Zero(t, r.Offset)
	require.EqualValues(t, 1, end(t, store, "orders", r.Partition))
}

func TestACommitFailsForSomePartitionsAndStoresTheOthers(t *testing.T) {
	b, _ := backend(t, kafkatest.BackendConfig{}, "orders")
	at := coordinatorOf(t, b, "billing")
	b.Inject(kafkatest.Rule{API: "OffsetCommit", Group: "bill*", Partitions: []int32{1}, Times: 1, Error: kerr.UnknownTopicOrPartition.Code})
	p0, p1 := partition.TopicPartition{Topic: "orders"}, partition.TopicPartition{Topic: "orders", Partition: 1}
	commit := group.CommitRequest{Membership: group.Membership{Group: "billing", Generation: group.NoGeneration}, Offsets: map[partition.TopicPartition]group.CommittedOffset{
		p0: {Offset: 1, LeaderEpoch: partition.LeaderEpochUnknown}, p1: {Offset: 1, LeaderEpoch: partition.LeaderEpochUnknown},
	}}
	err := at.Commit(bound(t), commit)
	var some *group.CommitError
	require.ErrorAs(t, err, &some)
	require.Len(t, some.Partitions, 1)
	require.ErrorIs(t, some.Partitions[p1], partition.ErrUnknownTopicOrPartition)
	got, err := at.Offsets(bound(t), group.OffsetsRequest{Group: "billing"})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Contains(t, got, p0)
	b.Inject(kafkatest.Rule{API: "OffsetCommit", Times: 1, Drop: true, Apply: true})
	require.ErrorIs(t, at.Commit(bound(t), commit), kafkatest.ErrLost)
	got, err = at.Offsets(bound(t), group.OffsetsRequest{Group: "billing"})
	require.NoError(t, err)
	require.Len(t, got, 2)
}

func coordinatorOf(t testing.TB, b *kafkatest.Backend, id string) group.Coordinator {
	t.Helper()
	all, err := group.Start(b, group.CoordinatorConfig{})
	require.NoError(t, err)
	at, err := all.Find(bound(t), id)
	require.NoError(t, err)
	return at
}

func TestADelayGoesByTheStoresClockAndEndsWithTheContext(t *testing.T) {
	b, store := backend(t, kafkatest.BackendConfig{}, "orders")
	b.Inject(kafkatest.Rule{API: "Produce", Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Append(ctx, partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "orders"}, Batch: partitiontest.Batch(kafkatest.Record{Value: []byte("a")})})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, end(t, store, "orders", 0))
}
