package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
)

// waiting answers "wait" when its context ends, after a minute more, and everything else at once.
var waiting = handler{frame: func(c *wire.Conn, ctx context.Context, frame []byte) (*wire.Reply, error) {
	if string(frame) == "wait" {
		<-ctx.Done()
		time.Sleep(time.Minute)
	}
	return echo(c, frame), nil
}}

func TestShutdownAnswersWhatIsInHandAndClosesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, waiting)
		idle, busy, half := r.dial(), r.dial(), r.dial()
		ask(t, idle, "x")
		busy.Write(append(framed([]byte("wait")), framed([]byte("not begun"))...))
		half.Write([]byte("\x00\x00\x00\x04wa"))
		synctest.Wait()
		ended := make(chan error, 1)
		begin := time.Now()
		go func() { ended <- r.Shutdown(context.Background()) }()
		require.Empty(t, ends(t, idle))
		require.Empty(t, ends(t, half))
		require.Zero(t, time.Since(begin))
		_, err := r.network.DialContext(context.Background(), "", at)
		require.Error(t, err, "the listener is closed")
		require.Empty(t, ended)
		require.Equal(t, "\x00\x00\x00\x04wait", string(ends(t, busy)))
		require.NoError(t, <-ended)
		require.Equal(t, time.Minute, time.Since(begin))
		require.ErrorIs(t, <-r.served, wire.ErrServerClosed)
		for _, reason := range r.reasons() {
			require.ErrorIs(t, reason, wire.ErrServerClosed)
		}
		require.Len(t, r.reasons(), 3)
		require.NoError(t, r.Shutdown(context.Background()), "again")
		require.NoError(t, r.Close())
	})
}

func TestShutdownClosesWhatDoesNotAnswerInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, waiting)
		busy := r.dial()
		busy.Write(framed([]byte("wait")))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.Shutdown(ctx), context.DeadlineExceeded)
		require.Empty(t, ends(t, busy))
		require.ErrorIs(t, <-r.served, wire.ErrServerClosed)
	})
}

func TestCloseWaitsForNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, waiting)
		busy, muted := r.dial(), r.dial()
		busy.Write(framed([]byte("wait")))
		ask(t, muted, "x")
		synctest.Wait()
		r.stop()
		require.Empty(t, ends(t, busy))
		require.Empty(t, ends(t, muted))
		require.NoError(t, r.Close())
	})
}

func TestShutdownEndsThrottlingHandshakesAndWaitingForMemory(t *testing.T) {
	serving, _ := certificates(t)
	synctest.Test(t, func(t *testing.T) {
		limits := wire.Limits{Memory: 1 << 20, Handshake: -1, Idle: -1, SlowFrame: -1}
		r := overTLS(t, wire.Config{Limits: limits}, handler{
			frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
				r := echo(c, frame[:1])
				r.MuteFor = ever
				return r, nil
			},
		}, serving)
		muted := r.dial()
		ask(t, muted, "x")
		r.dialSecure()
		for range 3 {
			c := r.dial()
			go c.Write(framed(pattern(2 << 20))[:1<<20])
		}
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, r.Shutdown(context.Background()))
		require.Zero(t, time.Since(begin))
		require.Zero(t, r.Stats().Memory)
		require.Len(t, r.reasons(), 5)
		<-r.served
	})
}

func TestAnOpenThatFailsEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusal := errors.New("not today")
		r := start(t, wire.Config{}, handler{open: func(*wire.Conn) error { return refusal }})
		require.Empty(t, ends(t, r.dial()))
		r.stop()
		require.Equal(t, []error{refusal}, r.reasons())
	})
}

// A socket that is closed with bytes unread resets the connection, and the peer would lose the reply.
func TestTheLastReplyArrivesAlthoughMoreWasSent(t *testing.T) {
	s, l := wire.NewServer(wire.Config{}), listen(t)
	go s.Serve(l, handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
		r := echo(c, frame)
		r.CloseAfter = true
		return r, nil
	}})
	defer s.Close()
	for range 20 {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		_, err = c.Write(append(framed([]byte("refused")), make([]byte, 100<<10)...))
		require.NoError(t, err)
		got := make([]byte, 11)
		_, err = io.ReadFull(c, got)
		require.NoError(t, err)
		require.Equal(t, framed([]byte("refused")), got)
		c.Close()
	}
}
