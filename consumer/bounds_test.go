package consumer_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// deleteRecords moves the log start offset of partition 0 of topic t.
func deleteRecords(t *testing.T, store *partition.Store, before partition.Offset) {
	t.Helper()
	topic, err := store.Topic("t")
	require.NoError(t, err)
	p, err := topic.Partition(0)
	require.NoError(t, err)
	_, err = p.DeleteRecords(t.Context(), before)
	require.NoError(t, err)
}

func TestBoundBehindTheLogStartFinishes(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 20)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), From: consumer.AtOffset(2), Until: consumer.UntilOffset(5)})
	deleteRecords(t, store, 10)
	require.Empty(t, all(t, c))
}

func TestRecordsThatAreDeletedUnderABoundedLoopAreNotWaitedFor(t *testing.T) {
	store := newStore(t, "t", 1)
	for i := 0; i < 20; i += 2 {
		write(t, store, "t", 0, i, 2)
	}
	c := assign(t, store, consumer.Config{MaxPartitionBytes: 1}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	require.Equal(t, texts(0, 2), poll(t, c)[:2])
	deleteRecords(t, store, 20)
	for {
		_, err := c.Poll(t.Context())
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
}

// compacted makes of a store's batches what compaction leaves: of every batch the even records, and of batch 2 nothing.
// A fetch from within the gap gives what follows.
func compacted(t *testing.T, store *partition.Store) *spy {
	return &spy{Store: store, fetched: func(_ partition.FetchRequest, results []partition.FetchResult) {
		for i := range results {
			var kept []byte
			for rest := batch.Batch(results[i].Batches); len(rest) > 0; rest = rest[rest.Length():] {
				b := rest[:rest.Length()]
				var it batch.Iterator
				var builder batch.Builder
				builder.Reset(nil, batch.Options{})
				offsets := []int64{}
				for b.Iterate(&it, 0); it.Next(); {
					if r := it.Record(); r.Offset%2 == 0 && b.BaseOffset() != 20 {
						builder.Append(r.Timestamp, r.Key, r.Value, nil)
						offsets = append(offsets, r.Offset-b.BaseOffset())
					}
				}
				if len(offsets) == 0 {
					continue
				}
				built, err := builder.Finish()
				require.NoError(t, err)
				// Records of less than 64 bytes: length, attributes, timestamp delta, offset delta are one byte each.
				position := batch.HeaderSize
				for _, o := range offsets {
					built[position+3] = byte(o << 1)
					position += 1 + int(built[position]>>1)
				}
				copied := append(batch.Batch(nil), built...)
				copied[23], copied[24], copied[25], copied[26] = 0, 0, 0, byte(b.LastOffsetDelta())
				copied.SetBaseOffset(b.BaseOffset())
				copied.UpdateCRC()
				kept = append(kept, copied...)
			}
			results[i].Batches = kept
		}
	}}
}

func TestGapsOfCompactionAreGoneOver(t *testing.T) {
	var even []string
	for i := 0; i < 50; i += 2 {
		if i/10 != 2 {
			even = append(even, texts(i, 1)...)
		}
	}
	for name, read := range readers {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, "t", 1)
			for i := range 5 {
				write(t, store, "t", 0, i*10, 10)
			}
			backend := compacted(t, store)
			g, err := group.Open(backend, "g", group.Config{})
			require.NoError(t, err)
			c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Until: consumer.UntilEnd()})
			require.NoError(t, err)
			got, _, last := read(t, c)
			require.NoError(t, last)
			require.Equal(t, even, got)
			require.NoError(t, c.Close())
			require.EqualValues(t, 50, committed(t, g)[at("t", 0)], "the gap at the end, too")

			k := backend.assign(t, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), From: consumer.AtOffset(5), Until: consumer.UntilOffset(13)})
			got, _, last = read(t, k)
			require.NoError(t, last)
			require.Equal(t, []string{"6", "8", "10", "12"}, got)
		})
	}
}

// A bound belongs to the topic that it was made of, not to the next one of the name.
func TestBoundOfATopicThatIsMadeAgain(t *testing.T) {
	remake := func(store *partition.Store) {
		require.NoError(t, store.DeleteTopic(t.Context(), "t"))
		_, err := store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
		require.NoError(t, err)
		write(t, store, "t", 0, 100, 3)
	}
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	c := assign(t, store, consumer.Config{MaxPollRecords: 2}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilOffset(20)})
	require.Len(t, poll(t, c), 2)
	remake(store)
	var last error
	for last == nil { // what has been fetched before is yielded
		_, last = c.Poll(t.Context())
	}
	require.ErrorIs(t, last, partition.ErrUnknownTopicID)

	store = newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	m := join(t, openGroup(t, store, group.Config{}), consumer.Config{Until: consumer.UntilOffset(20)})
	require.Len(t, poll(t, m), 10)
	remake(store)
	_, err := m.Poll(t.Context())
	require.Equal(t, io.EOF, err)
}

// With a fetch that has room for one partition only, one that has much to read does not keep the others waiting.
func TestHotPartitionDoesNotStarveTheOthers(t *testing.T) {
	for name, config := range map[string]consumer.Config{
		"fetched": {MaxBytes: 1 << 10, PrefetchBytes: consumer.NoPrefetch},
		"ahead":   {MaxPartitionBytes: 128 << 10, MaxBytes: 128 << 10, PrefetchBytes: 128 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			const partitions = 50
			store := newStore(t, "t", partitions)
			value := strings.Repeat("x", 10)
			if config.MaxPartitionBytes > 0 {
				value = strings.Repeat("x", 1000)
			}
			for range 100 {
				writeAt(t, store, "t", 0, timeZero, slices.Repeat([]string{value}, 100)...)
			}
			var assignments []consumer.Assignment
			for p := range int32(partitions) {
				assignments = append(assignments, consumer.Assignment{TopicPartition: at("t", p)})
			}
			fetches := 0
			backend := &spy{Store: store, fetched: func(partition.FetchRequest, []partition.FetchResult) { fetches++ }}
			c := backend.assign(t, config, assignments...)
			write(t, store, "t", 1, 0, 1)
			since, seen := 0, 0
			for r, err := range c.Records(t.Context()) {
				require.NoError(t, err)
				if r.Partition == 1 {
					if seen++; seen == 5 {
						break
					}
					write(t, store, "t", 1, seen, 1) // always one more to read
					since = int(c.Stats().Fetches)
				}
				require.LessOrEqual(t, int(c.Stats().Fetches)-since, 4, "fetches without a record of the other partition")
			}
		})
	}
}
