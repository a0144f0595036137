package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// CreateTopic makes a topic with ConnectConfig.ReplicationFactor replicas, and waits until the brokers know it. What c leaves
// open is the brokers' default; settings that are a store's own are partition.ErrUnsupported. Errors:
// partition.ErrTopicAlreadyExists, ErrInvalidTopic, ErrInvalidPartitions, ErrInvalidConfig, ErrPolicyViolation.
func (c *Cluster) CreateTopic(ctx context.Context, name string, config partition.TopicConfig) (partition.Metadata, error) {
	m, err := c.createTopic(ctx, name, config)
	if err != nil {
		return partition.Metadata{}, fmt.Errorf("create topic %q: %w", name, err)
	}
	return m, nil
}

func (c *Cluster) createTopic(ctx context.Context, name string, config partition.TopicConfig) (partition.Metadata, error) {
	settings, err := config.Overrides()
	if err != nil {
		return partition.Metadata{}, err
	}
	if config.KeyIndex {
		return partition.Metadata{}, fmt.Errorf("%w: KeyIndex: a broker has none", partition.ErrUnsupported)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(c.config.RequestTimeout.Milliseconds())
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, cmp.Or(config.Partitions, -1), c.config.ReplicationFactor
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		s := kmsg.NewCreateTopicsRequestTopicConfig()
		s.Name, s.Value = key, kmsg.StringPtr(settings[key])
		t.Configs = append(t.Configs, s)
	}
	req.Topics = append(req.Topics, t)
	resp, err := request[*kmsg.CreateTopicsResponse](ctx, c, req)
	if err != nil {
		return partition.Metadata{}, err
	}
	for _, t := range resp.Topics {
		if err := brokerError("CreateTopics", t.ErrorCode, t.ErrorMessage); err != nil {
			return partition.Metadata{}, err
		}
	}
	return c.await(ctx, name, func(m *partition.Metadata) bool {
		return m.Err == nil && !slices.ContainsFunc(m.Partitions, func(p partition.PartitionMetadata) bool { return p.Leader < 0 })
	})
}

// await waits until the brokers tell what a change has made, but for RequestTimeout at most.
func (c *Cluster) await(ctx context.Context, name string, done func(*partition.Metadata) bool) (partition.Metadata, error) {
	until := c.config.Clock.Now().Add(c.config.RequestTimeout)
	for attempt := 1; ; attempt++ {
		all, err := c.refresh(ctx, []string{name})
		if err != nil {
			return partition.Metadata{}, err
		}
		m := &all[0]
		if m.Err != nil && !errors.Is(m.Err, partition.ErrUnknownTopicOrPartition) {
			return *m, m.Err
		}
		if done(m) {
			return *m, nil
		}
		if !c.config.Clock.Now().Before(until) {
			return *m, fmt.Errorf("the brokers do not tell of the change: %w", partition.ErrTimeout)
		}
		if err := c.pause(ctx, min(retryPause(attempt), 20*time.Millisecond<<min(attempt, 5))); err != nil {
			return partition.Metadata{}, err
		}
	}
}

// DeleteTopic deletes a topic, and waits until the brokers do not tell of it any more.
func (c *Cluster) DeleteTopic(ctx context.Context, name string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis, req.TopicNames = int32(c.config.RequestTimeout.Milliseconds()), []string{name}
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, t)
	resp, err := request[*kmsg.DeleteTopicsResponse](ctx, c, req)
	if err == nil {
		for _, t := range resp.Topics {
			err = errors.Join(err, brokerError("DeleteTopics", t.ErrorCode, t.ErrorMessage))
		}
	}
	if err == nil {
		_, err = c.await(ctx, name, func(m *partition.Metadata) bool { return m.Err != nil })
	}
	if err != nil {
		return fmt.Errorf("delete topic %q: %w", name, err)
	}
	return nil
}

// CreatePartitions raises the number of partitions of a topic to n. Errors: partition.ErrUnknownTopicOrPartition,
// ErrInvalidPartitions if n is not more than there are.
func (c *Cluster) CreatePartitions(ctx context.Context, name string, n int32) error {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = int32(c.config.RequestTimeout.Milliseconds())
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = name, n
	req.Topics = append(req.Topics, t)
	resp, err := request[*kmsg.CreatePartitionsResponse](ctx, c, req)
	if err == nil {
		for _, t := range resp.Topics {
			err = errors.Join(err, brokerError("CreatePartitions", t.ErrorCode, t.ErrorMessage))
		}
	}
	if err == nil {
		_, err = c.await(ctx, name, func(m *partition.Metadata) bool { return len(m.Partitions) >= int(n) })
	}
	if err != nil {
		return fmt.Errorf("create partitions of %q: %w", name, err)
	}
	return nil
}

// AlterTopicConfig sets settings of a topic by Kafka's key; an empty value takes the topic's own setting away. Either all
// changes are made or none.
func (c *Cluster) AlterTopicConfig(ctx context.Context, name string, changes map[string]string) error {
	if err := c.alterConfig(ctx, kmsg.ConfigResourceTypeTopic, name, changes); err != nil {
		return fmt.Errorf("alter topic %q: %w", name, err)
	}
	c.topicsMu.Lock()
	defer c.topicsMu.Unlock()
	if k := c.known[name]; k != nil {
		k.settings = time.Time{}
	}
	return nil
}

func (c *Cluster) alterConfig(ctx context.Context, kind kmsg.ConfigResourceType, name string, changes map[string]string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, key := range slices.Sorted(maps.Keys(changes)) {
		s := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		s.Name, s.Op = key, kmsg.IncrementalAlterConfigOpDelete
		if v := changes[key]; v != "" {
			s.Op, s.Value = kmsg.IncrementalAlterConfigOpSet, &v
		}
		r.Configs = append(r.Configs, s)
	}
	req.Resources = append(req.Resources, r)
	resp, err := request[*kmsg.IncrementalAlterConfigsResponse](ctx, c, req)
	if err != nil {
		return err
	}
	for _, r := range resp.Resources {
		err = errors.Join(err, brokerError("IncrementalAlterConfigs", r.ErrorCode, r.ErrorMessage))
	}
	return err
}

// ListTopics describes all topics that may be seen, internal ones included, by name. Created is not known.
func (c *Cluster) ListTopics(ctx context.Context) ([]partition.TopicDescription, error) {
	all, err := c.refresh(ctx, nil)
	if err == nil {
		var out []partition.TopicDescription
		out, err = c.describeTopics(ctx, all)
		if err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("list topics: %w", err)
}

// DescribeTopic describes one topic. Created is not known. partition.ErrUnknownTopicOrPartition if there is none.
func (c *Cluster) DescribeTopic(ctx context.Context, name string) (partition.TopicDescription, error) {
	all, err := c.Metadata(ctx, []string{name})
	if err == nil {
		err = all[0].Err
	}
	if err == nil {
		var out []partition.TopicDescription
		out, err = c.describeTopics(ctx, all)
		if err == nil {
			return out[0], nil
		}
	}
	return partition.TopicDescription{}, fmt.Errorf("describe topic %q: %w", name, err)
}

func (c *Cluster) describeTopics(ctx context.Context, all []partition.Metadata) ([]partition.TopicDescription, error) {
	out := make([]partition.TopicDescription, 0, len(all))
	places := make(map[string]int)
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, m := range all {
		if m.Err != nil {
			continue
		}
		places[m.Topic] = len(out)
		out = append(out, partition.TopicDescription{
			Name: m.Topic, ID: m.ID, Internal: m.Internal, Partitions: int32(len(m.Partitions)), Config: make(map[string]string), Overrides: make(map[string]string),
		})
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, m.Topic
		req.Resources = append(req.Resources, r)
	}
	if len(out) == 0 {
		return out, nil
	}
	resp, err := request[*kmsg.DescribeConfigsResponse](ctx, c, req)
	if err != nil {
		return nil, err
	}
	for _, r := range resp.Resources {
		i, ok := places[r.ResourceName]
		if !ok || r.ErrorCode != codeNone {
			continue // deleted meanwhile, or not to be seen
		}
		for _, s := range r.Configs {
			if s.Value == nil {
				continue
			}
			out[i].Config[s.Name] = *s.Value
			if s.Source == kmsg.ConfigSourceDynamicTopicConfig {
				out[i].Overrides[s.Name] = *s.Value
			}
		}
	}
	return out, nil
}

// DeleteRecords makes all records below an offset unreadable (KIP-107). An offset of −1 means the high watermark. It
// returns the log start offset. Errors: partition.ErrOffsetOutOfRange above the high watermark, ErrPolicyViolation if
// the topic is compacted only.
func (c *Cluster) DeleteRecords(ctx context.Context, tp partition.TopicPartition, before partition.Offset) (partition.Offset, error) {
	var start partition.Offset
	err := c.atLeader(ctx, "DeleteRecords", tp, func(leadership) kmsg.Request {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = int32(c.config.RequestTimeout.Milliseconds())
		t, p := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = tp.Partition, int64(before)
		t.Topic, t.Partitions = tp.Topic, append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		return req
	}, func(resp kmsg.Response) int16 {
		for _, t := range resp.(*kmsg.DeleteRecordsResponse).Topics {
			for _, p := range t.Partitions {
				start = partition.Offset(p.LowWatermark)
				return p.ErrorCode
			}
		}
		return codeUnknownServerError
	})
	if err != nil {
		return 0, fmt.Errorf("delete records of %s: %w", tp, err)
	}
	return start, nil
}
