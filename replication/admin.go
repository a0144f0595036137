package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/partition"
)

// CreateTopic creates a topic; see partition.Store.CreateTopic. Without ReplicationFactor or Assignment each partition has min(3, nodes) replicas,
// spread over racks; with three or more of them min.insync.replicas is 2 unless the topic or Config.Store.Topics says otherwise.
func (n *Node) CreateTopic(ctx context.Context, name string, c partition.TopicConfig) (*partition.Topic, error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	if c.MinInsyncReplicas == 0 && c.Extra[keyMinISR] == "" {
		factor := int(c.ReplicationFactor)
		if len(c.Assignment) > 0 {
			factor = len(c.Assignment[0])
		}
		if factor <= 0 {
			n.control.read(func(m *control.Machine) { factor = n.defaultFactor(len(m.Brokers())) })
		}
		c.MinInsyncReplicas = n.defaultMinISR(factor)
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	t, err := n.store.CreateTopic(ctx, name, c)
	if errors.Is(err, partition.ErrTopicAlreadyExists) { // it may be gone, and this node not know that yet
		if err := n.barrier(ctx); err != nil {
			return nil, err
		}
		t, err = n.store.CreateTopic(ctx, name, c)
	}
	return t, err
}

// DeleteTopic deletes a topic on all nodes; see partition.Store.DeleteTopic.
func (n *Node) DeleteTopic(ctx context.Context, name string) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	return n.informed(ctx, func() error { return n.store.DeleteTopic(ctx, name) })
}

// CreatePartitions grows a topic to count partitions; see partition.Store.CreatePartitions.
func (n *Node) CreatePartitions(ctx context.Context, name string, count int32) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	return n.informed(ctx, func() error { return n.store.CreatePartitions(ctx, name, count) })
}

// CreatePartitionsAt is CreatePartitions with the replicas of each new partition, the preferred leader first; see partition.Store.CreatePartitionsAt. ErrInvalidReplicaAssignment
// for nodes that there are not, or another number of replicas than the topic's other partitions have.
func (n *Node) CreatePartitionsAt(ctx context.Context, name string, count int32, assignment [][]int32) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	return n.informed(ctx, func() error { return n.store.CreatePartitionsAt(ctx, name, count, assignment) })
}

// AlterTopicConfig changes settings of a topic on all nodes; see partition.Store.AlterTopicConfig.
func (n *Node) AlterTopicConfig(ctx context.Context, name string, changes map[string]string) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	return n.informed(ctx, func() error { return n.store.AlterTopicConfig(ctx, name, changes) })
}

// informed calls f again, once this node knows all that the controller does, if f does not know a topic.
func (n *Node) informed(ctx context.Context, f func() error) error {
	err := f()
	if !errors.Is(err, partition.ErrUnknownTopicOrPartition) {
		return err
	}
	if err := n.barrier(ctx); err != nil {
		return err
	}
	return f()
}

// PutSettings changes settings of front ends on all nodes; see partition.Store.PutSettings.
func (n *Node) PutSettings(ctx context.Context, changes ...partition.Setting) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	return n.store.PutSettings(ctx, changes...)
}

// ListTopics describes the topics; see partition.Store.ListTopics.
func (n *Node) ListTopics(ctx context.Context) ([]partition.TopicDescription, error) {
	return n.store.ListTopics(ctx)
}

// DescribeTopic describes a topic; see partition.Store.DescribeTopic.
func (n *Node) DescribeTopic(ctx context.Context, name string) (d partition.TopicDescription, err error) {
	if err := n.open(ctx); err != nil {
		return d, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	err = n.informed(ctx, func() error { d, err = n.store.DescribeTopic(ctx, name); return err })
	return d, err
}

// MetadataChanged returns a channel that is closed when this node has applied the next change of topics, nodes, leaders or settings (see MetadataVersion,
// partition.Store.SettingsVersion), and when the node is closed. Whoever waits takes the channel first, and looks then.
func (n *Node) MetadataChanged() <-chan struct{} { return n.metadataChanged() }

// Elect has leaders elected (ElectLeaders, KIP-460): the preferred ones, or, with unclean, of partitions without a leader any live replica, which may
// miss records that were acknowledged. Without partitions all that need it are meant. The errors are those partitions' that have one.
func (n *Node) Elect(ctx context.Context, unclean bool, tps ...partition.TopicPartition) (map[partition.TopicPartition]error, error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	partitions, err := n.partitionIDs(ctx, tps)
	if err != nil {
		return nil, err
	}
	result, err := n.propose(ctx, control.Elect{Unclean: unclean, Partitions: partitions})
	if err != nil {
		return nil, err
	}
	return n.answers(result), codeError(result.Code, result.Detail)
}

// Reassign changes the replicas of partitions (AlterPartitionReassignments, KIP-455): the first of each is the preferred leader. A nil list cancels the reassignment in
// progress. It returns when the reassignments have begun; Reassignments tells how far they are. The errors are those partitions' that have one.
func (n *Node) Reassign(ctx context.Context, targets map[partition.TopicPartition][]int32) (map[partition.TopicPartition]error, error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	var tps []partition.TopicPartition
	for tp := range targets {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, func(a, b partition.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	partitions, err := n.partitionIDs(ctx, tps)
	if err != nil {
		return nil, err
	}
	var command control.Reassign
	for i, id := range partitions {
		r := control.Reassignment{Partition: id}
		for _, node := range targets[tps[i]] {
			r.Target = append(r.Target, control.NodeID(node))
		}
		command.Partitions = append(command.Partitions, r)
	}
	result, err := n.propose(ctx, command)
	if err != nil {
		return nil, err
	}
	return n.answers(result), codeError(result.Code, result.Detail)
}

// Reassignments describes the partitions whose replicas are being changed (ListPartitionReassignments).
func (n *Node) Reassignments(ctx context.Context) ([]PartitionInfo, error) {
	all, err := n.PartitionsOf(ctx)
	return slices.DeleteFunc(all, func(p PartitionInfo) bool { return len(p.Adding)+len(p.Removing) == 0 }), err
}

func (n *Node) partitionIDs(ctx context.Context, tps []partition.TopicPartition) (all []control.PartitionID, err error) {
	for _, tp := range tps {
		if _, err := n.finder(ctx, tp, partition.TopicID{})(); err != nil && !moved(err) {
			return nil, err
		}
	}
	n.control.read(func(m *control.Machine) {
		for _, tp := range tps {
			id, _, _ := m.TopicID(tp.Topic)
			all = append(all, control.PartitionID{Topic: id, Index: tp.Partition})
		}
	})
	return all, nil
}

// answers are the partitions' errors of a result.
func (n *Node) answers(r control.Result) map[partition.TopicPartition]error {
	answers, _ := r.Answer.([]control.PartitionAnswer)
	errs := map[partition.TopicPartition]error{}
	n.control.read(func(m *control.Machine) {
		for _, a := range answers {
			if a.Code != control.OK {
				t, _ := m.Topic(a.Partition.Topic)
				errs[partition.TopicPartition{Topic: t.Name, Partition: a.Partition.Index}] = codeError(a.Code, a.Detail)
			}
		}
	})
	return errs
}

// RemoveNode removes a node that is gone for good: from the registered nodes and from the quorum. Its replicas stay assigned to it until they are reassigned, which
// should be before. A node that still runs stops with ErrUnknownNode.
func (n *Node) RemoveNode(ctx context.Context, node int32) error {
	if err := n.open(ctx); err != nil {
		return err
	}
	if node == n.id {
		return fmt.Errorf("node %d: %w: a node is removed by another one, after its Close", node, partition.ErrUnsupported)
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := n.control.removeMember(ctx, node); err != nil {
		return err
	}
	result, err := n.propose(ctx, control.Unregister{ID: control.NodeID(node)})
	if err != nil {
		return err
	}
	return codeError(result.Code, result.Detail)
}

// DescribeQuorum asks the active controller who the members of its quorum are, and how far behind.
func (n *Node) DescribeQuorum(ctx context.Context) (q Quorum, err error) {
	if err := n.open(ctx); err != nil {
		return q, err
	}
	err = n.atLeader(ctx, func() (int32, error) { return n.id, nil }, func(ctx context.Context, _ int32) (err error) {
		q, err = n.control.describe(ctx)
		return err
	}, lostToo)
	return q, err
}
