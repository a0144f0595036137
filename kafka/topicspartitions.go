package kafka

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleCreatePartitions gives topics more partitions (KIP-195, KIP-599).
func handleCreatePartitions(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	quota := s.mutations(c, c.version >= 3)
	count := map[string]int{}
	for i := range req.Topics {
		count[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = t.Topic
		var err error
		switch {
		case count[t.Topic] < 0:
			continue
		case count[t.Topic] > 1:
			count[t.Topic] = -1
			err = refusal(codeInvalidRequest, "Duplicate topic name.")
		case !s.authorize(opAlter, resourceTopic, t.Topic):
			err = &protocolError{code: codeTopicAuthorizationFailed}
		default:
			err = s.grow(c, t, quota, req.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = c.outcome(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (s *session) grow(c *call, t *kmsg.CreatePartitionsRequestTopic, quota mutations, validateOnly bool) error {
	topic, err := s.server.store.FindTopic(t.Topic, partition.TopicID{})
	if err != nil || t.Topic == "" {
		return &protocolError{code: codeUnknownTopicOrPartition}
	}
	have := topic.Partitions()
	switch {
	case t.Count == have:
		return refusal(codeInvalidPartitions, fmt.Sprintf("Topic already has %d partition(s).", have))
	case t.Count < have:
		return refusal(codeInvalidPartitions, fmt.Sprintf("The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, have, t.Count))
	case t.Count-have > maxPartitionsPerRequest:
		return refusal(codePolicyViolation, "Excessively large number of partitions per request.")
	case t.Assignment != nil && len(t.Assignment) != int(t.Count-have):
		return refusal(codeInvalidReplicaAssignment, fmt.Sprintf("Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", t.Count-have, len(t.Assignment)))
	}
	if err := quota.take(int(t.Count - have)); err != nil {
		return err
	}
	layout := &s.server.layout
	var more [][]int32
	factor := len(layout.of(&topic).partitions[0].replicas)
	if t.Assignment == nil {
		if more, err = s.server.spreadReplicas(int(t.Count-have), min(factor, len(s.server.brokers()))); err != nil {
			return err
		}
	}
	for i, a := range t.Assignment {
		if err := s.server.checkReplicas(a.Replicas, factor); err != nil {
			return err
		}
		if err := s.server.anyRuns(have+int32(i), a.Replicas); err != nil {
			return err
		}
		more = append(more, slices.Clone(a.Replicas))
	}
	if validateOnly {
		return nil
	}
	if v := s.server.node; v != nil {
		if t.Assignment == nil && s.server.place == nil {
			return v.node.CreatePartitions(c.ctx, t.Topic, t.Count)
		}
		return v.node.CreatePartitionsAt(c.ctx, t.Topic, t.Count, more)
	}
	if err := s.server.store.CreatePartitions(c.ctx, t.Topic, t.Count); err != nil {
		return err
	}
	if len(s.server.brokers()) == 1 && factor == 1 {
		return nil
	}
	return layout.reassign(c.ctx, &topic, func(now [][]int32) [][]int32 {
		known := now[min(int(t.Count), len(now)):] // by a later request
		return append(append(now[:have:have], more...), known...)
	})
}
