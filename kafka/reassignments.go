package kafka

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// handleAlterPartitionReassignments gives partitions other replicas (KIP-455, KIP-860). Where brokers share a store there is nothing to
// copy, so a reassignment is over when it is answered, and none is ever in progress; a node's copies.
func handleAlterPartitionReassignments(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	if c.version < 1 || len(req.Topics) == 0 { // Kafka answers a request for nothing without looking at it
		resp.AllowReplicationFactorChange = true
	}
	if !s.authorizeCluster(opAlter) {
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied)
		return resp, nil
	}
	if len(req.Topics) == 0 {
		resp.ErrorMessage = kmsg.StringPtr("") // as Kafka has it
	}
	for _, t := range req.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = t.Topic
		topic, err := s.server.store.FindTopic(t.Topic, partition.TopicID{})
		if err != nil || t.Topic == "" {
			err = refusal(codeUnknownTopicOrPartition, "Unable to find a topic named "+t.Topic+".")
		}
		for _, p := range t.Partitions {
			r := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			r.Partition = p.Partition
			one := err
			if one == nil {
				one = s.reassign(c, &topic, p.Partition, p.Replicas, resp.AllowReplicationFactorChange)
			}
			r.ErrorCode, r.ErrorMessage = c.outcome(one)
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// reassign gives one partition exactly these replicas; nil would cancel a reassignment, of which there is none.
func (s *session) reassign(c *call, t *partition.Topic, i int32, replicas []int32, factorMayChange bool) error {
	layout := &s.server.layout
	at, ok := layout.at(t, i)
	if !ok {
		return refusal(codeUnknownTopicOrPartition, fmt.Sprintf("Unable to find partition %s:%d.", t.Name(), i))
	}
	if v := s.server.node; v != nil && (replicas == nil || len(at.adding)+len(at.removing) > 0) {
		err := v.reassign(c.ctx, partition.TopicPartition{Topic: t.Name(), Partition: i}, replicas)
		if errors.Is(err, replication.ErrNoReassignmentInProgress) {
			err = &protocolError{code: codeNoReassignmentInProgress} // for which Kafka has no words
		}
		return err
	}
	if replicas == nil {
		return &protocolError{code: codeNoReassignmentInProgress}
	}
	if err := s.server.checkReplicas(replicas, 0); err != nil {
		return err
	}
	if !factorMayChange && len(replicas) != len(at.replicas) {
		return refusal(codeInvalidReplicationFactor, fmt.Sprintf("The replication factor is changed from %d to %d", len(at.replicas), len(replicas)))
	}
	if slices.Equal(replicas, at.replicas) {
		return nil
	}
	if v := s.server.node; v != nil {
		return v.reassign(c.ctx, partition.TopicPartition{Topic: t.Name(), Partition: i}, replicas)
	}
	return layout.reassign(c.ctx, t, func(now [][]int32) [][]int32 {
		now[i] = slices.Clone(replicas)
		return now
	})
}

// handleListPartitionReassignments lists what a node copies; brokers that share a store have nothing to list.
func handleListPartitionReassignments(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ListPartitionReassignmentsRequest)
	resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	if !s.authorizeCluster(opDescribe) {
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied)
		return resp, nil
	}
	if s.server.node == nil {
		return resp, nil
	}
	all, err := s.server.node.node.Reassignments(c.ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if req.Topics != nil && !slices.ContainsFunc(req.Topics, func(t kmsg.ListPartitionReassignmentsRequestTopic) bool {
			return t.Topic == p.Topic && slices.Contains(t.Partitions, p.Partition)
		}) {
			continue
		}
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != p.Topic {
			t := kmsg.NewListPartitionReassignmentsResponseTopic()
			t.Topic = p.Topic
			resp.Topics = append(resp.Topics, t)
		}
		one := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		one.Partition, one.Replicas, one.AddingReplicas, one.RemovingReplicas = p.Partition, p.Replicas, p.Adding, p.Removing
		last := &resp.Topics[len(resp.Topics)-1]
		last.Partitions = append(last.Partitions, one)
	}
	return resp, nil
}
