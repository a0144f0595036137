package wire_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// handler makes sessions of functions; those that are nil admit the peer, and echo.
type handler struct {
	open  func(c *wire.Conn) error
	frame func(c *wire.Conn, ctx context.Context, frame []byte) (*wire.Reply, error)
}

func (h handler) Open(c *wire.Conn) (wire.Session, error) {
	if h.open == nil {
		c.Admit()
	} else if err := h.open(c); err != nil {
		return nil, err
	}
	return &session{h, c}, nil
}

type session struct {
	h handler
	c *wire.Conn
}

func (s *session) Frame(ctx context.Context, frame []byte) (*wire.Reply, error) {
	if s.h.frame != nil {
		return s.h.frame(s.c, ctx, frame)
	}
	return echo(s.c, frame), nil
}

func (s *session) Close(error) {}

// echo is the frame as reply, in one piece.
func echo(c *wire.Conn, frame []byte) *wire.Reply {
	r := c.Reply()
	r.Buf = append(r.Buf, frame...)
	return r
}

// running is a server with a listener in memory.
type running struct {
	*wire.Server
	t       testing.TB
	network *memnet.Network
	served  chan error

	mu     sync.Mutex
	closed []error // reasons, in order
}

const at = "broker:9092"

func start(t testing.TB, config wire.Config, h wire.Handler) *running {
	r := &running{t: t, network: memnet.New(), served: make(chan error, 1)}
	ended := func(reason error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closed = append(r.closed, reason)
	}
	config.Closed = func(_ *wire.Conn, reason error) { ended(reason) }
	if config.Refused == nil {
		config.Refused = func(_ net.Addr, reason error) { ended(reason) }
	}
	r.Server = wire.NewServer(config)
	l, err := r.network.Listen(at)
	require.NoError(t, err)
	go func() { r.served <- r.Serve(l, h) }()
	return r
}

func (r *running) dial() net.Conn {
	c, err := r.network.DialContext(context.Background(), "tcp", at)
	require.NoError(r.t, err)
	return c
}

// reasons are why connections have ended so far.
func (r *running) reasons() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.closed...)
}

func (r *running) stop() {
	require.NoError(r.t, r.Close())
	require.ErrorIs(r.t, <-r.served, wire.ErrServerClosed)
}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func framed(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func readFrame(t testing.TB, r io.Reader) []byte {
	frame, err := wire.ReadFrame(r, 1<<30, nil)
	require.NoError(t, err)
	return frame
}

// ask sends a frame and returns the reply.
func ask(t testing.TB, c net.Conn, payload string) string {
	_, err := c.Write(framed([]byte(payload)))
	require.NoError(t, err)
	return string(readFrame(t, c))
}

// ends reads until the connection's end, and returns what came before.
func ends(t testing.TB, c net.Conn) []byte {
	rest, err := io.ReadAll(c)
	require.NoError(t, err)
	return rest
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8 + n)
	}
	return p
}

const ever = 1000 * time.Hour
