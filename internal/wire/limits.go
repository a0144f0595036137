package wire

import (
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Limits protect a Server. In each field zero is the default and a negative value is no limit.
type Limits struct {
	// Connections open at a time over all listeners of the Server; at the limit it accepts none until one ends, as
	// Kafka's max.connections. Default: none.
	Connections int
	// PerAddress limits connections from one IP address (max.connections.per.ip), Overrides for some of them
	// (max.connections.per.ip.overrides). Above it a connection is closed at once. Default: none.
	PerAddress int
	Overrides  map[netip.Addr]int
	// Rate of new connections per second (max.connection.creation.rate), with bursts of a second's worth; above it the
	// accept loops wait. Default: none.
	Rate float64
	// MaxFrame is the largest request in bytes (socket.request.max.bytes). Default: 100 MiB.
	MaxFrame int32
	// MaxFrameUnadmitted is the largest before Conn.Admit (sasl.server.max.receive.size). Default: 512 KiB.
	MaxFrameUnadmitted int32
	// Idle is how long a connection may stay without a request (connections.max.idle.ms), by Config.Clock. Default:
	// 10 min.
	Idle time.Duration
	// Handshake is the time from accepting to Conn.Admit, TLS included. Default: 30 s.
	Handshake time.Duration
	// SlowFrame is the time for a frame to arrive from its first byte on, and SlowReply for the peer to take a reply; both
	// get a second for every 64 KiB besides. Default: 30 s.
	SlowFrame, SlowReply time.Duration
	// Memory in bytes for frames and replies of all connections, where Config.Budget is nil. Default: 512 MiB.
	Memory int64
}

func (l Limits) withDefaults() Limits {
	defaults(&l.Connections, 0, math.MaxInt)
	defaults(&l.PerAddress, 0, math.MaxInt)
	defaults(&l.MaxFrame, 100<<20, math.MaxInt32)
	defaults(&l.MaxFrameUnadmitted, 512<<10, math.MaxInt32)
	defaults(&l.Idle, 10*time.Minute, 0)
	defaults(&l.Handshake, 30*time.Second, 0)
	defaults(&l.SlowFrame, 30*time.Second, 0)
	defaults(&l.SlowReply, 30*time.Second, 0)
	defaults(&l.Memory, 512<<20, math.MaxInt64)
	if l.Connections == 0 {
		l.Connections = math.MaxInt
	}
	if l.PerAddress == 0 {
		l.PerAddress = math.MaxInt
	}
	l.MaxFrameUnadmitted = min(l.MaxFrameUnadmitted, l.MaxFrame)
	return l
}

// defaults puts value into a field that is zero, and none into one that is negative.
func defaults[T int | int32 | int64 | time.Duration](field *T, value, none T) {
	if *field == 0 {
		*field = value
	} else if *field < 0 {
		*field = none
	}
}

// minRate is what the slowest peer that is served may send or read in a second.
const minRate = 64 << 10

// Config of a Server; its zero value is valid. The functions may be called by several goroutines at a time, must return
// soon, and may be nil.
type Config struct {
	Limits Limits
	// Budget is shared by several Servers; nil is one of Limits.Memory for this one.
	Budget *Budget
	// Clock governs what users may want to move by hand: Limits.Idle, Limits.Rate and Reply.MuteFor. Limits of I/O
	// follow the system's clock. Default: clock.System.
	Clock clock.Clock
	// Quota is asked for every connection after Limits.PerAddress: it is closed after wait if err is not nil, and served
	// after wait otherwise. Others do not wait meanwhile.
	Quota func(remote net.Addr) (wait time.Duration, err error)
	// Opened is called when a connection has got its Session, Closed after that Session's Close. Refused is called for
	// connections that ended without one: above Limits.PerAddress, by Quota, by a TLS handshake that failed or took too long, by
	// the Handler's Open.
	Opened  func(c *Conn)
	Closed  func(c *Conn, reason error)
	Refused func(remote net.Addr, reason error)
	// AcceptFailed is called when Accept fails but the accept loop goes on, such as when the process has no file
	// descriptor left.
	AcceptFailed func(l net.Listener, err error)
}

func (c Config) withDefaults() Config {
	c.Limits = c.Limits.withDefaults()
	if c.Clock == nil {
		c.Clock = clock.System
	}
	if c.Budget == nil {
		c.Budget = NewBudget(c.Limits.Memory)
	}
	if c.Opened == nil {
		c.Opened = func(*Conn) {}
	}
	if c.Closed == nil {
		c.Closed = func(*Conn, error) {}
	}
	if c.Refused == nil {
		c.Refused = func(net.Addr, error) {}
	}
	if c.AcceptFailed == nil {
		c.AcceptFailed = func(net.Listener, error) {}
	}
	return c
}
