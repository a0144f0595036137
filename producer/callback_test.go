package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// A callback may do whatever a caller may, on its own partition, with one sender only.
func TestCallbackMaySendFlushAndClose(t *testing.T) {
	for _, acks := range []partition.Acks{partition.AcksAll, partition.AcksNone} {
		t.Run(acks.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _, store := start(t, 1, producer.Config{Senders: 1, Acks: acks})
				var inner sync.WaitGroup
				var n atomic.Int64
				for i := range 20 {
					inner.Add(1)
					p.SendAsync(t.Context(), value(fmt.Sprint(i)), func(r producer.Result) {
						defer inner.Done()
						require.NoError(t, r.Err)
						_, err := p.Send(t.Context(), value("send"))
						require.NoError(t, err)
						inner.Add(1)
						p.SendAsync(t.Context(), value("async"), func(r producer.Result) {
							require.NoError(t, r.Err)
							n.Add(1)
							inner.Done()
						})
						require.NoError(t, p.Flush(t.Context()))
					})
				}
				inner.Wait()
				require.EqualValues(t, 20, n.Load())
				closed := make(chan error, 1)
				p.SendAsync(t.Context(), value("last"), func(producer.Result) { closed <- p.Close() })
				require.NoError(t, <-closed)
				require.NoError(t, p.Close())
				require.Len(t, values(t, store, 0), 61)
			})
		})
	}
}

func TestFlushWaitsForCallbacksExceptInOne(t *testing.T) {
	p, _, _ := start(t, 1, producer.Config{})
	var after atomic.Bool
	release := make(chan struct{})
	p.SendAsync(t.Context(), value("x"), func(producer.Result) {
		require.True(t, producer.InCallback())
		require.NoError(t, p.Flush(t.Context()))
		<-release
		after.Store(true)
	})
	require.False(t, producer.InCallback())
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Flush(ctx), context.DeadlineExceeded)
	close(release)
	require.NoError(t, p.Flush(t.Context()))
	require.True(t, after.Load())
}

// A callback that blocks holds up the callbacks behind it, and no append.
func TestSlowCallbackDelaysNoAppend(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	release := make(chan struct{})
	got := results{}
	p.SendAsync(t.Context(), value("slow"), func(r producer.Result) { <-release; got.add(r) })
	for range 10 {
		p.SendAsync(t.Context(), value("x"), got.add)
		_, err := p.Send(t.Context(), value("y"))
		require.NoError(t, err)
	}
	require.Len(t, values(t, store, 0), 21)
	require.Empty(t, got.list())
	close(release)
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, got.list(), 11)
	for i, r := range got.list()[1:] {
		require.Greater(t, r.Offset, got.list()[i].Offset)
	}
}

// The buffer is full of records whose callbacks have not run, because the first of them sends.
func TestCallbackSendsThoughTheBufferIsFull(t *testing.T) {
	p, _, _ := start(t, 1, producer.Config{BufferMemory: 4 << 10, MaxBlock: time.Hour})
	var sent atomic.Int64
	release := make(chan struct{})
	p.SendAsync(t.Context(), value("first"), func(producer.Result) {
		<-release
		for range 50 {
			p.SendAsync(t.Context(), value(strings.Repeat("x", 1000)), func(producer.Result) { sent.Add(1) })
		}
		_, err := p.Send(t.Context(), value(strings.Repeat("y", 1000)))
		require.NoError(t, err)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			p.SendAsync(t.Context(), value(strings.Repeat("z", 1000)), nil)
		}
	})
	waitFor(t, func() bool { return p.Stats().Buffer.Waiting > 0 })
	close(release)
	wg.Wait()
	require.NoError(t, p.Flush(t.Context()))
	require.NoError(t, p.Flush(t.Context()))
	require.EqualValues(t, 50, sent.Load())
	require.Zero(t, p.Stats().Buffer.Used)
}

func TestPanicsOfTheCallersCodeAreCaughtAndReported(t *testing.T) {
	panics := make(chan *producer.PanicError, 100)
	n := 0
	p, _, store := start(t, 1, producer.Config{
		Events: producer.Events{Panic: func(e *producer.PanicError) { panics <- e }},
		Interceptors: []producer.Interceptor{{
			OnSend: func(_ context.Context, r *producer.Record) error {
				if string(r.Value) == "send" {
					panic("in OnSend")
				}
				return nil
			},
			OnResult: func(r producer.Result) {
				if r.ValueSize == 6 {
					panic("in OnResult")
				}
			},
		}},
		Partitioner: partition.PartitionerFunc(func(_ string, key, _ []byte, _ int32) int32 {
			if string(key) == "bad" {
				panic("in the partitioner")
			}
			return 0
		}),
	})
	got := results{}
	p.SendAsync(t.Context(), value("callback"), func(r producer.Result) { n++; panic("in a callback") })
	p.SendAsync(t.Context(), value("send"), got.add)
	p.SendAsync(t.Context(), value("result"), got.add)
	p.SendAsync(t.Context(), producer.Record{Topic: "t", Key: []byte("bad")}, func(r producer.Result) { got.add(r); panic("in a refused callback") })
	none := value("none")
	none.Acks = producer.Need(partition.AcksNone)
	p.SendAsync(t.Context(), none, func(producer.Result) { panic("in an early callback") })
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, panics, 6)
	require.EqualValues(t, 6, p.Stats().Panics)
	require.Equal(t, 1, n)
	require.Len(t, got.list(), 3)
	require.Equal(t, []string{"callback", "send", "result", "none"}, values(t, store, 0))
	e := <-panics
	require.NotEmpty(t, e.Stack)
	require.NotEmpty(t, e.In)
	var refused producer.Result
	for _, r := range got.list() {
		if r.Err != nil {
			refused = r
		}
	}
	_, ok := errors.AsType[*producer.PanicError](refused.Err)
	require.True(t, ok)
}

func TestInterceptorsSeeEachRecordAndEachResultOnce(t *testing.T) {
	var mu sync.Mutex
	var sent, told int
	refuse := errors.New("refused by policy")
	p, s, store := start(t, 1, producer.Config{Interceptors: []producer.Interceptor{
		{OnSend: func(_ context.Context, r *producer.Record) error {
			mu.Lock()
			defer mu.Unlock()
			sent++
			r.Headers = append(r.Headers, partition.Header{Key: "trace", Value: []byte("1")})
			return nil
		}},
		{OnSend: func(_ context.Context, r *producer.Record) error {
			if len(r.Headers) != 1 {
				return errors.New("the first interceptor comes first")
			}
			if string(r.Value) == "refuse" {
				return refuse
			}
			return nil
		}, OnResult: func(producer.Result) {
			mu.Lock()
			defer mu.Unlock()
			told++
		}},
	}})
	g := newGate()
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 1 {
			g.hold()
		}
		return nil
	}
	p.SendAsync(t.Context(), value("a"), nil)
	<-g.come
	_, err := p.Send(t.Context(), value("refuse"))
	require.ErrorIs(t, err, refuse)
	ctx, cancel := context.WithCancel(t.Context())
	withdrawn := make(chan error)
	go func() {
		_, err := p.Send(ctx, value("withdrawn"))
		withdrawn <- err
	}()
	waitFor(t, func() bool { return accepted(p) == 2 })
	cancel()
	require.ErrorIs(t, <-withdrawn, context.Canceled)
	none := value("none")
	none.Acks = producer.Need(partition.AcksNone)
	_, err = p.Send(t.Context(), none)
	require.NoError(t, err)
	p.SendAsync(t.Context(), value("b"), func(producer.Result) {})
	close(g.open)
	_, err = p.Send(t.Context(), value("c"))
	require.NoError(t, err)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, 6, sent)
	require.Equal(t, 6, told)
	require.Equal(t, "trace", stored(t, store, "t", 0)[0].Headers[0].Key)
	require.Equal(t, []string{"a", "none", "b", "c"}, values(t, store, 0))
}
