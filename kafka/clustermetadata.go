package kafka

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// topics is what the cluster knows of topics: who leads their partitions, and the settings that producers go by.
type topics struct {
	topicsMu sync.Mutex // guards what follows; a leaf
	known    map[string]*topicKnown
}

// topicKnown is one topic. It is not changed, but for at and stale.
type topicKnown struct {
	partition.Metadata
	at       time.Time // when the cluster was asked
	stale    bool      // a broker has said that something of it is not so any more
	settings time.Time // when MaxMessageBytes and Compression were asked for; zero if never
}

// Metadata describes the topics named, in their order, or all topics by name if topics is nil: the brokers are asked each
// time. MaxMessageBytes is 0 where it may not be seen (DescribeConfigs), and of all topics it is left out, as is Compression.
func (c *Cluster) Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error) {
	if topics != nil && len(topics) == 0 {
		return nil, c.alive(ctx)
	}
	out, err := c.refresh(ctx, topics)
	if err != nil || topics == nil {
		return out, err
	}
	// Brokers learn of a topic a moment after its maker does.
	for range 2 {
		if !slices.ContainsFunc(out, func(m partition.Metadata) bool { return errors.Is(m.Err, partition.ErrUnknownTopicOrPartition) }) {
			break
		}
		if err := c.pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
		if out, err = c.refresh(ctx, topics); err != nil {
			return nil, err
		}
	}
	c.settle(ctx, out)
	return out, nil
}

// refresh asks a broker for these topics, or for all, and remembers the answer.
func (c *Cluster) refresh(ctx context.Context, names []string) ([]partition.Metadata, error) {
	req := kmsg.NewPtrMetadataRequest()
	if names != nil {
		req.Topics = make([]kmsg.MetadataRequestTopic, 0, len(names))
	}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.MetadataResponse](ctx, c, req)
	if err != nil {
		return nil, err
	}
	now := c.config.Clock.Now()
	answered := make(map[string]partition.Metadata, len(resp.Topics))
	c.topicsMu.Lock()
	for i := range resp.Topics {
		m := describe(&resp.Topics[i])
		before := c.known[m.Topic]
		switch {
		case m.Err != nil:
			delete(c.known, m.Topic)
		case before != nil && before.ID == m.ID:
			m.MaxMessageBytes, m.Compression = before.MaxMessageBytes, before.Compression
			for j := range min(len(m.Partitions), len(before.Partitions)) {
				if old := before.Partitions[j]; old.LeaderEpoch > m.Partitions[j].LeaderEpoch {
					m.Partitions[j] = old // this broker has not heard of it yet
				}
			}
			c.known[m.Topic] = &topicKnown{Metadata: m, at: now, settings: before.settings}
		default:
			c.known[m.Topic] = &topicKnown{Metadata: m, at: now}
		}
		m.Partitions = slices.Clone(m.Partitions)
		answered[m.Topic] = m
	}
	c.topicsMu.Unlock()
	if names == nil {
		out := make([]partition.Metadata, 0, len(answered))
		for _, m := range answered {
			out = append(out, m)
		}
		slices.SortFunc(out, func(a, b partition.Metadata) int { return cmp.Compare(a.Topic, b.Topic) })
		return out, nil
	}
	out := make([]partition.Metadata, len(names))
	for i, name := range names {
		m, ok := answered[name]
		if !ok {
			m = partition.Metadata{Topic: name, Err: brokerError("Metadata", codeUnknownTopicOrPartition, nil)}
		}
		out[i] = m
	}
	return out, nil
}

// describe is a topic of an answer. Partitions are in order, and without a gap.
func describe(t *kmsg.MetadataResponseTopic) partition.Metadata {
	m := partition.Metadata{Topic: text(t.Topic), ID: t.TopicID, Internal: t.IsInternal, Compression: partition.CodecProducer}
	if t.ErrorCode != codeLeaderNotAvailable {
		m.Err = brokerError("Metadata", t.ErrorCode, nil)
	}
	if m.Err != nil {
		return m
	}
	slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if int(p.Partition) != i {
			break
		}
		m.Partitions = append(m.Partitions, partition.PartitionMetadata{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: partition.LeaderEpoch(p.LeaderEpoch), Replicas: p.Replicas, ISR: p.ISR,
		})
	}
	return m
}

// settle fills in the settings of topics that a producer goes by, asking for those that are not known. What may not be seen
// stays open.
func (c *Cluster) settle(ctx context.Context, out []partition.Metadata) {
	now := c.config.Clock.Now()
	req := kmsg.NewPtrDescribeConfigsRequest()
	c.topicsMu.Lock()
	for i := range out {
		k := c.known[out[i].Topic]
		if out[i].Err != nil || k == nil || !k.settings.IsZero() && now.Sub(k.settings) < c.config.MetadataMaxAge {
			continue
		}
		k.settings = now
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, k.Topic
		r.ConfigNames = []string{"max.message.bytes", "compression.type"}
		req.Resources = append(req.Resources, r)
	}
	c.topicsMu.Unlock()
	if len(req.Resources) == 0 {
		return
	}
	resp, err := request[*kmsg.DescribeConfigsResponse](ctx, c, req)
	if err != nil {
		return
	}
	for _, r := range resp.Resources {
		i := slices.IndexFunc(out, func(m partition.Metadata) bool { return m.Topic == r.ResourceName })
		if r.ErrorCode != codeNone || i < 0 {
			continue
		}
		for _, s := range r.Configs {
			switch s.Name {
			case "max.message.bytes":
				if n, err := strconv.Atoi(text(s.Value)); err == nil {
					out[i].MaxMessageBytes = n
				}
			case "compression.type":
				if codec, err := partition.ParseCodec(text(s.Value)); err == nil {
					out[i].Compression = codec
				}
			}
		}
		c.topicsMu.Lock()
		if k := c.known[out[i].Topic]; k != nil && k.ID == out[i].ID {
			k.MaxMessageBytes, k.Compression = out[i].MaxMessageBytes, out[i].Compression
		}
		c.topicsMu.Unlock()
	}
}

// leadership is who leads a partition.
type leadership struct {
	topic  partition.TopicID
	broker int32 // −1 if nobody does
	epoch  partition.LeaderEpoch
}

// leader returns the leader of a partition. The cluster is asked if it is not known, or too long ago. With an id that is not
// zero, the topic has to be that one.
func (c *Cluster) leader(ctx context.Context, tp partition.TopicPartition, id partition.TopicID) (leadership, error) {
	for asked := false; ; asked = true {
		c.topicsMu.Lock()
		k := c.known[tp.Topic]
		if k != nil {
			of, fresh := leadership{topic: k.ID, broker: -1}, !k.stale && c.config.Clock.Now().Sub(k.at) < c.config.MetadataMaxAge
			there := tp.Partition >= 0 && int(tp.Partition) < len(k.Partitions)
			if there {
				of.broker, of.epoch = k.Partitions[tp.Partition].Leader, k.Partitions[tp.Partition].LeaderEpoch
			}
			same := id.IsZero() || k.ID.IsZero() || k.ID == id
			if asked || fresh && there && same && of.broker >= 0 {
				c.topicsMu.Unlock()
				switch {
				case !same:
					return of, brokerError("Metadata", codeUnknownTopicID, nil)
				case !there:
					return of, brokerError("Metadata", codeUnknownTopicOrPartition, nil)
				}
				return of, nil
			}
		}
		c.topicsMu.Unlock()
		all, err := c.Metadata(ctx, []string{tp.Topic})
		if err == nil {
			err = all[0].Err
		}
		if err != nil {
			return leadership{}, err
		}
	}
}

// outdated takes note that something of a topic is not as it is known.
func (c *Cluster) outdated(topic string) {
	c.topicsMu.Lock()
	defer c.topicsMu.Unlock()
	if k := c.known[topic]; k != nil {
		k.stale = true
	}
}

// elected takes note of a leader that a broker has told of beside its refusal (KIP-951), or that there must be another.
func (c *Cluster) elected(tp partition.TopicPartition, broker, epoch int32) {
	c.topicsMu.Lock()
	defer c.topicsMu.Unlock()
	k := c.known[tp.Topic]
	if k == nil {
		return
	}
	if broker < 0 || int(tp.Partition) >= len(k.Partitions) || k.Partitions[tp.Partition].LeaderEpoch >= partition.LeaderEpoch(epoch) {
		k.stale = true
		return
	}
	again := *k
	again.Partitions = slices.Clone(k.Partitions)
	again.Partitions[tp.Partition].Leader, again.Partitions[tp.Partition].LeaderEpoch = broker, partition.LeaderEpoch(epoch)
	c.known[tp.Topic] = &again
}

// named returns the name of a topic, for answers that have its id only.
func (c *Cluster) named(id partition.TopicID) string {
	c.topicsMu.Lock()
	defer c.topicsMu.Unlock()
	for name, k := range c.known {
		if k.ID == id {
			return name
		}
	}
	return ""
}

// atLeader makes a request to the leader of a partition, which answers with a code: again, after a pause, while leaders are
// changing, for RequestTimeout.
func (c *Cluster) atLeader(ctx context.Context, api string, tp partition.TopicPartition, ask func(leadership) kmsg.Request, code func(kmsg.Response) int16) error {
	if err := c.alive(ctx); err != nil {
		return err
	}
	until := c.config.Clock.Now().Add(c.config.RequestTimeout)
	for attempt := 1; ; attempt++ {
		of, err := c.leader(ctx, tp, partition.TopicID{})
		if err != nil {
			return err
		}
		if err = brokerError(api, codeLeaderNotAvailable, nil); of.broker >= 0 {
			var resp kmsg.Response
			inner, done := c.with(ctx)
			resp, err = c.main.Broker(int(of.broker)).Request(inner, ask(of))
			done()
			if err != nil {
				err = c.failure(ctx, api, err)
			} else {
				err = brokerError(api, code(resp), nil)
			}
		}
		answered, ok := errors.AsType[*BrokerError](err)
		_, unreachable := errors.AsType[*UnreachableError](err)
		if err == nil || ok && !moved(answered.Code) || !ok && !unreachable || !c.config.Clock.Now().Before(until) {
			return err
		}
		c.outdated(tp.Topic)
		if err := c.pause(ctx, retryPause(attempt)); err != nil {
			return err
		}
	}
}
