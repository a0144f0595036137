package replication

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/partition"
)

// seam is what the store sees of the cluster (partition.Cluster).
type seam struct{ n *Node }

// NodeID implements partition.Cluster.
func (s seam) NodeID() int32 { return s.n.id }

// Appended implements partition.Cluster.
func (s seam) Appended(tp partition.TopicPartition, end partition.Offset) {
	s.n.replicas.appended(tp, end)
}

// LowWatermark implements partition.Cluster.
func (s seam) LowWatermark(ctx context.Context, tp partition.TopicPartition, at partition.Offset) error {
	return s.n.replicas.lowWatermark(ctx, tp, at)
}

// Propose implements partition.Cluster.
func (s seam) Propose(ctx context.Context, c partition.SharedChange) error {
	n := s.n
	var command control.Command
	var err error
	n.control.read(func(m *control.Machine) { command, err = n.command(m, c) })
	if err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	result, err := n.propose(ctx, command)
	if err != nil {
		return err
	}
	if c.Assignment == nil && (result.Code == control.InvalidReplicaAssignment || result.Code == control.InvalidPartitions) {
		return partition.ErrSharedConflict // nodes have come and gone since the replicas were placed
	}
	return codeError(result.Code, result.Detail)
}

// command makes a command of a change of the catalogue; where replicas are to be chosen it chooses them.
func (n *Node) command(m *control.Machine, c partition.SharedChange) (control.Command, error) {
	event := control.Event{Expect: c.Expect, Kind: c.Kind, Payload: c.Payload}
	topic := control.TopicID(c.Topic)
	switch c.Kind {
	case partition.SharedTopicCreated:
		assignment, err := n.place(m, c.Assignment, c.Partitions, int32(c.ReplicationFactor))
		if err != nil {
			return nil, err
		}
		return control.CreateTopic{Event: event, ID: topic, Name: c.Name, Config: n.topicConfig(c.Overrides, len(assignment[0])), Assignment: assignment}, nil
	case partition.SharedTopicDeleted:
		return control.DeleteTopic{Event: event, ID: topic}, nil
	case partition.SharedTopicConfigured:
		return control.ConfigureTopic{Event: event, ID: topic, Config: n.topicConfig(c.Overrides, n.factor(m, topic))}, nil
	case partition.SharedTopicGrown:
		_, from, ok := m.TopicID(c.Name)
		if !ok {
			return nil, fmt.Errorf("topic %q: %w", c.Name, partition.ErrUnknownTopicOrPartition)
		}
		assignment, err := n.place(m, c.Assignment, c.Partitions-from, int32(n.factor(m, topic)))
		if err != nil {
			return nil, err
		}
		return control.GrowTopic{Event: event, ID: topic, From: from, Assignment: assignment}, nil
	}
	return control.Catalogue{Event: event}, nil
}

// place returns the replicas of count partitions: those that are wanted, else as Kafka places them.
func (n *Node) place(m *control.Machine, wanted [][]int32, count, factor int32) ([][]control.NodeID, error) {
	if wanted != nil {
		assignment := make([][]control.NodeID, len(wanted))
		for i, replicas := range wanted {
			for _, node := range replicas {
				assignment[i] = append(assignment[i], control.NodeID(node))
			}
		}
		return assignment, nil
	}
	nodes := m.Brokers()
	if len(nodes) == 0 {
		return nil, ErrNoQuorum // nobody is registered yet
	}
	if factor <= 0 {
		factor = int32(n.defaultFactor(len(nodes)))
	}
	assignment, code := control.Place(nodes, count, factor, n.draw())
	return assignment, codeError(code, fmt.Sprintf("%d replicas on %d nodes", factor, len(nodes)))
}

// defaultFactor is default.replication.factor: three copies, if there are as many nodes.
func (n *Node) defaultFactor(nodes int) int { return min(3, nodes) }

// factor is how many replicas a topic's partitions have.
func (n *Node) factor(m *control.Machine, topic control.TopicID) int {
	if p, ok := m.Partition(topic, 0); ok {
		return len(p.Target())
	}
	return n.defaultFactor(len(m.Brokers()))
}

// The keys of topics' settings that the controller knows.
const (
	keyMinISR  = "min.insync.replicas"
	keyUnclean = "unclean.leader.election.enable"
)

// topicConfig is what the controller has to know of a topic's settings: min.insync.replicas, which without a setting is two of three
// replicas, and unclean.leader.election.enable.
func (n *Node) topicConfig(overrides map[string]string, factor int) (c control.TopicConfig) {
	c.MinISR = n.defaultMinISR(factor)
	if v, err := strconv.ParseInt(overrides[keyMinISR], 10, 32); err == nil {
		c.MinISR = int32(v)
	}
	switch overrides[keyUnclean] {
	case "true":
		c.Unclean = control.Yes
	case "false":
		c.Unclean = control.No
	}
	return c
}

func (n *Node) defaultMinISR(factor int) int32 {
	if v := n.config.Store.Topics.MinInsyncReplicas; v > 0 {
		return v
	}
	if factor >= 3 {
		return 2
	}
	return 1
}

// draw returns a seed for what is drawn once.
func (n *Node) draw() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.drawn == nil {
		seed := n.config.Seed
		if seed == 0 {
			seed = rand.Uint64()
		}
		n.drawn = rand.New(rand.NewPCG(seed, uint64(n.id)))
	}
	return n.drawn.Uint64()
}

// codeError is the error of a controller's answer.
func codeError(code control.Code, detail string) error {
	if code == control.OK {
		return nil
	}
	err, known := codeErrors[code]
	if !known {
		err = fmt.Errorf("controller: %v", code)
	}
	if detail == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, detail)
}

var codeErrors = map[control.Code]error{
	control.Conflict:                    partition.ErrSharedConflict,
	control.UnknownTopicOrPartition:     partition.ErrUnknownTopicOrPartition,
	control.UnsupportedVersion:          partition.ErrUnsupported,
	control.TopicAlreadyExists:          partition.ErrTopicAlreadyExists,
	control.InvalidPartitions:           partition.ErrInvalidPartitions,
	control.InvalidReplicationFactor:    partition.ErrInvalidReplicationFactor,
	control.InvalidReplicaAssignment:    ErrInvalidReplicaAssignment,
	control.InvalidConfig:               partition.ErrInvalidConfig,
	control.NotController:               ErrNotController,
	control.ReassignmentInProgress:      ErrReassignmentInProgress,
	control.FencedLeaderEpoch:           partition.ErrFencedLeaderEpoch,
	control.StaleBrokerEpoch:            ErrStaleBrokerEpoch,
	control.PreferredLeaderNotAvailable: ErrPreferredLeaderNotAvailable,
	control.EligibleLeadersNotAvailable: ErrEligibleLeadersNotAvailable,
	control.ElectionNotNeeded:           ErrElectionNotNeeded,
	control.NoReassignmentInProgress:    ErrNoReassignmentInProgress,
	control.UnknownTopicID:              partition.ErrUnknownTopicID,
	control.DuplicateBrokerRegistration: ErrDuplicateNode,
	control.BrokerIDNotRegistered:       ErrUnknownNode,
	control.InvalidUpdateVersion:        ErrInvalidUpdateVersion,
}

// ids are node ids as the partition package has them.
func ids(nodes []control.NodeID) []int32 {
	all := make([]int32, len(nodes))
	for i, node := range nodes {
		all[i] = int32(node)
	}
	return slices.Clip(all)
}
