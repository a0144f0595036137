package tool

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// describeTopics prints topics in the form of kafka-topics --describe.
func (t *topicTool) describeTopics(ctx context.Context) error {
	all, err := t.found(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	overrides, err := t.overrides(ctx, all)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := failure(m.ErrorCode, nil); err != nil {
			return about("topic "+*m.Topic, err)
		}
		if t.overridden && overrides[*m.Topic] == "" {
			continue
		}
		factor := 0
		if len(m.Partitions) > 0 {
			factor = len(m.Partitions[0].Replicas)
		}
		if !t.underReplicated && !t.absent {
			if _, err := fmt.Fprintf(t.streams.Out, "Topic: %s\tTopicId: %s\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: %s\n", *m.Topic,
				base64.RawURLEncoding.EncodeToString(m.TopicID[:]), len(m.Partitions), factor, overrides[*m.Topic]); err != nil {
				return err
			}
		}
		if t.overridden {
			continue
		}
		for _, p := range m.Partitions {
			if t.underReplicated && len(p.ISR) >= len(p.Replicas) || t.absent && p.Leader >= 0 {
				continue
			}
			leader := strconv.Itoa(int(p.Leader))
			if p.Leader < 0 {
				leader = "none"
			}
			if _, err := fmt.Fprintf(t.streams.Out, "\tTopic: %s\tPartition: %d\tLeader: %s\tReplicas: %s\tIsr: %s\tElr: \tLastKnownElr: \n",
				*m.Topic, p.Partition, leader, ids(p.Replicas), ids(p.ISR)); err != nil {
				return err
			}
		}
	}
	return nil
}

func ids(list []int32) string {
	var out []string
	for _, id := range list {
		out = append(out, strconv.Itoa(int(id)))
	}
	return strings.Join(out, ",")
}

// overrides returns what is set for each topic that is no default, as KEY=VALUE,...
func (t *topicTool) overrides(ctx context.Context, all []kmsg.MetadataResponseTopic) (map[string]string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, m := range all {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, *m.Topic
		req.Resources = append(req.Resources, r)
	}
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range resp.Resources {
		if err := failure(r.ErrorCode, r.ErrorMessage); err != nil {
			return nil, about("topic "+r.ResourceName, err)
		}
		var set []string
		for _, c := range r.Configs {
			if c.Value == nil || c.IsDefault || c.Source == kmsg.ConfigSourceDefaultConfig {
				continue
			}
			set = append(set, c.Name+"="+*c.Value)
		}
		out[r.ResourceName] = strings.Join(set, ",")
	}
	return out, nil
}
