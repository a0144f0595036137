package control

// Snapshot returns the state, the same bytes for equal states.
func (m *Machine) Snapshot() []byte { return nil }

// Restore makes a Machine from a snapshot.
func Restore(src []byte) (*Machine, error) { return New(), nil }

// BootstrapTopic is a topic of a store that becomes the first node of a cluster.
type BootstrapTopic struct {
	ID         TopicID
	Name       string
	Config     TopicConfig
	Partitions []BootstrapPartition
}

// BootstrapPartition is one partition of it.
type BootstrapPartition struct{ LeaderEpoch int32 }

// Bootstrap returns the state of a new cluster made of one store: its node is registered with epoch 0, fenced, so that its first registration with
// PreviousEpoch 0 is after a clean shutdown, and has all partitions, in leader epochs one above those that they had.
func Bootstrap(node Node, config ClusterConfig, catalogue uint64, topics []BootstrapTopic) *Machine {
	return New()
}
