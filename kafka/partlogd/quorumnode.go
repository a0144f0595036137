package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// quorum is what the properties say of the cluster that this process is a node of; nil: it is alone.
func (c *cluster) quorum() *kafka.Quorum { return c.nodes[0].Quorum }

// observes reports whether the node has no part in controlling the cluster, by its roles.
func (c *cluster) observes() bool {
	return !slices.Contains(roles(c.nodes[0]), "controller")
}

// roles are what process.roles says.
func roles(n *kafka.Node) (all []string) {
	for role := range strings.SplitSeq(n.Properties["process.roles"], ",") {
		all = append(all, strings.TrimSpace(role))
	}
	return all
}

// first reports whether the node is the first of the voters that its properties name: without a word it makes the cluster.
func first(n *kafka.Node) bool {
	return len(n.Quorum.Voters) > 0 && n.Quorum.Voters[0].NodeID == n.ID
}

// checkQuorum refuses what a node of a cluster cannot be.
func (c *cluster) checkQuorum(o *options) error {
	named := false
	for _, n := range c.nodes {
		named = named || n.Quorum != nil
	}
	first := ""
	if named && c.quorum() != nil && len(c.quorum().Voters) > 0 {
		first = strconv.Itoa(int(c.quorum().Voters[0].NodeID))
	}
	switch {
	case !named && o.bootstrap:
		return tool.Usagef("--bootstrap: the properties name no quorum of several nodes, so there is no cluster to make")
	case !named && o.clusterID != "":
		return tool.Usagef("--cluster-id: the properties name no quorum of several nodes; a directory gets its id by partlogd storage format")
	case !named:
		return nil
	case len(c.nodes) > 1:
		return tool.Usagef("the properties name a quorum: each node is a process of its own, with one property file")
	case o.memory:
		return tool.Usagef("--memory: a node of a quorum has to remember its votes and what it acknowledged; give it a directory with --dir")
	case o.control != "":
		return tool.Usagef("--control is for brokers over one store, which fail on command; the nodes of a cluster are killed as processes are")
	case o.imported != "":
		return tool.Usagef("--import takes topics over into a store that is alone; import first, with properties that name no quorum, and make that directory the first node with --bootstrap")
	case c.quorum().ControllerOnly && (len(o.topics) > 0 || len(o.users) > 0):
		return tool.Usagef("--topics and --user are for brokers: with process.roles=controller there is no client to serve")
	case o.bootstrap && c.observes():
		return tool.Usagef("--bootstrap: a new cluster is made by a controller, and process.roles has none")
	case o.bootstrap && first != "" && strconv.Itoa(int(c.nodes[0].ID)) != first:
		return tool.Usagef("--bootstrap: the first of controller.quorum.voters makes a new cluster, node %s; the others join it", first)
	}
	return nil
}

// startNode starts the node, with the listeners of its broker, which are open, and waits until it takes part and, if it is a
// controller that joins by itself, votes. A node that is a controller only has no broker.
func (d *daemon) startNode(ctx context.Context, broker kafka.BrokerConfig) error {
	c, err := d.nodeConfig(broker)
	if err != nil {
		return err
	}
	if d.node, err = replication.Start(c); err != nil {
		return d.explainNode(err)
	}
	d.store = d.node.Store()
	d.say("node %d of cluster %s, for other nodes at %s", c.NodeID, d.node.ClusterID(), c.Advertise)
	if err := d.checkCertificate(); err != nil {
		return err
	}
	if err := d.awaitNode(ctx); err != nil {
		return err
	}
	if err := os.Remove(markFile(c.Dir)); err != nil && !errors.Is(err, fs.ErrNotExist) { // now the node itself remembers
		return err
	}
	if d.cluster.quorum().ControllerOnly {
		return nil
	}
	config := d.kafkaConfig()
	if d.server, err = kafka.NewOfNode(d.node, config); err != nil {
		return err
	}
	_, err = d.server.AddBroker(broker)
	return err
}

// awaitNode waits until the node takes part, has failed, or is not wanted any more.
func (d *daemon) awaitNode(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	go func() {
		err := d.node.Ready(ctx)
		if err == nil && !d.cluster.quorum().Observer {
			err = d.awaitVote(ctx)
		}
		ready <- err
	}()
	defer d.store.Clock().AfterFunc(5*time.Second, func() { d.say("waiting for the quorum: a majority of its voters has to be up") })()
	err := <-ready
	select {
	case failed := <-d.failed:
		return failed
	default:
		return err
	}
}

// awaitVote waits until the node is a voter of the quorum: until then the others cannot spare one of theirs because of it.
func (d *daemon) awaitVote(ctx context.Context) error {
	for {
		if votes, err := d.node.Voting(ctx); votes || err != nil {
			return err
		}
		if d.node.VoteWithdrawn() {
			d.say("this node was removed from the voters, and observes until partlogd quorum add-controller")
			return nil
		}
		again := make(chan struct{})
		stop := d.store.Clock().AfterFunc(50*time.Millisecond, func() { close(again) })
		select {
		case <-ctx.Done():
			stop()
			return ctx.Err()
		case <-again:
		}
	}
}

// nodeConfig is the node's configuration by its properties, flags and directory.
func (d *daemon) nodeConfig(broker kafka.BrokerConfig) (replication.Config, error) {
	o, n := d.options, d.cluster.nodes[0]
	mode := o.sync
	if !o.syncGiven {
		mode = partition.SyncAlways
	}
	c := n.ReplicationConfig(mode)
	c.Dir, c.CloseTimeout = d.cluster.dir, max(o.grace, time.Millisecond)
	c.Store.Events, c.Events = d.storeEvents(), d.nodeEvents()
	for i, l := range broker.Listeners {
		at, err := clientAddress(l)
		if err != nil {
			return c, err
		}
		at.Name = d.cluster.nodes[0].Listeners[i].Name
		c.Listeners = append(c.Listeners, at)
	}
	m, err := readMark(c.Dir)
	if err != nil {
		return c, err
	}
	c.ClusterID = o.clusterID
	switch {
	case o.bootstrap:
		c.Bootstrap = true
	case m != nil && m.node != n.ID:
		return c, fmt.Errorf("%s was formatted for node %d, and the properties say node.id=%d", c.Dir, m.node, n.ID)
	case m != nil && o.clusterID != "" && m.cluster != o.clusterID:
		return c, fmt.Errorf("%s was formatted for cluster %s, and --cluster-id says %s", c.Dir, m.cluster, o.clusterID)
	case m != nil:
		c.ClusterID, c.Bootstrap, c.Join, c.FeatureLevel = m.cluster, m.bootstrap, !m.bootstrap, m.level
	case o.clusterID != "":
		c.Join = true
	}
	return c, nil
}

// clientAddress is what the cluster's metadata tells clients about a listener.
func clientAddress(l kafka.ListenerConfig) (replication.Listener, error) {
	text := l.Advertised
	if text == "" {
		text = l.Listener.Addr().String()
	}
	host, p, err := net.SplitHostPort(text)
	if err != nil {
		return replication.Listener{}, err
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return replication.Listener{}, err
	}
	if a, ok := l.Listener.Addr().(*net.TCPAddr); ok && port == 0 {
		port = uint64(a.Port)
	}
	return replication.Listener{Protocol: int16(l.Protocol), Host: host, Port: uint16(port)}, nil
}

// checkCertificate says at once that no peer will take the node for who it is.
func (d *daemon) checkCertificate() error {
	t := d.cluster.quorum().TLS
	if t == nil {
		return nil
	}
	leaf, err := leafOf(t)
	if err != nil {
		return err
	}
	want := replication.CertificateName(d.node.ClusterID(), d.node.NodeID())
	if err := leaf.VerifyHostname(want); err != nil {
		return fmt.Errorf("the certificate of this node has the names %q, and peers look for %s, made of its id and the cluster's; partlogd storage certificate makes one for development", leaf.DNSNames, want)
	}
	return nil
}

// explainNode says what to do about a node that does not start.
func (d *daemon) explainNode(err error) error {
	switch {
	case errors.Is(err, replication.ErrNotFormatted) && first(d.cluster.nodes[0]):
		return fmt.Errorf("%s belongs to no cluster: partlogd storage format --cluster-id ID --config FILE, or --bootstrap, has this node make a new one; to join one that is there, --cluster-id ID", d.cluster.dir)
	case errors.Is(err, replication.ErrNotFormatted):
		return fmt.Errorf("%s belongs to no cluster: partlogd storage format --cluster-id ID --config FILE, or --cluster-id ID, has this node join one; ID is on the first lines that its other nodes print", d.cluster.dir)
	}
	return d.explain(err)
}

// nodeEvents are lines that an operator needs.
func (d *daemon) nodeEvents() replication.Events {
	return replication.Events{
		Refused: func(node int32, address string, err error) { d.warn("node %d at %s: %v", node, address, err) },
		Controller: func(node int32, term uint64) {
			if node < 0 {
				d.warn("no controller is known: metadata and in-sync replicas do not change until a majority of the voters is up")
				return
			}
			d.say("controller is node %d, epoch %d", node, term)
		},
		Fenced: func(fenced bool, reason string) {
			if fenced {
				d.warn("this node is fenced: %s", reason)
				return
			}
			d.say("this node is not fenced any more")
		},
		UncleanElection: func(tp partition.TopicPartition, leader int32, epoch partition.LeaderEpoch) {
			d.warn("%s: unclean election of node %d, epoch %d: acknowledged records may be lost", tp, leader, epoch)
		},
		ISRChanged: func(tp partition.TopicPartition, isr []int32, minISR int32) {
			if int32(len(isr)) < minISR {
				d.warn("%s: in-sync replicas %v, fewer than min.insync.replicas=%d: acks=all is refused", tp, isr, minISR)
			}
		},
		Rebuilding: func(tp partition.TopicPartition, start partition.Offset, reason string) {
			d.warn("%s: the copy here begins anew at offset %d: %s", tp, start, reason)
		},
		ReplicaFailed: func(tp partition.TopicPartition, err error) { d.warn("%s: the copy here has failed: %v", tp, err) },
		Rejoined:      func(reason string) { d.warn("back in the quorum as a new member: %s", reason) },
		Failed: func(err error) {
			select {
			case d.failed <- err:
			default: // the first one counts
			}
		},
	}
}
