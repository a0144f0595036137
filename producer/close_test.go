package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// In a synctest bubble a goroutine that is left behind fails the test.

func TestCloseFlushesAndThenEverythingReturnsErrClosed(t *testing.T) {
	for _, linger := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p, _, store := start(t, 3, producer.Config{Linger: linger})
			got := results{}
			for i := range 100 {
				p.SendAsync(t.Context(), producer.Record{Topic: "t", Partition: producer.To(int32(i % 3)), Value: []byte("x")}, got.add)
			}
			begin := time.Now()
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() { require.NoError(t, p.Close()) })
			}
			wg.Wait()
			require.Zero(t, time.Since(begin), "Close does not linger")
			require.NoError(t, p.Close())
			require.Len(t, got.list(), 100)
			require.Len(t, values(t, store, 0), 34)
			_, err := p.Send(t.Context(), value("x"))
			require.ErrorIs(t, err, producer.ErrClosed)
			require.ErrorIs(t, p.Flush(t.Context()), producer.ErrClosed)
			require.ErrorIs(t, p.Forward(t.Context(), "t", nil, nil, nil), producer.ErrClosed)
			p.SendAsync(t.Context(), value("x"), got.add)
			require.ErrorIs(t, got.list()[100].Err, producer.ErrClosed)
		})
	}
}

func TestCloseIsBoundedByTheDeliveryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, _ := start(t, 2, producer.Config{DeliveryTimeout: 30 * time.Second, MaxBlock: time.Hour, BufferMemory: 4 << 10})
		s.before = func(n int, r partition.AppendRequest) error {
			if r.Partition == 1 {
				return partition.ErrTimeout // retried until the end
			}
			time.Sleep(time.Hour) // hangs
			return nil
		}
		got := results{}
		for i := range 4 {
			p.SendAsync(t.Context(), producer.Record{Topic: "t", Partition: producer.To(int32(i % 2)), Value: []byte("x")}, got.add)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := p.Send(t.Context(), value("x"))
			_, timeout := errors.AsType[*producer.DeliveryTimeoutError](err)
			require.True(t, timeout, "%v", err)
		})
		synctest.Wait()
		wg.Go(func() { // waits for memory
			_, err := p.Send(t.Context(), value(strings.Repeat("x", 3000)))
			require.ErrorIs(t, err, producer.ErrClosed)
		})
		synctest.Wait()
		begin := time.Now()
		err := p.Close()
		left, ok := errors.AsType[*producer.CloseError](err)
		require.True(t, ok, "%v", err)
		require.True(t, left.Stuck)
		require.Equal(t, 35*time.Second, time.Since(begin))
		require.Len(t, got.list(), 4)
		for _, r := range got.list() {
			require.ErrorIs(t, r.Err, partition.ErrTimeout)
		}
		wg.Wait()
		require.Equal(t, err, p.Close())
		time.Sleep(2 * time.Hour) // the append that hung ends, and its goroutine
		synctest.Wait()
		require.Zero(t, p.Stats().Senders)
		require.Zero(t, p.Stats().Buffer.Used)
	})
}

func TestCloseDoesNotWaitForABackendThatHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory(t)
		create(t, store, "t", 1)
		p, err := producer.New(&patient{store}, producer.Config{DeliveryTimeout: time.Minute})
		require.NoError(t, err)
		got := results{}
		p.SendAsync(t.Context(), value("x"), got.add)
		synctest.Wait()
		begin := time.Now()
		left, ok := errors.AsType[*producer.CloseError](p.Close())
		require.True(t, ok)
		require.False(t, left.Stuck)
		require.Equal(t, time.Minute, time.Since(begin))
		require.Len(t, got.list(), 1)
	})
}

// patient is a backend whose appends wait for nothing but their context.
type patient struct{ producer.Backend }

func (p *patient) Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	<-ctx.Done()
	return partition.AppendResult{}, ctx.Err()
}

func TestIdleProducerHasNoGoroutineAndNoBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := start(t, 1000, producer.Config{})
		for i := range 1000 {
			p.SendAsync(t.Context(), producer.Record{Topic: "t", Partition: producer.To(int32(i)), Value: []byte("x")}, nil)
		}
		require.NoError(t, p.Flush(t.Context()))
		synctest.Wait()
		st := p.Stats()
		require.Zero(t, st.Senders)
		require.Zero(t, st.Buffer.Used)
		require.EqualValues(t, 1000, st.Records)
		require.NoError(t, p.Close())
	})
}

func TestSendersAreBounded(t *testing.T) {
	p, s, _ := start(t, 20, producer.Config{Senders: 3})
	g := newGate()
	s.before = func(int, partition.AppendRequest) error { g.hold(); return nil }
	for i := range 20 {
		p.SendAsync(t.Context(), producer.Record{Topic: "t", Partition: producer.To(int32(i)), Value: []byte("x")}, nil)
	}
	for range 3 {
		<-g.come
	}
	require.Equal(t, 3, p.Stats().Senders)
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, 3, s.most)
}

func TestFullBufferFailsAfterMaxBlockOrWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, _ := start(t, 1, producer.Config{BufferMemory: 2 << 10, MaxBlock: 5 * time.Second})
		g := newGate()
		s.before = func(int, partition.AppendRequest) error { g.hold(); return nil }
		big := value(strings.Repeat("x", 900))
		p.SendAsync(t.Context(), big, nil)
		p.SendAsync(t.Context(), big, nil)
		begin := time.Now()
		_, err := p.Send(t.Context(), big)
		full, ok := errors.AsType[*producer.BufferExhaustedError](err)
		require.True(t, ok, "%v", err)
		require.ErrorIs(t, err, partition.ErrTimeout)
		require.Equal(t, 2<<10, full.Buffer)
		require.Equal(t, 5*time.Second, time.Since(begin))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = p.Send(ctx, big)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		st := p.Stats().Buffer
		require.EqualValues(t, 1, st.Exhausted)
		require.Equal(t, 6*time.Second, st.WaitTime)
		close(g.open)
		_, err = p.Send(t.Context(), big)
		require.NoError(t, err)
		require.NoError(t, p.Close())
	})
}

func TestFullBufferServesWhoWaitsLongestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, store := start(t, 1, producer.Config{BufferMemory: 1 << 10, BatchBytes: 1})
		g := newGate()
		s.before = func(n int, _ partition.AppendRequest) error {
			if n == 1 {
				g.hold()
			}
			return nil
		}
		p.SendAsync(t.Context(), value("first"), nil)
		var wg sync.WaitGroup
		want := []string{"first"}
		for i := range 10 {
			v := fmt.Sprint(i)
			if i == 0 {
				v += strings.Repeat("x", 900) // nobody smaller overtakes
			}
			want = append(want, v)
			wg.Go(func() { p.SendAsync(t.Context(), value(v), nil) })
			synctest.Wait()
		}
		require.Equal(t, 10, p.Stats().Buffer.Waiting)
		close(g.open)
		wg.Wait()
		require.NoError(t, p.Close())
		require.Equal(t, want, values(t, store, 0))
	})
}

// A batch that lingers is in nobody's way: it goes when another record waits for its memory.
func TestLingeringBatchGoesWhenARecordWaitsForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s, _ := start(t, 2, producer.Config{BufferMemory: 2 << 10, Linger: time.Minute})
		begin := time.Now()
		for n := range int32(2) {
			rec := value(strings.Repeat("x", 1200))
			rec.Partition = producer.To(n)
			p.SendAsync(t.Context(), rec, nil)
		}
		synctest.Wait()
		require.Zero(t, time.Since(begin))
		require.Len(t, s.seen(), 1, "the second lingers in its turn")
		require.EqualValues(t, 2, accepted(p))
		require.NoError(t, p.Close())
		require.Len(t, s.seen(), 2)
	})
}

func TestMetadataIsWaitedForUpToMaxBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := producer.New(&blind{}, producer.Config{MaxBlock: 7 * time.Second})
		require.NoError(t, err)
		begin := time.Now()
		_, err = p.Send(t.Context(), value("x"))
		require.ErrorIs(t, err, partition.ErrTimeout)
		require.Equal(t, 7*time.Second, time.Since(begin))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := p.Send(t.Context(), value("x"))
			require.ErrorIs(t, err, producer.ErrClosed)
		})
		synctest.Wait()
		require.NoError(t, p.Close())
		wg.Wait()
	})
}

// blind is a backend that never knows a topic.
type blind struct{ producer.Backend }

func (b *blind) Metadata(ctx context.Context, _ []string) ([]partition.Metadata, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
