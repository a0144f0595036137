package tool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The configurations by which replication is throttled (KIP-73): the rates of brokers, and which replicas of topics have to keep to them.
var (
	throttledRates    = []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate"}
	throttledReplicas = []string{"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"}
)

// throttle sets the rate, of all brokers that the partitions of r come from or go to, and which of their replicas it is for: those that there are lead,
// those that there will be follow.
func (t *clusterTool) throttle(ctx context.Context, r reassignment) error {
	have, err := t.now(ctx, r)
	if err != nil {
		return err
	}
	brokers := map[int32]bool{}
	lists := map[string]*[2][]string{} // by topic
	for i, one := range r.Partitions {
		if lists[one.Topic] == nil {
			lists[one.Topic] = &[2][]string{}
		}
		for _, id := range have.Partitions[i].Replicas {
			brokers[id] = true
			lists[one.Topic][0] = append(lists[one.Topic][0], fmt.Sprintf("%d:%d", one.Partition, id))
		}
		for _, id := range one.Replicas {
			brokers[id] = true
			if !slices.Contains(have.Partitions[i].Replicas, id) {
				lists[one.Topic][1] = append(lists[one.Topic][1], fmt.Sprintf("%d:%d", one.Partition, id))
			}
		}
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, topic := range slices.Sorted(maps.Keys(lists)) {
		values := map[string]*string{}
		for i, name := range throttledReplicas {
			if list := lists[topic][i]; len(list) > 0 {
				values[name] = kmsg.StringPtr(strings.Join(list, ","))
			}
		}
		addConfigs(req, kmsg.ConfigResourceTypeTopic, topic, values)
	}
	rate := strconv.FormatInt(t.rate, 10)
	for _, id := range slices.Sorted(maps.Keys(brokers)) {
		addConfigs(req, kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(id)), map[string]*string{throttledRates[0]: &rate, throttledRates[1]: &rate})
	}
	if err := t.alter(ctx, req); err != nil {
		return about("throttle", err)
	}
	fmt.Fprintf(t.streams.Out, "The inter-broker throttle limit was set to %d B/s\n", t.rate)
	return nil
}

// unthrottle takes away what throttle has set, for the topics of r and all brokers.
func (t *clusterTool) unthrottle(ctx context.Context, r reassignment) error {
	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := meta.RequestWith(ctx, t.client)
	if err != nil {
		return about("nodes", err)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	var brokers []string
	for _, b := range resp.Brokers {
		brokers = append(brokers, strconv.Itoa(int(b.NodeID)))
	}
	slices.Sort(brokers)
	for _, id := range brokers {
		addConfigs(req, kmsg.ConfigResourceTypeBroker, id, map[string]*string{throttledRates[0]: nil, throttledRates[1]: nil})
	}
	topics := map[string]bool{}
	for _, one := range r.Partitions {
		topics[one.Topic] = true
	}
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		addConfigs(req, kmsg.ConfigResourceTypeTopic, topic, map[string]*string{throttledReplicas[0]: nil, throttledReplicas[1]: nil})
	}
	fmt.Fprintf(t.streams.Out, "\nClearing broker-level throttles on brokers %s\n", strings.Join(brokers, ","))
	fmt.Fprintf(t.streams.Out, "Clearing topic-level throttles on topics %s\n", strings.Join(slices.Sorted(maps.Keys(topics)), ","))
	return about("throttle", t.alter(ctx, req))
}

// addConfigs adds changes of a resource, of which nil takes a configuration away.
func addConfigs(req *kmsg.IncrementalAlterConfigsRequest, kind kmsg.ConfigResourceType, name string, values map[string]*string) {
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, key := range slices.Sorted(maps.Keys(values)) {
		one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		one.Name, one.Value = key, values[key]
		if one.Value == nil {
			one.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, one)
	}
	if len(r.Configs) > 0 {
		req.Resources = append(req.Resources, r)
	}
}

// alter changes configurations, those of a broker at the broker itself.
func (t *clusterTool) alter(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) error {
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range resp.Resources {
		errs = append(errs, about(r.ResourceName, failure(r.ErrorCode, r.ErrorMessage)))
	}
	return errors.Join(errs...)
}
