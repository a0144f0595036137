package control

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Machine is the replicated state. Make it with New, Bootstrap or Restore. It is for one goroutine at a time; what queries return may be kept and
// read by others, as nothing is changed in place.
type Machine struct {
	applied    uint64
	catalogue  uint64 // index of the last change of the shared catalogue
	feature    int16
	config     ClusterConfig
	nodes      []Node   // by id
	topics     []*Topic // by id
	names      map[string]*Topic
	leads      map[NodeID]int // partitions by leader
	leaderless int
}

// New returns the state of a cluster without nodes and topics, at the highest level that this build knows.
func New() *Machine {
	return &Machine{feature: MaxLevel, config: ClusterConfig{MinISR: 1}, names: map[string]*Topic{}, leads: map[NodeID]int{}}
}

// NewAt is New at an earlier level, for a cluster of which some nodes are of an earlier version.
func NewAt(level int16) *Machine {
	m := New()
	m.feature = min(max(level, MinLevel), MaxLevel)
	return m
}

// Apply applies the command at an index of the quorum's log. An index that has been applied does nothing.
func (m *Machine) Apply(index uint64, c Command) Result {
	if index <= m.applied {
		return Result{Index: index}
	}
	m.applied = index
	a := application{m: m, r: Result{Index: index}}
	a.do(c)
	return a.r
}

// Applied returns the index of the last command.
func (m *Machine) Applied() uint64 { return m.applied }

// CatalogueIndex returns the index of the last change of the shared catalogue, which Event.Expect is compared with.
func (m *Machine) CatalogueIndex() uint64 { return m.catalogue }

// Feature returns the cluster's feature level.
func (m *Machine) Feature() int16 { return m.feature }

// Config returns the defaults of topics.
func (m *Machine) Config() ClusterConfig { return m.config }

// Nodes returns the registered nodes, by id.
func (m *Machine) Nodes() []Node { return slices.Clone(m.nodes) }

// Brokers returns the registered nodes that may have replicas, by id.
func (m *Machine) Brokers() []Node {
	return slices.DeleteFunc(m.Nodes(), func(n Node) bool { return n.ControllerOnly })
}

// Node returns a registered node.
func (m *Machine) Node(id NodeID) (Node, bool) {
	if i, ok := m.findNode(id); ok {
		return m.nodes[i], true
	}
	return Node{}, false
}

// Active reports whether a node may lead and be in sync.
func (m *Machine) Active(id NodeID) bool {
	i, ok := m.findNode(id)
	return ok && m.nodes[i].Active()
}

// Topics returns all topics, by id. It copies the partitions, as Topic and TopicByName do.
func (m *Machine) Topics() []Topic {
	all := make([]Topic, len(m.topics))
	for i, t := range m.topics {
		all[i] = t.copy()
	}
	return all
}

// Topic returns a topic by its id.
func (m *Machine) Topic(id TopicID) (Topic, bool) {
	if t := m.topic(id); t != nil {
		return t.copy(), true
	}
	return Topic{}, false
}

// TopicByName returns a topic by its name.
func (m *Machine) TopicByName(name string) (Topic, bool) {
	if t := m.names[name]; t != nil {
		return t.copy(), true
	}
	return Topic{}, false
}

// TopicID returns the id of a topic and the number of its partitions, by its name.
func (m *Machine) TopicID(name string) (TopicID, int32, bool) {
	if t := m.names[name]; t != nil {
		return t.ID, int32(len(t.partitions)), true
	}
	return TopicID{}, 0, false
}

// Partition returns the state of a partition.
func (m *Machine) Partition(topic TopicID, index int32) (PartitionState, bool) {
	if t := m.topic(topic); t != nil && index >= 0 && int(index) < len(t.partitions) {
		return t.partitions[index], true
	}
	return PartitionState{}, false
}

// Leads returns how many partitions a node leads.
func (m *Machine) Leads(id NodeID) int { return m.leads[id] }

// Leaderless returns how many partitions have no leader.
func (m *Machine) Leaderless() int { return m.leaderless }

// MinISR returns the effective min.insync.replicas of a partition: what its topic says, at most the number of its replicas without those that a
// reassignment is adding.
func (m *Machine) MinISR(topic TopicID, index int32) int32 {
	t := m.topic(topic)
	if t == nil || index < 0 || int(index) >= len(t.partitions) {
		return 1
	}
	return m.minISR(t, t.partitions[index])
}

func (m *Machine) minISR(t *Topic, p PartitionState) int32 {
	asked := t.Config.MinISR
	if asked == 0 {
		asked = m.config.MinISR
	}
	return max(1, min(asked, int32(len(p.Replicas)-len(p.Adding))))
}

// Unclean reports whether a topic allows unclean elections.
func (m *Machine) Unclean(topic TopicID) bool {
	t := m.topic(topic)
	return t != nil && m.unclean(t)
}

func (m *Machine) unclean(t *Topic) bool {
	if t.Config.Unclean == ClusterDefault {
		return m.config.Unclean
	}
	return t.Config.Unclean == Yes
}

func (m *Machine) findNode(id NodeID) (int, bool) {
	return slices.BinarySearchFunc(m.nodes, id, func(n Node, id NodeID) int { return cmp.Compare(n.ID, id) })
}

func (m *Machine) findTopic(id TopicID) (int, bool) {
	return slices.BinarySearchFunc(m.topics, id, func(t *Topic, id TopicID) int { return bytes.Compare(t.ID[:], id[:]) })
}

func (m *Machine) topic(id TopicID) *Topic {
	if i, ok := m.findTopic(id); ok {
		return m.topics[i]
	}
	return nil
}

// String describes the state for people: a line for each node and partition.
func (m *Machine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "applied %d, catalogue %d, level %d, min ISR %d, unclean %v\n", m.applied, m.catalogue, m.feature, m.config.MinISR, m.config.Unclean)
	for _, n := range m.nodes {
		fmt.Fprintf(&b, "%s\n", n)
	}
	for _, t := range m.topics {
		for i, p := range t.partitions {
			fmt.Fprintf(&b, "%s-%d %s\n", t.Name, i, p)
		}
	}
	return b.String()
}

// application is one command being applied.
type application struct {
	m *Machine
	r Result
}

func (a *application) refuse(code Code, format string, args ...any) {
	a.r.Code, a.r.Detail = code, fmt.Sprintf(format, args...)
}

func (a *application) do(c Command) {
	switch c := c.(type) {
	case NoOp:
	case Unknown:
		a.unknown(c)
	case Register:
		a.register(c)
	case Unregister:
		a.unregister(c)
	case Fence:
		a.fence(c)
	case Unfence:
		a.unfence(c)
	case BeginShutdown:
		a.beginShutdown(c)
	case AlterPartitions:
		a.alterPartitions(c)
	case OfflineReplicas:
		a.offline(c)
	case OnlineReplicas:
		a.online(c)
	case Resign:
		a.resign(c)
	case CreateTopic:
		a.createTopic(c)
	case DeleteTopic:
		a.deleteTopic(c)
	case GrowTopic:
		a.growTopic(c)
	case ConfigureTopic:
		a.configureTopic(c)
	case ConfigureCluster:
		a.configureCluster(c)
	case Catalogue:
		a.event(c.Event)
	case Reassign:
		a.reassign(c)
	case Elect:
		a.elect(c)
	case SetFeature:
		a.setFeature(c)
	default:
		panic(fmt.Sprintf("BUG: command %T", c))
	}
}
