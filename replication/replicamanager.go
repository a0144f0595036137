package replication

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// replicaManager gives the store's replicas their roles (changeRole), fetches for those that follow (fetcher), answers the fetches of
// others' (replicafetch.go), has the controller change ISRs (isrSender), and makes replicas that have failed anew (repairer).
//
// What the metadata says arrives at applied, on the controller's goroutine, which only notes which partitions are to be looked at. Workers
// look, each at partitions of its own, so that there is an order for each partition. They read the newest state, whatever came before it.
//
// Lock order: fetches.mu, hosted.mu, fetcher.mu, isr.mu, mu. Store.SetReplica and RemoveReplica are called with none held.
type replicaManager struct {
	node   *Node
	clock  clock.Clock
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup

	byID   sync.Map // control.PartitionID to *hosted
	byName sync.Map // partition.TopicPartition to *hosted

	workers [4]worker
	fetches fetches
	isr     isrSender
	repair  repairer
	counts  replicaCounts

	mu       sync.Mutex // guards all below
	closed   bool
	fetchers map[int32]*fetcher
	lastSeen map[replica.NodeID]*atomic.Int64 // clock.Elapsed of the newest fetch of a node
	stopTick func() bool

	lag     chan struct{} // of one: look at lags
	delayed atomic.Bool   // high watermarks wait until the controller is reached again
}

// replicaCounts counts since the node was started.
type replicaCounts struct {
	shrinks, expands, unclean, truncations, rebuilds, repairs, repaired, failures, fetches, fetchErrors, bytesIn, bytesOut atomic.Uint64
}

func newReplicaManager(n *Node) *replicaManager {
	m := &replicaManager{node: n, clock: n.clock, lag: make(chan struct{}, 1), fetchers: map[int32]*fetcher{}, lastSeen: map[replica.NodeID]*atomic.Int64{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for i := range m.workers {
		m.workers[i].signal = make(chan struct{}, 1)
	}
	m.fetches.manager, m.isr.manager, m.repair.manager = m, m, m
	m.fetches.cache = replica.NewSessionCache(replica.SessionCacheConfig{Seed: n.draw()})
	if rate := n.config.CatchUpRate; rate != partition.Unlimited {
		m.fetches.throttle.SetRate(rate, m.now())
	}
	m.isr.signal, m.repair.signal = make(chan struct{}, 1), make(chan struct{}, 1)
	return m
}

// start begins with what the metadata says already.
func (m *replicaManager) start() {
	for i := range m.workers {
		m.work.Go(func() { m.workers[i].run(m) })
	}
	m.work.Go(m.lookAtLags)
	m.work.Go(m.isr.run)
	m.work.Go(m.repair.run)
	m.mu.Lock()
	m.armTickLocked()
	m.mu.Unlock()
	m.restored()
}

// close ends all goroutines. The store's replicas stay as they are.
func (m *replicaManager) close() {
	m.mu.Lock()
	m.closed = true
	if m.stopTick != nil {
		m.stopTick()
	}
	m.mu.Unlock()
	m.cancel()
	m.work.Wait()
}

func (m *replicaManager) now() time.Duration { return clock.Elapsed(m.clock) }

// applied is told, on the controller's goroutine and in order, what a command has changed.
func (m *replicaManager) applied(r control.Result) {
	for i := range r.Changed {
		c := &r.Changed[i]
		if !m.mine(c.Before) && !m.mine(c.After) {
			continue
		}
		m.look(c.Partition, c.Name)
		if c.Unclean && m.present() { // else it was before this process
			m.counts.unclean.Add(1)
		}
	}
	self := slices.Contains(r.Nodes, replica.NodeID(m.node.id))
	if self {
		m.restored() // before the node's own registration, nothing that the metadata says is for this process
	}
	if len(r.Nodes) > 0 && !self {
		notify(m.lag) // who has been unfenced may join again
	}
}

// present reports whether the metadata knows this process: before that, what it says of this node is about an earlier one.
func (m *replicaManager) present() (present bool) {
	m.node.control.read(func(machine *control.Machine) {
		n, ok := machine.Node(replica.NodeID(m.node.id))
		present = ok && n.Incarnation == m.node.incarnation && n.Epoch == m.node.control.epoch()
	})
	return present
}

func (m *replicaManager) mine(s control.PartitionState) bool {
	return slices.Contains(s.Replicas, replica.NodeID(m.node.id))
}

// restored looks at all partitions that are here or are to be here.
func (m *replicaManager) restored() {
	type named struct {
		id   control.PartitionID
		name string
	}
	var all []named
	m.node.control.read(func(machine *control.Machine) {
		for _, t := range machine.Topics() {
			for i, s := range t.Partitions() {
				if m.mine(s) {
					all = append(all, named{control.PartitionID{Topic: t.ID, Index: int32(i)}, t.Name})
				}
			}
		}
	})
	for _, p := range all {
		m.look(p.id, p.name)
	}
	m.byID.Range(func(_, value any) bool {
		h := value.(*hosted)
		m.look(h.id, h.tp.Topic)
		return true
	})
}

// look has a worker look at a partition.
func (m *replicaManager) look(id control.PartitionID, name string) {
	h := m.hosted(id)
	if h == nil {
		fresh := &hosted{m: m, id: id, tp: partition.TopicPartition{Topic: name, Partition: id.Index}}
		value, _ := m.byID.LoadOrStore(id, fresh)
		h = value.(*hosted)
	}
	m.queue(h, h.changeRole)
}

// queue has h's worker do something.
func (m *replicaManager) queue(h *hosted, do func()) {
	hash := uint32(h.id.Index)
	for _, b := range h.id.Topic {
		hash = hash*31 + uint32(b)
	}
	m.workers[hash%uint32(len(m.workers))].add(do)
}

// hosted returns the partition with an id, nil if nothing is known of it here.
func (m *replicaManager) hosted(id control.PartitionID) *hosted {
	if value, ok := m.byID.Load(id); ok {
		return value.(*hosted)
	}
	return nil
}

// named returns the partition with a name that has a replica here, or nil.
func (m *replicaManager) named(tp partition.TopicPartition) *hosted {
	if value, ok := m.byName.Load(tp); ok {
		return value.(*hosted)
	}
	return nil
}

// worker does one thing after another.
type worker struct {
	mu     sync.Mutex
	todo   []func() // guarded by mu
	signal chan struct{}
}

func (w *worker) add(do func()) {
	w.mu.Lock()
	w.todo = append(w.todo, do)
	w.mu.Unlock()
	notify(w.signal)
}

// notify wakes who waits on a channel of one, or will.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *worker) run(m *replicaManager) {
	for {
		w.mu.Lock()
		todo := w.todo
		w.todo = nil
		w.mu.Unlock()
		for _, do := range todo {
			if m.ctx.Err() != nil {
				return
			}
			do()
		}
		if len(todo) > 0 {
			continue
		}
		select {
		case <-w.signal:
		case <-m.ctx.Done():
			return
		}
	}
}

// after calls f once d has elapsed, unless the manager is closed.
func (m *replicaManager) after(d time.Duration, f func()) {
	m.clock.AfterFunc(d, func() {
		if m.ctx.Err() == nil {
			f()
		}
	})
}

func (m *replicaManager) armTickLocked() {
	if m.closed {
		return
	}
	m.stopTick = m.clock.AfterFunc(m.node.config.LagTimeMax/2, func() {
		notify(m.lag)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.armTickLocked()
	})
}

// lookAtLags looks for followers that have fallen behind, or may join again.
func (m *replicaManager) lookAtLags() {
	for {
		select {
		case <-m.lag:
		case <-m.ctx.Done():
			return
		}
		m.each(func(l *replica.Leader) replica.Effects { return l.Tick(m.now()) })
	}
}

// each gives all leaders an event.
func (m *replicaManager) each(event func(*replica.Leader) replica.Effects) {
	m.byName.Range(func(_, value any) bool {
		value.(*hosted).event(event)
		return m.ctx.Err() == nil
	})
}

// delay has the high watermarks that do not move because this node is isolated looked at again.
func (m *replicaManager) delay() {
	if !m.delayed.CompareAndSwap(false, true) {
		return
	}
	m.after(m.node.config.HeartbeatInterval, func() {
		m.delayed.Store(false)
		m.each(func(*replica.Leader) replica.Effects { return 0 })
	})
}

// Broker implements replica.Brokers.
func (m *replicaManager) Broker(id replica.NodeID) (epoch int64, eligible bool) {
	epoch = control.NoEpoch
	m.node.control.read(func(machine *control.Machine) {
		if n, ok := machine.Node(id); ok {
			epoch, eligible = n.Epoch, n.Active()
		}
	})
	return epoch, eligible
}

// LastFetch implements replica.Brokers.
func (m *replicaManager) LastFetch(id replica.NodeID) time.Duration {
	return time.Duration(m.seen(id).Load())
}

func (m *replicaManager) seen(id replica.NodeID) *atomic.Int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.lastSeen[id]
	if at == nil {
		at = new(atomic.Int64)
		at.Store(int64(replica.Never))
		m.lastSeen[id] = at
	}
	return at
}

// appended is partition.Cluster's Appended.
func (m *replicaManager) appended(tp partition.TopicPartition, end partition.Offset) {
	h := m.named(tp)
	if h == nil {
		return
	}
	h.mu.Lock()
	if h.leader == nil {
		h.mu.Unlock()
		return
	}
	grown := h.told < int64(end)
	h.told = max(h.told, int64(end))
	e := h.leader.Appended(int64(h.copy.End()), int64(h.copy.Promised()))
	watchers, small := h.watchers, h.carryOutLocked(e)
	h.mu.Unlock()
	if grown {
		touch(watchers, replica.BigNews)
	} else if small {
		touch(watchers, replica.SmallNews)
	}
}

// lowWatermark is partition.Cluster's LowWatermark.
func (m *replicaManager) lowWatermark(ctx context.Context, tp partition.TopicPartition, at partition.Offset) error {
	for {
		h := m.named(tp)
		if h == nil {
			return fmt.Errorf("%w: %s", partition.ErrNotLeaderOrFollower, tp)
		}
		h.mu.Lock()
		l := h.leader
		if l == nil {
			h.mu.Unlock()
			return fmt.Errorf("%w: %s", partition.ErrNotLeaderOrFollower, tp)
		}
		h.carryOutLocked(l.StartMoved(int64(h.copy.Start())))
		low := l.LowWatermark()
		if h.lowered == nil {
			h.lowered = make(chan struct{})
		}
		lowered, watchers := h.lowered, h.watchers
		h.mu.Unlock()
		if low >= int64(at) {
			return nil
		}
		touch(watchers, replica.SmallNews)
		select {
		case <-lowered:
		case <-ctx.Done():
			return ctx.Err()
		case <-m.ctx.Done():
			return ErrClosed
		}
	}
}

// serve answers calls of kinds lastControlKind+1 to lastReplicaKind.
func (m *replicaManager) serve(ctx context.Context, from int32, kind uint8, body []byte) (peer.Reply, error) {
	switch kind {
	case kindReplicaFetch:
		return m.fetches.serve(ctx, replica.NodeID(from), body)
	case kindReplicaWake:
		m.fetches.wake(replica.NodeID(from))
		return peer.Reply{}, nil
	}
	return peer.Reply{}, fmt.Errorf("node %d does not know calls of kind %d", m.node.id, kind)
}
