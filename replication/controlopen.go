package replication

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/partition"
)

// newController returns a controller that is not open: there is no leader, and no state.
func newController(n *Node) *controller {
	c := &controller{
		id: n.id, config: n.config, clock: n.clock, events: n.events, fs: n.fs, dir: filepath.Join(n.dir, quorumDir), net: endpoint{n},
		applied: n.applied, restored: n.restored, failed: n.fail, work: &n.work,
	}
	c.prepare()
	return c
}

// prepare makes everything but raft.
func (c *controller) prepare() {
	c.nonce = drawNonce()
	c.waiting.all = map[uint64]*waiter{}
	c.confirming = map[uint64]chan bool{}
	c.done = make(chan struct{})
	c.inbox.signal = make(chan struct{}, 1)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.machine = control.New()
	c.lead.Store(&leadership{node: -1, changed: make(chan struct{})})
	c.epochs.Store(control.NoEpoch)
	c.until.Store(math.MinInt64)
	c.isolation = true
	c.watch = control.NewWatch(control.WatchConfig{Session: c.config.SessionTimeout, Rebalance: unlimited(c.config.PreferredInterval), Unclean: c.config.SessionTimeout})
	c.lifecycle = control.NewLifecycle(control.LifecycleConfig{
		Session: c.config.SessionTimeout, Interval: c.config.HeartbeatInterval, Timeout: c.requestTimeout(), Duplicate: 6 * c.config.SessionTimeout,
	}, control.NodeID(c.id))
}

// requestTimeout is how long the node waits for the answer to a registration or heartbeat.
func (c *controller) requestTimeout() time.Duration {
	return min(c.config.HeartbeatInterval, c.config.SessionTimeout/3)
}

// open opens this node's part in the quorum, and makes one first if there is none: Config.Bootstrap and Join say which. Nothing runs before
// start.
func (c *controller) open(n *Node) error {
	c.catalogue = n.store
	c.identity = identity{
		incarnation: n.incarnation, directory: n.directory, address: n.config.Advertise, previous: n.previousEpoch(), registered: n.registered,
		ballot: n.file.ballot, balloted: n.balloted,
	}
	return c.openRaft(func() ([]byte, error) {
		switch {
		case n.config.Bootstrap:
			machine, err := n.firstState()
			if err != nil {
				return nil, err
			}
			if c.identity.previous == control.NoEpoch && n.store.CleanOpen() {
				c.identity.previous = 0 // as control.Bootstrap has registered it
			}
			return encodeState(machine, n.store), nil
		case n.config.Join:
			return nil, nil
		}
		return nil, ErrNotFormatted
	})
}

// firstState is the state of a new cluster: this node has everything that its store has.
func (n *Node) firstState() (*control.Machine, error) {
	node := control.Node{
		ID: control.NodeID(n.id), Addr: n.config.Advertise, Rack: n.config.Rack, DirectoryID: n.directory,
		MinFeature: control.MinLevel, MaxFeature: control.MaxLevel, ControllerOnly: n.config.ControllerOnly,
	}
	if names := n.store.TopicNames(); node.ControllerOnly && len(names) > 0 {
		return nil, fmt.Errorf("%w: the store has %d topics, and a node that is a controller only keeps none: make it the cluster's first broker", partition.ErrUnsupported, len(names))
	}
	var topics []control.BootstrapTopic
	for _, name := range n.store.TopicNames() {
		t, err := n.store.Topic(name)
		if err != nil {
			return nil, err
		}
		topic := control.BootstrapTopic{ID: control.TopicID(t.ID()), Name: name, Config: control.TopicConfig{MinISR: t.Info().MinInsyncReplicas}}
		for i := range t.Partitions() {
			topic.Partitions = append(topic.Partitions, control.BootstrapPartition{LeaderEpoch: int32(t.LeaderEpoch(i))})
		}
		topics = append(topics, topic)
	}
	return control.BootstrapAt(n.config.FeatureLevel, node, control.ClusterConfig{MinISR: n.defaultMinISR(1)}, topics), nil
}

// unlimited is what the controller's machines have for never.
func unlimited(d time.Duration) time.Duration {
	if d == partition.Unlimited {
		return -1
	}
	return d
}

func drawNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

func (c *controller) openRaft(format func() ([]byte, error)) error {
	config := quorum.Config{
		FS: c.fs, Dir: c.dir, Known: c.catalogue.AppliedShared(), ElectionTicks: ticksToElection, Events: c.quorumEvent,
	}
	r, _, err := quorum.Open(config)
	switch {
	case errors.Is(err, quorum.ErrNotFormatted):
		var state []byte
		if state, err = format(); err != nil {
			return err
		}
		if state != nil {
			self := quorum.Member{Node: c.id}
			err = quorum.Bootstrap(config, self, []quorum.Member{self}, state)
		} else {
			err = quorum.Join(config, quorum.Member{Node: c.id, Directory: c.drawDirectory()})
		}
		if err == nil {
			r, _, err = quorum.Open(config)
		}
	case errors.Is(err, quorum.ErrMustRejoin) && len(c.config.Peers)+len(c.config.Servers) > 0:
		// The others have what is missing here. What is damaged is kept beside.
		reason := err
		var aside string
		if aside, err = quorum.Rejoin(config, quorum.Member{Node: c.id, Directory: c.drawDirectory()}); err == nil {
			c.events.Rejoined(fmt.Sprintf("%v; it is kept in %s", reason, aside))
			r, _, err = quorum.Open(config)
		}
	}
	if errors.Is(err, quorum.ErrMustRejoin) {
		err = fmt.Errorf("%w: with Config.Peers or Servers, of whom one is up, the node comes back as a new member; if it was the only voter, restore %s from a copy", err, c.dir)
	}
	if err != nil {
		return fmt.Errorf("controller quorum: %w", err)
	}
	c.raft = r
	status := r.Status()
	c.joining.wanted = status.Role == quorum.Observer
	c.committed.Store(status.Commit)
	if err := c.recallBallot(); err != nil {
		return errors.Join(err, r.Close())
	}
	return nil
}

// drawDirectory tells this directory of the node from those that it had before (quorum.Member).
func (c *controller) drawDirectory() uint32 { return uint32(drawNonce()) | 1 }

func (c *controller) quorumEvent(e quorum.Event) {
	if e.Kind == quorum.EventRefused {
		c.events.Refused(e.Node, "", e.Err)
	}
}
