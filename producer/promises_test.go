package producer_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
)

// discard acknowledges everything and keeps nothing, so that what is measured is the producer's.
type discard struct{ producer.Backend }

func (discard) Append(context.Context, partition.AppendRequest) (partition.AppendResult, error) {
	return partition.AppendResult{LogAppendTime: -1}, nil
}

// A producer that has sent to each of ten thousand partitions keeps a few hundred bytes for each, and no buffer.
func TestTenThousandPartitionsReserveNoBuffers(t *testing.T) {
	const n = 10_000
	store := memory(t)
	create(t, store, "t", n)
	p, err := producer.New(discard{store}, producer.Config{})
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Send(t.Context(), value("x"))
	require.NoError(t, err)
	heap := func() int64 {
		var m runtime.MemStats
		for range 3 { // pools empty themselves in two
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range int32(n) {
		p.SendAsync(t.Context(), producer.Record{Topic: "t", Partition: producer.To(i), Value: []byte("x")}, nil)
	}
	require.NoError(t, p.Flush(t.Context()))
	require.Zero(t, p.Stats().Buffer.Used)
	require.Less(t, (heap()-before)/n, int64(2048), "bytes of heap for each")
	runtime.KeepAlive(p)
}

// A record that is refused says which topic or partition, which value and which bound; its neighbours are there.
func TestRefusedRecordsNameTopicValueAndBound(t *testing.T) {
	store := memory(t)
	_, err := store.CreateTopic(t.Context(), "t", partition.TopicConfig{MaxMessageBytes: 2000})
	require.NoError(t, err)
	p, err := producer.New(store, producer.Config{MaxBlock: time.Second, Linger: time.Hour})
	require.NoError(t, err)
	large := value(strings.Repeat("x", 3000))
	late := value("late")
	late.Timestamp = time.Now().Add(48 * time.Hour)
	elsewhere := value("x")
	elsewhere.Partition = producer.To(9)
	got := results{}
	for name, c := range map[string]struct {
		record producer.Record
		want   error
		words  []string
	}{
		"unknown topic":     {producer.Record{Topic: "nowhere"}, partition.ErrUnknownTopicOrPartition, []string{"nowhere"}},
		"illegal topic":     {producer.Record{Topic: "a/b"}, partition.ErrInvalidTopic, []string{"a/b"}},
		"unknown partition": {elsewhere, partition.ErrUnknownTopicOrPartition, []string{`"t"`, "9"}},
		"too large":         {large, partition.ErrMessageTooLarge, []string{"t", "max.message.bytes", "2000"}},
		"from the future":   {late, partition.ErrInvalidTimestamp, []string{"t-0", "1h0m0s"}},
	} {
		var r producer.Result
		p.SendAsync(t.Context(), value("before "+name), got.add)
		p.SendAsync(t.Context(), c.record, func(x producer.Result) { r = x })
		p.SendAsync(t.Context(), value("after "+name), got.add)
		require.NoError(t, p.Flush(t.Context()))
		require.ErrorIs(t, r.Err, c.want, name)
		for _, word := range c.words {
			require.ErrorContains(t, r.Err, word, name)
		}
	}
	require.Len(t, got.list(), 10)
	for _, r := range got.list() {
		require.NoError(t, r.Err)
	}
	require.Len(t, values(t, store, 0), 10)
	require.NoError(t, p.Close())
}

// After a batch that a really full disk has refused, and after a cancelled Send, the same producer goes on: with
// another epoch, every record once.
func TestProducerGoesOnAfterNoSpaceAndAfterACancelledSend(t *testing.T) {
	disk := partitiontest.NewDisk()
	var bumps int
	p, store := on(t, disk, producer.Config{Events: producer.Events{EpochBump: func(producer.EpochBump) { bumps++ }}})
	_, err := p.Send(t.Context(), value("a"))
	require.NoError(t, err)
	disk.SetFree(0)
	_, err = p.Send(t.Context(), value(strings.Repeat("x", 900_000)))
	require.ErrorIs(t, err, partition.ErrNoSpace)
	disk.SetFree(-1)
	_, err = p.Send(t.Context(), value("b"))
	require.NoError(t, err)
	require.Equal(t, 1, bumps)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Send(ctx, value("never accepted"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = p.Send(t.Context(), value("c"))
	require.NoError(t, err)
	require.Equal(t, 1, bumps, "what was never accepted costs no epoch")
	require.Equal(t, []string{"a", "b", "c"}, values(t, store, 0))
}
