package group

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// TestGoldenPartitionIsLoaded puts what a broker wrote into the log, batch by batch, and asks for its groups.
func TestGoldenPartitionIsLoaded(t *testing.T) {
	store := newStore(t, "golden-none")
	index := PartitionFor("golden-group", OffsetsPartitions) // the broker had only one partition
	data, err := os.ReadFile("testdata/kafka-4.1.2/__consumer_offsets-0/00000000000000000000.log")
	require.NoError(t, err)
	for len(data) > 0 {
		b, err := batch.Peek(data)
		require.NoError(t, err)
		data = data[len(b):]
		_, err = store.Append(t.Context(), partition.AppendRequest{TopicPartition: tp(OffsetsTopic, index), Batch: b, Internal: true})
		require.NoError(t, err)
	}
	loaded := make(chan LoadedInfo, 1)
	g, _ := openGroup(t, newBackend(store), "golden-group", Config{Coordinator: CoordinatorConfig{Events: Events{Loaded: func(i LoadedInfo) { loaded <- i }}}})
	d, err := g.Describe(t.Context())
	require.NoError(t, err)
	info := within(t, loaded)
	require.Equal(t, []int{10, 0, 3}, []int{info.Records, info.Skipped, info.Groups})
	require.Equal(t, Empty, d.State)
	require.EqualValues(t, 2, d.Generation)
	require.Equal(t, "consumer", d.ProtocolType)
	require.EqualValues(t, 200, d.Offsets[tp("golden-none", 0)].Offset)
	require.Equal(t, "kgo-5aa491da-e2e4-4aaf-bbd2-8ac176048986", d.Offsets[tp("golden-none", 0)].Metadata)
	require.EqualValues(t, 200, d.Offsets[tp("golden-lz4", 0)].Offset, "a broker knows offsets of topics that are elsewhere")
	metadata, err := store.Metadata(t.Context(), []string{"golden-none"})
	require.NoError(t, err)
	require.Equal(t, metadata[0].ID, d.Offsets[tp("golden-none", 0)].TopicID)

	// A topic that appears later is a new one.
	createTopics(t, store, "golden-lz4")
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 1)

	m := newClient(t, g, "golden-none")
	require.NoError(t, m.enter(t.Context()))
	require.EqualValues(t, 3, m.joined.Generation)
}

// A record that cannot be read is passed over: the rest loads, its key is named, and nothing on the disk is changed.
func TestCorruptRecordIsNamedAndTheRestLoads(t *testing.T) {
	store := newStore(t, "orders")
	index := PartitionFor("billing", OffsetsPartitions)
	add := func(key, value []byte) {
		var b batch.Builder
		b.Reset(nil, batch.Options{})
		b.Append(1, key, value, nil)
		data, err := b.Finish()
		require.NoError(t, err)
		_, err = store.Append(t.Context(), partition.AppendRequest{TopicPartition: tp(OffsetsTopic, index), Batch: data, Internal: true})
		require.NoError(t, err)
	}
	first, second := &storedOffset{CommittedOffset: at(5)}, &storedOffset{CommittedOffset: at(6)}
	r := offsetCommitRecord("billing", tp("orders", 0), first)
	add(r.key, r.value)
	bad := offsetCommitRecord("billing", tp("orders", 1), second)
	add(bad.key, bad.value[:7])             // the value breaks off
	add([]byte{0, 1, 0, 9, 'b'}, bad.value) // the key does
	add([]byte{0, 2, 0, 1, 'g'}, []byte{9}) // not even a version
	add([]byte{0, 99, 1, 2, 3}, []byte{1})  // a kind of a later Kafka: skipped, and no damage
	r = offsetCommitRecord("billing", tp("orders", 2), second)
	add(r.key, r.value)
	end, err := store.ListOffsets(t.Context(), tp(OffsetsTopic, index), partition.TimestampLatest)
	require.NoError(t, err)

	corrupt := make(chan CorruptInfo, 10)
	g, _ := openGroup(t, newBackend(store), "billing", Config{Coordinator: CoordinatorConfig{Events: Events{Corrupt: func(i CorruptInfo) { corrupt <- i }}}})
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 2)
	require.EqualValues(t, 5, committed[tp("orders", 0)].Offset)
	require.EqualValues(t, 6, committed[tp("orders", 2)].Offset)
	i := within(t, corrupt)
	require.ErrorIs(t, i.Err, ErrCorruptRecord)
	require.Equal(t, []any{index, partition.Offset(1), partition.Offset(2), "billing", tp("orders", 1)}, []any{i.Partition, i.Offset, i.NextOffset, i.Group, i.TopicPartition})
	require.Equal(t, bad.key, i.Key)
	require.EqualValues(t, 2, within(t, corrupt).Offset)
	require.Equal(t, []byte{0, 2, 0, 1, 'g'}, within(t, corrupt).Key)
	require.Empty(t, corrupt)
	require.EqualValues(t, 4, g.Stats().SkippedRecords)
	now, err := store.ListOffsets(t.Context(), tp(OffsetsTopic, index), partition.TimestampLatest)
	require.NoError(t, err)
	require.Equal(t, end, now, "nothing was written")
}

// The cleaner has been over the offsets topic, with transactions in it: what is loaded is what was committed.
func TestCompactedOffsetsTopicLoadsTheSame(t *testing.T) {
	store := newStore(t, "orders")
	at0 := tp(OffsetsTopic, PartitionFor("billing", OffsetsPartitions))
	g, c := openGroup(t, newBackend(store), "billing", Config{})
	x, open := newTransaction(t, store, "tx"), newTransaction(t, store, "open")
	m := newClient(t, g, "orders")
	require.NoError(t, m.enter(t.Context()))
	for i := range partition.Offset(300) {
		require.NoError(t, m.commit(t.Context(), tp("orders", 0), i))
		require.NoError(t, x.commit(c, m.joined.Membership, map[partition.TopicPartition]CommittedOffset{tp("orders", 1): at(i), tp("orders", 2): at(i)}))
		x.end(i%3 > 0)
	}
	stable(t, c, "billing")
	before := loadedRecords(t, store)
	require.NoError(t, store.Compact(t.Context(), at0))
	require.Less(t, loadedRecords(t, store), before/2, "the cleaner has done something")
	require.NoError(t, open.commit(c, m.joined.Membership, map[partition.TopicPartition]CommittedOffset{tp("orders", 3): at(7)}))
	for i := range partition.Offset(300) {
		require.NoError(t, m.commit(t.Context(), tp("orders", 0), 1000+i))
	}
	want, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1299, want[tp("orders", 0)].Offset)
	require.EqualValues(t, 299, want[tp("orders", 1)].Offset)

	require.NoError(t, store.Compact(t.Context(), at0)) // up to the open transaction
	next, nc := openGroup(t, newBackend(store), "billing", Config{})
	got, err := next.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for tp, o := range want {
		require.Equal(t, o.Offset, got[tp].Offset, tp)
	}
	_, err = nc.Offsets(t.Context(), OffsetsRequest{Group: "billing", RequireStable: true})
	require.ErrorIs(t, err, ErrUnstableOffsetCommit)
	open.end(true)
	require.EqualValues(t, 7, stable(t, nc, "billing")[tp("orders", 3)].Offset)
}

// loadedRecords is how many records a new coordinator reads.
func loadedRecords(t *testing.T, store *partition.Store) int {
	g, _ := openGroup(t, newBackend(store), "billing", Config{})
	_, err := g.Committed(t.Context())
	require.NoError(t, err)
	return int(g.Stats().LoadedRecords)
}
