package kafka

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Config holds the settings of a Server. The zero Config is valid: Apache Kafka's defaults, plaintext on loopback
// addresses only, no authentication and no authorization.
type Config struct {
	ClusterID string // cluster.id as clients see it; default the store's
	// Properties are settings of all brokers by Kafka's names (server.properties); default none. An unknown name is an error.
	// Those of the store itself (log.cleaner.*, transaction.max.timeout.ms, producer.id.expiration.ms ...) count when it is
	// opened, see Node.StoreConfig; defaults of topics (log.retention.ms, message.max.bytes ...) count here.
	Properties map[string]string

	// UnknownProperties accepts names that Apache Kafka does not know, with an Events.Warning; default false.
	UnknownProperties bool

	// AllowPlaintext permits listeners without TLS on addresses that are not loopback: whoever reaches the address reads
	// and writes everything, and sees passwords of SASL PLAIN. Default false.
	AllowPlaintext bool

	Versions map[int16]Range // narrows what is advertised and served, by API key; an empty range (Max < Min) takes an API away; default everything

	// OldVersions serves, and advertises, also the versions of APIs that Apache Kafka 4.0 has removed (KIP-896), as Kafka 3.9 and
	// before did: for clients older than those of Kafka 2.1. Not those that carry records of the message formats v0 and v1
	// (Produce 0 to 2, Fetch 0 to 3). Default false: what Kafka 4.1 serves.
	OldVersions bool

	// Features are the finalized levels of features (KIP-584) that nobody has changed, by name; a level that is not supported becomes
	// the nearest one. Default: those of a new cluster of Kafka 4.1.
	Features map[string]int16

	Intercept   Interceptor // called around every request; default none
	LoginLimits LoginLimits // how many logins by SASL may fail; default as its fields say
	Events      Events      // functions called when something happens that no call returns; default none

	// GroupEvents are told what happens in the coordinators of groups, unless somebody has started those of the store before
	// (group.Start); default none.
	GroupEvents group.Events

	// ClientMetrics gets what clients measure of themselves (KIP-714), by the subscriptions that kafka-client-metrics keeps. It
	// is called on the goroutine of the client's connection, which waits. Default nil: clients are not asked.
	ClientMetrics func(ClientMetrics)

	Clock partition.Clock // where all time comes from; default the store's
	Seed  uint64          // of what is random: fetch session ids, the first replica of a topic; default 0, drawn
}

// BrokerConfig describes one broker of a Server.
type BrokerConfig struct {
	ID         int32             // node.id; default 0, the smallest from 1 on that is free (0 itself if Properties say node.id=0)
	Rack       string            // broker.rack; default none
	Listeners  []ListenerConfig  // at least one; the first is the one that other brokers would use
	Properties map[string]string // settings of this broker alone, by Kafka's names; default none
}

// SecurityProtocol is how a listener's connections are secured, with the protocol's numbers.
type SecurityProtocol int8

const (
	Plaintext     SecurityProtocol = 0 // PLAINTEXT: neither encrypted nor authenticated
	TLS           SecurityProtocol = 1 // SSL: encrypted; authenticated by client certificates, if tls.Config asks for them
	SASLPlaintext SecurityProtocol = 2 // SASL_PLAINTEXT: authenticated, not encrypted
	SASLTLS       SecurityProtocol = 3 // SASL_SSL: both
)

var protocolNames = [...]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// String returns Kafka's name.
func (p SecurityProtocol) String() string {
	if p < 0 || int(p) >= len(protocolNames) {
		return "SecurityProtocol(" + strconv.Itoa(int(p)) + ")"
	}
	return protocolNames[p]
}

func (p SecurityProtocol) sasl() bool { return p == SASLPlaintext || p == SASLTLS }
func (p SecurityProtocol) tls() bool  { return p == TLS || p == SASLTLS }

// ListenerConfig describes one listener of a broker. The Server closes Listener when the broker stops.
type ListenerConfig struct {
	Name       string              // default Protocol's name
	Protocol   SecurityProtocol    // default Plaintext
	Listener   net.Listener        // where connections come from; TLS is put on top of it
	Advertised string              // host:port that clients are told (advertised.listeners), port 0 meaning the listener's; default its address
	TLS        *tls.Config         // of TLS and SASLTLS; nil otherwise
	Mechanisms []string            // sasl.enabled.mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; default what that property says, else all three
	Users      map[string]Password // of PLAIN, beside those of the property listener.name.NAME.plain.sasl.jaas.config; SCRAM's are in the store, see Server.PutScramUser
}

// check completes c and says what is wrong with it. open says that plaintext is welcome everywhere.
func (c *ListenerConfig) check(open bool) (host string, port int32, err error) {
	if c.Listener == nil {
		return "", 0, &partition.ConfigError{Key: "listeners", Value: c.Name, Range: "a net.Listener"}
	}
	if c.Protocol < Plaintext || c.Protocol > SASLTLS {
		return "", 0, &partition.ConfigError{Key: "listener.security.protocol.map", Value: c.Protocol.String(), Range: "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"}
	}
	if c.Name == "" {
		c.Name = c.Protocol.String()
	}
	if c.Protocol.tls() != (c.TLS != nil) {
		return "", 0, fmt.Errorf("listener %s: %w", c.Name, &partition.ConfigError{Key: "TLS", Value: c.Protocol.String(), Range: "a tls.Config with SSL and SASL_SSL, none otherwise"})
	}
	bound := c.Listener.Addr()
	if !c.Protocol.tls() && !open && !isLocal(bound) {
		return "", 0, fmt.Errorf("listener %s on %s: %w", c.Name, bound, &partition.ConfigError{Key: "AllowPlaintext", Value: "false", Range: "true, or a loopback address, or TLS"})
	}
	return c.advertise(bound)
}

// advertise works out what clients are told.
func (c *ListenerConfig) advertise(bound net.Addr) (host string, port int32, err error) {
	boundHost, boundPort := splitAddr(bound.String())
	if c.Advertised == "" {
		if ip, err := netip.ParseAddr(boundHost); boundHost == "" || err == nil && ip.IsUnspecified() {
			return "", 0, fmt.Errorf("listener %s: %w", c.Name, &partition.ConfigError{Key: "advertised.listeners", Value: "", Range: "host:port, because clients cannot connect to " + bound.String()})
		}
		return boundHost, boundPort, nil
	}
	h, p, err := net.SplitHostPort(c.Advertised)
	if err == nil && h != "" {
		n, perr := strconv.ParseUint(p, 10, 16)
		if perr == nil && n == 0 {
			n = uint64(boundPort)
		}
		if perr == nil {
			return h, int32(n), nil
		}
	}
	return "", 0, fmt.Errorf("listener %s: %w", c.Name, &partition.ConfigError{Key: "advertised.listeners", Value: c.Advertised, Range: "host:port"})
}

// splitAddr divides an address; what is no host and port, as an address in memory, is a host with port 9092.
func splitAddr(addr string) (string, int32) {
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, 9092
	}
	n, _ := strconv.ParseUint(p, 10, 16)
	return h, int32(n)
}

// isLocal reports whether only this machine reaches an address.
func isLocal(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	h, _ := splitAddr(a.String())
	ip, err := netip.ParseAddr(h)
	return err != nil && a.Network() != "tcp" || ip.IsLoopback()
}
