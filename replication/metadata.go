package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/partition"
)

// Metadata describes topics, with leaders, replicas and in-sync replicas of their partitions as this node knows them; see partition.Store.Metadata.
// Before it says that a topic is unknown, it asks the controller whether there is more to know.
func (n *Node) Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	all, err := n.store.Metadata(ctx, topics)
	if err == nil && topics != nil && slices.ContainsFunc(all, func(m partition.Metadata) bool { return errors.Is(m.Err, partition.ErrUnknownTopicOrPartition) }) {
		ctx, cancel := n.bounded(ctx)
		defer cancel()
		if err = n.barrier(ctx); err == nil {
			all, err = n.store.Metadata(ctx, topics)
		}
	}
	if err != nil {
		return nil, err
	}
	n.control.read(func(m *control.Machine) {
		for _, topic := range all {
			for i := range topic.Partitions {
				p := &topic.Partitions[i]
				state, ok := m.Partition(control.TopicID(topic.ID), p.Partition)
				if !ok { // its creation is being applied
					p.Leader, p.Replicas, p.ISR = -1, nil, nil
					continue
				}
				p.Leader, p.LeaderEpoch = int32(state.Leader), partition.LeaderEpoch(state.LeaderEpoch)
				p.Replicas, p.ISR = ids(state.Replicas), ids(state.ISR)
			}
		}
	})
	return all, nil
}

// barrier waits until this node has applied all that the controller had decided when it was called.
func (n *Node) barrier(ctx context.Context) error {
	result, err := n.propose(ctx, control.NoOp{})
	if err == nil {
		err = codeError(result.Code, result.Detail)
	}
	return err
}

// NodeInfo is a registered node.
type NodeInfo struct {
	NodeID       int32
	Address      string // for peers
	Listeners    []Listener
	Rack         string
	Epoch        int64 // of its registration
	Fenced       bool  // it neither leads nor is in sync: it has just started, or has not been heard
	ShuttingDown bool
	Controller   bool // it is the active controller
	// ControllerOnly: it keeps no replicas, and clients do not connect to it.
	ControllerOnly bool
	DirectoryID    [16]byte // of its data directory (KIP-858)
	Leads          int      // partitions
	// MinFeature and MaxFeature are the feature levels that the node's program knows.
	MinFeature, MaxFeature int16
}

// DescribeCluster describes the nodes of the cluster as this node knows them.
func (n *Node) DescribeCluster(ctx context.Context) ([]NodeInfo, error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	controller, _ := n.control.leader()
	var all []NodeInfo
	n.control.read(func(m *control.Machine) {
		for _, node := range m.Nodes() {
			info := NodeInfo{
				NodeID: int32(node.ID), Address: node.Addr, Rack: node.Rack, Epoch: node.Epoch, Fenced: node.Fenced, ShuttingDown: node.ShuttingDown,
				Controller: int32(node.ID) == controller, Leads: m.Leads(node.ID),
				ControllerOnly: node.ControllerOnly, DirectoryID: node.DirectoryID,
				MinFeature: node.MinFeature, MaxFeature: node.MaxFeature,
			}
			for _, l := range node.Listeners {
				info.Listeners = append(info.Listeners, Listener(l))
			}
			all = append(all, info)
		}
	})
	return all, nil
}

// PartitionInfo is the state of a partition.
type PartitionInfo struct {
	partition.TopicPartition
	TopicID        partition.TopicID
	Leader         int32 // -1: none
	LeaderEpoch    partition.LeaderEpoch
	PartitionEpoch int32
	Replicas       []int32 // the preferred leader first
	ISR            []int32
	ELR            []int32 // eligible leader replicas (KIP-966)
	LastKnownELR   []int32
	Adding         []int32 // by a reassignment in progress
	Removing       []int32
	Offline        []int32 // replicas whose nodes have told that they have failed
	MinISR         int32
}

// PartitionsOf describes the partitions of topics, of all if none is named, as this node knows them.
func (n *Node) PartitionsOf(ctx context.Context, topics ...string) (all []PartitionInfo, err error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	if len(topics) == 0 {
		topics = n.store.TopicNames()
	}
	n.control.read(func(m *control.Machine) {
		for _, name := range topics {
			id, count, ok := m.TopicID(name)
			if !ok {
				err = fmt.Errorf("topic %q: %w", name, partition.ErrUnknownTopicOrPartition)
				return
			}
			for i := range count {
				state, _ := m.Partition(id, i)
				all = append(all, partitionInfo(m, name, id, i, state))
			}
		}
	})
	return all, err
}

func partitionInfo(m *control.Machine, name string, id control.TopicID, i int32, p control.PartitionState) PartitionInfo {
	return PartitionInfo{
		TopicPartition: partition.TopicPartition{Topic: name, Partition: i}, TopicID: partition.TopicID(id),
		Leader: int32(p.Leader), LeaderEpoch: partition.LeaderEpoch(p.LeaderEpoch), PartitionEpoch: p.PartitionEpoch,
		Replicas: ids(p.Replicas), ISR: ids(p.ISR), ELR: ids(p.ELR), LastKnownELR: ids(p.LastKnownELR),
		Adding: ids(p.Adding), Removing: ids(p.Removing), Offline: ids(p.Offline), MinISR: m.MinISR(id, i),
	}
}
