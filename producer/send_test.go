package producer_test

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func TestSendReturnsTheOffsetOfItsRecord(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	for i := range 10 {
		r, err := p.Send(t.Context(), value(fmt.Sprint("v", i)))
		require.NoError(t, err)
		require.EqualValues(t, i, r.Offset)
		require.Equal(t, partition.TopicPartition{Topic: "t"}, r.TopicPartition)
		require.Equal(t, -1, r.KeySize)
		require.Equal(t, 2, r.ValueSize)
	}
	require.Len(t, values(t, store, 0), 10)
}

func TestSendAsyncCallsBackOnceForEachRecordInOrder(t *testing.T) {
	const n, parts = 5000, 4
	for _, inFlight := range []int{1, 5} {
		t.Run(fmt.Sprint(inFlight), func(t *testing.T) {
			p, _, store := start(t, parts, producer.Config{BatchBytes: 300, MaxInFlight: inFlight})
			var mu sync.Mutex
			next := map[int32]partition.Offset{}
			for i := range n {
				rec := value(fmt.Sprint(i))
				rec.Partition = producer.To(int32(i % parts))
				p.SendAsync(t.Context(), rec, func(r producer.Result) {
					mu.Lock()
					defer mu.Unlock()
					if r.Err != nil || r.Offset != next[r.Partition] {
						t.Errorf("partition %d: offset %d, want %d, err %v", r.Partition, r.Offset, next[r.Partition], r.Err)
					}
					next[r.Partition]++
				})
			}
			require.NoError(t, p.Flush(t.Context()))
			for i := range parts {
				require.EqualValues(t, n/parts, next[int32(i)])
				for j, v := range values(t, store, i) {
					require.Equal(t, fmt.Sprint(j*parts+i), v)
				}
			}
		})
	}
}

func TestNullIsNotEmpty(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	headers := []partition.Header{{Key: "a", Value: nil}, {Key: "", Value: []byte{}}, {Key: "a", Value: []byte("x")}}
	for _, r := range []producer.Record{
		{Topic: "t"}, {Topic: "t", Key: []byte{}, Value: []byte{}}, {Topic: "t", Key: []byte("k"), Value: []byte("v"), Headers: headers},
	} {
		_, err := p.Send(t.Context(), r)
		require.NoError(t, err)
	}
	got := stored(t, store, "t", 0)
	require.Nil(t, got[0].Key)
	require.Nil(t, got[0].Value)
	require.Equal(t, []byte{}, got[1].Key)
	require.Equal(t, []byte{}, got[1].Value)
	require.Equal(t, headers, got[2].Headers)
}

func TestKeysDecideThePartitionAsInKafka(t *testing.T) {
	p, _, _ := start(t, 6, producer.Config{})
	for key, want := range map[string]int32{"": 3, "a": 4, "ab": 2, "abc": 3, "foobar": 0, "user-42": 4} {
		r, err := p.Send(t.Context(), producer.Record{Topic: "t", Key: []byte(key)})
		require.NoError(t, err)
		require.Equal(t, want, r.Partition, key)
		r, err = p.Send(t.Context(), producer.Record{Topic: "t", Key: []byte(key), Partition: producer.To(5)})
		require.NoError(t, err)
		require.EqualValues(t, 5, r.Partition)
	}
}

func TestPartitionsAddedToATopicAreFoundWhenARecordNamesThem(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	_, err := p.Send(t.Context(), value("first"))
	require.NoError(t, err)
	rec := value("second")
	rec.Partition = producer.To(3)
	_, err = p.Send(t.Context(), rec)
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	require.ErrorContains(t, err, "partition 3 of 1")
	require.NoError(t, store.CreatePartitions(t.Context(), "t", 4))
	r, err := p.Send(t.Context(), rec)
	require.NoError(t, err)
	require.EqualValues(t, 3, r.Partition)
}

func TestRefusedRecordsSayWhy(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{Partitioner: partition.Manual()})
	createInternal(t, store)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx context.Context
		rec producer.Record
		err error
	}{
		"unknown topic":      {t.Context(), producer.Record{Topic: "nowhere"}, partition.ErrUnknownTopicOrPartition},
		"internal topic":     {t.Context(), producer.Record{Topic: internalTopic, Partition: producer.To(0)}, partition.ErrInvalidTopic},
		"unknown partition":  {t.Context(), producer.Record{Topic: "t", Partition: producer.To(1)}, partition.ErrUnknownTopicOrPartition},
		"negative partition": {t.Context(), producer.Record{Topic: "t", Partition: producer.To(-1)}, partition.ErrUnknownTopicOrPartition},
		"no partition":       {t.Context(), producer.Record{Topic: "t"}, partition.ErrUnknownTopicOrPartition},
		"bad acks":           {t.Context(), producer.Record{Topic: "t", Partition: producer.To(0), Acks: producer.Need(9)}, partition.ErrInvalidRequiredAcks},
		"cancelled":          {cancelled, value("x"), context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := p.Send(c.ctx, c.rec)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, err, res.Err)
			require.EqualValues(t, -1, res.Offset)
			var told []producer.Result // on this goroutine, before SendAsync returns
			p.SendAsync(c.ctx, c.rec, func(r producer.Result) { told = append(told, r) })
			require.Len(t, told, 1)
			require.ErrorIs(t, told[0].Err, c.err)
		})
	}
	require.Empty(t, s.seen())
}

func TestBytesAreCopiedBeforeSendAsyncReturns(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{})
	g := newGate()
	s.before = func(int, partition.AppendRequest) error { g.hold(); return nil }
	buf := []byte("aaaa")
	for range 2 {
		p.SendAsync(t.Context(), producer.Record{Topic: "t", Key: buf, Value: buf, Headers: []partition.Header{{Key: "h", Value: buf}}}, nil)
	}
	copy(buf, "bbbb")
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	for _, r := range stored(t, store, "t", 0) {
		require.Equal(t, "aaaa", string(r.Key)+string(r.Value[4:]))
		require.Equal(t, "aaaa", string(r.Value))
		require.Equal(t, "aaaa", string(r.Headers[0].Value))
	}
}

func TestTimestampIsTheRecordsOrTheClocks(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 8_900_000, time.UTC)
	p, _, store := start(t, 1, producer.Config{Clock: clock.NewManual(now)})
	r, err := p.Send(t.Context(), value("clock"))
	require.NoError(t, err)
	require.Equal(t, now.UnixMilli(), r.Timestamp.UnixMilli())
	own := value("own")
	own.Timestamp = now.Add(-time.Hour)
	r, err = p.Send(t.Context(), own)
	require.NoError(t, err)
	require.True(t, r.Timestamp.Equal(own.Timestamp.Truncate(time.Millisecond)))
	got := stored(t, store, "t", 0)
	require.Equal(t, now.UnixMilli(), got[0].Timestamp)
	require.Equal(t, own.Timestamp.UnixMilli(), got[1].Timestamp)
}

// The stack of an append shows whose goroutine it runs on.
func TestLoneSendAppendsOnItsOwnGoroutine(t *testing.T) {
	p, s, _ := start(t, 1, producer.Config{})
	var stack string
	s.before = func(int, partition.AppendRequest) error { stack = string(debug.Stack()); return nil }
	_, err := p.Send(t.Context(), value("x"))
	require.NoError(t, err)
	require.Contains(t, stack, "TestLoneSendAppendsOnItsOwnGoroutine(")
	done := make(chan struct{})
	p.SendAsync(t.Context(), value("y"), func(producer.Result) { close(done) })
	<-done
	require.NoError(t, p.Flush(t.Context()))
	require.False(t, strings.Contains(stack, "TestLoneSendAppendsOnItsOwnGoroutine("))
	require.Zero(t, p.Stats().Buffer.Used)
}

// With linger 0 all that is sent while an append runs is the next batch.
func TestBatchClosesWhenTheAppendBeforeItHasFinished(t *testing.T) {
	still := clock.NewManual(time.Unix(1e9, 0)) // records that come later are larger, and fewer of them fit into a small buffer
	p, s, store := start(t, 1, producer.Config{Clock: still})
	g := newGate()
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 1 {
			g.hold()
		}
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := p.Send(t.Context(), value("first"))
		require.NoError(t, err)
	})
	<-g.come
	got := results{}
	for i := range 100 {
		p.SendAsync(t.Context(), value(fmt.Sprint(i)), got.add) // returns although the append before it hangs
	}
	require.Empty(t, got.list())
	close(g.open)
	wg.Wait()
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, got.list(), 100)
	require.Len(t, s.seen(), 2)
	require.Equal(t, 100, s.seen()[1].records)
	require.Len(t, values(t, store, 0), 101)
}

func TestSendsThatWaitTogetherShareABatch(t *testing.T) {
	p, s, _ := start(t, 1, producer.Config{})
	g := newGate()
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 1 {
			g.hold()
		}
		return nil
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			_, err := p.Send(t.Context(), value(fmt.Sprint(i)))
			require.NoError(t, err)
		})
	}
	<-g.come
	waitFor(t, func() bool { return p.Stats().Buffer.Used > 0 && accepted(p) == 64 })
	close(g.open)
	wg.Wait()
	require.LessOrEqual(t, len(s.seen()), 3) // more than one only as the buffer's classes grow
}

func TestLingerWaitsForMoreUntilFullFlushedOrOver(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	p, s, _ := start(t, 1, producer.Config{Clock: c, Linger: 10 * time.Millisecond, BatchBytes: 1000})
	for range 3 {
		p.SendAsync(t.Context(), value("x"), nil)
	}
	c.Advance(9 * time.Millisecond)
	require.Empty(t, s.seen())
	c.Advance(time.Millisecond)
	waitFor(t, func() bool { return len(s.seen()) == 1 })
	p.SendAsync(t.Context(), value("x"), nil)
	require.NoError(t, p.Flush(t.Context())) // does not wait for linger: the clock stands still
	require.Len(t, s.seen(), 2)
	p.SendAsync(t.Context(), value("x"), nil)
	p.SendAsync(t.Context(), value(strings.Repeat("y", 990)), nil) // does not fit: the batch before it goes
	waitFor(t, func() bool { return len(s.seen()) == 3 })
	require.Equal(t, []int{3, 1, 1}, []int{s.seen()[0].records, s.seen()[1].records, s.seen()[2].records})
}

// One sender, and several partitions that always have something: they take turns.
func TestPartitionsTakeTurns(t *testing.T) {
	p, s, _ := start(t, 3, producer.Config{Senders: 1, BatchBytes: 1, DisableIdempotence: true})
	g := newGate()
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 1 {
			g.hold()
		}
		return nil
	}
	for n := range int32(3) {
		for i := range 5 {
			rec := value(fmt.Sprint(i))
			rec.Partition = producer.To(n)
			p.SendAsync(t.Context(), rec, nil)
			if n == 0 && i == 0 {
				<-g.come
			}
		}
	}
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	var order []int32
	for _, a := range s.seen() {
		order = append(order, a.Partition)
	}
	require.Equal(t, []int32{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}, order)
}

func TestTooLargeRecordFailsAloneBeforeItJoinsABatch(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{BufferMemory: 4 << 20})
	g := newGate()
	s.before = func(int, partition.AppendRequest) error { g.hold(); return nil }
	got := results{}
	p.SendAsync(t.Context(), value("before"), got.add)
	_, err := p.Send(t.Context(), value(strings.Repeat("x", 2<<20)))
	large, ok := err.(*producer.RecordTooLargeError)
	require.True(t, ok, "%v", err)
	require.Equal(t, "max.message.bytes", large.By)
	require.ErrorIs(t, err, partition.ErrMessageTooLarge)
	_, err = p.Send(t.Context(), value(strings.Repeat("x", 5<<20)))
	require.ErrorIs(t, err, partition.ErrMessageTooLarge)
	p.SendAsync(t.Context(), value("after"), got.add)
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, []string{"before", "after"}, values(t, store, 0))
	require.Len(t, got.list(), 2)
}

func TestAcksNoneIsAnsweredAtAcceptance(t *testing.T) {
	lost := make(chan producer.LostRecords, 1)
	p, s, _ := start(t, 1, producer.Config{Events: producer.Events{Lost: func(l producer.LostRecords) { lost <- l }}})
	g := newGate()
	s.before = func(int, partition.AppendRequest) error { g.hold(); return partition.ErrNoSpace }
	rec := value("x")
	rec.Acks = producer.Need(partition.AcksNone)
	r, err := p.Send(t.Context(), rec) // although the append hangs
	require.NoError(t, err)
	require.EqualValues(t, -1, r.Offset)
	told := false
	p.SendAsync(t.Context(), rec, func(r producer.Result) { told = r.Err == nil && r.Offset == -1 })
	require.True(t, told)
	close(g.open)
	l := <-lost
	require.ErrorIs(t, l.Err, partition.ErrNoSpace)
	require.NoError(t, p.Flush(t.Context()))
	require.EqualValues(t, 2, p.Stats().Failed)
}

// In one batch, the strongest acks count; who needs less is told before.
func TestStrongestAcksOfABatchWinAndWeakerOnesAreAnsweredEarlier(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{Acks: partition.AcksNone, Linger: time.Minute})
	g := newGate()
	s.before = func(_ int, r partition.AppendRequest) error {
		if r.Acks == partition.AcksAll {
			g.hold()
		}
		return nil
	}
	order := make(chan string, 4)
	for _, a := range []partition.Acks{partition.AcksAll, partition.AcksLeader, partition.AcksNone} {
		rec := value(a.String())
		rec.Acks = producer.Need(a)
		p.SendAsync(t.Context(), rec, func(r producer.Result) {
			require.NoError(t, r.Err)
			order <- fmt.Sprint(a, "@", r.Offset)
		})
	}
	require.Equal(t, "0@-1", <-order)
	require.Empty(t, order)
	var wg sync.WaitGroup
	wg.Go(func() {
		rec := value("a Send")
		rec.Acks = producer.Need(partition.AcksLeader)
		r, err := p.Send(t.Context(), rec)
		require.NoError(t, err)
		require.EqualValues(t, 3, r.Offset)
	})
	waitFor(t, func() bool { return accepted(p) == 4 })
	wg.Go(func() { require.NoError(t, p.Flush(t.Context())) })
	require.Equal(t, "1@1", <-order)
	<-g.come
	require.Empty(t, order)
	close(g.open)
	require.Equal(t, "all@0", <-order)
	wg.Wait()
	require.Equal(t, []string{"all", "1", "0", "a Send"}, values(t, store, 0), "appended once")
	p.SendAsync(t.Context(), value("default"), nil)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, partition.AcksNone, s.seen()[2].acks)
	require.Zero(t, p.Stats().Buffer.Used)
}

func TestCompressionIsTheTopicsElseTheOverrideElseTheProducers(t *testing.T) {
	store := memory(t)
	for _, name := range []string{"plain", "override", "topic"} {
		create(t, store, name, 1)
	}
	require.NoError(t, store.AlterTopicConfig(t.Context(), "topic", map[string]string{"compression.type": "snappy"}))
	s := &script{Backend: store}
	p, err := producer.New(s, producer.Config{Compression: partition.CodecZstd, CompressionLevel: 5,
		TopicCompression: map[string]partition.Codec{"override": partition.CodecLZ4, "topic": partition.CodecGzip}})
	require.NoError(t, err)
	defer p.Close()
	for i, c := range []struct {
		topic string
		codec partition.Codec
	}{{"plain", partition.CodecZstd}, {"override", partition.CodecLZ4}, {"topic", partition.CodecSnappy}} {
		_, err := p.Send(t.Context(), producer.Record{Topic: c.topic, Value: []byte(strings.Repeat("x", 1000))})
		require.NoError(t, err)
		require.Equal(t, c.codec, s.seen()[i].codec)
		require.Len(t, string(stored(t, store, c.topic, 0)[0].Value), 1000)
	}
	st := p.Stats()
	require.Less(t, st.Bytes, st.Uncompressed/4)
}

func TestForwardSendsWhatAConsumerHandsOn(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	h := []partition.Header{{Key: "why", Value: []byte("test")}}
	require.NoError(t, p.Forward(t.Context(), "t", nil, []byte("v"), h))
	require.ErrorIs(t, p.Forward(t.Context(), "nowhere", nil, nil, nil), partition.ErrUnknownTopicOrPartition)
	require.Equal(t, h, stored(t, store, "t", 0)[0].Headers)
}
