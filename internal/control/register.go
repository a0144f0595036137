package control

import (
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/mutant"
)

func (a *application) register(c Register) {
	m := a.m
	switch {
	case c.ID < 0 || c.MinFeature > c.MaxFeature:
		a.refuse(InvalidRequest, "node %d with feature levels %d to %d", c.ID, c.MinFeature, c.MaxFeature)
		return
	case m.feature < c.MinFeature || m.feature > c.MaxFeature:
		a.refuse(UnsupportedVersion, "the cluster is at feature level %d, node %d can live with %d to %d", m.feature, c.ID, c.MinFeature, c.MaxFeature)
		return
	}
	if _, copied := m.copied(c); copied {
		a.refuse(DuplicateBrokerRegistration, "%s", m.Duplicate(c))
		return
	}
	i, known := m.findNode(c.ID)
	if c.ControllerOnly && !(known && m.nodes[i].ControllerOnly) {
		if m.feature < LevelRoles {
			a.refuse(UnsupportedVersion, "the cluster is at feature level %d, nodes that are controllers only need %d", m.feature, LevelRoles)
			return
		}
		if n := m.replicasOf(c.ID); n > 0 {
			a.refuse(InvalidRequest, "node %d has replicas of %d partitions: they have to be reassigned before it can be a controller only", c.ID, n)
			return
		}
	}
	next := Node{ID: c.ID, Epoch: int64(a.r.Index), Incarnation: c.Incarnation, Addr: c.Addr, Listeners: c.Listeners, Rack: c.Rack, DirectoryID: c.DirectoryID,
		MinFeature: c.MinFeature, MaxFeature: c.MaxFeature, ControllerOnly: c.ControllerOnly, Fenced: true}
	gone, blank := true, false
	if known {
		before := m.nodes[i]
		if before.Incarnation == c.Incarnation { // the answer was lost
			next.Epoch, next.Fenced, next.ShuttingDown, next.ShutdownIndex = before.Epoch, before.Fenced, before.ShuttingDown, before.ShutdownIndex
			a.node(i, next)
			a.r.Epoch = next.Epoch
			return
		}
		if before.Epoch != c.Replaces {
			a.refuse(DuplicateBrokerRegistration, "node %d has a process registered with epoch %d", c.ID, before.Epoch)
			return
		}
		blank = before.DirectoryID != c.DirectoryID
		gone = blank || !mutant.On(mutant.UncleanKeepsISR) && before.Epoch != c.PreviousEpoch && (c.PreviousIncarnation == [16]byte{} || before.Incarnation != c.PreviousIncarnation)
		a.node(i, next)
	} else {
		m.nodes = slices.Insert(m.nodes, i, next)
		a.r.Nodes = append(a.r.Nodes, c.ID)
	}
	a.r.Epoch = next.Epoch
	a.leave(c.ID, gone, blank, true)
}

// copied reports whether the directory that a node registers with is another's (KIP-858).
func (m *Machine) copied(c Register) (owner NodeID, copied bool) {
	i := slices.IndexFunc(m.nodes, func(n Node) bool {
		return n.ID != c.ID && n.DirectoryID == c.DirectoryID && n.DirectoryID != [16]byte{}
	})
	if i < 0 || mutant.On(mutant.DirectoryNotCompared) {
		return NoNode, false
	}
	return m.nodes[i].ID, true
}

// Duplicate says in words what a registration that is a DuplicateBrokerRegistration is a duplicate of.
func (m *Machine) Duplicate(c Register) string {
	if owner, copied := m.copied(c); copied {
		return fmt.Sprintf("directory %x is node %d's: node %d has a copy of it", c.DirectoryID, owner, c.ID)
	}
	return fmt.Sprintf("another process of node %d has a session", c.ID)
}

// replicasOf counts the partitions that have a node among their replicas.
func (m *Machine) replicasOf(id NodeID) (n int) {
	m.each(func(t *Topic, index int32) {
		if slices.Contains(t.partitions[index].Replicas, id) {
			n++
		}
	})
	return n
}

// node changes a node.
func (a *application) node(i int, next Node) {
	a.m.nodes[i] = next
	a.r.Nodes = append(a.r.Nodes, next.ID)
}

// leave takes a node that is not active any more out of all ISRs and leaderships; out of the ELR as well if it is gone: not with all
// that it had. A new process has no failed replicas.
func (a *application) leave(id NodeID, gone, blank, fresh bool) {
	a.r.Changed = slices.Grow(a.r.Changed, a.m.leads[id])
	a.m.each(func(t *Topic, index int32) {
		p := &t.partitions[index]
		inISR, failed := slices.Contains(p.ISR, id), fresh && slices.Contains(p.Offline, id)
		if !inISR && p.Leader != id && !failed && !(gone && slices.Contains(p.ELR, id)) && !(blank && slices.Contains(p.LastKnownELR, id)) {
			return
		}
		c := a.begin(t, index)
		if inISR {
			c.isr = without(c.isr, id)
		}
		if gone {
			c.gone = []NodeID{id}
		}
		if blank {
			c.blank = []NodeID{id}
		}
		if failed {
			c.offline = without(c.offline, id)
		}
		a.finish(c)
	})
}

func (a *application) unregister(c Unregister) {
	i, ok := a.m.findNode(c.ID)
	if !ok {
		a.refuse(BrokerIDNotRegistered, "node %d", c.ID)
		return
	}
	a.m.nodes = slices.Delete(a.m.nodes, i, i+1)
	a.r.Nodes = append(a.r.Nodes, c.ID)
	a.leave(c.ID, false, false, false)
}

// registered finds a node by its registration.
func (a *application) registered(id NodeID, epoch int64) (int, bool) {
	i, ok := a.m.findNode(id)
	switch {
	case !ok:
		a.refuse(BrokerIDNotRegistered, "node %d", id)
	case a.m.nodes[i].Epoch != epoch:
		a.refuse(StaleBrokerEpoch, "node %d is registered with epoch %d, not %d", id, a.m.nodes[i].Epoch, epoch)
		ok = false
	}
	return i, ok
}

func (a *application) fence(c Fence) {
	i, ok := a.registered(c.Node, c.Epoch)
	if !ok || a.m.nodes[i].Fenced {
		return
	}
	next := a.m.nodes[i]
	next.Fenced = true
	a.node(i, next)
	a.leave(c.Node, false, false, false)
}

func (a *application) unfence(c Unfence) {
	i, ok := a.registered(c.Node, c.Epoch)
	if !ok || !a.m.nodes[i].Fenced {
		return
	}
	next := a.m.nodes[i]
	if next.ShuttingDown {
		a.refuse(InvalidRequest, "node %d is shutting down", c.Node)
		return
	}
	if next.ControllerOnly {
		a.refuse(InvalidRequest, "node %d is a controller only", c.Node)
		return
	}
	next.Fenced = false
	a.node(i, next)
	a.electLeaderless()
}

// electLeaderless elects where there is no leader.
func (a *application) electLeaderless() {
	if a.m.leaderless == 0 {
		return
	}
	a.m.each(func(t *Topic, index int32) {
		if t.partitions[index].Leader == NoNode {
			a.finish(a.begin(t, index))
		}
	})
}

func (a *application) beginShutdown(c BeginShutdown) {
	i, ok := a.registered(c.Node, c.Epoch)
	if !ok || !a.m.nodes[i].Active() {
		return
	}
	next := a.m.nodes[i]
	next.ShuttingDown, next.ShutdownIndex = true, a.r.Index
	a.node(i, next)
	a.leave(c.Node, false, false, false)
}

func (a *application) offline(c OfflineReplicas) {
	if _, ok := a.registered(c.Node, c.Epoch); !ok {
		return
	}
	for _, id := range c.Partitions {
		t, p, ok := a.find(id)
		if !ok || !slices.Contains(p.Replicas, c.Node) || slices.Contains(p.Offline, c.Node) {
			continue
		}
		ch := a.begin(t, id.Index)
		ch.isr, ch.gone = without(ch.isr, c.Node), []NodeID{c.Node}
		ch.offline = append(slices.Clone(ch.offline), c.Node)
		slices.Sort(ch.offline)
		a.finish(ch)
	}
	a.tidy()
}

func (a *application) online(c OnlineReplicas) {
	if _, ok := a.registered(c.Node, c.Epoch); !ok {
		return
	}
	for _, id := range c.Partitions {
		t, p, ok := a.find(id)
		if !ok || !slices.Contains(p.Offline, c.Node) {
			continue
		}
		ch := a.begin(t, id.Index)
		ch.offline = without(ch.offline, c.Node)
		a.finish(ch)
	}
	a.tidy()
}

// resign has others lead. What the node says of the ISR is not asked for: it may know an earlier one, of which somebody has gone since.
func (a *application) resign(c Resign) {
	if a.m.feature < LevelRoles {
		a.refuse(UnsupportedVersion, "the cluster is at feature level %d, to resign needs %d", a.m.feature, LevelRoles)
		return
	}
	if _, ok := a.registered(c.Node, c.Epoch); !ok {
		return
	}
	for _, id := range c.Partitions {
		t, p, ok := a.find(id)
		if !ok || p.Leader != c.Node {
			continue
		}
		ch := a.begin(t, id.Index)
		others := 0
		for _, n := range p.ISR {
			if n != c.Node && ch.acceptable(n) && !slices.Contains(p.Removing, n) {
				others++
			}
		}
		if others == 0 {
			continue
		}
		// Out of the ISR nobody waits for it. Where it is not eligible then, what is committed must not be down to a single copy by this: the new leader
		// takes it out by its lag, as it does with every follower, and until then it may be elected again.
		if rest := without(p.ISR, c.Node); others > 1 || len(rest) < int(a.m.minISR(t, p)) {
			ch.isr = rest
		}
		ch.resigns = true
		a.finish(ch)
	}
	a.tidy()
}

// find finds a partition.
func (a *application) find(id PartitionID) (*Topic, PartitionState, bool) {
	t := a.m.topic(id.Topic)
	if t == nil || id.Index < 0 || int(id.Index) >= len(t.partitions) {
		return t, PartitionState{}, false
	}
	return t, t.partitions[id.Index], true
}
