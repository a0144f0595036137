package partitiontest

import (
	"errors"
	"slices"
	"strings"

	"github.com/partlog/partlog/partition"
)

func metadata(c *check) {
	ms, err := c.b.Metadata(c.Context(), []string{c.tp.Topic, "no-such-topic"})
	c.ok(err, "metadata")
	equal(c, len(ms), 2, "answers")
	c.ok(ms[0].Err, "the topic")
	equal(c, len(ms[0].Partitions), 3, "partitions")
	equal(c, ms[0].ID.IsZero(), false, "an id of zero")
	for i, p := range ms[0].Partitions {
		equal(c, p.Partition, int32(i), "index")
		if c.on != nil && c.on.Differs.KnowsNoReplicas {
			equal(c, len(p.Replicas), 0, "replicas of which this store knows")
			continue
		}
		equal(c, slices.Contains(p.Replicas, p.Leader), true, "the leader is a replica")
		equal(c, slices.Contains(p.ISR, p.Leader), true, "the leader is in sync")
	}
	c.is(ms[1].Err, partition.ErrUnknownTopicOrPartition, "a topic that is not there")
	all, err := c.b.Metadata(c.Context(), nil)
	c.ok(err, "metadata of all topics")
	equal(c, slices.ContainsFunc(all, func(m partition.Metadata) bool { return m.Topic == c.tp.Topic && m.ID == ms[0].ID }), true, "the topic is among all")
	_, err = c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, TopicID: partition.TopicID{1, 2}, Batch: valued("x")})
	c.is(err, partition.ErrUnknownTopicID, "append with another topic's id")
	_, err = c.b.Append(c.Context(), partition.AppendRequest{TopicPartition: c.tp, TopicID: ms[0].ID, Batch: valued("x")})
	c.ok(err, "append with the topic's id")
}

func topicDescribed(c *check) {
	tp := partition.TopicPartition{Topic: c.tp.Topic + ".described"}
	topic := c.create(tp.Topic, partition.TopicConfig{Partitions: 2, MaxMessageBytes: 2000, Compression: partition.CompressionZstd})
	equal(c, topic.Name(), tp.Topic, "name of the handle")
	d, err := c.s.DescribeTopic(c.Context(), tp.Topic)
	c.ok(err, "describe")
	equal(c, d.ID, topic.ID(), "id")
	equal(c, d.Partitions, 2, "partitions")
	equal(c, d.Internal, false, "internal")
	equal(c, d.Created.UnixMilli(), c.now(), "created")
	equal(c, d.Overrides["max.message.bytes"], "2000", "a setting of its own")
	equal(c, d.Config["compression.type"], "zstd", "a setting in force")
	equal(c, d.Config["retention.bytes"], "-1", "a setting by default")
	all, err := c.s.ListTopics(c.Context())
	c.ok(err, "list")
	equal(c, slices.ContainsFunc(all, func(d partition.TopicDescription) bool { return d.ID == topic.ID() }), true, "it is listed")
	ms, err := c.s.Metadata(c.Context(), []string{tp.Topic})
	c.ok(err, "metadata")
	equal(c, ms[0].MaxMessageBytes, 2000, "largest batch in the metadata")
	equal(c, ms[0].Compression, partition.CodecZstd, "codec in the metadata")
	_, err = c.s.DescribeTopic(c.Context(), "no-such-topic")
	c.is(err, partition.ErrUnknownTopicOrPartition, "a topic that is not there")
}

func topicGrows(c *check) {
	for _, n := range []int32{-1, 0, 2, 3, 2_000_000_000} {
		c.is(c.s.CreatePartitions(c.Context(), c.tp.Topic, n), partition.ErrInvalidPartitions, "from 3 to another number")
	}
	c.is(c.s.CreatePartitions(c.Context(), "no-such-topic", 5), partition.ErrUnknownTopicOrPartition, "a topic that is not there")
	c.append("before")
	c.ok(c.s.CreatePartitions(c.Context(), c.tp.Topic, 5), "grow")
	ms, err := c.s.Metadata(c.Context(), []string{c.tp.Topic})
	c.ok(err, "metadata")
	equal(c, len(ms[0].Partitions), 5, "partitions")
	_, err = c.put(c.at(4), valued("new"))
	c.ok(err, "append to a new partition")
	same(c, valuesOf(c.read(c.at(4))), []string{"new"}, "what the new partition has")
	same(c, valuesOf(c.read(c.tp)), []string{"before"}, "what an old one has")
}

func topicRecreated(c *check) {
	tp := c.topic("again", partition.TopicConfig{})
	first, err := c.s.DescribeTopic(c.Context(), tp.Topic)
	c.ok(err, "describe")
	_, err = c.put(tp, valued("old"))
	c.ok(err, "append")
	p := c.producer()
	_, err = c.put(tp, idempotent(p, 0, "old"))
	c.ok(err, "append")
	c.ok(c.s.DeleteTopic(c.Context(), tp.Topic), "delete")
	c.is(c.s.DeleteTopic(c.Context(), tp.Topic), partition.ErrUnknownTopicOrPartition, "delete again")
	_, err = c.put(tp, valued("lost"))
	c.is(err, partition.ErrUnknownTopicOrPartition, "append to a topic that was deleted")
	_, res := c.fetchAs(partition.FetchRequest{Partitions: []partition.FetchPosition{position(tp, 0)}})
	c.is(res.Err, partition.ErrUnknownTopicOrPartition, "fetch of a topic that was deleted")
	second := c.create(tp.Topic, partition.TopicConfig{})
	equal(c, second.ID() == first.ID, false, "that the ids are one")
	equal(c, c.end(tp), 0, "high watermark")
	old := partition.AppendRequest{TopicPartition: tp, TopicID: first.ID, Batch: valued("lost")}
	_, err = c.s.Append(c.Context(), old)
	c.is(err, partition.ErrUnknownTopicID, "append with the old id")
	at := position(tp, 0)
	at.TopicID = first.ID
	_, res = c.fetchAs(partition.FetchRequest{Partitions: []partition.FetchPosition{at}})
	c.is(res.Err, partition.ErrUnknownTopicID, "fetch with the old id")
	r, err := c.put(tp, idempotent(p, 0, "new"))
	c.ok(err, "append of a producer that the old one knew")
	equal(c, r.Duplicate, false, "duplicate")
	same(c, valuesOf(c.read(tp)), []string{"new"}, "what is there")
}

func badTopics(c *check) {
	for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", "a\x00", strings.Repeat("x", 250)} {
		_, err := c.s.CreateTopic(c.Context(), name, c.placed(partition.TopicConfig{}))
		c.is(err, partition.ErrInvalidTopic, "topic "+name)
	}
	dotted := c.tp.Topic + ".a.b"
	c.create(dotted, partition.TopicConfig{})
	for name, bad := range map[string]struct {
		topic  string
		config partition.TopicConfig
		want   error
	}{
		"a name that differs in a dot only": {c.tp.Topic + ".a_b", partition.TopicConfig{}, partition.ErrInvalidTopic},
		"a name that is taken":              {dotted, partition.TopicConfig{}, partition.ErrTopicAlreadyExists},
		"a setting out of range":            {c.tp.Topic + ".x", partition.TopicConfig{MaxMessageBytes: -5}, partition.ErrInvalidConfig},
		"a setting that is none":            {c.tp.Topic + ".x", partition.TopicConfig{Extra: map[string]string{"no.key": "1"}}, partition.ErrInvalidConfig},
	} {
		_, err := c.s.CreateTopic(c.Context(), bad.topic, c.placed(bad.config))
		c.is(err, bad.want, name)
	}
	_, err := c.s.CreateTopic(c.Context(), c.tp.Topic+".x", partition.TopicConfig{Partitions: -5})
	c.is(err, partition.ErrInvalidPartitions, "-5 partitions")
	_, err = c.s.CreateTopic(c.Context(), c.tp.Topic+".x", partition.TopicConfig{ReplicationFactor: 99})
	c.is(err, partition.ErrInvalidReplicationFactor, "99 replicas")
	_, err = c.s.DescribeTopic(c.Context(), c.tp.Topic+".x")
	c.is(err, partition.ErrUnknownTopicOrPartition, "what was refused is not there")
}

func settingsChange(c *check) {
	change := func(settings map[string]string) error {
		return c.s.AlterTopicConfig(c.Context(), c.tp.Topic, settings)
	}
	c.ok(change(map[string]string{"max.message.bytes": "500"}), "alter")
	err := change(map[string]string{"max.message.bytes": "600", "segment.ms": "soon"})
	c.is(err, partition.ErrInvalidConfig, "a good value and a bad one")
	bad, typed := errors.AsType[*partition.ConfigError](err)
	if !typed || bad.Key != "segment.ms" || bad.Value != "soon" {
		c.Fatalf("an error that does not say what is wrong: %#v", err)
	}
	c.is(change(map[string]string{"no.key": "1"}), partition.ErrInvalidConfig, "a setting that is none")
	d, err := c.s.DescribeTopic(c.Context(), c.tp.Topic)
	c.ok(err, "describe")
	equal(c, d.Overrides["max.message.bytes"], "500", "the setting")
	c.ok(change(map[string]string{"max.message.bytes": ""}), "give a setting up")
	d, err = c.s.DescribeTopic(c.Context(), c.tp.Topic)
	c.ok(err, "describe")
	equal(c, d.Config["max.message.bytes"], "1048588", "the default")
	c.is(c.s.AlterTopicConfig(c.Context(), "no-such-topic", map[string]string{"segment.ms": "1000"}), partition.ErrUnknownTopicOrPartition, "of a topic that is not there")
}

func settingsInForce(c *check) {
	large := strings.Repeat("x", 1000)
	c.append(large)
	c.ok(c.s.AlterTopicConfig(c.Context(), c.tp.Topic, map[string]string{"max.message.bytes": "500"}), "alter")
	c.soon("the leader has heard of it", func() bool {
		_, err := c.put(c.tp, valued(large))
		if err != nil {
			c.is(err, partition.ErrMessageTooLarge, "append")
		}
		return err != nil
	})
	c.append("small")
	c.ok(c.s.AlterTopicConfig(c.Context(), c.tp.Topic, map[string]string{"max.message.bytes": "", "message.timestamp.type": "LogAppendTime"}), "alter")
	c.soon("the leader has heard of it", func() bool { return c.append("stamped").LogAppendTime == c.now() })
	c.append(large)
}
