package tool

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const topicsHelp = `
Usage: partlogd topics ACTION [--topic TOPIC] [flags]

  partlogd topics --list
  partlogd topics --create --topic orders --partitions 6 --config retention.ms=3600000
  partlogd topics --describe --topic orders
  partlogd topics --alter --topic orders --partitions 12
  partlogd topics --alter --topic orders --config cleanup.policy=compact --delete-config retention.ms
  partlogd topics --delete --topic orders

Actions: --create, --list, --describe, --alter, --delete

Flags:
  --topic TOPIC                     with --list, --describe, --alter and --delete a regular expression
  --partitions N                    default num.partitions of the broker
  --replication-factor N            default default.replication.factor of the broker
  --replica-assignment IDS          replicas by hand: 1:2,2:3 are brokers 1 and 2 for partition 0, 2 and 3 for partition 1
  --config KEY=VALUE                a setting of the topic; may be repeated
  --delete-config KEY               with --alter: back to the default
  --if-not-exists, --if-exists      no failure if there is nothing to do
  --exclude-internal                without __consumer_offsets and __transaction_state
  --topics-with-overrides           with --describe: only topics with settings of their own, without partitions
  --under-replicated-partitions, --unavailable-partitions
                                    with --describe: only these partitions
` + connectionHelp

// topicTool is what the command line of topics says.
type topicTool struct {
	connection
	create, list, describe, alter, delete bool

	topic                               string
	partitions, factor                  int
	assignment                          string
	configs                             pairs
	dropped                             list
	ifNotExists, ifExists, noInternal   bool
	overridden, underReplicated, absent bool

	client  *kgo.Client
	streams Streams
}

func topics(ctx context.Context, args []string, s Streams) error {
	f := newFlags("topics", topicsHelp)
	t := &topicTool{streams: s}
	t.addTo(f)
	for name, into := range map[string]*bool{
		"create": &t.create, "list": &t.list, "describe": &t.describe, "alter": &t.alter, "delete": &t.delete,
		"if-not-exists": &t.ifNotExists, "if-exists": &t.ifExists, "exclude-internal": &t.noInternal,
		"topics-with-overrides": &t.overridden, "under-replicated-partitions": &t.underReplicated, "unavailable-partitions": &t.absent,
	} {
		f.BoolVar(into, name, false, "")
	}
	f.StringVar(&t.topic, "topic", "", "")
	f.IntVar(&t.partitions, "partitions", -1, "")
	f.IntVar(&t.factor, "replication-factor", -1, "")
	f.StringVar(&t.assignment, "replica-assignment", "", "")
	f.Var(&t.configs, "config", "")
	f.Var(&t.dropped, "delete-config", "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if err := errors.Join(f.noWords(), t.check()); err != nil {
		return &UsageError{err}
	}
	var err error
	if t.client, err = t.open(); err != nil {
		return err
	}
	defer t.client.Close()
	if err := reach(ctx, t.client); err != nil {
		return err
	}
	switch {
	case t.create:
		return t.createTopic(ctx)
	case t.list:
		return t.listTopics(ctx)
	case t.describe:
		return t.describeTopics(ctx)
	case t.alter:
		return t.alterTopics(ctx)
	}
	return t.deleteTopics(ctx)
}

func (t *topicTool) check() error {
	n := 0
	for _, action := range []bool{t.create, t.list, t.describe, t.alter, t.delete} {
		if action {
			n++
		}
	}
	switch {
	case n != 1:
		return errors.New("want one of --create, --list, --describe, --alter and --delete")
	case t.topic == "" && (t.create || t.alter || t.delete):
		return errors.New("--topic is missing")
	case t.assignment != "" && (t.partitions != -1 || t.factor != -1):
		return errors.New("--replica-assignment says how many partitions and replicas there are, so --partitions and --replication-factor cannot be with it")
	case t.alter && t.partitions == -1 && len(t.configs) == 0 && len(t.dropped) == 0:
		return errors.New("--alter needs --partitions, --config or --delete-config: what is to be another?")
	case t.alter && (t.factor != -1 || t.assignment != ""):
		return errors.New("--alter cannot change replicas; that takes a reassignment")
	}
	return nil
}

func (t *topicTool) createTopic(ctx context.Context) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30000
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = t.topic, int32(t.partitions), int16(t.factor)
	for _, key := range sortedKeys(t.configs) {
		rc := kmsg.NewCreateTopicsRequestTopicConfig()
		rc.Name, rc.Value = key, kmsg.StringPtr(t.configs[key])
		rt.Configs = append(rt.Configs, rc)
	}
	lists, err := parseAssignment(t.assignment)
	if err != nil {
		return &UsageError{err}
	}
	for p, ids := range lists {
		ra := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		ra.Partition, ra.Replicas = int32(p), ids
		rt.ReplicaAssignment = append(rt.ReplicaAssignment, ra)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return err
	}
	for _, r := range resp.Topics {
		err := failure(r.ErrorCode, r.ErrorMessage)
		if errors.Is(err, kerr.TopicAlreadyExists) && t.ifNotExists {
			return nil
		}
		if err != nil {
			return about("topic "+r.Topic, err)
		}
		fmt.Fprintf(t.streams.Out, "Created topic %s.\n", r.Topic)
	}
	return nil
}

// parseAssignment reads brokers of partitions: colons between brokers, commas between partitions.
func parseAssignment(text string) (lists [][]int32, err error) {
	if text == "" {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		var ids []int32
		for id := range strings.SplitSeq(item, ":") {
			n, err := strconv.ParseInt(strings.TrimSpace(id), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("--replica-assignment: %q is no id of a broker", id)
			}
			ids = append(ids, int32(n))
		}
		lists = append(lists, ids)
	}
	return lists, nil
}

// found returns the topics that --topic names, all without it, sorted.
func (t *topicTool) found(ctx context.Context) ([]kmsg.MetadataResponseTopic, error) {
	all, err := metadata(ctx, t.client)
	if err != nil {
		return nil, err
	}
	match := func(string) bool { return true }
	if t.topic != "" {
		re, err := regexp.Compile("^(?:" + strings.ReplaceAll(t.topic, ",", "|") + ")$")
		if err != nil {
			return nil, Usagef("--topic: %w", err)
		}
		match = re.MatchString
	}
	all = slices.DeleteFunc(all, func(m kmsg.MetadataResponseTopic) bool { return !match(*m.Topic) || t.noInternal && m.IsInternal })
	if len(all) == 0 && t.topic != "" && !t.ifExists && !t.list {
		return nil, fmt.Errorf("topic %q does not exist", t.topic)
	}
	return all, nil
}

// metadata returns all topics by name.
func metadata(ctx context.Context, client *kgo.Client) ([]kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(resp.Topics, func(m kmsg.MetadataResponseTopic) bool { return m.Topic == nil })
	slices.SortFunc(out, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
	for i := range out {
		slices.SortFunc(out[i].Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition) - int(b.Partition) })
	}
	return out, nil
}

func (t *topicTool) listTopics(ctx context.Context) error {
	all, err := t.found(ctx)
	if err != nil {
		return err
	}
	for _, m := range all {
		if _, err := fmt.Fprintln(t.streams.Out, *m.Topic); err != nil {
			return err
		}
	}
	return nil
}

func (t *topicTool) deleteTopics(ctx context.Context) error {
	all, err := t.found(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 30000
	for _, m := range all {
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = m.Topic
		req.Topics = append(req.Topics, rt)
		req.TopicNames = append(req.TopicNames, *m.Topic)
	}
	if len(all) == 0 {
		return nil
	}
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return err
	}
	for _, r := range resp.Topics {
		err = errors.Join(err, about("topic "+*r.Topic, failure(r.ErrorCode, r.ErrorMessage)))
	}
	return err
}

func (t *topicTool) alterTopics(ctx context.Context) error {
	all, err := t.found(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	if t.partitions != -1 {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis = 30000
		for _, m := range all {
			rt := kmsg.NewCreatePartitionsRequestTopic()
			rt.Topic, rt.Count = *m.Topic, int32(t.partitions)
			req.Topics = append(req.Topics, rt)
		}
		resp, err := req.RequestWith(ctx, t.client)
		if err != nil {
			return err
		}
		for _, r := range resp.Topics {
			err = errors.Join(err, about("topic "+r.Topic, failure(r.ErrorCode, r.ErrorMessage)))
		}
		if err != nil {
			return err
		}
	}
	if len(t.configs)+len(t.dropped) == 0 {
		return nil
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, m := range all {
		rr := kmsg.NewIncrementalAlterConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, *m.Topic
		for _, key := range sortedKeys(t.configs) {
			rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			rc.Name, rc.Op, rc.Value = key, kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(t.configs[key])
			rr.Configs = append(rr.Configs, rc)
		}
		for _, key := range t.dropped {
			rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			rc.Name, rc.Op = key, kmsg.IncrementalAlterConfigOpDelete
			rr.Configs = append(rr.Configs, rc)
		}
		req.Resources = append(req.Resources, rr)
	}
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return err
	}
	for _, r := range resp.Resources {
		err = errors.Join(err, about("topic "+r.ResourceName, failure(r.ErrorCode, r.ErrorMessage)))
	}
	return err
}
