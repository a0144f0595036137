package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// pipes is a network in memory.
type pipes struct {
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return memoryAddr("memory:1") }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.accept <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// A listener may be anything, also a network in memory: no socket, no writev.
func TestKgoOverANetworkInMemory(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	network := &pipes{accept: make(chan net.Conn), done: make(chan struct{})}
	s, err := Serve(network, store, Config{})
	require.NoError(t, err)
	defer s.Close()
	roundTripKgo(t, "memory:1", kgo.Dialer(network.dial))
}

// roundTripKgo produces some records and reads them back.
func roundTripKgo(t *testing.T, addr string, opts ...kgo.Opt) {
	t.Helper()
	ctx := eventually(t)
	c := kgoClient(t, addr, append(opts, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	value := string(make([]byte, 100_000))
	for range 20 {
		require.NoError(t, c.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr())
	}
	for n := 0; n < 20; {
		fs := c.PollFetches(ctx)
		require.NoError(t, ctx.Err())
		fs.EachRecord(func(r *kgo.Record) {
			require.Equal(t, value, string(r.Value))
			n++
		})
	}
	c.Close()
}

// With TLS records are copied before they are encrypted, and are the same.
func TestKgoOverTLS(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	s, err := New(store, Config{})
	require.NoError(t, err)
	defer s.Close()
	l := listen(t)
	cert, roots := certificate(t, pkix.Name{CommonName: "broker"})
	_, err = s.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Protocol: TLS, Listener: l, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}}})
	require.NoError(t, err)
	roundTripKgo(t, l.Addr().String(), kgo.DialTLSConfig(&tls.Config{RootCAs: roots}))
}

// Kafka's limits of connections and frames are the listener's.
func TestLimitsOfConnectionsAreKafkas(t *testing.T) {
	refused, closed := make(chan error, 10), make(chan error, 10)
	_, _, addr := serveMemory(t, Config{
		Properties: map[string]string{"max.connections.per.ip": "1", "socket.request.max.bytes": "1000"},
		Events: Events{
			ConnectionRefused: func(_ int32, _ string, _ string, reason error) { refused <- reason },
			ConnectionClosed:  func(_ int32, _ string, _ ConnInfo, reason error) { closed <- reason },
		},
	})
	first := dialRaw(t, addr)
	first.send(1, 9, kmsg.NewPtrMetadataRequest())
	meta := kmsg.NewPtrMetadataResponse()
	meta.SetVersion(9)
	first.receive(meta)

	_, err := io.ReadAll(dialRaw(t, addr))
	_ = err // io.EOF or a reset, as the system likes
	require.ErrorIs(t, <-refused, ErrTooManyConnections)

	first.Write([]byte{0, 0, 0x03, 0xe9})
	_, err = first.Read(make([]byte, 1))
	require.Error(t, err)
	size := new(FrameSizeError)
	require.ErrorAs(t, <-closed, &size)
	require.Equal(t, []int32{1001, 1000}, []int32{size.Size, size.Max})
}

// A name that Kafka does not know is an error, unless it is welcome.
func TestUnknownPropertiesAreErrors(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	props := map[string]string{"auto.creat.topics.enable": "true"}
	_, err = New(store, Config{Properties: props})
	bad := new(PropertyError)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "auto.creat.topics.enable", bad.Name)
	var warned []string
	s, err := New(store, Config{Properties: props, UnknownProperties: true, Events: Events{Warning: func(w Warning) { warned = append(warned, w.Property) }}})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Equal(t, []string{"auto.creat.topics.enable"}, warned)
}
