package producer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func TestCancelledSendIsWithdrawn(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{})
	g := newGate()
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 1 {
			g.hold()
		}
		return nil
	}
	p.SendAsync(t.Context(), value("first"), nil)
	<-g.come
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	got := results{}
	for i := range 9 {
		p.SendAsync(t.Context(), value(fmt.Sprint(i)), got.add)
		if i%3 == 1 {
			before := accepted(p)
			wg.Go(func() {
				r, err := p.Send(ctx, value("withdrawn"))
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorContains(t, err, "withdrawn")
				require.EqualValues(t, -1, r.Offset)
			})
			waitFor(t, func() bool { return accepted(p) > before })
		}
	}
	cancel()
	wg.Wait()
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, []string{"first", "0", "1", "2", "3", "4", "5", "6", "7", "8"}, values(t, store, 0))
	for i, r := range got.list() {
		require.NoError(t, r.Err)
		require.EqualValues(t, i+1, r.Offset)
	}
	require.Zero(t, p.Stats().Buffer.Used)
}

func TestBatchWhoseRecordsAreAllWithdrawnIsNotAppended(t *testing.T) {
	p, s, _ := start(t, 1, producer.Config{Linger: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, err := p.Send(ctx, value("x"))
			require.ErrorIs(t, err, context.Canceled)
		})
	}
	waitFor(t, func() bool { return accepted(p) == 3 })
	cancel()
	wg.Wait()
	require.NoError(t, p.Flush(t.Context()))
	require.Empty(t, s.seen())
	require.Zero(t, p.Stats().Buffer.Used)
}

func TestCancelledSendThatIsBeingAppendedSaysThatItMayArrive(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{})
	g := newGate()
	s.before = func(int, partition.AppendRequest) error { g.hold(); return nil }
	p.SendAsync(t.Context(), value("a"), nil)
	<-g.come
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() {
		_, err := p.Send(ctx, value("b"))
		errs <- err
	}()
	waitFor(t, func() bool { return accepted(p) == 2 })
	g.open <- struct{}{}
	<-g.come // b is being appended
	cancel()
	err := <-errs
	_, uncertain := errors.AsType[*producer.UncertainError](err)
	require.True(t, uncertain, "%v", err)
	require.ErrorIs(t, err, context.Canceled)
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, []string{"a", "b"}, values(t, store, 0))
}

// The append runs on the Send's own goroutine and heeds its context; the record is not lost track of.
func TestCancelOfALoneSendLeavesTheAppendToASender(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan struct{})
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 2 { // a sender's append of the same batch, whose answer would be Send's if it came first
			<-sent
		}
		return nil
	}
	s.after = func(n int, _ partition.AppendRequest, _ error) error {
		if n == 1 { // it has arrived, and the answer is not waited for
			cancel()
			return ctx.Err()
		}
		return nil
	}
	_, err := p.Send(ctx, value("a"))
	close(sent)
	require.ErrorIs(t, err, context.Canceled)
	_, uncertain := errors.AsType[*producer.UncertainError](err)
	require.True(t, uncertain, "%v", err)
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, s.seen(), 2)
	_, err = p.Send(t.Context(), value("b"))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, values(t, store, 0))
	require.Zero(t, p.Stats().EpochBumps)
}
