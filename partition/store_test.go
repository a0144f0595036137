package partition

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/stretchr/testify/require"
)

// memory opens a store without a disk that the test closes.
func memory(t testing.TB, c Config) *Store {
	s, err := OpenMemory(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			if _, ok := errors.AsType[*OpenLeasesError](err); !ok {
				require.NoError(t, err)
			}
		}
	})
	return s
}

// records builds one batch with these values, keys "k".
func records(values ...string) []byte {
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	for i, v := range values {
		w.Append(900_000_000_000+int64(i), []byte("k"), []byte(v), nil)
	}
	b, err := w.Finish()
	if err != nil {
		panic(err)
	}
	return b
}

func values(t testing.TB, chunk []byte) (out []string) {
	for len(chunk) > 0 {
		b, err := batch.Peek(chunk)
		require.NoError(t, err)
		require.NoError(t, b.CheckCRC())
		var it batch.Iterator
		b.Iterate(&it, 1<<20)
		for it.Next() {
			out = append(out, string(it.Record().Value))
		}
		require.NoError(t, it.Err())
		chunk = chunk[len(b):]
	}
	return out
}

func create(t testing.TB, s *Store, name string, c TopicConfig) *Topic {
	topic, err := s.CreateTopic(context.Background(), name, c)
	require.NoError(t, err)
	return topic
}

func appendTo(t testing.TB, s *Store, name string, p int32, vs ...string) AppendResult {
	r, err := s.Append(context.Background(), AppendRequest{TopicPartition: TopicPartition{name, p}, Batch: records(vs...)})
	require.NoError(t, err)
	return r
}

// fetchAll reads a partition from an offset up to its high watermark.
func fetchAll(t testing.TB, s *Store, name string, p int32, from Offset) []string {
	var out []string
	for {
		rs, err := s.Fetch(context.Background(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{name, p}, Offset: from, LeaderEpoch: -1}}})
		require.NoError(t, err)
		require.NoError(t, rs[0].Err)
		if len(rs[0].Batches) == 0 {
			return out
		}
		chunk := rs[0].Batches
		out = append(out, values(t, chunk)...)
		for len(chunk) > 0 {
			b, _ := batch.Peek(chunk)
			from = Offset(b.NextOffset())
			chunk = chunk[len(b):]
		}
		rs[0].Lease.Release()
	}
}

func TestAppendedBatchIsFetched(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "orders", TopicConfig{Partitions: 2})
	require.Equal(t, AppendResult{BaseOffset: 0, LogAppendTime: -1}, appendTo(t, s, "orders", 1, "a", "b"))
	require.Equal(t, Offset(2), appendTo(t, s, "orders", 1, "c").BaseOffset)
	require.Equal(t, []string{"a", "b", "c"}, fetchAll(t, s, "orders", 1, 0))
	require.Empty(t, fetchAll(t, s, "orders", 0, 0))
	require.Equal(t, "memory", s.Dir())
}

func TestFetchGivesEveryPartitionItsResult(t *testing.T) {
	s := memory(t, Config{})
	topic := create(t, s, "t", TopicConfig{Partitions: 2})
	appendTo(t, s, "t", 0, "a")
	at := func(name string, p int32, o Offset) FetchPosition {
		return FetchPosition{TopicPartition: TopicPartition{name, p}, Offset: o, LeaderEpoch: -1}
	}
	stale := at("t", 0, 0)
	stale.TopicID = TopicID{1}
	right := at("t", 0, 0)
	right.TopicID = topic.ID()
	newer := at("t", 0, 0)
	newer.LeaderEpoch = 5
	rs, err := s.Fetch(t.Context(), FetchRequest{MaxWait: time.Hour, Partitions: []FetchPosition{
		right, at("t", 1, 0), at("t", 1, 1), at("t", 0, -1), at("t", 7, 0), at("t", -1, 0), at("u", 0, 0), stale, newer,
	}})
	require.NoError(t, err, "errors of partitions end the wait at once")
	require.Equal(t, []string{"a"}, values(t, rs[0].Batches))
	require.Equal(t, Offset(1), rs[0].HighWatermark)
	require.Equal(t, Offset(1), rs[0].LastStable)
	require.NoError(t, rs[1].Err)
	require.Empty(t, rs[1].Batches)
	for i, want := range []error{2: ErrOffsetOutOfRange, 3: ErrOffsetOutOfRange, 4: ErrUnknownTopicOrPartition,
		5: ErrUnknownTopicOrPartition, 6: ErrUnknownTopicOrPartition, 7: ErrUnknownTopicID, 8: ErrUnknownLeaderEpoch} {
		require.ErrorIs(t, rs[i].Err, want, "%d", i)
	}
	releaseAll(rs)
}

func TestFetchObeysItsBoundsExceptForTheFirstBatch(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{Partitions: 3})
	big := strings.Repeat("x", 1000)
	for p := range int32(3) {
		appendTo(t, s, "t", p, big)
		appendTo(t, s, "t", p, big)
	}
	var r FetchRequest
	for p := range int32(3) {
		r.Partitions = append(r.Partitions, FetchPosition{TopicPartition: TopicPartition{"t", p}, LeaderEpoch: -1, MaxBytes: 10})
	}
	fetch := func() (n []int) {
		rs, err := s.Fetch(t.Context(), r)
		require.NoError(t, err)
		for i := range rs {
			require.NoError(t, rs[i].Err)
			n = append(n, len(values(t, rs[i].Batches)))
		}
		releaseAll(rs)
		return n
	}
	require.Equal(t, []int{1, 0, 0}, fetch(), "the first batch may exceed every bound, the others none")
	for i := range r.Partitions {
		r.Partitions[i].MaxBytes = 1500
	}
	require.Equal(t, []int{1, 1, 1}, fetch())
	r.MaxBytes = 2600
	require.Equal(t, []int{1, 1, 0}, fetch())

	// Who gets nothing learns whether there is something, and what is wrong with his offset.
	r.MaxBytes, r.Partitions[1].MaxBytes, r.Partitions[2].Offset = 1, 10, 9
	rs, err := s.Fetch(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []bool{false, false, false}, []bool{rs[0].DoesNotFit, rs[1].DoesNotFit, rs[2].DoesNotFit}, "the answer is full")
	require.ErrorIs(t, rs[2].Err, ErrOffsetOutOfRange)
	releaseAll(rs)
	r.MaxBytes, r.Partitions[2].Offset = 0, 2
	rs, err = s.Fetch(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []bool{false, true, false}, []bool{rs[0].DoesNotFit, rs[1].DoesNotFit, rs[2].DoesNotFit}, "the last is at its end")
	releaseAll(rs)
}

func TestTopicNamesFollowKafkasRules(t *testing.T) {
	s := memory(t, Config{})
	for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", "a\x00", strings.Repeat("x", 250)} {
		_, err := s.CreateTopic(t.Context(), name, TopicConfig{})
		require.ErrorIs(t, err, ErrInvalidTopic, "%q", name)
	}
	create(t, s, strings.Repeat("x", 249), TopicConfig{})
	create(t, s, "a.b", TopicConfig{})
	_, err := s.CreateTopic(t.Context(), "a_b", TopicConfig{})
	require.ErrorIs(t, err, ErrInvalidTopic)
	require.ErrorContains(t, err, `"a.b"`)
	_, err = s.CreateTopic(t.Context(), "a.b", TopicConfig{})
	require.ErrorIs(t, err, ErrTopicAlreadyExists)
	_, err = s.CreateTopic(t.Context(), "many", TopicConfig{Partitions: maxPartitions + 1})
	require.ErrorIs(t, err, ErrInvalidPartitions)
}

func TestRecreatedTopicHasAnotherID(t *testing.T) {
	s := memory(t, Config{})
	first := create(t, s, "t", TopicConfig{})
	p, err := first.Partition(0)
	require.NoError(t, err)
	appendTo(t, s, "t", 0, "old")
	require.NoError(t, s.DeleteTopic(t.Context(), "t"))
	require.ErrorIs(t, s.DeleteTopic(t.Context(), "t"), ErrUnknownTopicOrPartition)
	_, err = p.Append(t.Context(), records("lost"), AcksAll)
	require.ErrorIs(t, err, ErrUnknownTopicOrPartition)
	_, err = first.Partition(0)
	require.ErrorIs(t, err, ErrUnknownTopicOrPartition)

	second := create(t, s, "t", TopicConfig{})
	require.NotEqual(t, first.ID(), second.ID())
	require.Empty(t, fetchAll(t, s, "t", 0, 0))
	_, err = p.Append(t.Context(), records("lost"), AcksAll)
	require.ErrorIs(t, err, ErrUnknownTopicOrPartition, "an old handle does not write to the new topic")
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, TopicID: first.ID(), Batch: records("x")})
	require.ErrorIs(t, err, ErrUnknownTopicID)
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, TopicID: second.ID(), Batch: records("x")})
	require.NoError(t, err)
}

func TestInternalTopicsAreClosedToOrdinaryProducers(t *testing.T) {
	s := memory(t, Config{})
	r := AppendRequest{TopicPartition: TopicPartition{offsetsTopic, 7}, Batch: records("x")}
	_, err := s.Append(t.Context(), r)
	require.ErrorIs(t, err, ErrUnknownTopicOrPartition, "an ordinary append creates nothing")
	r.Internal = true
	_, err = s.Append(t.Context(), r)
	require.NoError(t, err, "the coordinator's first append creates the topic")
	r.Internal, r.Batch = false, records("x")
	_, err = s.Append(t.Context(), r)
	require.ErrorIs(t, err, ErrInvalidTopic)
	require.Equal(t, []string{"x"}, fetchAll(t, s, offsetsTopic, 7, 0), "reading is open to all")
	d, err := s.DescribeTopic(t.Context(), offsetsTopic)
	require.NoError(t, err)
	require.True(t, d.Internal)
	require.Equal(t, int32(50), d.Partitions)
	require.Equal(t, "compact", d.Config[keyCleanupPolicy])
	require.Equal(t, "104857600", d.Config[keySegmentBytes])
}

func TestClientsBatchesObeyKafkasRules(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{MaxMessageBytes: 2000})
	create(t, s, "compacted", TopicConfig{CleanupPolicy: CleanupCompact})
	tp := TopicPartition{"t", 0}
	flipped := records("x")
	flipped[len(flipped)-1] ^= 1
	shifted := records("x")
	batch.Batch(shifted).SetBaseOffset(3)
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	w.Append(900_000_000_000, nil, []byte("v"), nil)
	keyless, err := w.Finish()
	require.NoError(t, err)
	var future batch.Builder
	future.Reset(nil, batch.Options{})
	future.Append(time.Now().Add(100*time.Hour).UnixMilli(), nil, []byte("v"), nil)
	late, err := future.Finish()
	require.NoError(t, err)
	two := append(records("a"), records("b")...)
	txn := records("x")
	for name, c := range map[string]struct {
		r    AppendRequest
		want error
	}{
		"flipped bit":     {AppendRequest{TopicPartition: tp, Batch: flipped, Foreign: true}, ErrCorruptMessage},
		"base offset":     {AppendRequest{TopicPartition: tp, Batch: shifted, Foreign: true}, ErrInvalidRecord},
		"too large":       {AppendRequest{TopicPartition: tp, Batch: records(strings.Repeat("x", 3000)), Foreign: true}, ErrMessageTooLarge},
		"too large, ours": {AppendRequest{TopicPartition: tp, Batch: records(strings.Repeat("x", 3000))}, ErrMessageTooLarge},
		"no key":          {AppendRequest{TopicPartition: TopicPartition{"compacted", 0}, Batch: keyless}, ErrInvalidRecord},
		"from the future": {AppendRequest{TopicPartition: tp, Batch: late, Foreign: true}, ErrInvalidTimestamp},
		"two batches":     {AppendRequest{TopicPartition: tp, Batch: two, Foreign: true}, ErrInvalidRecord},
		"nothing":         {AppendRequest{TopicPartition: tp, Foreign: true}, ErrInvalidRecord},
		"acks":            {AppendRequest{TopicPartition: tp, Batch: records("x"), Acks: 9}, ErrInvalidRequiredAcks},
		"transaction":     {AppendRequest{TopicPartition: tp, Batch: txn, TransactionalID: "id"}, ErrInvalidRecord},
	} {
		_, err := s.Append(t.Context(), c.r)
		require.ErrorIs(t, err, c.want, name)
	}
	require.Empty(t, fetchAll(t, s, "t", 0, 0), "nothing was written")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Append(cancelled, AppendRequest{TopicPartition: tp, Batch: records("x")})
	require.ErrorIs(t, err, context.Canceled)
}

func TestTopicsCompressionTypeWins(t *testing.T) {
	s := memory(t, Config{})
	for _, c := range []struct {
		compression Compression
		want        Codec
	}{{CompressionZstd, CodecZstd}, {CompressionLZ4, CodecLZ4}, {CompressionSnappy, CodecSnappy}, {CompressionGzip, CodecGzip}, {CompressionNone, CodecNone}, {"", CodecNone}} {
		name := fmt.Sprintf("t-%s", c.compression)
		create(t, s, name, TopicConfig{Compression: c.compression})
		appendTo(t, s, name, 0, "some", "values", strings.Repeat("z", 500))
		rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{name, 0}, LeaderEpoch: -1}}})
		require.NoError(t, err)
		require.Equal(t, c.want, batch.Batch(rs[0].Batches).Codec())
		require.Equal(t, []string{"some", "values", strings.Repeat("z", 500)}, values(t, rs[0].Batches))
		releaseAll(rs)
	}
}

func TestMetadataDescribesTopics(t *testing.T) {
	s := memory(t, Config{})
	topic := create(t, s, "b", TopicConfig{Partitions: 2, Compression: CompressionZstd})
	create(t, s, "a", TopicConfig{})
	all, err := s.Metadata(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "a", all[0].Topic)
	require.Equal(t, CodecProducer, all[0].Compression)
	some, err := s.Metadata(t.Context(), []string{"b", "no", "n/o"})
	require.NoError(t, err)
	require.Equal(t, topic.ID(), some[0].ID)
	require.Equal(t, CodecZstd, some[0].Compression)
	require.Equal(t, 1048588, some[0].MaxMessageBytes)
	require.Equal(t, []PartitionMetadata{{0, 1, 0, []int32{1}, []int32{1}}, {1, 1, 0, []int32{1}, []int32{1}}}, some[0].Partitions)
	require.ErrorIs(t, some[1].Err, ErrUnknownTopicOrPartition)
	require.ErrorIs(t, some[2].Err, ErrInvalidTopic)
}

func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	s := memory(t, Config{})
	seen := map[int64]bool{}
	for range 2500 {
		id, err := s.InitProducerID(t.Context(), "", 0, NoProducerID)
		require.NoError(t, err)
		require.Zero(t, id.Epoch)
		require.False(t, seen[id.ID])
		seen[id.ID] = true
	}
	id, err := s.InitProducerID(t.Context(), "txn", time.Minute, NoProducerID)
	require.NoError(t, err)
	require.False(t, seen[id.ID])
}

func TestCreatePartitionsOnlyGrows(t *testing.T) {
	s := memory(t, Config{})
	topic := create(t, s, "t", TopicConfig{Partitions: 2})
	for _, n := range []int32{-1, 0, 1, 2, maxPartitions + 1} {
		require.ErrorIs(t, s.CreatePartitions(t.Context(), "t", n), ErrInvalidPartitions)
	}
	require.NoError(t, s.CreatePartitions(t.Context(), "t", 5))
	require.Equal(t, int32(5), topic.Partitions())
	appendTo(t, s, "t", 4, "x")
	require.ErrorIs(t, s.CreatePartitions(t.Context(), "no", 5), ErrUnknownTopicOrPartition)
}

func TestAlterTopicConfigChangesAllOrNothing(t *testing.T) {
	s := memory(t, Config{})
	create(t, s, "t", TopicConfig{MaxMessageBytes: 500})
	err := s.AlterTopicConfig(t.Context(), "t", map[string]string{keyMaxMessageBytes: "600", keySegmentMs: "0"})
	require.ErrorIs(t, err, ErrInvalidConfig)
	require.ErrorIs(t, s.AlterTopicConfig(t.Context(), "t", map[string]string{"nonsense": ""}), ErrInvalidConfig)
	d, err := s.DescribeTopic(t.Context(), "t")
	require.NoError(t, err)
	require.Equal(t, map[string]string{keyMaxMessageBytes: "500"}, d.Overrides)
	require.NoError(t, s.AlterTopicConfig(t.Context(), "t", map[string]string{keyMaxMessageBytes: "", keyFlushMessages: maxLong}))
	d, err = s.DescribeTopic(t.Context(), "t")
	require.NoError(t, err)
	require.Equal(t, "1048588", d.Config[keyMaxMessageBytes])
	require.Equal(t, maxLong, d.Config[keyFlushMessages])
	appendTo(t, s, "t", 0, strings.Repeat("x", 1000))
}

// A host may make a coordinator's topic before the coordinator does, as one with fewer partitions; it is compacted in any case.
func TestCoordinatorsTopicsAreCompactedWhoeverMakesThem(t *testing.T) {
	s := memory(t, Config{})
	for name, partitions := range map[string]int32{"__consumer_offsets": 0, "__transaction_state": 3} {
		_, err := s.CreateTopic(t.Context(), name, TopicConfig{Partitions: partitions})
		require.NoError(t, err)
		d, err := s.DescribeTopic(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, "compact", d.Config["cleanup.policy"])
		require.Equal(t, map[int32]int32{0: 50, 3: 3}[partitions], d.Partitions)
	}
}
