package kafka

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// bound is a listener that only has an address.
type bound struct{ addr net.Addr }

func (b bound) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (b bound) Close() error              { return nil }
func (b bound) Addr() net.Addr            { return b.addr }

type memoryAddr string

func (memoryAddr) Network() string  { return "memory" }
func (a memoryAddr) String() string { return string(a) }

// Plaintext is for loopback addresses and memory, unless somebody says otherwise; what clients are told has to be an address
// that they can connect to.
func TestListenersAreCheckedAndAdvertised(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 9092} }
	for _, c := range []struct {
		name string
		l    ListenerConfig
		open bool
		host string
		port int32 // 0: refused
	}{
		{"loopback", ListenerConfig{Listener: bound{tcp("127.0.0.1")}}, false, "127.0.0.1", 9092},
		{"loopback 6", ListenerConfig{Listener: bound{tcp("::1")}}, false, "::1", 9092},
		{"memory", ListenerConfig{Listener: bound{memoryAddr("double")}}, false, "double", 9092},
		{"the world in plaintext", ListenerConfig{Listener: bound{tcp("10.0.0.1")}}, false, "", 0},
		{"passwords in plaintext", ListenerConfig{Listener: bound{tcp("10.0.0.1")}, Protocol: SASLPlaintext}, false, "", 0},
		{"the world, on purpose", ListenerConfig{Listener: bound{tcp("10.0.0.1")}}, true, "10.0.0.1", 9092},
		{"the world with TLS", ListenerConfig{Listener: bound{tcp("10.0.0.1")}, Protocol: TLS, TLS: &tls.Config{}}, false, "10.0.0.1", 9092},
		{"TLS without keys", ListenerConfig{Listener: bound{tcp("127.0.0.1")}, Protocol: SASLTLS}, false, "", 0},
		{"keys without TLS", ListenerConfig{Listener: bound{tcp("127.0.0.1")}, TLS: &tls.Config{}}, false, "", 0},
		{"every address", ListenerConfig{Listener: bound{tcp("0.0.0.0")}}, true, "", 0},
		{"every address, advertised", ListenerConfig{Listener: bound{tcp("0.0.0.0")}, Advertised: "kafka.example:19092"}, true, "kafka.example", 19092},
		{"another name, the same port", ListenerConfig{Listener: bound{tcp("127.0.0.1")}, Advertised: "localhost:0"}, false, "localhost", 9092},
		{"no port", ListenerConfig{Listener: bound{tcp("127.0.0.1")}, Advertised: "localhost"}, false, "", 0},
		{"no host", ListenerConfig{Listener: bound{tcp("127.0.0.1")}, Advertised: ":9092"}, false, "", 0},
		{"a port too large", ListenerConfig{Listener: bound{tcp("127.0.0.1")}, Advertised: "localhost:70000"}, false, "", 0},
		{"no listener", ListenerConfig{}, false, "", 0},
		{"no such protocol", ListenerConfig{Listener: bound{tcp("127.0.0.1")}, Protocol: 9}, false, "", 0},
	} {
		host, port, err := c.l.check(c.open)
		if c.port == 0 {
			require.ErrorIs(t, err, partition.ErrInvalidConfig, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		require.Equal(t, []any{c.host, c.port}, []any{host, port}, c.name)
	}
}

func TestBrokersAreChecked(t *testing.T) {
	onOneStore(t, "a node's server has one broker")
	r := newRig(t, 1, Config{})
	_, err := r.server.AddBroker(BrokerConfig{ID: 1, Listeners: []ListenerConfig{{Listener: bound{memoryAddr("m")}}}})
	require.ErrorIs(t, err, ErrBrokerIDInUse)
	for name, c := range map[string]BrokerConfig{
		"no listener":    {},
		"a negative id":  {ID: -3, Listeners: []ListenerConfig{{Listener: bound{memoryAddr("m")}}}},
		"one name twice": {Listeners: []ListenerConfig{{Listener: bound{memoryAddr("m")}}, {Listener: bound{memoryAddr("n")}}}},
	} {
		_, err := r.server.AddBroker(c)
		require.ErrorIs(t, err, partition.ErrInvalidConfig, name)
	}
	_, err = New(nil, Config{})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	require.Len(t, r.server.Brokers(), 1)
}
