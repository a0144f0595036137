package kafka

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// Quorum is what the properties of a node of a cluster say of its peers, where they name a controller quorum of several nodes.
type Quorum struct {
	// Voters are controller.quorum.voters, in their order; the first makes a new cluster, the others join it. There may be none with Servers.
	Voters []replication.Peer
	// Servers are controller.quorum.bootstrap.servers: where some of the controllers are, whose ids are learned there (KIP-853).
	Servers []string
	// Bind is where other nodes reach this one (host:port for net.Listen): the listener that controller.listener.names names first. All that
	// goes between nodes goes there, replication too, whatever inter.broker.listener.name says.
	Bind string
	// Advertised is that address as other nodes are told it.
	Advertised string
	// TLS is what peers know each other by; nil: plaintext, between loopback addresses.
	TLS *replication.TLS
	// Observer: process.roles has no controller, or controller.quorum.auto.join.enable is false: the node does not become a voter by itself. That
	// property is Kafka's from 4.2 on, where it is false by default; here it is true.
	Observer bool
	// ControllerOnly: process.roles has no broker.
	ControllerOnly bool
}

// namesQuorum reports whether properties are those of a node of a cluster, and not of a node that is its own quorum.
func namesQuorum(set map[string]string) bool {
	roles, voters := splitList(set["process.roles"]), splitList(set["controller.quorum.voters"])
	if len(roles) == 0 {
		return false
	}
	servers := splitList(set["controller.quorum.bootstrap.servers"])
	switch {
	case len(voters) > 1 || len(servers) > 1:
		return true
	case !slices.Contains(roles, "controller"), !slices.Contains(roles, "broker"):
		return len(voters)+len(servers) > 0
	}
	return len(servers) == 1 && len(voters) == 0 && !isOwn(set, servers[0])
}

// isOwn reports whether an address is that of the node's own listener for controllers, as properties have it.
func isOwn(set map[string]string, server string) bool {
	controllers := splitList(strings.ToUpper(set["controller.listener.names"]))
	for _, property := range []string{"listeners", "advertised.listeners"} {
		all, err := parseListeners(property, set[property])
		if err != nil || len(controllers) == 0 {
			return true // an error of another property
		}
		host, port, _ := net.SplitHostPort(server)
		for _, l := range all {
			own, at, _ := net.SplitHostPort(l.address)
			ip, err := netip.ParseAddr(own)
			everywhere := own == "" || err == nil && ip.IsUnspecified()
			if l.name == controllers[0] && at == port && (own == host || loopback(server) && (everywhere || loopback(l.address))) {
				return true
			}
		}
	}
	return false
}

// takeAutoJoin takes controller.quorum.auto.join.enable out of properties: Apache Kafka 4.1, whose properties are known here, has it not.
func takeAutoJoin(props map[string]string) (rest map[string]string, join bool, err error) {
	const name = "controller.quorum.auto.join.enable"
	v, ok := props[name]
	if !ok {
		return props, true, nil
	}
	if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		return nil, false, &PropertyError{Name: name, Value: v, Reason: "want true or false"}
	}
	rest = maps.Clone(props)
	delete(rest, name)
	return rest, strings.EqualFold(v, "true"), nil
}

// readQuorum fills in Quorum, with l, the listener of the controller, and its protocol.
func (n *Node) readQuorum(l *namedAddress, protocol SecurityProtocol, advertised []namedAddress) error {
	set := n.settings.properties
	roles := splitList(set["process.roles"])
	q := &Quorum{Observer: !slices.Contains(roles, "controller"), ControllerOnly: !slices.Contains(roles, "broker")}
	bad := func(name, why string) error { return &PropertyError{Name: name, Value: set[name], Reason: why} }
	if n.ID < 0 {
		return bad("node.id", "a node of a cluster needs one")
	}
	for _, address := range splitList(set["controller.quorum.bootstrap.servers"]) {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return bad("controller.quorum.bootstrap.servers", "want HOST:PORT,...")
		}
		q.Servers = append(q.Servers, address)
	}
	for _, item := range splitList(set["controller.quorum.voters"]) {
		id, address, ok := strings.Cut(item, "@")
		number, err := strconv.ParseInt(id, 10, 32)
		_, port, herr := net.SplitHostPort(address)
		if _, perr := strconv.ParseUint(port, 10, 16); !ok || err != nil || number < 0 || herr != nil || perr != nil {
			return bad("controller.quorum.voters", "want ID@HOST:PORT,...")
		}
		v := replication.Peer{NodeID: int32(number), Address: address}
		if slices.ContainsFunc(q.Voters, func(o replication.Peer) bool { return o.NodeID == v.NodeID }) {
			return bad("controller.quorum.voters", "each voter must have a different id")
		}
		q.Voters = append(q.Voters, v)
	}
	i := slices.IndexFunc(q.Voters, func(v replication.Peer) bool { return v.NodeID == n.ID })
	switch {
	case i < 0 && !q.Observer && len(q.Voters) > 0:
		return bad("controller.quorum.voters", "process.roles has controller, so node.id="+strconv.Itoa(int(n.ID))+" must be among the voters; a node that joins later has process.roles=broker, or is added to the list")
	case i >= 0 && q.Observer:
		return bad("controller.quorum.voters", "process.roles has no controller, so node.id="+strconv.Itoa(int(n.ID))+" must not be among the voters")
	case l == nil:
		return bad("listeners", "other nodes need a listener to reach this one, a broker's too: the records go there; name it in controller.listener.names and give it an address in listeners")
	}
	q.Bind = l.address
	switch j := slices.IndexFunc(advertised, func(a namedAddress) bool { return a.name == l.name }); {
	case i >= 0:
		q.Advertised = q.Voters[i].Address
	case j >= 0:
		q.Advertised = advertised[j].address
	default:
		q.Advertised = reachable(l.address)
	}
	n.Quorum = q
	switch protocol {
	case TLS:
		return n.readPeerTLS("listener.name." + strings.ToLower(l.name) + ".")
	case Plaintext:
		all := append([]string{q.Bind}, q.Servers...)
		for _, v := range q.Voters {
			all = append(all, v.Address)
		}
		for _, at := range all {
			if !loopback(at) {
				return bad("listener.security.protocol.map", "between nodes of "+at+" whoever reaches the listener "+l.name+
					" could change everything, so plaintext is for loopback addresses; say "+l.name+":SSL, and ssl.keystore.* and ssl.truststore.* of type PEM")
			}
		}
		return nil
	}
	return bad("listener.security.protocol.map", "nodes know each other by certificates, not by passwords; say "+l.name+":SSL")
}

// readPeerTLS reads the certificate of this node and the authority of its peers: the ssl.* properties, those with prefix first. Stores that are files are
// read again when they are used, so that new certificates need no restart.
func (n *Node) readPeerTLS(prefix string) error {
	set := maps.Clone(n.settings.properties)
	set[prefix+"ssl.client.auth"] = "required" // peers always show theirs
	c, err := tlsOf(set, prefix)
	if err != nil {
		return err
	}
	if c.ClientCAs == nil {
		return &PropertyError{Name: prefix + "ssl.truststore.location", Reason: "peers need the authority that has signed their certificates, and no other: without, a certificate of anybody would do"}
	}
	text := func(key string) string {
		if v, ok := set[prefix+key]; ok {
			return v
		}
		return set[key]
	}
	t := &replication.TLS{Certificate: &c.Certificates[0], Roots: c.ClientCAs}
	if text("ssl.keystore.certificate.chain") == "" {
		t.Certificate, t.CertFile, t.KeyFile = nil, text("ssl.keystore.location"), text("ssl.keystore.location")
	}
	if text("ssl.truststore.certificates") == "" {
		t.Roots, t.CAFile = nil, text("ssl.truststore.location")
	}
	n.Quorum.TLS = t
	return nil
}

// ReplicationConfig returns the configuration of the node that Quorum is of. What the file of properties does not say is for the caller: whether it
// makes or joins a cluster, Dir if flags name another, and the addresses for clients. sync is as in StoreConfig. It must not be called without a Quorum.
func (n *Node) ReplicationConfig(sync partition.SyncMode) replication.Config {
	r, q := propertyReader(n.settings.properties), n.Quorum
	c := replication.Config{
		Dir: n.Dir, NodeID: n.ID, Listen: q.Bind, Advertise: q.Advertised, Servers: q.Servers, Observer: q.Observer, ControllerOnly: q.ControllerOnly, Rack: n.Rack, TLS: q.TLS, Plaintext: q.TLS == nil,
		Store: n.StoreConfig(sync), Groups: n.settings.coordinator(),
	}
	for _, v := range q.Voters {
		if v.NodeID != n.ID {
			c.Peers = append(c.Peers, v)
		}
	}
	if v, ok := n.settings.properties["min.insync.replicas"]; ok { // else two of three, see replication
		number, _ := strconv.ParseInt(v, 10, 32) // validated
		c.Store.Topics.MinInsyncReplicas = int32(number)
		delete(c.Store.Topics.Extra, "min.insync.replicas")
	}
	set := func(field *time.Duration, name string, unit time.Duration) {
		if r[name] != "" {
			*field = max(durationOf(r.number(name), unit), time.Millisecond)
		}
	}
	set(&c.SessionTimeout, "broker.session.timeout.ms", time.Millisecond)
	set(&c.HeartbeatInterval, "broker.heartbeat.interval.ms", time.Millisecond)
	set(&c.ElectionTimeout, "controller.quorum.election.timeout.ms", time.Millisecond)
	set(&c.LagTimeMax, "replica.lag.time.max.ms", time.Millisecond)
	set(&c.FetchWait, "replica.fetch.wait.max.ms", time.Millisecond)
	set(&c.FetchBackoff, "replica.fetch.backoff.ms", time.Millisecond)
	set(&c.PreferredInterval, "leader.imbalance.check.interval.seconds", time.Second)
	if r["replica.fetch.response.max.bytes"] != "" {
		c.FetchBytes = max(int(r.number("replica.fetch.response.max.bytes")), 1)
	}
	if !r.is("auto.leader.rebalance.enable") {
		c.PreferredInterval = partition.Unlimited
	}
	return c
}

// loopback reports whether an address is one of this machine alone.
func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// reachable is an address as others are told it: that of every interface becomes the name of the machine, as in Kafka.
func reachable(bind string) string {
	host, port, _ := net.SplitHostPort(bind)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			return net.JoinHostPort(name, port)
		}
	}
	return bind
}

// needNoQuorum returns an error if properties are those of a node of a cluster: a store alone would be another cluster for each of them.
func needNoQuorum(set map[string]string) error {
	if !namesQuorum(set) {
		return nil
	}
	name := "controller.quorum.voters"
	if set[name] == "" {
		name = "controller.quorum.bootstrap.servers"
	}
	return &PropertyError{Name: name, Value: set[name], Reason: "it names a quorum, and a store alone is no node of one; serve a replication.Node (NewOfNode), or name this node alone"}
}
