package peer

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// What is read is written as it was, whatever stands behind it.
func FuzzHandshake(f *testing.F) {
	f.Add(appendHello(nil, handshakeHello, helloOf(1)))
	f.Add(appendHello(nil, handshakeOK, helloOf(1<<30)))
	f.Add(appendRefusal(nil, refusal{3, 7, "cluster", "detail"}))
	f.Add([]byte("PLpeer"))
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, h, no, err := parseHandshake(b)
		if err != nil {
			require.ErrorIs(t, err, ErrHandshake)
			return
		}
		var again []byte
		if typ == handshakeNo {
			if len(no.detail) > 1024 {
				return // it is cut
			}
			again = appendRefusal(nil, no)
		} else {
			again = appendHello(nil, typ, h)
		}
		require.True(t, bytes.HasPrefix(b, again))
	})
}

func FuzzHead(f *testing.F) {
	f.Add(appendHead(nil, head{7, frameCall, 1, 2, 3}, 100), uint64(7), 1000)
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n"), uint64(0), 10)
	f.Fuzz(func(t *testing.T, b []byte, expected uint64, maxBody int) {
		var in [sizeBytes + headBytes]byte
		copy(in[:], b)
		h, n, err := parseHead(&in, expected, maxBody)
		if err != nil {
			return
		}
		require.True(t, n >= 0 && n <= maxBody)
		require.Equal(t, expected, h.sequence)
		require.Equal(t, in[:], appendHead(nil, h, n))
	})
}

// However a body arrives, it is read whole or not at all, and no more memory is taken than twice what has come.
func FuzzBody(f *testing.F) {
	f.Add(10, 5)
	f.Add(3<<20, 3<<20)
	f.Add(1<<30, 100)
	f.Fuzz(func(t *testing.T, n, come int) {
		if n < 0 || come < 0 || come > 8<<20 {
			return
		}
		b, err := readBody(bufio.NewReader(io.LimitReader(zeros{}, int64(come))), n)
		if n <= come {
			require.NoError(t, err)
			require.Len(t, b.b, n)
			b.give()
			return
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Whatever comes after a handshake, the connection ends with a reason or goes on; nothing hangs, nothing panics.
func FuzzFrames(f *testing.F) {
	f.Add(appendHead(nil, head{1, frameCall, 1, 2, 3}, 0), false)
	f.Add(append(appendHead(nil, head{0, frameMessage, 1, 2, 3}, 3), "abc"...), true)
	f.Add(append(append(appendHead(nil, head{0, frameCall, 1, 2, 3}, 3), "abc"...), appendHead(nil, head{1, frameCancel, 0, 2, 0}, 0)...), true)
	f.Add(append(appendHead(nil, head{0, frameBye, 0, 0, 0}, 3), "abc"...), true)
	f.Fuzz(func(t *testing.T, b []byte, place bool) {
		n := memnet.New()
		ended := make(chan error, 1)
		c := plain(t, n, 2)
		c.Events.Disconnected = func(_ int32, _ string, _ bool, reason error) { ended <- reason }
		e, err := Listen(c)
		require.NoError(t, err)
		defer e.Close()
		conn, err := n.DialContext(context.Background(), "tcp", "node-2:1")
		require.NoError(t, err)
		require.NoError(t, wire.WriteFrame(conn, appendHello(nil, handshakeHello, helloOf(1))))
		answer, err := wire.ReadFrame(conn, handshakeBytes, nil)
		require.NoError(t, err)
		_, them, _, err := parseHandshake(answer)
		require.NoError(t, err)
		next, _ := sequences(helloOf(1).nonce, them.nonce)
		conn.Write(appendHead(nil, head{next, frameReady, 0, 0, 0}, 0))
		go io.Copy(io.Discard, conn)
		if place { // the frames' numbers are made right
			b = bytes.Clone(b)
			for at := 0; at+sizeBytes+headBytes <= len(b); {
				next++
				size := int(uint32(b[at])<<24 | uint32(b[at+1])<<16 | uint32(b[at+2])<<8 | uint32(b[at+3]))
				for i := range 8 {
					b[at+4+i] = byte(next >> (56 - 8*i))
				}
				if size < headBytes || size > len(b) {
					break
				}
				at += sizeBytes + size
			}
		}
		conn.Write(b)
		conn.Close()
		require.Error(t, <-ended)
	})
}
