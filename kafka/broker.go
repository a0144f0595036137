package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

// Broker is one broker of a Server: a node id, a rack and listeners over the server's store.
type Broker struct {
	server     *Server
	id         int32
	rack       *string
	properties map[string]string
	settings   atomic.Pointer[settings]
	listeners  []*listener
	running    atomic.Bool

	// Guarded by Server.mu.
	wire      *wire.Server    // nil when stopped
	waiting   context.Context // of what waits for other nodes; ends before the connections do
	giveUp    context.CancelFunc
	accepting sync.WaitGroup
}

// listener is one address of a broker.
type listener struct {
	broker *Broker
	config ListenerConfig
	name   string
	host   string // advertised
	port   int32

	security securityOf
}

// endpoint is where clients of one listener's name find a broker.
type endpoint struct {
	id   int32
	host string
	port int32
	rack *string
}

// ID returns the node id.
func (b *Broker) ID() int32 { return b.id }

// Rack returns the rack, empty if there is none.
func (b *Broker) Rack() string {
	if b.rack == nil {
		return ""
	}
	return *b.rack
}

// Addr returns the advertised host and port of the listener of that name, of the first one if it is empty; false if there
// is none.
func (b *Broker) Addr(name string) (host string, port int32, ok bool) {
	for _, l := range b.listeners {
		if name == "" || l.name == name {
			return l.host, l.port, true
		}
	}
	return "", 0, false
}

// endpoint returns where clients that speak to the listener of that name find b; nil if it has none such.
func (b *Broker) endpoint(name string) *endpoint {
	for _, l := range b.listeners {
		if l.name == name {
			return &endpoint{b.id, l.host, l.port, b.rack}
		}
	}
	return nil
}

// brokers returns all brokers, stopped ones included, by id: of a node, those of the cluster. The slice is not to be changed.
func (s *Server) brokers() []*Broker {
	if s.node != nil {
		return s.node.brokers()
	}
	return s.ownBrokers()
}

// ownBrokers are those with listeners here, by id.
func (s *Server) ownBrokers() []*Broker { return *s.members.Load() }

// broker returns the broker of that id, or nil.
func (s *Server) brokerByID(id int32) *Broker {
	for _, b := range s.brokers() {
		if b.id == id {
			return b
		}
	}
	return nil
}

// alive returns the brokers that run, by id.
func (s *Server) alive() []*Broker {
	all := s.brokers()
	if !slices.ContainsFunc(all, func(b *Broker) bool { return !b.running.Load() }) {
		return all
	}
	var out []*Broker
	for _, b := range all {
		if b.running.Load() {
			out = append(out, b)
		}
	}
	return out
}

// controller is the broker that clients send changes of topics to: the first that runs, -1 if none does.
func (s *Server) controller() int32 {
	if s.node != nil {
		return s.node.controller()
	}
	if bs := s.alive(); len(bs) > 0 {
		return bs[0].id
	}
	return -1
}

// newBroker checks a configuration and makes a broker that does not run yet.
func (s *Server) newBroker(c BrokerConfig) (*Broker, error) {
	b := &Broker{server: s, id: c.ID, properties: c.Properties}
	if c.Rack != "" {
		b.rack = &c.Rack
	}
	if len(c.Listeners) == 0 {
		return nil, &partition.ConfigError{Key: "listeners", Value: "", Range: "at least one"}
	}
	set := s.settings.Load()
	if len(c.Properties) > 0 {
		all := maps.Clone(s.config.Properties)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, c.Properties)
		var warnings []Warning
		var err error
		if set, warnings, err = parseProperties(all); err != nil {
			return nil, err
		}
		if err := s.warn(warnings); err != nil {
			return nil, err
		}
	}
	if s.hasDynamic(b) {
		set = s.inForce(b)
	}
	b.settings.Store(set)
	names := map[string]bool{}
	for _, lc := range c.Listeners {
		host, port, err := lc.check(s.config.AllowPlaintext)
		if err != nil {
			return nil, err
		}
		if names[lc.Name] {
			return nil, &partition.ConfigError{Key: "listeners", Value: lc.Name, Range: "a name of its own for each listener"}
		}
		names[lc.Name] = true
		l := &listener{broker: b, config: lc, name: lc.Name, host: host, port: port}
		if err := l.secure(set); err != nil {
			return nil, err
		}
		b.listeners = append(b.listeners, l)
	}
	return b, nil
}

// serve takes connections on all listeners.
func (b *Broker) serve() {
	b.wire = wire.NewServer(b.wireConfig())
	b.waiting, b.giveUp = context.WithCancel(context.Background())
	for _, l := range b.listeners {
		socket := l.config.Listener
		if l.config.TLS != nil {
			socket = tls.NewListener(socket, l.config.TLS)
		}
		b.accepting.Go(func() {
			err := b.wire.Serve(socket, l)
			if f := b.server.config.Events.ListenerFailed; f != nil && err != nil && b.running.Load() {
				f(b.id, l.name, err)
			}
		})
	}
}

// wireConfig has Kafka's limits of connections and frames.
func (b *Broker) wireConfig() wire.Config {
	set, events := b.settings.Load(), &b.server.config.Events
	overrides := map[netip.Addr]int{}
	for host, n := range set.maxConnectionsPerIPOverride {
		if a, err := netip.ParseAddr(host); err == nil {
			overrides[a] = n
		}
	}
	c := wire.Config{
		Limits: wire.Limits{
			Connections:        unlimitedAt(set.maxConnections),
			PerAddress:         unlimitedAt(set.maxConnectionsPerIP),
			Overrides:          overrides,
			Rate:               float64(unlimitedAt(set.maxConnectionCreationRate)),
			MaxFrame:           set.requestMaxBytes,
			MaxFrameUnadmitted: set.saslMaxReceiveBytes,
			Idle:               set.connectionsMaxIdle,
		},
		Budget: b.server.memory,
		Clock:  b.server.clock,
		Quota: func(remote net.Addr) (time.Duration, error) {
			return b.server.guard.connection(b.settings.Load(), remote)
		},
	}
	if f := events.ConnectionRefused; f != nil {
		c.Refused = func(remote net.Addr, reason error) { f(b.id, "", remote.String(), reason) }
	}
	return c
}

// unlimitedAt turns Kafka's largest int, which means no limit, into wire's.
func unlimitedAt(n int) int {
	if n >= math.MaxInt32 || n < 0 {
		return -1
	}
	return n
}

// halt ends listeners and connections, after before, if there is one.
func (b *Broker) halt(before func(*wire.Server) error) error {
	b.running.Store(false)
	if b.wire == nil {
		return nil
	}
	var err error
	if before != nil {
		err = before(b.wire)
	}
	b.giveUp()
	err = errors.Join(err, b.wire.Close())
	b.accepting.Wait()
	b.wire = nil
	return err
}

// Stop stops the broker as if its process had ended: its connections are closed, it leaves the in-sync replicas, and what
// it led is led by other replicas, or by nobody if there are none. Start opens it again. It waits for the connections, and so
// must not be called by an Interceptor or from Events.
func (b *Broker) Stop() error {
	s := b.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !b.running.Load() {
		return nil
	}
	err := b.halt(nil)
	return errors.Join(err, s.layout.brokerStopped(context.Background(), b.id))
}

// Start opens a stopped broker again, on its own addresses or on the listeners given, one for each that it was configured
// with. Errors: of listening, ErrClosed.
func (b *Broker) Start(listeners ...net.Listener) error {
	s := b.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.brokerByID(b.id) != b {
		return ErrClosed
	}
	if b.running.Load() {
		return nil
	}
	if len(listeners) != 0 && len(listeners) != len(b.listeners) {
		return &partition.ConfigError{Key: "listeners", Value: strconv.Itoa(len(listeners)), Range: strconv.Itoa(len(b.listeners)) + ", as before"}
	}
	for i, l := range b.listeners {
		if len(listeners) > 0 {
			l.config.Listener = listeners[i]
			continue
		}
		old := l.config.Listener.Addr()
		socket, err := listenAgain(old, func() {
			over := make(chan struct{})
			clock.System.AfterFunc(50*time.Millisecond, func() { close(over) })
			<-over
		})
		if err != nil {
			for _, opened := range b.listeners[:i] {
				opened.config.Listener.Close()
			}
			return err
		}
		l.config.Listener = socket
	}
	b.running.Store(true)
	if err := s.layout.brokerStarted(context.Background(), b.id); err != nil {
		b.running.Store(false)
		for _, l := range b.listeners {
			l.config.Listener.Close()
		}
		return err
	}
	b.serve()
	return nil
}

// listenAgain listens where a listener was before. The port may be taken for a moment: a client that connects to a port above
// 32768 on this machine while nobody listens may be given that very port as its own, and then be connected to itself. pause is
// between tries.
func listenAgain(a net.Addr, pause func()) (net.Listener, error) {
	for tries := 0; ; tries++ {
		l, err := net.Listen(a.Network(), a.String())
		if err == nil || tries == 100 || !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		pause()
	}
}
