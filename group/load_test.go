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
