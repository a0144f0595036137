package wire_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
)

var sizes = []int{0, 1, 3, 1019, 1020, 1021, 1024, 4095, 4096, 5000, 70_000, 300_000, 12, 200_000, 0, 100}

// exchangeAll sends frames of all sizes, cut in pieces of at most chunk bytes, and checks the echoes.
func exchangeAll(t *testing.T, c net.Conn, chunk int) {
	go func() {
		var all []byte
		for _, n := range sizes {
			all = append(all, framed(pattern(n))...)
		}
		for len(all) > 0 {
			n, err := c.Write(all[:min(chunk, len(all))])
			if err != nil {
				return // the reader fails
			}
			all = all[n:]
		}
	}()
	for _, n := range sizes {
		require.True(t, bytes.Equal(pattern(n), readFrame(t, c)), "%d bytes", n)
	}
}

func TestFramesOfEverySizeAreAnsweredInOrder(t *testing.T) {
	pieces := func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
		r := c.Reply()
		third := len(frame) / 3
		r.Buf = append(r.Buf, frame[:third]...)
		r.Pieces = append(r.Pieces, frame[third:2*third], nil, frame[2*third:])
		return r, nil
	}
	foreign := func(_ *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
		return &wire.Reply{Pieces: net.Buffers{frame[:len(frame)/2], frame[len(frame)/2:]}}, nil
	}
	for name, h := range map[string]handler{"in one piece": {}, "in pieces": {frame: pieces}, "in a reply of its own": {frame: foreign}} {
		t.Run(name, func(t *testing.T) {
			t.Run("socket", func(t *testing.T) {
				s, l := wire.NewServer(wire.Config{}), listen(t)
				go s.Serve(l, h)
				defer s.Close()
				for _, chunk := range []int{1 << 30, 1000, 64 << 10} {
					c, err := net.Dial("tcp", l.Addr().String())
					require.NoError(t, err)
					exchangeAll(t, c, chunk)
					c.Close()
				}
			})
			t.Run("TLS", func(t *testing.T) {
				serving, trusting := certificates(t)
				s, l := wire.NewServer(wire.Config{}), listen(t)
				go s.Serve(tls.NewListener(l, serving), h)
				defer s.Close()
				c, err := tls.Dial("tcp", l.Addr().String(), trusting)
				require.NoError(t, err)
				defer c.Close()
				exchangeAll(t, c, 1<<30)
			})
			t.Run("memory", func(t *testing.T) {
				r := start(t, wire.Config{}, h)
				defer r.stop()
				c := r.dial()
				defer c.Close()
				exchangeAll(t, c, 7777)
			})
		})
	}
}

func TestAFrameAboveAllPoolsIsAnswered(t *testing.T) {
	r := start(t, wire.Config{}, handler{})
	defer r.stop()
	c := r.dial()
	defer c.Close()
	sent := pattern(17 << 20)
	go c.Write(framed(sent))
	require.True(t, bytes.Equal(sent, readFrame(t, c)))
}

func TestAReplyIsReleasedOnceWhetherItWasWrittenOrNot(t *testing.T) {
	var released atomic.Int32
	h := handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
		r := c.Reply()
		r.Pieces = append(r.Pieces, frame)
		r.Release = func() { released.Add(1) }
		if string(frame) == "gone" {
			c.Close(io.ErrClosedPipe)
		}
		return r, nil
	}}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, h)
		c := r.dial()
		require.Equal(t, "x", ask(t, c, "x"))
		synctest.Wait()
		require.EqualValues(t, 1, released.Load())
		c.Write(framed([]byte("gone")))
		require.Empty(t, ends(t, c))
		r.stop()
		require.EqualValues(t, 2, released.Load())
		require.Equal(t, []error{io.ErrClosedPipe}, r.reasons(), "the first reason, not the write that failed")
	})
}

func TestNoReplyIsSentForNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
			if string(frame) == "acks=0" {
				return nil, nil
			}
			return echo(c, frame), nil
		}})
		defer r.stop()
		c := r.dial()
		c.Write(framed([]byte("acks=0")))
		require.Equal(t, "x", ask(t, c, "x"))
	})
}

func TestASessionEndsItsConnectionByAnErrorOrAfterAReply(t *testing.T) {
	failure := errors.New("unknown API")
	for name, c := range map[string]struct {
		frame  func(c *wire.Conn, frame []byte) (*wire.Reply, error)
		reason error
		reply  string
	}{
		"error":           {func(*wire.Conn, []byte) (*wire.Reply, error) { return nil, failure }, failure, ""},
		"reply and error": {func(c *wire.Conn, f []byte) (*wire.Reply, error) { return echo(c, f), failure }, failure, "\x00\x00\x00\x01x"},
		"close after": {func(c *wire.Conn, f []byte) (*wire.Reply, error) {
			r := echo(c, f)
			r.CloseAfter = true
			return r, nil
		}, wire.ErrCloseAfter, "\x00\x00\x00\x01x"},
		"cut off": {func(*wire.Conn, []byte) (*wire.Reply, error) {
			return &wire.Reply{Buf: []byte("\x00\x00\x00\x09half"), Raw: true, CloseAfter: true}, nil
		}, wire.ErrCloseAfter, "\x00\x00\x00\x09half"},
		"panic":     {func(*wire.Conn, []byte) (*wire.Reply, error) { panic("bug") }, &wire.PanicError{}, ""},
		"own close": {func(c *wire.Conn, _ []byte) (*wire.Reply, error) { c.Close(failure); return nil, nil }, failure, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, wire.Config{}, handler{frame: func(conn *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
					return c.frame(conn, frame)
				}})
				conn := r.dial()
				conn.Write(append(framed([]byte("x")), framed([]byte("never read"))...))
				require.Equal(t, c.reply, string(ends(t, conn)))
				conn.Close()
				synctest.Wait()   // until it is told why, before the other is
				other := r.dial() // the server goes on
				other.Close()
				r.stop()
				if _, panicked := c.reason.(*wire.PanicError); panicked {
					failure, ok := errors.AsType[*wire.PanicError](r.reasons()[0])
					require.True(t, ok)
					require.Equal(t, "bug", failure.Value)
					require.Contains(t, string(failure.Stack), "server_test")
				} else {
					require.ErrorIs(t, r.reasons()[0], c.reason)
				}
			})
		})
	}
}

func TestAPeerThatClosesIsToldFromOneThatIsCutOff(t *testing.T) {
	for sent, reason := range map[string]error{
		"":                      io.EOF,
		"\x00\x00\x00\x01x":     io.EOF,
		"\x00":                  io.ErrUnexpectedEOF,
		"\x00\x00\x00\x02x":     io.ErrUnexpectedEOF,
		"\x00\x00\xff\x00x":     io.ErrUnexpectedEOF,
		"\x00\x00\x00\x01x\x00": io.ErrUnexpectedEOF,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, wire.Config{}, handler{})
			c := r.dial()
			c.Write([]byte(sent))
			synctest.Wait()
			c.Close()
			synctest.Wait()
			require.Equal(t, []error{reason}, r.reasons(), "%q", sent)
			r.stop()
		})
	}
}

func TestDelaysAndMutingTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
			r := echo(c, frame)
			r.Delay, r.MuteFor = time.Second, time.Minute
			return r, nil
		}})
		defer r.stop()
		c := r.dial()
		begin := time.Now()
		c.Write(append(framed([]byte("a")), framed([]byte("b"))...))
		require.Equal(t, "a", string(readFrame(t, c)))
		require.Equal(t, time.Second, time.Since(begin))
		require.Equal(t, "b", string(readFrame(t, c)))
		require.Equal(t, time.Minute+2*time.Second, time.Since(begin))
	})
}

func TestStatsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{Limits: wire.Limits{PerAddress: 1}}, handler{})
		c := r.dial()
		ask(t, c, "12345")
		ask(t, c, "")
		require.Empty(t, ends(t, r.dial()))
		synctest.Wait()
		require.Equal(t, wire.Stats{Connections: 1, Opened: 1, Refused: 1, Requests: 2, Received: 13, Sent: 13}, r.Stats())
		r.stop()
		require.Zero(t, r.Stats().Connections)
	})
}
