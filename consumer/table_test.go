package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// put appends one record with a key; a nil value is a null one.
func put(t require.TestingT, store *partition.Store, topic string, number int32, key, value []byte) partition.Offset {
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	b.Append(1000, key, value, nil)
	built, err := b.Finish()
	require.NoError(t, err)
	r, err := store.Append(context.Background(), partition.AppendRequest{
		TopicPartition: partition.TopicPartition{Topic: topic, Partition: number}, Batch: built,
	})
	require.NoError(t, err)
	return r.BaseOffset
}

// aborted appends n records of one transaction, which is then aborted.
func aborted(t *testing.T, store *partition.Store, topic string, number int32, n int) {
	t.Helper()
	id, err := store.InitProducerID(t.Context(), "aborted", time.Minute, partition.NoProducerID)
	require.NoError(t, err)
	var b batch.Builder
	b.Reset(nil, batch.Options{Transactional: true, ProducerID: id.ID, Epoch: id.Epoch})
	for range n {
		b.Append(1000, []byte("k"), []byte("aborted"), nil)
	}
	built, err := b.Finish()
	require.NoError(t, err)
	_, err = store.Append(t.Context(), partition.AppendRequest{
		TopicPartition: partition.TopicPartition{Topic: topic, Partition: number}, Batch: built, TransactionalID: "aborted",
	})
	require.NoError(t, err)
	_, err = store.EndTxn(t.Context(), "aborted", id, false)
	require.NoError(t, err)
}

func openTable(t *testing.T, s consumer.Source, topic string, c consumer.TableConfig) *consumer.Table[string, string] {
	t.Helper()
	tbl, err := consumer.OpenTable(t.Context(), s, topic, consumer.String, consumer.String, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tbl.Close() })
	return tbl
}

func TestTableHasTheLastValueOfEachKeyAndNothingOfDeletedOnes(t *testing.T) {
	store := newStore(t, "t", 3)
	put(t, store, "t", 0, []byte("a"), []byte("1"))
	put(t, store, "t", 1, []byte("b"), []byte("2"))
	last := put(t, store, "t", 0, []byte("a"), []byte("3"))
	put(t, store, "t", 1, []byte("b"), nil)
	put(t, store, "t", 2, nil, []byte("nobody's"))
	tbl := openTable(t, store, "t", consumer.TableConfig{})
	require.NoError(t, tbl.CaughtUp(t.Context()))
	require.Equal(t, map[string]string{"a": "3"}, maps.Collect(tbl.Range()))
	e, ok := tbl.Lookup("a")
	require.True(t, ok)
	require.Equal(t, last, e.Offset)
	require.Zero(t, e.Partition)
	_, ok = tbl.Get("b")
	require.False(t, ok)
	require.Equal(t, consumer.TableStats{Keys: 1, Bytes: 2, Records: 4, NullKeys: 1, CaughtUp: true}, tbl.Stats())

	put(t, store, "t", 2, []byte("c"), []byte(""))
	require.NoError(t, tbl.CaughtUp(t.Context()), "what was sent before is shown")
	v, ok := tbl.Get("c")
	require.True(t, ok, "empty is not null")
	require.Empty(t, v)
}

func TestTableIsCaughtUpOnAnEmptyTopicAndOnAnAbortedTail(t *testing.T) {
	store := newStore(t, "t", 2)
	c := consumer.TableConfig{Read: consumer.Config{Isolation: consumer.ReadCommitted}}
	tbl := openTable(t, store, "t", c)
	require.NoError(t, tbl.CaughtUp(t.Context()))
	aborted(t, store, "t", 1, 3)
	require.NoError(t, tbl.CaughtUp(t.Context()))
	require.NoError(t, tbl.CaughtUp(t.Context()))
	again := openTable(t, store, "t", c)
	require.NoError(t, again.CaughtUp(t.Context()))
	require.Empty(t, maps.Collect(again.Range()))
}

func TestTableThatWouldBeLargerThanItsBoundEndsWithATypedError(t *testing.T) {
	store := newStore(t, "t", 1)
	tbl := openTable(t, store, "t", consumer.TableConfig{MaxBytes: 10})
	for range 5 {
		put(t, store, "t", 0, []byte("key"), []byte("sevenby"))
	}
	require.NoError(t, tbl.CaughtUp(t.Context()), "the same key does not add up")
	put(t, store, "t", 0, []byte("k"), []byte("v"))
	err := tbl.CaughtUp(t.Context())
	full, ok := errors.AsType[*consumer.TableFullError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, consumer.TableFullError{Topic: "t", MaxBytes: 10, Keys: 1}, *full)
	require.Error(t, tbl.CaughtUp(t.Context()), "and stays so")
	require.Error(t, tbl.Close())
}

func TestRecordsThatDoNotDecodeEndATableOrAreCounted(t *testing.T) {
	store := newStore(t, "t", 1)
	put(t, store, "t", 0, []byte("a"), []byte("1"))
	put(t, store, "t", 0, []byte("b"), []byte("x"))
	number := func(src []byte, _ *consumer.Envelope) (int, error) { return strconv.Atoi(string(src)) }
	strict, err := consumer.OpenTable(t.Context(), store, "t", consumer.String, number, consumer.TableConfig{})
	require.NoError(t, err)
	bad, ok := errors.AsType[*consumer.DecodeError](strict.CaughtUp(t.Context()))
	require.True(t, ok)
	require.Equal(t, partition.Offset(1), bad.Raw.Offset)
	require.Error(t, strict.Close())

	lax, err := consumer.OpenTable(t.Context(), store, "t", consumer.String, number, consumer.TableConfig{SkipUndecodable: true})
	require.NoError(t, err)
	require.NoError(t, lax.CaughtUp(t.Context()))
	require.Equal(t, map[string]int{"a": 1}, maps.Collect(lax.Range()))
	require.EqualValues(t, 1, lax.Stats().Undecodable)
	require.NoError(t, lax.Close())
}

func TestWatchTellsWhatIsThereAndThenWhatChangesAndEndsWithTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := partition.OpenMemory(partition.Config{})
		require.NoError(t, err)
		_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{})
		require.NoError(t, err)
		put(t, store, "t", 0, []byte("a"), []byte("1"))
		tbl, err := consumer.OpenTable(t.Context(), store, "t", consumer.String, consumer.String, consumer.TableConfig{})
		require.NoError(t, err)
		require.NoError(t, tbl.CaughtUp(t.Context()))
		var seen []string
		ended := make(chan error)
		go func() {
			for c, err := range tbl.Watch(t.Context()) {
				if err != nil {
					ended <- err
					return
				}
				seen = append(seen, fmt.Sprintf("%s=%s %v", c.Key, c.Value, c.Deleted))
			}
		}()
		synctest.Wait()
		require.Equal(t, []string{"a=1 false"}, seen)
		put(t, store, "t", 0, []byte("b"), []byte("2"))
		put(t, store, "t", 0, []byte("a"), nil)
		synctest.Wait()
		require.ElementsMatch(t, []string{"a=1 false", "b=2 false", "a= true"}, seen)
		require.NoError(t, tbl.Close())
		require.ErrorIs(t, <-ended, consumer.ErrClosed)
		for _, err := range tbl.Watch(t.Context()) {
			if err != nil {
				require.ErrorIs(t, err, consumer.ErrClosed)
			}
		}
		require.NoError(t, store.Close())
	})
}

func TestTableReadsPartitionsThatAreAddedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := partition.OpenMemory(partition.Config{})
		require.NoError(t, err)
		_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
		require.NoError(t, err)
		tbl, err := consumer.OpenTable(t.Context(), store, "t", consumer.String, consumer.String, consumer.TableConfig{Read: consumer.Config{MetadataMaxAge: time.Minute}})
		require.NoError(t, err)
		require.NoError(t, tbl.CaughtUp(t.Context()))
		require.NoError(t, store.CreatePartitions(t.Context(), "t", 2))
		put(t, store, "t", 1, []byte("a"), []byte("1"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		v, ok := tbl.Get("a")
		require.True(t, ok)
		require.Equal(t, "1", v)
		require.NoError(t, tbl.Close())
		require.NoError(t, store.Close())
	})
}

func TestTableEqualsAMapUnderAnyWrites(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		store, err := partition.OpenMemory(partition.Config{})
		require.NoError(r, err)
		defer store.Close()
		_, err = store.CreateTopic(context.Background(), "t", partition.TopicConfig{Partitions: 3})
		require.NoError(r, err)
		tbl, err := consumer.OpenTable(context.Background(), store, "t", consumer.String, consumer.String, consumer.TableConfig{})
		require.NoError(r, err)
		defer tbl.Close()
		model := map[string]string{}
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				k := rapid.IntRange(0, 8).Draw(r, "key")
				v := rapid.StringN(0, 4, -1).Draw(r, "value")
				put(r, store, "t", int32(k%3), fmt.Append(nil, k), []byte(v))
				model[strconv.Itoa(k)] = v
			},
			"delete": func(r *rapid.T) {
				k := rapid.IntRange(0, 8).Draw(r, "key")
				put(r, store, "t", int32(k%3), fmt.Append(nil, k), nil)
				delete(model, strconv.Itoa(k))
			},
			"": func(r *rapid.T) {
				require.NoError(r, tbl.CaughtUp(context.Background()))
				require.Equal(r, model, maps.Collect(tbl.Range()))
			},
		})
	})
}
