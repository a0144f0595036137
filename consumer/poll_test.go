package consumer_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/partition"
)

// What an interceptor panicked over was not returned, so the next Poll has it again.
func TestPanicOfAnInterceptorLosesNothing(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 5)
	write(t, store, "t", 1, 5, 5)
	panics := true
	config := consumer.Config{Interceptors: []func(*consumer.Record){func(r *consumer.Record) {
		if panics && string(r.Value) == "7" {
			panic("seven")
		}
		r.Value = append([]byte("<"), r.Value...)
	}}}
	bound := func(p int32) consumer.Assignment {
		return consumer.Assignment{TopicPartition: at("t", p), Until: consumer.UntilEnd()}
	}
	c := assign(t, store, config, bound(0), bound(1))
	require.PanicsWithValue(t, "seven", func() { _, _ = c.Poll(t.Context()) })
	require.PanicsWithValue(t, "seven", func() {
		for range c.Records(t.Context()) {
		}
	})
	panics = false
	require.Equal(t, []string{"<7", "<8", "<9"}, poll(t, c)) // the loop had finished those before
}

func TestPolledRecordsAreFinishedByTheNextCall(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	c := assign(t, store, consumer.Config{MaxPollRecords: 3}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	place := func() partition.Offset {
		o, ok := c.Position(at("t", 0))
		require.True(t, ok)
		return o
	}
	require.Equal(t, texts(0, 3), poll(t, c))
	require.EqualValues(t, 0, place())
	require.Equal(t, texts(3, 3), poll(t, c))
	require.EqualValues(t, 3, place())
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		require.EqualValues(t, 6, r.Offset)
		require.EqualValues(t, 6, place())
		break
	}
	require.Equal(t, texts(6, 3), poll(t, c), "a break is no acknowledgement")
}

func TestSeekThatFailsIsTriedAgainWithWhatFollows(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 10)
	write(t, store, "t", 1, 10, 10)
	backend := &spy{Store: store}
	c := backend.assign(t, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)}, consumer.Assignment{TopicPartition: at("t", 1)})
	require.ErrorIs(t, c.Seek(at("t", 0), consumer.AtOffset(-1)), partition.ErrOffsetOutOfRange, "at once")
	backend.list = func() error { return errors.New("not now") }
	require.NoError(t, c.Seek(at("t", 0), consumer.Latest()))
	require.NoError(t, c.Seek(at("t", 1), consumer.AtOffset(8)))
	for range 2 {
		_, err := c.Poll(t.Context())
		require.ErrorContains(t, err, "not now")
	}
	backend.list = nil
	require.Equal(t, texts(18, 2), poll(t, c))
}

// While a run is borrowed nothing else is read: its release would move the place back.
func TestNothingIsReadBesideABorrowedRun(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	run, err := c.PollBorrowed(t.Context())
	require.NoError(t, err)
	for _, err := range c.Records(t.Context()) {
		require.ErrorContains(t, err, "released")
	}
	_, err = c.Poll(t.Context())
	require.ErrorContains(t, err, "released")
	n := 0
	for range run.All() {
		if n++; n == 4 {
			break
		}
	}
	for r := range run.All() { // goes on with the record that was not finished
		require.EqualValues(t, 3, r.Offset)
		break
	}
	run.Release()
	for range run.All() {
		t.Fatal("a record after Release")
	}
	require.Equal(t, texts(3, 7), poll(t, c))
	run.Release() // of long ago
	require.NoError(t, c.Close())
}

// A run lends the records of all its batches until Release, also decompressed ones.
func TestBorrowedRecordsOfCompressedBatchesStayUntilRelease(t *testing.T) {
	store := newStore(t, "t", 1)
	for i := range 5 {
		writeBatch(t, store, "t", 0, timeZero, batch.Options{Codec: compress.Snappy}, texts(100+i*10, 10)...)
	}
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	run, err := c.PollBorrowed(t.Context())
	require.NoError(t, err)
	var kept []consumer.Record
	for r, err := range run.All() {
		require.NoError(t, err)
		kept = append(kept, r)
	}
	require.Equal(t, texts(100, 50), values(kept))
	run.Release()
}

// A fault of one partition does not keep the bytes of another.
func TestBorrowedFetchWithAFaultKeepsNoLease(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 1, 0, 5)
	c, err := consumer.Assign(t.Context(), store, []consumer.Assignment{
		{TopicPartition: at("t", 0), From: consumer.AtOffset(99)}, {TopicPartition: at("t", 1)},
	}, consumer.Config{Reset: consumer.ResetNone})
	require.NoError(t, err)
	_, err = c.PollBorrowed(t.Context())
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
	require.NoError(t, c.Close())
	// The store's Close, in the cleanup, names leases that were kept.
}

// Figures are counted for the partition that they are of, also when a fetch is given up half way.
func TestStatsCountRecordsOfTheirOwnPartition(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 10)
	write(t, store, "t", 1, 10, 10)
	c := join(t, openGroup(t, store, group.Config{}), consumer.Config{Until: consumer.UntilEnd()})
	n := 0
	for range c.Records(t.Context()) {
		if n++; n == 3 {
			break // three were given of this one; the last comes again
		}
	}
	require.Len(t, all(t, c), 18)
	got := make(map[int32]int64)
	for _, p := range c.Stats().Partitions {
		got[p.Partition] = p.Records
	}
	require.Equal(t, map[int32]int64{0: 11, 1: 10}, got)
}

func TestJSONRefusesWhatFollowsItsText(t *testing.T) {
	for _, bad := range []string{`1 2`, `1 }`, `1 ]`, `{} x`, ``} {
		_, err := consumer.JSON[any]([]byte(bad), nil)
		require.Error(t, err, bad)
	}
	v, err := consumer.JSON[map[string]int]([]byte(` {"a":1} `), nil)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"a": 1}, v)
	v, err = consumer.JSON[map[string]int](nil, nil)
	require.NoError(t, err)
	require.Nil(t, v)
}
