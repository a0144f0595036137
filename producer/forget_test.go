package producer_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// A producer that sends to ever new topics remembers those of the last MetadataMaxIdle, and what it has counted.
func TestTopicsWithoutTrafficAreForgotten(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	store := memory(t)
	p, err := producer.New(store, producer.Config{Clock: c, MetadataMaxIdle: time.Minute})
	require.NoError(t, err)
	defer p.Close()
	const n = 100
	for i := range n {
		topic := fmt.Sprint("topic", i)
		create(t, store, topic, 2)
		for part := range int32(2) {
			_, err := p.Send(t.Context(), producer.Record{Topic: topic, Partition: producer.To(part), Value: []byte("x")})
			require.NoError(t, err)
		}
		c.Advance(10 * time.Second)
		require.LessOrEqual(t, len(p.Stats().Topics), 7)
	}
	require.EqualValues(t, 2*n, p.Stats().Records)
	require.EqualValues(t, 2*n, p.Stats().Batches)

	// A topic that comes back goes on where its log is, under another producer id: the old one's sequence is forgotten.
	for range 2 {
		r, err := p.Send(t.Context(), producer.Record{Topic: "topic0", Partition: producer.To(1), Value: []byte("again")})
		require.NoError(t, err)
		require.Positive(t, r.Offset)
	}
	require.Len(t, stored(t, store, "topic0", 1), 3)
	require.Zero(t, p.Stats().EpochBumps)
	require.Zero(t, p.Stats().Retries)
}

func TestTopicWithRecordsOnTheirWayIsNotForgotten(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	p, s, store := start(t, 1, producer.Config{Clock: c, MetadataMaxIdle: time.Second})
	create(t, store, "other", 1)
	g := newGate()
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 1 {
			g.hold()
		}
		return nil
	}
	var got results
	p.SendAsync(t.Context(), value("x"), got.add)
	<-g.come
	c.Advance(time.Minute)
	_, err := p.Send(t.Context(), producer.Record{Topic: "other"})
	require.NoError(t, err)
	require.Contains(t, p.Stats().Topics, "t")
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	require.NoError(t, got.list()[0].Err)
}

// Senders that have just been given a lane that is being forgotten find another: every record is there once.
func TestForgettingRacesWithSending(t *testing.T) {
	const n = 300
	store := memory(t)
	create(t, store, "t", 1)
	p, err := producer.New(store, producer.Config{MetadataMaxIdle: 1})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range n {
				if i%2 == 0 {
					p.SendAsync(t.Context(), value("x"), func(r producer.Result) { require.NoError(t, r.Err) })
				} else {
					_, err := p.Send(t.Context(), value("x"))
					require.NoError(t, err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			topic := fmt.Sprint("topic", i)
			create(t, store, topic, 1)
			_, err := p.Send(t.Context(), producer.Record{Topic: topic})
			require.NoError(t, err)
			runtime.Gosched()
		}
	})
	wg.Wait()
	require.NoError(t, p.Flush(t.Context()))
	require.EqualValues(t, 4*n+100, p.Stats().Records)
	require.NoError(t, p.Close())
	require.Len(t, stored(t, store, "t", 0), 4*n)
}
