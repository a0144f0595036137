package wire_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
)

// serving starts a server on a socket, and connects to it.
func serving(t testing.TB, h wire.Handler) net.Conn {
	s, l := wire.NewServer(wire.Config{}), listen(t)
	go s.Serve(l, h)
	t.Cleanup(func() { s.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// fixed answers every request with the same pieces, of which the last are borrowed.
func fixed(head, borrowed []byte) handler {
	return handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
		r := c.Reply()
		r.Buf = append(r.Buf, head...)
		if borrowed != nil {
			r.Pieces = append(r.Pieces, borrowed)
		}
		return r, nil
	}}
}

// trip sends a request and reads its reply, both of known size, and allocates nothing.
func trip(t testing.TB, c net.Conn, request, reply []byte) {
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, reply); err != nil {
		t.Fatal(err)
	}
}

var shapes = []struct {
	name                    string
	request, head, borrowed int
}{
	{"heartbeat", 60, 20, 0},
	{"produce-16KiB", 16 << 10, 60, 0},
	{"produce-1MiB", 1 << 20, 60, 0},
	{"fetch-100B", 120, 100, 170},
	{"fetch-1MiB", 120, 100, 1 << 20},
}

func BenchmarkRequest(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			var borrowed []byte
			if shape.borrowed > 0 {
				borrowed = make([]byte, shape.borrowed)
			}
			c := serving(b, fixed(make([]byte, shape.head), borrowed))
			request, reply := framed(make([]byte, shape.request)), make([]byte, 4+shape.head+shape.borrowed)
			trip(b, c, request, reply)
			b.SetBytes(int64(len(request) + len(reply)))
			b.ReportAllocs()
			for b.Loop() {
				trip(b, c, request, reply)
			}
		})
	}
}

func TestRequestsAllocateNothingInTheSteadyState(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			var borrowed []byte
			if shape.borrowed > 0 {
				borrowed = make([]byte, shape.borrowed)
			}
			c := serving(t, fixed(make([]byte, shape.head), borrowed))
			request, reply := framed(make([]byte, shape.request)), make([]byte, 4+shape.head+shape.borrowed)
			for range 10 {
				trip(t, c, request, reply)
			}
			allocated := testing.AllocsPerRun(200, func() { trip(t, c, request, reply) })
			require.Less(t, allocated, 1.0)
		})
	}
}

const connectionsTo = "PARTLOG_WIRE_CONNECTIONS_TO"

// TestMain makes a child process the clients of BenchmarkIdleConnections: one process cannot have both ends of 10,000.
func TestMain(m *testing.M) {
	if address := os.Getenv(connectionsTo); address != "" {
		os.Exit(beClients(address))
	}
	os.Exit(m.Run())
}

// beClients opens connections, each of which makes some requests, says so, and keeps them until its input ends.
func beClients(address string) int {
	n, _ := strconv.Atoi(os.Args[1])
	request := framed(make([]byte, 60))
	for i := range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			fmt.Println(i, err)
			return 1
		}
		for range 3 {
			c.Write(request)
			if _, err := wire.ReadFrame(c, 1<<20, nil); err != nil {
				fmt.Println(i, err)
				return 1
			}
		}
		defer c.Close()
	}
	fmt.Println("connected")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// BenchmarkIdleConnections reports the memory of a connection between two requests: what the process has from the system
// for heap and stacks, and what of that is in use. Its handler goes as deep into the stack as a real one.
func BenchmarkIdleConnections(b *testing.B) {
	const n = 9_000
	deep := handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
		if sink := descend(40); sink == 0 {
			return nil, io.EOF
		}
		return echo(c, frame), nil
	}}
	for b.Loop() {
		s, l := wire.NewServer(wire.Config{}), listen(b)
		go s.Serve(l, deep)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		clients := exec.Command(os.Args[0], strconv.Itoa(n))
		clients.Env = append(os.Environ(), connectionsTo+"="+l.Addr().String())
		in, err := clients.StdinPipe()
		require.NoError(b, err)
		out, err := clients.StdoutPipe()
		require.NoError(b, err)
		require.NoError(b, clients.Start())
		said := make([]byte, 100)
		k, err := out.Read(said)
		require.NoError(b, err)
		if string(said[:k]) != "connected\n" {
			b.Skipf("this system does not let a process have %d connections: %s", n, said[:k])
		}
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/n, "B/conn-at-once")
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-B/conn")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/n, "stack-B/conn")
		require.Equal(b, n, s.Stats().Connections)
		in.Close()
		require.NoError(b, clients.Wait())
		require.NoError(b, s.Close())
	}
}

//go:noinline
func descend(depth int) byte {
	var frame [128]byte
	if depth == 0 {
		return 1
	}
	binary.BigEndian.PutUint32(frame[:], uint32(depth))
	return descend(depth-1) | frame[0]
}
