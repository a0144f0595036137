package kafka

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// The elections of ElectLeaders (KIP-460).
const (
	electPreferred = 0
	electUnclean   = 1
)

// handleElectLeaders makes preferred replicas the leaders (KIP-183, KIP-460). There is nothing unclean to elect, since there
// is one copy of the records: an unclean election gives a leader to what has none and a broker that runs.
func handleElectLeaders(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ElectLeadersRequest)
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	store := s.server.store
	wanted := req.Topics
	if !s.authorizeCluster(opAlter) {
		resp.ErrorCode = codeClusterAuthorizationFailed
		for _, t := range wanted {
			addElection(resp, t.Topic, electionResults(t.Partitions, codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied))...)
		}
		return resp, nil
	}
	if wanted != nil && len(wanted) == 0 {
		return resp, nil
	}
	if req.TimeoutMillis <= 0 { // a controller of Kafka is too late at once
		resp.ErrorCode = codeRequestTimedOut
		for _, t := range wanted {
			addElection(resp, t.Topic, electionResults(t.Partitions, codeRequestTimedOut, nil)...)
		}
		return resp, nil
	}
	if c.version >= 1 && req.ElectionType != electPreferred && req.ElectionType != electUnclean {
		resp.ErrorCode = codeInvalidRequest
		for _, t := range wanted {
			addElection(resp, t.Topic, electionResults(t.Partitions, codeInvalidRequest, kmsg.StringPtr(fmt.Sprintf("Unknown election type %d", req.ElectionType)))...)
		}
		return resp, nil
	}
	if wanted == nil { // all; only what was elected is told
		all, err := store.ListTopics(c.ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range all {
			w := kmsg.NewElectLeadersRequestTopic()
			w.Topic = t.Name
			for i := range t.Partitions {
				w.Partitions = append(w.Partitions, i)
			}
			wanted = append(wanted, w)
		}
	}
	for _, t := range wanted {
		var results []kmsg.ElectLeadersResponseTopicPartition
		for _, i := range t.Partitions {
			code, text := s.electOne(c, t.Topic, i, req.ElectionType == electUnclean)
			if req.Topics == nil && code == codeElectionNotNeeded {
				continue
			}
			r := kmsg.NewElectLeadersResponseTopicPartition()
			r.Partition, r.ErrorCode = i, code
			if text != "" {
				r.ErrorMessage = &text
			}
			results = append(results, r)
		}
		addElection(resp, t.Topic, results...)
	}
	return resp, nil
}

func addElection(resp *kmsg.ElectLeadersResponse, topic string, results ...kmsg.ElectLeadersResponseTopicPartition) {
	t := kmsg.NewElectLeadersResponseTopic()
	t.Topic, t.Partitions = topic, results
	resp.Topics = append(resp.Topics, t)
}

func electionResults(partitions []int32, code int16, text *string) (out []kmsg.ElectLeadersResponseTopicPartition) {
	for _, i := range partitions {
		r := kmsg.NewElectLeadersResponseTopicPartition()
		r.Partition, r.ErrorCode, r.ErrorMessage = i, code, text
		out = append(out, r)
	}
	return out
}

func (s *session) electOne(c *call, topic string, i int32, unclean bool) (int16, string) {
	t, err := s.server.store.FindTopic(topic, partition.TopicID{})
	if err != nil || topic == "" {
		return codeUnknownTopicOrPartition, "No such topic as " + topic
	}
	layout := &s.server.layout
	at, ok := layout.at(&t, i)
	if !ok {
		return codeUnknownTopicOrPartition, fmt.Sprintf("No such partition as %s-%d", topic, i)
	}
	if v := s.server.node; v != nil {
		err := v.elect(c.ctx, partition.TopicPartition{Topic: topic, Partition: i}, unclean)
		return s.electionOutcome(c, err)
	}
	runs := func(id int32) bool { b := s.server.brokerByID(id); return b != nil && b.running.Load() }
	want := at.replicas[0]
	if unclean {
		if runs(at.leader) {
			return codeElectionNotNeeded, standardTexts[codeElectionNotNeeded]
		}
		first := slices.IndexFunc(at.replicas, runs)
		if first < 0 {
			return codeEligibleLeadersNotAvailable, "Eligible topic partition leaders are not available."
		}
		want = at.replicas[first]
	}
	switch {
	case at.leader == want:
		return codeElectionNotNeeded, standardTexts[codeElectionNotNeeded]
	case !runs(want) || !unclean && !slices.Contains(at.isr, want):
		return codePreferredLeaderNotAvailable, "The preferred leader was not available."
	}
	err = layout.update(c.ctx, func(tp partition.TopicPartition, p placed) placed {
		if tp.Partition != i {
			return p
		}
		if unclean && !slices.Contains(p.isr, want) {
			p.isr = []int32{want}
		}
		p.leader = want
		return p
	}, &t)
	if err != nil {
		return errorCode(err, c.key, c.version), err.Error()
	}
	return codeNone, ""
}
