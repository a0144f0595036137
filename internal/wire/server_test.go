package wire_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
)

// echo answers each frame with itself.
type echo struct{ c *wire.Conn }

func openEcho(c *wire.Conn) (wire.Session, error) {
	c.Admit()
	return echo{c}, nil
}

func (e echo) Frame(_ context.Context, frame []byte) (*wire.Reply, error) {
	r := e.c.Reply()
	r.Buf = append(r.Buf, frame...)
	return r, nil
}

func (e echo) Close(error) {}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func framed(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func readFrame(t testing.TB, r io.Reader) []byte {
	var size [4]byte
	_, err := io.ReadFull(r, size[:])
	require.NoError(t, err)
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(r, frame)
	require.NoError(t, err)
	return frame
}

func TestFramesOfEverySizeAreAnsweredInOrder(t *testing.T) {
	s, l := wire.NewServer(wire.Config{}), listen(t)
	go s.Serve(l, wire.HandlerFunc(openEcho))
	defer s.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	var sent [][]byte
	for _, n := range []int{0, 1, 3, 1019, 1020, 1021, 4095, 5000, 70_000, 3 << 20, 12, 1 << 20} {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(i*7 + n)
		}
		sent = append(sent, payload)
	}
	go func() {
		for _, payload := range sent {
			c.Write(framed(payload))
		}
	}()
	for _, payload := range sent {
		require.Equal(t, payload, readFrame(t, c))
	}
}
