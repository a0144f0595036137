package replication

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/internal/wire/faultnet"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// LocalConfig says what StartLocal starts. The zero value is three nodes in memory.
type LocalConfig struct {
	// Nodes is how many, with ids from 1 on; default 3.
	Nodes int
	// Dir holds a directory for each node, which then listen on loopback addresses. Default "": files and network are in memory.
	Dir string
	// Change is called with each node's Config before the node is started, also again; may be nil. The defaults are those of a cluster that may
	// share one busy machine: SessionTimeout 2 s, HeartbeatInterval 200 ms, ElectionTimeout 500 ms, FetchBackoff 20 ms, CloseTimeout 2 s.
	Change func(*Config)
}

// Local is a cluster in one process: for tests of what runs on a cluster, and of what happens to it when nodes die and the network between them fails. It is safe
// for concurrent use.
type Local struct {
	config  LocalConfig
	network *memnet.Network   // nil with Dir
	faults  *faultnet.Network // between all nodes
	cluster string

	mu     sync.Mutex // guards all below
	places map[int32]*place
}

// place is where a node lives, also when it is not running.
type place struct {
	fs      vfs.FS
	dir     string
	address string
	node    *Node // nil while it does not run
}

// StartLocal starts a cluster and returns when all nodes take part and, but for observers, vote.
func StartLocal(ctx context.Context, c LocalConfig) (*Local, error) {
	or(&c.Nodes, 3)
	l := &Local{config: c, faults: faultnet.New(clock.System), places: map[int32]*place{}}
	if c.Dir == "" {
		l.network = memnet.New()
	}
	for id := int32(1); id <= int32(c.Nodes); id++ {
		if _, err := l.Add(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// Add starts one more node, and returns when it takes part.
func (l *Local) Add(ctx context.Context) (*Node, error) {
	l.mu.Lock()
	id := int32(len(l.places) + 1)
	p := &place{}
	l.places[id] = p
	if l.config.Dir == "" {
		p.fs, p.dir, p.address = vfs.NewMem(), "node", fmt.Sprintf("node-%d:9192", id)
	} else {
		p.dir, p.address = filepath.Join(l.config.Dir, fmt.Sprintf("node-%d", id)), "127.0.0.1:0"
	}
	l.mu.Unlock()
	n, err := l.Start(id)
	if err != nil {
		return nil, err
	}
	if err := n.Ready(ctx); err != nil {
		return nil, fmt.Errorf("node %d: %w", id, err)
	}
	if n.config.Observer {
		return n, nil
	}
	return n, l.voting(ctx, n)
}

// voting waits until a node is a voter, with the directory that it has: those that it has lost may be voters yet.
func (l *Local) voting(ctx context.Context, n *Node) error {
	for {
		changed := n.metadataChanged()
		if votes, err := n.Voting(ctx); votes || err != nil {
			return err
		}
		if err := n.wait(ctx, changed, maxPause); err != nil {
			return fmt.Errorf("node %d does not vote: %w", n.id, err)
		}
	}
}

// Start starts a node that does not run, at the place where it was.
func (l *Local) Start(id int32) (*Node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[id]
	if p == nil || p.node != nil {
		return nil, fmt.Errorf("node %d is running, or was never there", id)
	}
	c := Config{
		Dir: p.dir, NodeID: id, ClusterID: l.cluster, Plaintext: true, Bootstrap: id == 1, Join: id != 1,
		SessionTimeout: 2 * time.Second, HeartbeatInterval: 200 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond,
		FetchBackoff: 20 * time.Millisecond, CloseTimeout: 2 * time.Second, Seed: uint64(id),
	}
	c.Store.FS = p.fs
	dial := (&net.Dialer{}).DialContext
	var err error
	if l.network != nil {
		dial = l.network.DialContext
		c.Listener, err = l.network.Listen(p.address)
	} else {
		c.Listener, err = net.Listen("tcp", p.address)
	}
	if err != nil {
		return nil, err
	}
	p.address = c.Listener.Addr().String()
	l.faults.Name(p.address, name(id))
	c.Dial = l.faults.Dialer(name(id), dial)
	for other, at := range l.places {
		if other != id && at.address != "" && at.node != nil {
			c.Peers = append(c.Peers, Peer{other, at.address})
		}
	}
	c.Join = c.Join && len(c.Peers) > 0
	if l.config.Change != nil {
		l.config.Change(&c)
	}
	n, err := Start(c)
	if err != nil {
		c.Listener.Close()
		return nil, err
	}
	p.node, l.cluster = n, n.ClusterID()
	return n, nil
}

// name is a node's in the network of faults.
func name(id int32) string { return fmt.Sprintf("node-%d", id) }

// Node returns a node that runs, or nil.
func (l *Local) Node(id int32) *Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.places[id]; p != nil {
		return p.node
	}
	return nil
}

// Nodes returns those that run, by id.
func (l *Local) Nodes() (all []*Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := int32(1); id <= int32(len(l.places)); id++ {
		if n := l.places[id].node; n != nil {
			all = append(all, n)
		}
	}
	return all
}

// Stop closes a node: it hands over what it leads.
func (l *Local) Stop(id int32) error { return l.end(id, (*Node).Close) }

// Kill ends a node without a word to the others.
func (l *Local) Kill(id int32) error { return l.end(id, (*Node).Abandon) }

func (l *Local) end(id int32, how func(*Node) error) error {
	l.mu.Lock()
	p := l.places[id]
	if p == nil || p.node == nil {
		l.mu.Unlock()
		return fmt.Errorf("node %d is not running", id)
	}
	n := p.node
	p.node = nil
	l.mu.Unlock()
	return how(n)
}

// Wipe takes the disk of a node that does not run away: it comes back with nothing.
func (l *Local) Wipe(id int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[id]
	if p == nil || p.node != nil {
		return fmt.Errorf("node %d is running, or was never there", id)
	}
	if p.fs != nil {
		p.fs = vfs.NewMem()
		return nil
	}
	return vfs.OS.RemoveAll(p.dir)
}

// Cut stops what one node sends to another; CutOff stops all between a node and the others, in both directions. Heal ends all cuts.
func (l *Local) Cut(from, to int32) { l.faults.Cut(name(from), name(to)) }

// CutOff stops all between a node and the others.
func (l *Local) CutOff(id int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for other := range l.places {
		if other != id {
			l.faults.CutBoth(name(id), name(other))
		}
	}
}

// Heal ends all cuts.
func (l *Local) Heal() { l.faults.Heal() }

// Close closes all nodes, the last started first.
func (l *Local) Close() error {
	l.faults.Heal()
	var errs []error
	nodes := l.Nodes()
	var all sync.WaitGroup
	results := make([]error, len(nodes))
	for i, n := range nodes {
		all.Go(func() { results[i] = n.Close() })
	}
	all.Wait()
	errs = append(errs, results...)
	l.faults.Close()
	return errors.Join(errs...)
}
