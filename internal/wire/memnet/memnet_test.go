package memnet_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire/memnet"
)

func connect(t *testing.T) (client, server net.Conn) {
	n := memnet.New()
	l, err := n.Listen("broker-1:0")
	require.NoError(t, err)
	client, err = n.DialContext(context.Background(), "tcp", l.Addr().String())
	require.NoError(t, err)
	server, err = l.Accept()
	require.NoError(t, err)
	require.Equal(t, client.RemoteAddr(), server.LocalAddr())
	require.Equal(t, server.RemoteAddr(), client.LocalAddr())
	return client, server
}

func TestBytesArriveInOrderHoweverTheyAreCut(t *testing.T) {
	client, server := connect(t)
	sent := make([]byte, 1<<20+17)
	for i := range sent {
		sent[i] = byte(i * 31 >> 3)
	}
	go func() {
		for p := sent; len(p) > 0; {
			n := min(len(p), 1+len(p)%9973)
			client.Write(p[:n])
			p = p[n:]
		}
		client.Close()
	}()
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	require.True(t, bytes.Equal(sent, got))
}

func TestWritesOfSeveralGoroutinesAreNotMixed(t *testing.T) {
	client, server := connect(t)
	const size = 200 << 10
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			n, err := client.Write(bytes.Repeat([]byte{byte(i)}, size))
			if n != size || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
		})
	}
	go func() { writers.Wait(); client.Close() }()
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	require.Len(t, got, 4*size)
	for i := range 4 {
		part := got[i*size : (i+1)*size]
		require.True(t, bytes.Equal(part, bytes.Repeat(part[:1], size)))
	}
}

func TestAWriterWaitsForTheReaderWhenTheBufferIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t)
		wrote := make(chan int, 1)
		go func() {
			n, _ := client.Write(make([]byte, 1<<20))
			wrote <- n
		}()
		synctest.Wait()
		require.Empty(t, wrote)
		got, err := io.ReadAll(io.LimitReader(server, 1<<20))
		require.NoError(t, err)
		require.Len(t, got, 1<<20)
		require.Equal(t, 1<<20, <-wrote)
	})
}

func TestDeadlinesEndWaitingAndCanBeLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t)
		start := time.Now()
		client.SetReadDeadline(start.Add(time.Minute))
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
		require.Equal(t, time.Minute, time.Since(start))
		server.Write([]byte("x"))
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it stays")
		client.SetReadDeadline(time.Time{})
		n, err := client.Read(make([]byte, 1))
		require.Equal(t, 1, n)
		require.NoError(t, err)
		client.SetDeadline(start.Add(time.Hour))
		n, err = client.Write(make([]byte, 1<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 64<<10, n)
		require.Equal(t, time.Hour, time.Since(start))
		client.SetWriteDeadline(start)
		_, err = client.Write([]byte("x"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestClosingEndsBothSidesAsSocketsDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t)
		client.Write([]byte("last words"))
		mine := make(chan error, 1)
		go func() {
			_, err := client.Read(make([]byte, 1))
			mine <- err
		}()
		synctest.Wait()
		require.NoError(t, client.Close())
		require.ErrorIs(t, <-mine, net.ErrClosed)
		_, err := client.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		got, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "last words", string(got))
		_, err = server.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.NoError(t, client.Close(), "again")
	})
}

func TestHalfAConnectionCanBeClosed(t *testing.T) {
	client, server := connect(t)
	client.Write([]byte("question"))
	require.NoError(t, client.(*memnet.Conn).CloseWrite())
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	require.Equal(t, "question", string(got))
	server.Write([]byte("answer"))
	server.Close()
	got, err = io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "answer", string(got))
}

func TestDialingNeedsAListener(t *testing.T) {
	n := memnet.New()
	dial := func() error {
		_, err := n.DialContext(context.Background(), "tcp", "b:9092")
		return err
	}
	require.ErrorIs(t, dial(), syscall.ECONNREFUSED)
	l, err := n.Listen("b:9092")
	require.NoError(t, err)
	_, err = n.Listen("b:9092")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.NoError(t, dial())
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, dial(), syscall.ECONNREFUSED)
	again, err := n.Listen("b:9092")
	require.NoError(t, err)
	require.NoError(t, again.Close())
	_, err = n.Listen("no port")
	require.Error(t, err)
}

func TestAFullBacklogMakesDialersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l, err := n.Listen("b:1")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var dialed []net.Conn
		for {
			var c net.Conn
			if c, err = n.DialContext(ctx, "tcp", "b:1"); err != nil {
				break
			}
			dialed = append(dialed, c)
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, l.Close())
		for _, c := range dialed { // never accepted: their peer is gone
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
	})
}
