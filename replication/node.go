package replication

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// Node is one node of a cluster: a store whose partitions are replicated. It is safe for concurrent use.
type Node struct {
	config      Config // with its defaults
	id          int32
	clusterID   string
	incarnation [16]byte // of this process, or of one before that has never heard its registration's answer
	directory   [16]byte // of the data directory
	clock       clock.Clock
	events      Events
	fs          vfs.FS
	dir         string // of the store; a name in memory for one without

	store    *partition.Store
	groups   *group.Local // of the partitions of __consumer_offsets that this node leads
	peers    *peer.Endpoint
	control  *controller
	replicas *replicaManager

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup // goroutines of this package

	version atomic.Uint64 // of the metadata, see MetadataVersion

	mu      sync.Mutex // guards all below
	closed  bool
	changed chan struct{} // closed when leaders or topics change
	drawn   *mathrand.Rand
	file    *nodeFile
	figures map[partition.TopicPartition]figures
	failure error
	done    chan struct{} // closed when Close has done its work
}

// Start opens the store in Config.Dir, or makes one, and makes it a node of its cluster: of a new one (Bootstrap), of the one that Peers are of
// (Join), or of the one that it was of before. It does not wait for the other nodes: operations do, for as long as their contexts allow.
// Ready waits until the node takes part.
//
// Errors: *partition.ConfigError; ErrNotFormatted; *WrongClusterError; partition.Open's; those of the listener; of a quorum log that is damaged, which
// say what to do.
func Start(c Config) (*Node, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	n := &Node{
		config: c, id: c.NodeID, clock: c.Clock, events: c.Events, changed: make(chan struct{}), done: make(chan struct{}),
		figures: map[partition.TopicPartition]figures{},
	}
	n.fs, n.dir = c.Store.FS, c.Dir
	if n.dir == "" {
		n.fs, n.dir = vfs.NewMem(), "node"
	}
	if n.fs == nil {
		n.fs = vfs.OS
	}
	var err error
	if n.dir, err = filepath.Abs(n.dir); err != nil { // as the store does it
		return nil, err
	}
	n.config.Dir, n.config.Store.FS = n.dir, n.fs
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.start(); err != nil {
		n.cancel()
		return nil, fmt.Errorf("start node %d: %w", c.NodeID, err)
	}
	return n, nil
}

// start opens one part after the other, and on an error closes those that it has opened.
func (n *Node) start() (err error) {
	var undo []func()
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()
	listener := n.config.Listener
	if listener == nil {
		if listener, err = net.Listen("tcp", n.config.Listen); err != nil {
			return err
		}
	}
	undo = append(undo, func() { listener.Close() })
	if n.config.Advertise == "" {
		n.config.Advertise = listener.Addr().String()
	}
	config := n.config.Store
	config.FS, config.Cluster = n.fs, seam{n}
	if _, err := partition.ParseTopicID(n.config.ClusterID); err == nil && n.config.Bootstrap { // else identify says what is wrong
		config.ClusterID = n.config.ClusterID
	}
	config.Events.PartitionFailed, config.Events.ReplicaCorrupt, config.Events.Uncleanable = n.partitionFailed, n.replicaCorrupt, n.uncleanable
	config.Events.ReplicaFull = n.replicaFull
	n.replicas, n.control = newReplicaManager(n), newController(n)
	if n.store, err = partition.Open(n.dir, config); err != nil {
		return err
	}
	undo = append(undo, func() { n.store.Close() })
	if err := n.identify(); err != nil {
		return err
	}
	if err := n.control.open(n); err != nil {
		return err
	}
	undo = append(undo, func() { n.control.close(false) })
	var process [16]byte
	rand.Read(process[:])
	n.peers, err = peer.Listen(peer.Config{
		Identity: peer.Identity{
			ClusterID: n.clusterID, NodeID: n.id, Incarnation: process, DirectoryID: n.directory, Epoch: -1,
			MinFeature: control.MinLevel, MaxFeature: control.MaxLevel,
		},
		Epoch: n.epoch, FeatureLevel: n.feature, Listener: listener, Dial: n.config.Dial, TLS: n.config.TLS, Plaintext: n.config.Plaintext,
		Handler: handler{n}, Clock: n.clock, Seed: n.config.Seed, Events: n.peerEvents(),
		// Who is silent for a session is fenced, and what was asked of it is asked of others.
		Limits: peer.Limits{Silence: min(3*time.Second, max(time.Second, n.config.SessionTimeout))},
	})
	if err != nil {
		return err
	}
	undo = append(undo, func() { n.peers.Close() })
	for _, p := range n.config.Peers {
		n.peers.SetPeer(p.NodeID, p.Address)
	}
	if n.groups, err = group.NewLocal(n.store, n.config.Groups); err != nil {
		return err
	}
	if _, err = group.Start(n, n.config.Groups); err != nil { // the store closes it
		return errors.Join(err, n.groups.Close())
	}
	n.replicas.start()
	n.control.start()
	return nil
}

// partitionFailed is told by the store that a copy cannot go on.
func (n *Node) partitionFailed(tp partition.TopicPartition, err error) {
	if told := n.config.Store.Events.PartitionFailed; told != nil {
		told(tp, err)
	}
	n.replicas.failed(tp, err)
}

// identify compares the directory with the Config, and makes the node's file where there is none.
func (n *Node) identify() error {
	f, err := readNodeFile(n.fs, n.dir)
	if err != nil {
		return err
	}
	c := &n.config
	switch {
	case f == nil && !c.Bootstrap && !c.Join:
		return ErrNotFormatted
	case f == nil:
		f = &nodeFile{Version: 1, NodeID: n.id, Directory: make([]byte, 16), Epoch: -1}
		rand.Read(f.Directory)
		if f.ClusterID = c.ClusterID; c.Bootstrap {
			f.ClusterID = n.store.ClusterID()
		}
	case f.NodeID != n.id:
		return &WrongClusterError{Dir: n.dir, Want: f.ClusterID, Have: f.ClusterID, WantID: n.id, HasID: f.NodeID}
	}
	if c.ClusterID != "" && f.ClusterID != c.ClusterID {
		return &WrongClusterError{Dir: n.dir, Want: c.ClusterID, Have: f.ClusterID}
	}
	n.clusterID = f.ClusterID
	copy(n.directory[:], f.Directory)
	var drawn [16]byte
	rand.Read(drawn[:])
	now := f.next(n.store.CleanOpen(), drawn)
	copy(n.incarnation[:], now.Incarnation)
	n.file = &now
	return now.write(n.fs, n.dir)
}

// peerEvents are what peers tell, in this package's words.
func (n *Node) peerEvents() peer.Events {
	return peer.Events{
		Connected: func(remote peer.Identity, address string, accepted bool) {
			n.events.Connected(remote.NodeID, address, accepted)
		},
		Disconnected: n.events.Disconnected,
		Unreachable:  func(node int32, _ string, err error) { n.control.unreachable(node, err) },
		Refused:      func(r *peer.RefusedError) { n.events.Refused(r.NodeID, r.Address, r) },
	}
}

// epoch is the node's registration, for handshakes.
func (n *Node) epoch() int64 { return n.control.epoch() }

// feature is the cluster's feature level, for handshakes; 0 before it is known.
func (n *Node) feature() (level int16) {
	n.control.read(func(m *control.Machine) { level = m.Feature() })
	return level
}

// NodeID is the node's id.
func (n *Node) NodeID() int32 { return n.id }

// ClusterID is the cluster's id: what other nodes need to join.
func (n *Node) ClusterID() string { return n.clusterID }

// Addr is where the node listens for peers.
func (n *Node) Addr() net.Addr { return n.peers.Addr() }

// Store is the node's own store, for kafka.Serve and the store's tools. Its operations on partitions that other nodes lead are
// partition.ErrNotLeaderOrFollower; the Node's find the leader.
func (n *Node) Store() *partition.Store { return n.store }

// Ready waits until the node takes part in the cluster: it is registered, has caught up with the metadata, and, unless it is a controller only,
// is not fenced, and knows that: what it leads it acknowledges.
func (n *Node) Ready(ctx context.Context) error {
	for {
		changed := n.metadataChanged()
		if err := n.open(ctx); err != nil {
			return err
		}
		active, only := false, false
		n.control.read(func(m *control.Machine) {
			node, _ := m.Node(control.NodeID(n.id))
			active = (node.Active() || node.ControllerOnly) && node.Incarnation == n.incarnation
			only = node.ControllerOnly
		})
		pause := maxPause
		if active {
			if only || !n.control.isolated() {
				return nil
			}
			pause = minPause // the answer to the next heartbeat says so, and changes no metadata
		}
		if err := n.wait(ctx, changed, pause); err != nil {
			return err
		}
	}
}

// metadataChanged returns a channel that is closed with the next change of leaders, topics or nodes.
func (n *Node) metadataChanged() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// MetadataVersion changes, and grows, with what DescribeCluster, PartitionsOf and Metadata have to say: whoever keeps that looks again then.
func (n *Node) MetadataVersion() uint64 { return n.version.Load() }

// applied is told, on the controller's goroutine and in order, what each command has changed, after the store has it too.
func (n *Node) applied(r control.Result) {
	n.replicas.applied(r)
	for _, c := range r.Changed {
		if c.After.Exists() && (c.Before.Leader != c.After.Leader || c.Before.LeaderEpoch != c.After.LeaderEpoch || !c.Before.Exists()) {
			tp := partition.TopicPartition{Topic: c.Name, Partition: c.Partition.Index}
			leader, epoch := int32(c.After.Leader), partition.LeaderEpoch(c.After.LeaderEpoch)
			n.events.Leader(tp, leader, epoch)
			if c.Unclean {
				n.events.UncleanElection(tp, leader, epoch)
			}
		}
	}
	if len(r.Changed)+len(r.Nodes) > 0 || r.Catalogue != nil || r.Feature != 0 {
		n.wake()
	}
}

// restored is told that the state has been replaced by a snapshot.
func (n *Node) restored() {
	n.replicas.restored()
	n.wake()
}

func (n *Node) wake() {
	n.version.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// fail is told that the node cannot go on: it is closed, and Close returns why.
func (n *Node) fail(err error) {
	n.mu.Lock()
	first := n.failure == nil && !n.closed
	if first {
		n.failure = err
	}
	n.mu.Unlock()
	if first {
		n.events.Failed(err)
		go n.end(false)
	}
}

// HandOver is the controlled shutdown that Close begins with, by itself: the partitions and the quorum that this node leads get other leaders. When it
// returns nil, every node that is not fenced knows them. Until Close the node answers as before, as a follower, and keeps its replicas up to date; it
// leads nothing more. So whoever serves clients hands over, ends the service, and closes: Close does not hand over again, whether it has succeeded or not. Without another replica to lead, a partition has no leader.
// Errors: ctx's; ErrNoQuorum, when no controller could be asked; ErrClosed.
func (n *Node) HandOver(ctx context.Context) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	return n.control.handOver(ctx)
}

// Close ends the node: its leaderships move to other replicas first, for Config.CloseTimeout at most; then services and connections end, and the store is closed.
// It returns the first failure of the node or of its parts. Close again waits, and returns nil.
func (n *Node) Close() error { return n.end(true) }

// Abandon ends the node as the death of its process does, as far as the others can see: nothing is handed over, no word is said. What its store has
// written is closed all the same. For tests.
func (n *Node) Abandon() error { return n.end(false) }

func (n *Node) end(controlled bool) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		<-n.done
		return nil
	}
	n.closed = true
	failure := n.failure
	n.mu.Unlock()
	defer close(n.done)
	hangUp := sync.OnceValue(func() <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- n.peers.Close() }()
		return ended
	})
	if !controlled {
		hangUp()
	}
	errs := []error{failure}
	errs = append(errs, n.control.close(controlled))
	n.cancel()
	n.wake()
	n.replicas.close()
	n.work.Wait()
	// Who serves another node gives back what the store has lent, or waits for replicas that do not answer any more: the former is waited for, the latter the store ends.
	ended := hangUp()
	late := make(chan struct{})
	stop := n.clock.AfterFunc(n.config.CloseTimeout/4, func() { close(late) })
	var hung bool
	select {
	case err := <-ended:
		errs = append(errs, err)
	case <-late:
		hung = true
	}
	stop()
	err := n.store.Close()
	if hung {
		errs = append(errs, <-ended)
		if _, lent := errors.AsType[*partition.OpenLeasesError](err); lent {
			err = nil // they have been given back since
		}
	}
	errs = append(errs, err)
	return errors.Join(errs...)
}

// handler takes what comes from peers to who answers it.
type handler struct{ n *Node }

func (h handler) Call(ctx context.Context, from int32, kind uint8, body []byte) (peer.Reply, error) {
	switch {
	case kind <= lastControlKind:
		return h.n.control.serve(ctx, from, kind, body)
	case kind <= lastReplicaKind:
		return h.n.replicas.serve(ctx, from, kind, body)
	case kind == kindProduce:
		return h.n.serveAppend(ctx, body)
	case kind == kindFetch:
		return h.n.serveFetch(ctx, body)
	case kind == kindOperation:
		return h.n.serveOperation(ctx, from, body)
	}
	return peer.Reply{}, fmt.Errorf("node %d does not know calls of kind %d", h.n.id, kind)
}

func (h handler) Message(from int32, kind uint8, body []byte) {
	if kind <= lastControlKind {
		h.n.control.message(from, kind, body)
	}
}
