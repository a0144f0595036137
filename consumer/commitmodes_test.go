package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// enable.auto.commit=false: neither time, nor a rebalance, nor Close commits anything.
func TestManualModeCommitsOnlyWhatTheCallerCommits(t *testing.T) {
	for _, assignors := range [][]group.Assignor{eager, cooperative} {
		t.Run(assignors[0].Name(), func(t *testing.T) {
			store := newStore(t, "t", 2)
			write(t, store, "t", 0, 0, 10)
			write(t, store, "t", 1, 0, 10)
			clock := clock.NewManual(timeZero)
			g := openGroup(t, store, group.Config{Assignors: assignors})
			c := join(t, g, consumer.Config{Commit: consumer.CommitManual, Clock: clock, MaxPollRecords: 3})
			for range 4 {
				poll(t, c)
			}
			clock.Advance(60e9)
			b := make(chan *consumer.Consumer, 1)
			go func() {
				other, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}, Commit: consumer.CommitManual})
				if err != nil {
					t.Error(err)
				}
				b <- other
			}()
			for len(b) == 0 {
				write(t, store, "t", 0, 0, 3)
				write(t, store, "t", 1, 0, 3)
				poll(t, c)
			}
			require.NoError(t, (<-b).Close())
			require.Empty(t, committed(t, g))
			for len(committed(t, g)) == 0 { // the rebalance that gives back what the other had may begin again
				write(t, store, "t", 0, 0, 3)
				write(t, store, "t", 1, 0, 3)
				poll(t, c)
				require.NoError(t, c.Commit(t.Context()))
			}
			before := committed(t, g)
			require.NoError(t, c.Close())
			require.Equal(t, before, committed(t, g))
		})
	}
}

func TestRecordIsCommittedWithItsEpochAndMetadata(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{Commit: consumer.CommitManual})
	records, err := c.Poll(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.CommitRecord(t.Context(), records[3], "row 17"))
	got, err := c.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4, got[at("t", 0)].Offset)
	require.Equal(t, "row 17", got[at("t", 0)].Metadata)
	require.Equal(t, records[3].LeaderEpoch, got[at("t", 0)].LeaderEpoch)

	err = c.CommitRecord(t.Context(), records[4], strings.Repeat("x", 4097))
	require.ErrorIs(t, err, group.ErrOffsetMetadataTooLarge)
	err = c.CommitOffsets(t.Context(), map[partition.TopicPartition]group.CommittedOffset{at("t", 0): {Offset: 5}, at("u", 0): {Offset: 5}})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	require.EqualValues(t, 4, committed(t, g)[at("t", 0)], "then nothing is committed")
}

// Asynchronous commits are made and answered in the order of their calls, and Close waits for them.
func TestAsynchronousCommitsAreMadeAndToldInOrder(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 100)
	backend := &spy{Store: store}
	var mu sync.Mutex
	var sent []partition.Offset
	backend.commit = func(r group.CommitRequest) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Offsets[at("t", 0)].Offset)
	}
	g := backend.group(t, group.Config{})
	c := join(t, g, consumer.Config{CommitInterval: consumer.NoInterval})
	var told []partition.Offset
	n := 0
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if n++; n == 60 {
			break
		}
		if n > 1 {
			require.NoError(t, c.CommitAsync(nil, func(o map[partition.TopicPartition]group.CommittedOffset, err error) {
				if err != nil {
					t.Error(err)
				}
				told = append(told, o[at("t", 0)].Offset)
			}))
		}
		_ = r
	}
	require.NoError(t, c.CommitAsync(map[partition.TopicPartition]group.CommittedOffset{at("t", 0): {Offset: 42}}, nil))
	require.NoError(t, c.Close())
	want := make([]partition.Offset, 58)
	for i := range want {
		want[i] = partition.Offset(i + 1)
	}
	require.Equal(t, want, told)
	require.Equal(t, append(want, 42, 59), sent, "the last one is Close's")
	require.ErrorIs(t, c.CommitAsync(nil, nil), consumer.ErrClosed)
}

// What cannot be committed says so, and why.
func TestConsumersThatCannotCommitSaySo(t *testing.T) {
	store := newStore(t, "t", 1)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	for name, err := range map[string]error{
		"Commit": c.Commit(t.Context()), "CommitAsync": c.CommitAsync(nil, nil),
		"CommitRecord": c.CommitRecord(t.Context(), consumer.Record{Topic: "t"}, ""),
	} {
		require.ErrorContains(t, err, "no group", name)
	}
	_, err := c.Committed(t.Context())
	require.ErrorContains(t, err, "no group")
	_, _, _, err = c.TxnOffsets()
	require.ErrorContains(t, err, "no group")
}

// The offset queries of Kafka's consumer.
func TestOffsetsCanBeAskedFor(t *testing.T) {
	store := newStore(t, "t", 2)
	for i := range 10 {
		writeAt(t, store, "t", 0, timeZero.Add(time.Duration(i)*time.Second), fmt.Sprint(i))
	}
	c := assign(t, store, consumer.Config{MaxPollRecords: 4}, consumer.Assignment{TopicPartition: at("t", 0)})
	_, ok := c.Lag(at("t", 0))
	require.False(t, ok, "nothing is known yet")
	poll(t, c)
	poll(t, c)
	lag, ok := c.Lag(at("t", 0))
	require.True(t, ok)
	position, _ := c.Position(at("t", 0))
	require.EqualValues(t, 10-position, lag)
	_, ok = c.Lag(at("t", 1))
	require.False(t, ok)

	begins, err := c.BeginningOffsets(t.Context(), at("t", 0), at("t", 1))
	require.NoError(t, err)
	require.Equal(t, map[partition.TopicPartition]partition.Offset{at("t", 0): 0, at("t", 1): 0}, begins)
	ends, err := c.EndOffsets(t.Context(), at("t", 0), at("t", 1))
	require.NoError(t, err)
	require.Equal(t, map[partition.TopicPartition]partition.Offset{at("t", 0): 10, at("t", 1): 0}, ends)
	offsets, err := c.OffsetsForTimes(t.Context(), map[partition.TopicPartition]time.Time{at("t", 0): timeZero.Add(6500 * time.Millisecond), at("t", 1): timeZero})
	require.NoError(t, err)
	require.Equal(t, map[partition.TopicPartition]partition.Offset{at("t", 0): 7}, offsets, "where there is none, there is no entry")
	_, err = c.EndOffsets(t.Context(), at("t", 2))
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
}
