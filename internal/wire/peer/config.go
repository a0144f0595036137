package peer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Window is how much one end of a connection takes before it has answered.
type Window struct {
	Calls int   // at a time
	Bytes int64 // of their bodies; one call of any size is always taken
}

// Limits of an Endpoint. In each field zero is the default.
type Limits struct {
	MaxFrame       int           // largest body of a call, message or answer, in bytes; default 64 MiB
	Window         Window        // of each connection; default 1024 calls, 64 MiB
	QueuedMessages int           // per peer; beyond it the oldest is dropped; default 4096
	QueuedBytes    int64         // the same, in bytes; default 64 MiB
	Connections    int           // accepted and admitted ones at a time; default 1024
	Handshakes     int           // accepted ones that are not admitted yet; default 64
	Handshake      time.Duration // from dialling or accepting to the end of the handshake; default 5 s
	Ping           time.Duration // when nothing has come for so long, a ping is sent; default 500 ms
	Silence        time.Duration // a connection without a sign of life ends after this; default 3 s
	Stalled        time.Duration // a write that does not end in this ends the connection; default 10 s
	Probe          time.Duration // how long a process may take to show that it is alive, when another claims its id; default 1 s
	MinBackoff     time.Duration // between attempts to connect; doubles, half of it is drawn; default 20 ms
	MaxBackoff     time.Duration // default 1 s
	Close          time.Duration // for what is still to be written when the Endpoint closes; default 2 s
}

func (l Limits) withDefaults() Limits {
	or(&l.MaxFrame, 64<<20)
	or(&l.Window.Calls, 1024)
	or(&l.Window.Bytes, 64<<20)
	or(&l.QueuedMessages, 4096)
	or(&l.QueuedBytes, 64<<20)
	or(&l.Connections, 1024)
	or(&l.Handshakes, 64)
	or(&l.Handshake, 5*time.Second)
	or(&l.Ping, 500*time.Millisecond)
	or(&l.Silence, 3*time.Second)
	or(&l.Stalled, 10*time.Second)
	or(&l.Probe, time.Second)
	or(&l.MinBackoff, 20*time.Millisecond)
	or(&l.MaxBackoff, time.Second)
	or(&l.Close, 2*time.Second)
	return l
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Config of an Endpoint. Identity and either TLS or Plaintext are needed.
type Config struct {
	Identity Identity
	// Epoch returns the node's broker epoch at the time of a handshake; nil: Identity.Epoch.
	Epoch func() int64
	// FeatureLevel returns the cluster's feature level, 0 if it is not known yet; nil: not known. A node whose code ends below it is refused.
	FeatureLevel func() int16
	// Admit is asked last, about both whom we dialled and who dialled us; its error is sent as the detail of ErrNotAdmitted.
	// nil: all are.
	Admit func(Identity) error
	// Listener accepts peers; nil: this node only dials.
	Listener net.Listener
	// Dial makes connections; default: net.Dialer's DialContext.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is the node's certificate and whom it trusts.
	TLS *TLS
	// Plaintext allows connections without TLS, on loopback addresses only.
	Plaintext bool
	// Handler answers; nil refuses every call and ignores messages.
	Handler Handler
	Limits  Limits
	// Clock is where all time comes from; default the system's.
	Clock clock.Clock
	// Seed of the jitter; default: drawn.
	Seed   uint64
	Events Events
}

// Handler answers calls and takes messages. A panic of it ends the connection, not the process.
type Handler interface {
	// Call answers a call of the node from, on a goroutine of its own. body is valid until the answer has been written. ctx ends when the
	// caller waits no more, or the connection or the Endpoint ends; Call must return soon after. An error is sent as its text, and PeerCode
	// if it is Coded.
	Call(ctx context.Context, from int32, kind uint8, body []byte) (Reply, error)
	// Message takes a one-way message, in the order in which they were sent, on the goroutine that reads the connection: it must return at
	// once. body is valid until then.
	Message(from int32, kind uint8, body []byte)
}

// Reply is the answer to a call.
type Reply struct {
	// Pieces are written one after the other, as one body, and not copied if they are large.
	Pieces [][]byte
	// Release, if not nil, is called exactly once, when nobody reads Pieces any more.
	Release func()
}

// Events are called when something happens; any may be nil. They may be called by several goroutines at a time and must
// return soon.
type Events struct {
	// Connected: a connection is open to, or (accepted) from, a node.
	Connected func(remote Identity, address string, accepted bool)
	// Disconnected: it has ended.
	Disconnected func(node int32, address string, accepted bool, reason error)
	// Refused: a handshake ended with a no, on either side. The same refusal is told again with each attempt to connect.
	Refused func(err *RefusedError)
	// Unreachable: an attempt to connect to a node failed before there was a handshake.
	Unreachable func(node int32, address string, err error)
}

func (e Events) withDefaults() Events {
	if e.Connected == nil {
		e.Connected = func(Identity, string, bool) {}
	}
	if e.Disconnected == nil {
		e.Disconnected = func(int32, string, bool, error) {}
	}
	if e.Refused == nil {
		e.Refused = func(*RefusedError) {}
	}
	if e.Unreachable == nil {
		e.Unreachable = func(int32, string, error) {}
	}
	return e
}

func (c Config) withDefaults() Config {
	c.Limits, c.Events = c.Limits.withDefaults(), c.Events.withDefaults()
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Epoch == nil {
		epoch := c.Identity.Epoch
		c.Epoch = func() int64 { return epoch }
	}
	if c.FeatureLevel == nil {
		c.FeatureLevel = func() int16 { return 0 }
	}
	if c.Admit == nil {
		c.Admit = func(Identity) error { return nil }
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Handler == nil {
		c.Handler = nobody{}
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Identity.NodeID < 0:
		return fmt.Errorf("peer: node id %d is negative", c.Identity.NodeID)
	case c.Identity.ClusterID == "" || len(c.Identity.ClusterID) > 255:
		return fmt.Errorf("peer: cluster id of %d bytes, where 1 to 255 are taken", len(c.Identity.ClusterID))
	case c.TLS == nil && !c.Plaintext:
		return fmt.Errorf("peer: neither TLS nor Plaintext")
	case c.TLS != nil && c.Plaintext:
		return fmt.Errorf("peer: both TLS and Plaintext")
	case c.Listener != nil && c.Plaintext && !loopback(c.Listener.Addr()):
		return fmt.Errorf("peer: %v is not a loopback address, and Plaintext is for those only", c.Listener.Addr())
	}
	return nil
}

// loopback reports whether only this machine reaches an address; networks in memory are in this process even.
func loopback(a net.Addr) bool {
	if a == nil || a.Network() == "mem" || a.Network() == "pipe" {
		return a != nil
	}
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

type nobody struct{}

func (nobody) Call(context.Context, int32, uint8, []byte) (Reply, error) {
	return Reply{}, fmt.Errorf("nobody answers calls here")
}

func (nobody) Message(int32, uint8, []byte) {}
