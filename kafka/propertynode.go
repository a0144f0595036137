package kafka

import (
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/partlog/partlog/partition"
)

// Node is what the properties of one broker say (server.properties), for a program that starts a broker from them.
type Node struct {
	ID         int32             // node.id, or broker.id; −1: not set
	Rack       string            // broker.rack
	Dir        string            // log.dirs, or log.dir; empty: not set
	Listeners  []NodeListener    // those for clients, of which a controller only has none; a controller's is in Quorum, and not opened without one
	Properties map[string]string // for Config.Properties or BrokerConfig.Properties
	Warnings   []Warning         // what its owner should know
	Quorum     *Quorum           // of the cluster that it is a node of; nil: it is alone
	settings   *settings
}

// NodeListener is one of the addresses in the property listeners.
type NodeListener struct {
	Name       string
	Protocol   SecurityProtocol // by listener.security.protocol.map
	Bind       string           // host:port for net.Listen; an empty host is every address of the machine
	Advertised string           // advertised.listeners, as host:port; empty: not set
	TLS        *tls.Config      // from ssl.* of type PEM, with SSL and SASL_SSL; else nil
	Mechanisms []string         // sasl.enabled.mechanisms; nil: not set
}

// ParseNode reads the properties of one broker by Kafka's names. A name that Kafka does not know is a Warning; an error is a
// *PropertyError for a value that Kafka refuses, and for a property whose promise a broker over a store cannot keep. Files
// that the ssl.* properties name are read now.
func ParseNode(props map[string]string) (*Node, error) {
	props, join, err := takeAutoJoin(props)
	if err != nil {
		return nil, err
	}
	s, warnings, err := parseProperties(props)
	if err != nil {
		return nil, err
	}
	n := &Node{ID: s.nodeID, Rack: s.rack, Properties: maps.Clone(props), Warnings: warnings, settings: s}
	for _, name := range []string{"log.dir", "log.dirs"} {
		if v := s.properties[name]; v != "" {
			n.Dir = v
		}
	}
	if err := n.readListeners(); err != nil {
		return nil, err
	}
	if n.Quorum != nil {
		n.Quorum.Observer = n.Quorum.Observer || !join
	}
	return n, nil
}

// StoreConfig returns the configuration of a store for this broker, with Kafka's defaults where a store has others of its own.
// sync is the sync mode where no property (log.flush.*) says one.
func (n *Node) StoreConfig(sync partition.SyncMode) partition.Config { return n.settings.store(sync) }

// Flushes reports whether a property (log.flush.*) decides when appends are synced.
func (n *Node) Flushes() bool {
	_, messages := n.settings.topicDefaults["flush.messages"]
	_, ms := n.settings.topicDefaults["flush.ms"]
	return messages || ms
}

func (n *Node) readListeners() error {
	set := n.settings.properties
	protocols := map[string]SecurityProtocol{}
	for i, name := range protocolNames {
		protocols[name] = SecurityProtocol(i)
	}
	for _, item := range splitList(set["listener.security.protocol.map"]) {
		name, protocol, ok := strings.Cut(item, ":")
		i := slices.Index(protocolNames[:], strings.ToUpper(protocol))
		if !ok || i < 0 {
			return &PropertyError{"listener.security.protocol.map", item, "want NAME:PROTOCOL with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"}
		}
		protocols[strings.ToUpper(name)] = SecurityProtocol(i)
	}
	advertised, err := parseListeners("advertised.listeners", set["advertised.listeners"])
	if err != nil {
		return err
	}
	text, ok := set["listeners"]
	if !ok {
		text = "PLAINTEXT://:9092"
	}
	bound, err := parseListeners("listeners", text)
	if err != nil {
		return err
	}
	controllers := splitList(strings.ToUpper(set["controller.listener.names"]))
	if namesQuorum(set) {
		var peers *namedAddress
		var protocol SecurityProtocol
		if i := slices.IndexFunc(bound, func(l namedAddress) bool { return len(controllers) > 0 && l.name == controllers[0] }); i >= 0 {
			peers, protocol = &bound[i], protocols[bound[i].name] // without a map Kafka's, too, are plaintext
		}
		if err := n.readQuorum(peers, protocol, advertised); err != nil {
			return err
		}
	}
	for _, l := range bound {
		if slices.Contains(controllers, l.name) && n.Quorum != nil {
			continue
		}
		if slices.Contains(controllers, l.name) {
			n.Warnings = append(n.Warnings, Warning{Property: "listeners", Text: "the listener " + l.name + " of a controller is not needed, and not opened"})
			continue
		}
		protocol, known := protocols[l.name]
		if !known {
			return &PropertyError{"listeners", text, "no security protocol is defined for the listener " + l.name + "; name it in listener.security.protocol.map"}
		}
		out := NodeListener{Name: l.name, Protocol: protocol, Bind: l.address}
		for _, a := range advertised {
			if a.name == l.name {
				out.Advertised = a.address
			}
		}
		prefix := "listener.name." + strings.ToLower(l.name) + "."
		for _, key := range []string{"sasl.enabled.mechanisms", prefix + "sasl.enabled.mechanisms"} {
			if v, ok := set[key]; ok {
				out.Mechanisms = splitList(v)
			}
		}
		if protocol.sasl() && out.Mechanisms == nil && set["sasl.enabled.mechanisms"] == "" {
			n.Warnings = append(n.Warnings, Warning{Property: "sasl.enabled.mechanisms", Text: "is not set: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are served; Kafka's default, GSSAPI, is not"})
		}
		if protocol.tls() {
			if out.TLS, err = tlsOf(set, prefix); err != nil {
				return err
			}
		}
		n.Listeners = append(n.Listeners, out)
	}
	only := n.Quorum != nil && n.Quorum.ControllerOnly
	switch {
	case only && len(n.Listeners) > 0:
		return &PropertyError{"listeners", text, "with process.roles=controller it must only have listeners of controller.listener.names: clients connect to brokers"}
	case !only && len(n.Listeners) == 0:
		return &PropertyError{"listeners", text, "there is none for clients"}
	}
	for _, a := range advertised {
		if !slices.ContainsFunc(bound, func(l namedAddress) bool { return l.name == a.name }) {
			return &PropertyError{"advertised.listeners", set["advertised.listeners"], "there is no listener " + a.name}
		}
	}
	return nil
}

type namedAddress struct{ name, address string }

// parseListeners reads NAME://HOST:PORT,... with names in upper case.
func parseListeners(property, text string) ([]namedAddress, error) {
	var out []namedAddress
	for _, item := range splitList(text) {
		bad := func(why string) ([]namedAddress, error) { return nil, &PropertyError{property, text, why} }
		name, address, ok := strings.Cut(item, "://")
		if !ok || name == "" {
			return bad("want NAME://HOST:PORT,...")
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return bad("want NAME://HOST:PORT,...")
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return bad("the port of " + item + " is no number from 0 to 65535")
		}
		name = strings.ToUpper(name)
		if slices.ContainsFunc(out, func(l namedAddress) bool { return l.name == name }) {
			return bad("each listener must have a different name")
		}
		out = append(out, namedAddress{name, address})
	}
	return out, nil
}
