package replication

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// TLS is a node's certificate and whom it trusts; see DevelopmentCA.
type TLS = peer.TLS

// Peer is a node and where it listens for peers.
type Peer struct {
	NodeID  int32
	Address string // host:port
}

// Listener is an address for clients, which the cluster's metadata tells them (kafka.Serve listens there).
type Listener struct {
	Name     string // PLAINTEXT, SSL, ...
	Protocol int16  // Kafka's security protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
	Host     string
	Port     uint16
}

// Config of a Node. NodeID, one of Listen and Listener, and one of TLS and Plaintext are needed.
type Config struct {
	// Dir is the store's directory; that of an embedded store becomes the first node's of a new cluster as it is. "" keeps
	// everything in memory.
	Dir string
	// NodeID is the node's number, Kafka's broker id: 0 or more, the same as long as the directory lives, and no other node's.
	NodeID int32
	// ClusterID is the cluster's (22 letters, as Kafka's); it is written to a new directory, and must be that of an old one. "": what the
	// directory says, or, with Bootstrap, a new one.
	ClusterID string
	// Listen is where other nodes reach this one, host:port.
	Listen string
	// Listener is instead of Listen; it belongs to the Node.
	Listener net.Listener
	// Advertise is the address that other nodes are told; default: the listener's.
	Advertise string
	// Dial makes connections to other nodes; default: net.Dialer's DialContext.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Peers are other nodes. A node that joins needs one that is up; the others are learned.
	Peers []Peer
	// Bootstrap makes a new cluster of which this is the first node, unless the directory belongs to one already.
	Bootstrap bool
	// FeatureLevel is that of a new cluster, with Bootstrap: a lower one lets nodes of older programs join. Default: the highest that this program knows.
	// SetFeatureLevel raises it later.
	FeatureLevel int16
	// Join makes this node one more of the cluster that Peers are of, unless the directory belongs to one already.
	Join bool
	// Servers are addresses of nodes whose ids are not known (controller.quorum.bootstrap.servers): beside Peers, or instead.
	Servers []string
	// Observer keeps the node from becoming a voter of the controller quorum by itself: it observes until AddVoter. Without, it becomes a
	// voter when it has caught up.
	Observer bool
	// ControllerOnly makes a node that takes part in the quorum and keeps no replicas (process.roles=controller): partitions are not placed on
	// it, and there is nothing for clients to connect to. Its operations do what they do on any node whose peers lead the partitions. A broker
	// becomes one only when it has no replicas left.
	ControllerOnly bool
	// Rack spreads replicas, and lets consumers read from a near one (broker.rack).
	Rack string
	// Listeners are told to clients.
	Listeners []Listener
	// TLS is how peers know each other.
	TLS *TLS
	// Plaintext allows peers without TLS, on loopback addresses only.
	Plaintext bool
	// Store holds the settings of the node's store, its clock and file system among them.
	Store partition.Config
	// Clock is that of sessions, elections and fetches between nodes; default: Store.Clock. Tests let it run while time stands still in the stores.
	Clock partition.Clock

	// Groups holds the settings of the groups' coordinator.
	Groups group.CoordinatorConfig

	SessionTimeout    time.Duration // broker.session.timeout.ms: a node that has not been heard for so long is fenced; default 9 s
	HeartbeatInterval time.Duration // broker.heartbeat.interval.ms; default 2 s, at most a quarter of SessionTimeout
	ElectionTimeout   time.Duration // controller.quorum.election.timeout.ms; default 1 s
	LagTimeMax        time.Duration // replica.lag.time.max.ms: a follower that is not caught up for so long leaves the ISR; default 30 s
	FetchWait         time.Duration // replica.fetch.wait.max.ms: an idle follower asks this often; default 500 ms
	FetchBytes        int           // replica.fetch.response.max.bytes; default 10 MiB
	FetchBackoff      time.Duration // replica.fetch.backoff.ms; default 1 s
	CatchUpRate       int64         // bytes a second for followers outside the ISR, follower.replication.throttled.rate; default partition.Unlimited
	PreferredInterval time.Duration // leader.imbalance.check.interval.seconds: leaders go back to the preferred replica; default 5 min, partition.Unlimited: never
	RequestTimeout    time.Duration // request.timeout.ms: operations whose context has no deadline end after this; default 30 s
	CloseTimeout      time.Duration // bounds the controlled shutdown; default 10 s

	// Seed of what is drawn: placement, jitter. Default: drawn.
	Seed   uint64
	Events Events
}

func (c Config) withDefaults() Config {
	or(&c.FeatureLevel, control.MaxLevel)
	or(&c.SessionTimeout, 9*time.Second)
	or(&c.HeartbeatInterval, min(2*time.Second, c.SessionTimeout/4))
	or(&c.ElectionTimeout, time.Second)
	or(&c.LagTimeMax, 30*time.Second)
	or(&c.FetchWait, 500*time.Millisecond)
	or(&c.FetchBytes, 10<<20)
	or(&c.FetchBackoff, time.Second)
	or(&c.CatchUpRate, partition.Unlimited)
	or(&c.PreferredInterval, 5*time.Minute)
	or(&c.RequestTimeout, 30*time.Second)
	or(&c.CloseTimeout, 10*time.Second)
	if c.Store.Clock == nil {
		c.Store.Clock = clock.System
	}
	or(&c.Clock, c.Store.Clock)
	if c.Groups.Clock == nil {
		c.Groups.Clock = c.Store.Clock
	}
	c.Events = c.Events.withDefaults()
	return c
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate returns a *partition.ConfigError for the first field that cannot be. c has its defaults.
func (c Config) validate() error {
	wrong := func(key string, value any, allowed string) error {
		return &partition.ConfigError{Key: key, Value: fmt.Sprint(value), Range: allowed}
	}
	switch {
	case c.NodeID < 0:
		return wrong("NodeID", c.NodeID, "0 or more")
	case c.Listen == "" && c.Listener == nil:
		return wrong("Listen", "", "host:port, or a Listener")
	case c.Bootstrap && c.Join:
		return wrong("Join", true, "false with Bootstrap: a cluster is made, or joined")
	case c.FeatureLevel < control.MinLevel || c.FeatureLevel > control.MaxLevel:
		return wrong("FeatureLevel", c.FeatureLevel, fmt.Sprintf("%d to %d", control.MinLevel, control.MaxLevel))
	case c.ControllerOnly && c.Bootstrap && c.FeatureLevel < control.LevelRoles:
		return wrong("FeatureLevel", c.FeatureLevel, fmt.Sprintf("%d or more with ControllerOnly", control.LevelRoles))
	case c.Join && len(c.Peers)+len(c.Servers) == 0:
		return wrong("Peers", "none", "at least one node of the cluster that is joined, here or in Servers")
	case c.ControllerOnly && len(c.Listeners) > 0:
		return wrong("Listeners", c.Listeners, "none with ControllerOnly: clients connect to brokers")
	case c.Join && c.ClusterID == "":
		return wrong("ClusterID", "", "the id of the cluster that is joined (another node's ClusterID)")
	case c.TLS == nil && !c.Plaintext:
		return wrong("TLS", "nil", "a certificate (DevelopmentCA makes one), or Plaintext on a loopback address")
	case c.TLS != nil && c.Plaintext:
		return wrong("Plaintext", true, "false with TLS")
	case len(c.ClusterID) > 255:
		return wrong("ClusterID", c.ClusterID, "at most 255 bytes")
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"SessionTimeout", c.SessionTimeout}, {"HeartbeatInterval", c.HeartbeatInterval}, {"ElectionTimeout", c.ElectionTimeout},
		{"LagTimeMax", c.LagTimeMax}, {"FetchWait", c.FetchWait}, {"FetchBackoff", c.FetchBackoff}, {"RequestTimeout", c.RequestTimeout},
		{"CloseTimeout", c.CloseTimeout},
	} {
		if d.value < time.Millisecond {
			return wrong(d.key, d.value, "at least 1ms")
		}
	}
	if c.HeartbeatInterval > c.SessionTimeout/2 {
		return wrong("HeartbeatInterval", c.HeartbeatInterval, "at most half of SessionTimeout")
	}
	if c.FetchBytes < 1 {
		return wrong("FetchBytes", c.FetchBytes, "at least 1")
	}
	for _, s := range c.Servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return wrong("Servers", s, "host:port")
		}
	}
	for _, p := range c.Peers {
		if p.NodeID < 0 || p.Address == "" {
			return wrong("Peers", p, "node ids of 0 or more, with addresses")
		}
	}
	return nil
}
