package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
)

// The store is closed under everything that uses it: senders, a member's loop, a loop without a group, a parked fetch, a
// join that waits, and borrowed bytes that nobody gives back. Everybody gets ErrClosed, the lease is named, and in the
// bubble a goroutine that is left behind would fail the test.
func TestStoreCloseEndsSendersLoopsAndLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		store, err := partition.OpenMemory(partition.Config{})
		require.NoError(t, err)
		_, err = store.CreateTopic(ctx, "t", partition.TopicConfig{Partitions: 4})
		require.NoError(t, err)
		p, err := producer.New(store, producer.Config{})
		require.NoError(t, err)
		for i := range int32(4) {
			_, err = p.Send(ctx, producer.Record{Topic: "t", Partition: producer.To(i), Value: []byte("x")})
			require.NoError(t, err)
		}
		g, err := group.Open(store, "g", group.Config{})
		require.NoError(t, err)
		member, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}})
		require.NoError(t, err)
		tp := partition.TopicPartition{Topic: "t", Partition: 3}
		alone, err := consumer.Assign(ctx, store, []consumer.Assignment{{TopicPartition: tp}}, consumer.Config{})
		require.NoError(t, err)
		forgetful, err := consumer.Assign(ctx, store, []consumer.Assignment{{TopicPartition: tp}}, consumer.Config{})
		require.NoError(t, err)
		run, err := forgetful.PollBorrowed(ctx)
		require.NoError(t, err)

		var wg sync.WaitGroup
		var mu sync.Mutex
		ends := make(map[string]error)
		end := func(who string, err error) {
			mu.Lock()
			defer mu.Unlock()
			ends[who] = err
		}
		var sent sync.WaitGroup
		sent.Add(2)
		for _, who := range []string{"sender 0", "sender 1"} {
			wg.Go(func() {
				for n := 0; ; n++ {
					if n == 20 {
						sent.Done()
					}
					if _, err := p.Send(ctx, producer.Record{Topic: "t", Key: []byte(who), Value: []byte("x")}); err != nil {
						end(who, err)
						return
					}
				}
			})
		}
		for who, c := range map[string]*consumer.Consumer{"member": member, "alone": alone} {
			wg.Go(func() {
				var last error
				for _, last = range c.Records(ctx) {
				}
				end(who, last)
			})
		}
		wg.Go(func() {
			_, err := store.Fetch(ctx, partition.FetchRequest{MaxWait: 24 * time.Hour, MinBytes: 1 << 30,
				Partitions: []partition.FetchPosition{{TopicPartition: tp, LeaderEpoch: partition.LeaderEpochUnknown}}})
			end("fetch", err)
		})
		sent.Wait()
		began := time.Now()
		err = store.Close()
		require.LessOrEqual(t, time.Since(began), time.Minute, "it is bounded")
		leases, ok := errors.AsType[*partition.OpenLeasesError](err)
		require.True(t, ok, "%v", err)
		require.True(t, slices.ContainsFunc(leases.Leases, func(l partition.OpenLease) bool { return l.TopicPartition == tp }), "%v", err)
		wg.Wait()
		require.Len(t, ends, 5)
		for who, err := range ends {
			require.ErrorIs(t, err, partition.ErrClosed, who)
		}
		run.Release()
		for _, c := range []interface{ Close() error }{p, member, alone, forgetful, g} {
			if err := c.Close(); err != nil { // of a commit that has nowhere to go
				require.ErrorIs(t, err, partition.ErrClosed)
			}
		}
		require.Equal(t, err, store.Close(), "the second Close answers as the first")
		_, err = consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}})
		require.ErrorIs(t, err, partition.ErrClosed)
		_, err = producer.New(store, producer.Config{})
		if err != nil {
			require.ErrorIs(t, err, partition.ErrClosed)
		}
	})
}

// What an encoder writes, the decoder of the same name reads, null included.
func TestDecodersReadWhatEncodersWrite(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	p, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	defer p.Close()
	roundTrip(t, store, p, "bytes", producer.Bytes, consumer.Bytes, []byte{0, 255}, []byte{})
	roundTrip(t, store, p, "string", producer.String, consumer.String, "grün", "")
	roundTrip(t, store, p, "int32", producer.Int32, consumer.Int32, -5, 1<<31-1)
	roundTrip(t, store, p, "int64", producer.Int64, consumer.Int64, -5, 1<<63-1)
	roundTrip(t, store, p, "uint32", producer.Uint32, consumer.Uint32, 7, 1<<32-1)
	roundTrip(t, store, p, "uint64", producer.Uint64, consumer.Uint64, 7, 1<<64-1)
	roundTrip(t, store, p, "float64", producer.Float64, consumer.Float64, -0.5, 1e300)
	roundTrip(t, store, p, "json", producer.JSON[Order], consumer.JSON[Order], Order{1, 2}, Order{})
	seven := int64(7)
	roundTrip(t, store, p, "nullable", producer.Nullable(producer.Int64), consumer.Nullable(consumer.Int64), &seven, nil)
}

func roundTrip[V any](t *testing.T, store *partition.Store, p *producer.Producer, topic string, e producer.Encoder[V], d consumer.Decoder[V], vs ...V) {
	t.Helper()
	_, err := store.CreateTopic(t.Context(), topic, partition.TopicConfig{})
	require.NoError(t, err)
	view := producer.For(p, topic, e, e)
	for _, v := range vs {
		_, err := view.Send(t.Context(), v, v)
		require.NoError(t, err)
	}
	_, err = view.Delete(t.Context(), vs[0])
	require.NoError(t, err)
	tp := partition.TopicPartition{Topic: topic}
	c, err := consumer.Assign(t.Context(), store, []consumer.Assignment{{TopicPartition: tp, Until: consumer.UntilEnd()}}, consumer.Config{})
	require.NoError(t, err)
	defer c.Close()
	n := 0
	for r, err := range consumer.Records(t.Context(), c, d, d) {
		require.NoError(t, err, topic)
		if n == len(vs) {
			require.True(t, r.ValueNull, topic)
			require.Equal(t, vs[0], r.Key, topic)
			n++
			continue
		}
		require.Equal(t, vs[n], r.Key, topic)
		require.Equal(t, vs[n], r.Value, topic)
		n++
	}
	require.Equal(t, len(vs)+1, n, topic)
}

// A killed process is followed by another one: its member gets all partitions at once, although no clock moves and
// nobody has left the group, and begins behind what was committed.
func TestMembersOfAKilledProcessDelayNobodyWhoJoins(t *testing.T) {
	ctx := t.Context()
	clock := partitiontest.NewClock(time.Unix(1_700_000_000, 0))
	disk := partitiontest.NewDisk()
	open := func(disk *partitiontest.Disk) (*partition.Store, *group.ConsumerGroup) {
		store, err := partition.Open("store", partition.Config{FS: disk, Clock: clock})
		require.NoError(t, err)
		g, err := group.Open(store, "g", group.Config{Coordinator: group.CoordinatorConfig{Clock: clock}})
		require.NoError(t, err)
		return store, g
	}
	config := consumer.Config{Topics: []string{"t"}, Clock: clock, CommitInterval: consumer.NoInterval}
	store, g := open(disk)
	_, err := store.CreateTopic(ctx, "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	p, err := producer.New(store, producer.Config{Clock: clock})
	require.NoError(t, err)
	for i := range int32(2) {
		for range 3 {
			_, err = p.Send(ctx, producer.Record{Topic: "t", Partition: producer.To(i), Value: []byte("x")})
			require.NoError(t, err)
		}
	}
	first, err := consumer.Join(ctx, g, config)
	require.NoError(t, err)
	n := 0
	for _, err := range first.Records(ctx) {
		require.NoError(t, err)
		if n++; n == 3 { // two are finished
			require.NoError(t, first.Commit(ctx))
			break
		}
	}
	killed := disk.Kill()

	next, ng := open(killed)
	config.Until = consumer.UntilEnd()
	c, err := consumer.Join(ctx, ng, config)
	require.NoError(t, err)
	require.Len(t, c.Assignment(), 2)
	n = 0
	for _, err := range c.Records(ctx) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 4, n)
	require.NoError(t, c.Close())
	require.NoError(t, next.Close())
	require.NoError(t, first.Close())
	require.NoError(t, p.Close())
	require.NoError(t, store.Close())
}

// While the disk is full, Send fails at once and consumers go on: what they commit is kept, and written when space
// returns. Nothing is opened again.
func TestFullDiskStopsSendersAndNobodyElse(t *testing.T) {
	ctx := t.Context()
	clock := partitiontest.NewClock(time.Now()) // stands still: nothing waits for a timeout
	retries := partitiontest.NewClock(time.Now())
	disk := partitiontest.NewDisk()
	config := partition.Config{FS: disk, Clock: retries}
	store, err := partition.Open("store", config)
	require.NoError(t, err)
	_, err = store.CreateTopic(ctx, "t", partition.TopicConfig{})
	require.NoError(t, err)
	p, err := producer.New(store, producer.Config{Clock: clock})
	require.NoError(t, err)
	send := func(n int) error {
		_, err := p.Send(ctx, producer.Record{Topic: "t", Value: bytes.Repeat([]byte("x"), n)})
		return err
	}
	for range 5 {
		require.NoError(t, send(100))
	}
	g, err := group.Open(store, "g", group.Config{Coordinator: group.CoordinatorConfig{Clock: retries}})
	require.NoError(t, err)
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}, Clock: clock, MaxPollRecords: 1})
	require.NoError(t, err)
	disk.SetFree(0)
	require.ErrorIs(t, send(900_000), partition.ErrNoSpace)
	for range 4 {
		_, err := c.Poll(ctx)
		require.NoError(t, err, "reads go on")
	}
	tp := partition.TopicPartition{Topic: "t"}
	require.NoError(t, c.Commit(ctx))
	other, err := group.Open(store, "other", group.Config{})
	require.NoError(t, err)
	last := partition.Offset(0)
	for ; g.Stats().Unwritten == 0; last++ { // until what the offsets topic has reserved is used up
		require.Less(t, last, partition.Offset(100_000))
		require.NoError(t, other.Commit(ctx, map[partition.TopicPartition]group.CommittedOffset{tp: {Offset: last + 1}}))
	}
	committed, err := g.Committed(ctx, tp)
	require.NoError(t, err)
	require.EqualValues(t, 3, committed[tp].Offset)

	disk.SetFree(-1)
	require.NoError(t, send(100))
	for g.Stats().Unwritten > 0 {
		retries.Advance(time.Second)
	}
	require.NoError(t, c.Close())
	require.NoError(t, p.Close())
	require.NoError(t, store.Close())

	store, err = partition.Open("store", config)
	require.NoError(t, err)
	defer store.Close()
	g, err = group.Open(store, "g", group.Config{})
	require.NoError(t, err)
	committed, err = g.Committed(ctx, tp)
	require.NoError(t, err)
	require.EqualValues(t, 3, committed[tp].Offset)
	other, err = group.Open(store, "other", group.Config{})
	require.NoError(t, err)
	committed, err = other.Committed(ctx, tp)
	require.NoError(t, err)
	require.Equal(t, last, committed[tp].Offset)
	end, err := store.ListOffsets(ctx, tp, partition.TimestampLatest)
	require.NoError(t, err)
	require.EqualValues(t, 6, end, "the refused record is not there")
}
