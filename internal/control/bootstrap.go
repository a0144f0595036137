package control

import (
	"bytes"
	"slices"
)

// BootstrapTopic is a topic of a store that becomes the first node of a cluster.
type BootstrapTopic struct {
	ID         TopicID
	Name       string
	Config     TopicConfig
	Partitions []BootstrapPartition
}

// BootstrapPartition is one partition of it.
type BootstrapPartition struct{ LeaderEpoch int32 }

// Bootstrap returns the first state of a new cluster made of one store. Its node is registered with epoch 0 and fenced, so that its process registers
// with PreviousEpoch 0, as after a clean shutdown. It has all partitions, in leader epochs one above those that they had, but leads them only when
// it is unfenced. No names or ids may occur twice.
func Bootstrap(node Node, config ClusterConfig, topics []BootstrapTopic) *Machine {
	return BootstrapAt(MaxLevel, node, config, topics)
}

// BootstrapAt is Bootstrap at an earlier level, for a cluster that nodes of an earlier version are to join. Below LevelELR the node stays in the ISR of what it has,
// without leading it.
func BootstrapAt(level int16, node Node, config ClusterConfig, topics []BootstrapTopic) *Machine {
	m := NewAt(level)
	m.config = config
	m.config.MinISR = max(1, config.MinISR)
	node.Epoch, node.Fenced, node.ShuttingDown, node.ShutdownIndex = 0, true, false, 0
	m.nodes = []Node{node}
	topics = slices.SortedFunc(slices.Values(topics), func(a, b BootstrapTopic) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, b := range topics {
		t := &Topic{ID: b.ID, Name: b.Name, Config: b.Config}
		for _, p := range b.Partitions {
			only := []NodeID{node.ID}
			state := PartitionState{Replicas: only, ELR: only, LastKnownELR: only, Leader: NoNode, LeaderEpoch: p.LeaderEpoch}
			if m.feature < LevelELR {
				state.ISR, state.ELR, state.LastKnownELR = only, nil, nil
			}
			t.partitions = append(t.partitions, state)
			m.leaderless++
		}
		m.topics = append(m.topics, t)
		m.names[t.Name] = t
	}
	return m
}
