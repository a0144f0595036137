package control

import (
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/mutant"
)

// snapshotVersion is the first byte of a snapshot; another one is not understood. More fields do not need another version.
const snapshotVersion = 1

// Snapshot returns the state, the same bytes for equal states.
func (m *Machine) Snapshot() []byte {
	w := &writer{[]byte{snapshotVersion}}
	w.sized(func() {
		w.uint(m.applied)
		w.uint(m.catalogue)
		w.int(int64(m.feature))
		w.clusterConfig(m.config)
	})
	writeList(w, m.nodes, func(n Node) {
		w.registration(n.ID, n.Epoch)
		w.id(n.Incarnation)
		w.string(n.Addr)
		w.listeners(n.Listeners)
		w.string(n.Rack)
		w.id(n.DirectoryID)
		w.int(int64(n.MinFeature))
		w.int(int64(n.MaxFeature))
		w.bool(n.Fenced)
		w.bool(n.ShuttingDown)
		w.uint(n.ShutdownIndex)
	})
	w.uint(uint64(len(m.topics)))
	for _, t := range m.topics {
		w.sized(func() {
			w.id(t.ID)
			w.string(t.Name)
			w.topicConfig(t.Config)
		})
		writeList(w, t.partitions, func(p PartitionState) {
			for _, ids := range [][]NodeID{p.Replicas, p.ISR, p.ELR, p.LastKnownELR, p.Adding, p.Removing, p.Offline} {
				w.nodes(ids)
			}
			w.int(int64(p.Leader))
			if mutant.On(mutant.SnapshotWithoutEpochs) {
				p.LeaderEpoch = 0
			}
			w.int(int64(p.LeaderEpoch))
			w.int(int64(p.PartitionEpoch))
			w.bool(p.Recovering)
		})
	}
	if m.feature >= LevelRoles {
		w.nodes(m.controllersOnly())
	}
	return w.b
}

// controllersOnly are the nodes that keep no replicas.
func (m *Machine) controllersOnly() (ids []NodeID) {
	for _, n := range m.nodes {
		if n.ControllerOnly {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// Restore makes a Machine from a snapshot. The error is ErrMalformed, or that the snapshot is at a feature level above MaxLevel.
func Restore(src []byte) (*Machine, error) {
	if len(src) == 0 || src[0] != snapshotVersion {
		return nil, fmt.Errorf("%w: no snapshot of version %d", ErrMalformed, snapshotVersion)
	}
	r := &reader{b: src[1:]}
	m := New()
	r.sized(func(r *reader) {
		m.applied, m.catalogue, m.feature, m.config = r.uint(), r.uint(), r.int16(), r.clusterConfig()
	})
	if r.err == nil && (m.feature > MaxLevel || m.feature < MinLevel) {
		return nil, fmt.Errorf("the cluster is at feature level %d, this build knows %d to %d", m.feature, MinLevel, MaxLevel)
	}
	for _, n := range list(r, readNode) {
		i, known := m.findNode(n.ID)
		if known || n.ID < 0 {
			r.fail("a node")
			break
		}
		m.nodes = slices.Insert(m.nodes, i, n)
	}
	for range r.count(1) {
		t := new(Topic)
		r.sized(func(r *reader) { t.ID, t.Name, t.Config = r.id(), r.string(), r.topicConfig() })
		t.partitions = list(r, readPartition)
		if r.err != nil {
			break
		}
		i, known := m.findTopic(t.ID)
		if known || m.names[t.Name] != nil || len(t.partitions) == 0 {
			r.fail("a topic")
			break
		}
		m.topics = slices.Insert(m.topics, i, t)
		m.names[t.Name] = t
		for _, p := range t.partitions {
			m.count(p, 1)
		}
	}
	if m.feature >= LevelRoles {
		for _, id := range r.nodes() {
			i, known := m.findNode(id)
			if !known {
				r.fail("a controller")
				break
			}
			m.nodes[i].ControllerOnly = true
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

func readNode(r *reader) Node {
	n := Node{ID: r.node(), Epoch: r.int(), Incarnation: r.id(), Addr: r.string(), Listeners: r.listeners(), Rack: r.string(), DirectoryID: r.id()}
	n.MinFeature, n.MaxFeature, n.Fenced, n.ShuttingDown, n.ShutdownIndex = r.int16(), r.int16(), r.bool(), r.bool(), r.uint()
	return n
}

func readPartition(r *reader) (p PartitionState) {
	for _, ids := range []*[]NodeID{&p.Replicas, &p.ISR, &p.ELR, &p.LastKnownELR, &p.Adding, &p.Removing, &p.Offline} {
		*ids = r.nodes()
	}
	p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Recovering = r.node(), r.int32(), r.int32(), r.bool()
	if r.err == nil && (!p.Exists() || p.Leader < NoNode) {
		r.fail("a partition")
	}
	return p
}
