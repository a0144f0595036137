package partitiontest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/partition"
)

// Nodes are stores that are one cluster, without a network, a controller or a goroutine: whoever changes something makes the change on
// all of them, and every append is copied to the followers at once. It shows what a partition.Store does as one of several; a whole
// cluster is replication's. Each store must be made with Config.Cluster from Cluster, and then be added.
type Nodes struct {
	mu     sync.Mutex // guards all below; held while records are copied and roles are given
	stores []*partition.Store
	parts  map[partition.TopicPartition]*nodePart
	down   map[int32]bool

	grown sync.Mutex // guards more; innermost
	more  map[partition.TopicPartition]bool

	agreeing sync.Mutex // one change of the catalogue at a time; taken before mu
	changes  uint64     // index of the last one
}

// nodePart is what a controller would know of a partition.
type nodePart struct {
	id     partition.TopicID
	leader int32 // -1: none
	epoch  partition.LeaderEpoch
	isr    []int32
	minISR int
}

// Cluster returns what a store of this node id needs in its configuration. Ids are 0, 1, 2 and so on, in the order of Add.
func (n *Nodes) Cluster(id int32) partition.Cluster { return &nodeCluster{n, id} }

// Add makes a store the next node. The first brings its topics along; another takes over those that there are.
func (n *Nodes) Add(t testing.TB, s *partition.Store) {
	t.Helper()
	n.agreeing.Lock()
	defer n.agreeing.Unlock()
	n.mu.Lock()
	n.stores = append(n.stores, s)
	first := n.stores[0]
	n.mu.Unlock()
	if n.changes == 0 {
		n.changes = first.AppliedShared() + 1
		require(t, first.ImportShared(n.changes, first.ExportShared()), "begin the cluster")
	}
	require(t, s.ImportShared(n.changes, first.ExportShared()), "join the cluster")
	require(t, n.place(), "give roles")
}

func require(t testing.TB, err error, what string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// Store returns the store of a node.
func (n *Nodes) Store(id int32) *partition.Store {
	n.mu.Lock()
	defer n.unlock()
	return n.stores[id]
}

// Replace puts a store that has been opened again in the place of its node.
func (n *Nodes) Replace(t testing.TB, id int32, s *partition.Store) {
	t.Helper()
	n.agreeing.Lock()
	defer n.agreeing.Unlock()
	n.mu.Lock()
	n.stores[id] = s
	state := n.stores[(int(id)+1)%len(n.stores)].ExportShared()
	n.mu.Unlock()
	require(t, s.ImportShared(n.changes, state), "come back")
	n.mu.Lock()
	defer n.unlock()
	for tp, p := range n.parts {
		require(t, n.tell(tp, p, id), "give roles")
		n.copyAll(tp)
	}
}

// Down takes a node out: nothing is copied to it or from it, and it is in no ISR, until Up. It leads what it led until Lead.
func (n *Nodes) Down(t testing.TB, id int32) {
	t.Helper()
	n.mu.Lock()
	defer n.unlock()
	n.down[id] = true
	for tp, p := range n.parts {
		if p.leader != id {
			p.isr = slices.DeleteFunc(slices.Clone(p.isr), func(m int32) bool { return m == id })
		}
		require(t, n.tellAll(tp, p), "give roles")
		n.copyAll(tp)
	}
}

// Up brings a node back: it copies what it lacks, and is in sync again.
func (n *Nodes) Up(t testing.TB, id int32) {
	t.Helper()
	n.mu.Lock()
	defer n.unlock()
	delete(n.down, id)
	for tp, p := range n.parts {
		require(t, n.tellAll(tp, p), "give roles")
		n.copyAll(tp)
		if !slices.Contains(p.isr, id) {
			p.isr = append(slices.Clone(p.isr), id)
		}
		require(t, n.tellAll(tp, p), "give roles")
		n.copyAll(tp)
	}
}

// Lead makes a node the leader of a partition, in a new epoch; -1: nobody leads it.
func (n *Nodes) Lead(t testing.TB, tp partition.TopicPartition, id int32) {
	t.Helper()
	n.mu.Lock()
	defer n.unlock()
	p := n.parts[tp]
	p.leader, p.epoch = id, p.epoch+1
	p.isr = slices.DeleteFunc(slices.Clone(p.isr), func(m int32) bool { return n.down[m] })
	require(t, n.tellAll(tp, p), "give roles")
	n.copyAll(tp)
}

// InSync returns the nodes that have all that is acknowledged of a partition, and may lead it without a loss; those that are down not.
func (n *Nodes) InSync(tp partition.TopicPartition) []int32 {
	n.mu.Lock()
	defer n.unlock()
	return slices.DeleteFunc(slices.Clone(n.parts[tp].isr), func(m int32) bool { return n.down[m] })
}

// Leader returns the node that leads a partition, -1 if there is none.
func (n *Nodes) Leader(tp partition.TopicPartition) int32 {
	n.mu.Lock()
	defer n.unlock()
	return n.parts[tp].leader
}

// place makes node 0 the leader of what is new, and every node a replica of everything.
func (n *Nodes) place() error {
	n.mu.Lock()
	defer n.unlock()
	if n.parts == nil {
		n.parts, n.down = map[partition.TopicPartition]*nodePart{}, map[int32]bool{}
	}
	var all []int32
	for i := range n.stores {
		if !n.down[int32(i)] {
			all = append(all, int32(i))
		}
	}
	known := map[partition.TopicPartition]bool{}
	for _, name := range n.stores[0].TopicNames() {
		topic, err := n.stores[0].Topic(name)
		if err != nil {
			return err
		}
		for i := range topic.Partitions() {
			tp := partition.TopicPartition{Topic: name, Partition: i}
			known[tp] = true
			p := n.parts[tp]
			if p == nil || p.id != topic.ID() {
				p = &nodePart{id: topic.ID(), epoch: topic.LeaderEpoch(i) + 1}
				n.parts[tp] = p
			}
			p.isr, p.minISR = all, min(int(topic.Info().MinInsyncReplicas), len(n.stores))
			if err := n.tellAll(tp, p); err != nil {
				return err
			}
			n.copyAll(tp)
		}
	}
	for tp := range n.parts {
		if !known[tp] {
			delete(n.parts, tp)
		}
	}
	return nil
}

// tellAll tells all nodes what they are to a partition; one that is down and led it goes on thinking so. mu is held.
func (n *Nodes) tellAll(tp partition.TopicPartition, p *nodePart) error {
	for i := range n.stores {
		if n.down[int32(i)] && p.leader != int32(i) {
			continue
		}
		if err := n.tell(tp, p, int32(i)); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nil
}

func (n *Nodes) tell(tp partition.TopicPartition, p *nodePart, id int32) error {
	role := partition.RoleFollower
	if p.leader == id {
		role = partition.RoleLeader
	}
	s := n.stores[id]
	if err := s.SetReplica(tp, p.id, partition.ReplicaState{Role: role, Leader: p.leader, Epoch: p.epoch, ISR: len(p.isr), MinISR: p.minISR}); err != nil {
		return err
	}
	switch {
	case tp.Topic != txn.Topic:
	case role == partition.RoleLeader:
		s.LeadTransactions(tp.Partition, p.epoch)
	default:
		s.ResignTransactions(tp.Partition)
	}
	return nil
}

// Coordinator returns the node that coordinates a transactional id, and by which partition of __transaction_state, which has to be there.
func (n *Nodes) Coordinator(txnID string) (id int32, tp partition.TopicPartition) {
	tp = partition.TopicPartition{Topic: txn.Topic, Partition: txn.PartitionFor(txnID, txn.Partitions)}
	n.mu.Lock()
	defer n.unlock()
	if p := n.parts[tp]; p != nil {
		return p.leader, tp
	}
	return -1, tp
}

// StartNodes opens n stores in memory as one cluster, and closes them with the test. Fields of c but Cluster hold for all.
func StartNodes(t testing.TB, n int, c partition.Config) *Nodes {
	t.Helper()
	nodes := &Nodes{}
	for i := range n {
		c.Cluster = nodes.Cluster(int32(i))
		s, err := partition.OpenMemory(c)
		require(t, err, "open")
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close node %d: %v", i, err)
			}
		})
		nodes.Add(t, s)
	}
	return nodes
}
