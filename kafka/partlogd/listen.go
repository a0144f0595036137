package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

// brokers opens the sockets of all nodes. After an error none is open.
func (c *cluster) brokers(o *options) (configs []kafka.BrokerConfig, err error) {
	defer func() {
		if err != nil {
			closeAll(configs)
		}
	}()
	for _, n := range c.nodes {
		b := kafka.BrokerConfig{ID: max(n.ID, 0), Rack: n.Rack}
		if len(c.nodes) > 1 || n.ID == 0 { // node.id=0 is an id; an ID of 0 would be any
			b.Properties = n.Properties
		}
		configs = append(configs, b)
		for _, nl := range n.Listeners {
			l, err := c.listen(nl)
			if err != nil {
				return configs, err
			}
			lc := kafka.ListenerConfig{Name: nl.Name, Protocol: nl.Protocol, Listener: l, Advertised: nl.Advertised, TLS: nl.TLS, Mechanisms: nl.Mechanisms}
			if lc.Advertised == "" {
				lc.Advertised = advertised(nl.Bind)
			}
			if nl.Protocol == kafka.SASLPlaintext || nl.Protocol == kafka.SASLTLS {
				lc.Users = o.plainUsers()
			}
			last := &configs[len(configs)-1]
			last.Listeners = append(last.Listeners, lc)
		}
	}
	return configs, nil
}

func closeAll(configs []kafka.BrokerConfig) {
	for _, b := range configs {
		for _, l := range b.Listeners {
			l.Listener.Close()
		}
	}
}

func (c *cluster) listen(nl kafka.NodeListener) (net.Listener, error) {
	l, err := net.Listen("tcp", nl.Bind)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listener %s: somebody else listens on %s; end that, or choose another port: --override listeners=%s://127.0.0.1:PORT", nl.Name, nl.Bind, nl.Name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("listener %s: this machine has no address %s; listeners says where to listen, advertised.listeners what clients are told", nl.Name, nl.Bind)
	case err != nil:
		return nil, fmt.Errorf("listener %s: %w", nl.Name, err)
	}
	open := nl.Protocol == kafka.Plaintext || nl.Protocol == kafka.SASLPlaintext
	if a, ok := l.Addr().(*net.TCPAddr); ok && open && !a.IP.IsLoopback() {
		text := "whoever reaches it reads and writes everything"
		if nl.Protocol == kafka.SASLPlaintext {
			text = "whoever listens in reads everything, and passwords of PLAIN too"
		}
		c.notes = append(c.notes, fmt.Sprintf("listener %s on %s is not encrypted: %s", nl.Name, l.Addr(), text))
	}
	return l, nil
}

// advertised is what clients are told of a listener on every address, as in Kafka: the name of the machine.
func advertised(bind string) string {
	host, port, err := net.SplitHostPort(bind)
	if err != nil || host != "" {
		return ""
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		return ""
	}
	return net.JoinHostPort(name, port)
}

// plainUsers are those of the mechanism PLAIN.
func (o *options) plainUsers() map[string]kafka.Password {
	users := map[string]kafka.Password{}
	for _, u := range o.users {
		if u.mechanism == "PLAIN" {
			users[u.name] = kafka.Password(u.password)
		}
	}
	return users
}

// checkUsers refuses users whom nobody would ask for a password, or not by their mechanism.
func (c *cluster) checkUsers(o *options) error {
	if len(o.users) == 0 {
		return nil
	}
	for _, n := range c.nodes {
		for _, l := range n.Listeners {
			if l.Protocol == kafka.SASLPlaintext || l.Protocol == kafka.SASLTLS {
				return nil
			}
		}
	}
	return tool.Usagef("--user: no listener asks for a name and a password; make one SASL_PLAINTEXT or SASL_SSL: listeners=SASL_PLAINTEXT://HOST:PORT")
}
