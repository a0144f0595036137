package peer

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// loopbackPair are nodes 1 and 2 on real sockets.
func loopbackPair(b *testing.B, secured bool, h Handler) *Peer {
	a := authority(b)
	config := func(node int32) Config {
		c := Config{Identity: identity(node), Plaintext: !secured, Handler: h}
		if secured {
			c.TLS = issue(b, a, testCluster, node)
		}
		return c
	}
	two := config(2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	two.Listener = l
	listen(b, two)
	one := listen(b, config(1))
	one.SetPeer(2, l.Addr().String())
	require.NoError(b, one.Peer(2).Wait(b.Context()))
	return one.Peer(2)
}

func BenchmarkCalls(b *testing.B) {
	for _, secured := range []bool{false, true} {
		p := loopbackPair(b, secured, &echo{call: func(_ context.Context, _ int32, _ uint8, body []byte) (Reply, error) {
			return Reply{Pieces: [][]byte{body}}, nil
		}})
		body := []byte(strings.Repeat("x", 100))
		b.Run(name(secured)+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Call(b.Context(), 0, body, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name(secured)+"/many", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := p.Call(b.Context(), 0, body, nil); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkBulk(b *testing.B) {
	piece := make([]byte, 1<<20)
	for _, secured := range []bool{false, true} {
		p := loopbackPair(b, secured, &echo{call: func(context.Context, int32, uint8, []byte) (Reply, error) {
			return Reply{Pieces: [][]byte{piece[:100], piece}}, nil
		}})
		b.Run(name(secured), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(1 << 20)
			b.SetParallelism(2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := p.Call(b.Context(), 0, nil, func(got []byte) error { _ = got[len(got)-1]; return nil }); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func name(secured bool) string {
	if secured {
		return "tls"
	}
	return "plain"
}
