package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleDeleteTopics deletes topics by name or by id (KIP-4, KIP-516, KIP-599). Whoever may not see a topic does not learn
// whether there is one.
func handleDeleteTopics(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	wanted := req.Topics
	if c.version < 6 {
		wanted = nil
		for _, name := range req.TopicNames {
			wanted = append(wanted, kmsg.DeleteTopicsRequestTopic{Topic: &name})
		}
	}
	quota := s.mutations(c, c.version >= 5)
	type key struct {
		name string
		id   [16]byte
	}
	count := map[key]int{}
	keyOf := func(t kmsg.DeleteTopicsRequestTopic) key {
		if t.Topic != nil {
			return key{name: *t.Topic}
		}
		return key{id: t.TopicID}
	}
	for _, t := range wanted {
		count[keyOf(t)]++
	}
	byID, byName := map[partition.TopicID]bool{}, map[partition.TopicID]bool{}
	for _, t := range wanted { // a topic named both ways is not deleted
		if t.Topic == nil {
			byID[partition.TopicID(t.TopicID)] = true
		} else if topic, err := s.server.store.FindTopic(*t.Topic, partition.TopicID{}); err == nil && *t.Topic != "" && t.TopicID == [16]byte{} {
			byName[topic.ID()] = true
		}
	}
	for _, t := range wanted {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		var err error
		k := keyOf(t)
		switch {
		case t.Topic != nil && t.TopicID != [16]byte{}:
			err = refusal(codeInvalidRequest, "You may not specify both topic name and topic id.")
		case t.Topic == nil && t.TopicID == [16]byte{}:
			err = refusal(codeInvalidRequest, "Neither topic name nor id were specified.")
		case !s.settings().deleteTopics && c.version < 3:
			err = standard(codeInvalidRequest)
		case !s.settings().deleteTopics:
			err = standard(codeTopicDeletionDisabled)
		case count[k] < 0:
			continue
		case count[k] > 1:
			count[k] = -1
			if err = refusal(codeInvalidRequest, "Duplicate topic id."); t.Topic != nil {
				err = refusal(codeInvalidRequest, "Duplicate topic name.")
			}
		case t.Topic == nil && byName[partition.TopicID(t.TopicID)]:
			continue // told beside the name
		default:
			err = s.deleteOne(c, t, &out, quota, byID)
		}
		out.ErrorCode, out.ErrorMessage = c.outcome(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// deleteOne deletes one topic. byID are those that the request names by their ids.
func (s *session) deleteOne(c *call, t kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponseTopic, quota mutations, byIDs map[partition.TopicID]bool) error {
	byID := t.Topic == nil
	if !byID && !s.authorize(opDelete, resourceTopic, *t.Topic) {
		return standard(codeTopicAuthorizationFailed)
	}
	name := ""
	if !byID {
		if name = *t.Topic; name == "" {
			return standard(codeUnknownTopicOrPartition)
		}
	}
	topic, err := s.server.store.FindTopic(name, partition.TopicID(t.TopicID))
	switch {
	case errors.Is(err, partition.ErrUnknownTopicID):
		return standard(codeUnknownTopicID)
	case errors.Is(err, partition.ErrUnknownTopicOrPartition):
		return standard(codeUnknownTopicOrPartition)
	case err != nil:
		return err
	}
	name = topic.Name()
	if !byID && byIDs[topic.ID()] {
		out.TopicID = topic.ID()
		return refusal(codeInvalidRequest, "The provided topic name maps to an ID that was already supplied.")
	}
	if byID {
		if s.authorize(opDescribe, resourceTopic, name) {
			out.Topic = &name
		}
		if !s.authorize(opDelete, resourceTopic, name) {
			return standard(codeTopicAuthorizationFailed)
		}
	}
	if err := quota.take(int(topic.Partitions())); err != nil {
		return err
	}
	if err := s.server.deleteTopic(c.ctx, &topic); err != nil {
		return err
	}
	out.Topic, out.TopicID = &name, topic.ID()
	return nil
}
