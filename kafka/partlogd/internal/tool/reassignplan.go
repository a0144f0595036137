package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/control"
)

// generate prints the replicas that the partitions of topics have, and a proposal: spread over the nodes of --broker-list and their racks as those of a new topic
// are, as many of each partition as there are now. Nothing is changed.
func (t *clusterTool) generate(ctx context.Context) error {
	topics, err := t.toMove()
	if err != nil {
		return err
	}
	nodes, err := t.chosen(ctx)
	if err != nil {
		return err
	}
	t.topics = topics
	all, err := t.described(ctx)
	if err != nil {
		return err
	}
	have, proposed := reassignment{Version: 1}, reassignment{Version: 1}
	for _, m := range all {
		if len(m.Partitions) == 0 {
			continue
		}
		// Partitions that are being moved have both; what is asked for is what the first of them had before.
		factor := int32(len(m.Partitions[0].Replicas))
		for _, p := range m.Partitions {
			factor = min(factor, int32(len(p.Replicas)))
			have.Partitions = append(have.Partitions, reassigned{*m.Topic, p.Partition, p.Replicas})
		}
		placed, code := control.Place(nodes, int32(len(m.Partitions)), factor, rand.Uint64())
		if code != control.OK {
			return fmt.Errorf("topic %s: Replication factor: %d larger than available brokers: %d", *m.Topic, factor, len(nodes))
		}
		for i, p := range m.Partitions {
			one := reassigned{Topic: *m.Topic, Partition: p.Partition}
			for _, id := range placed[i] {
				one.Replicas = append(one.Replicas, int32(id))
			}
			proposed.Partitions = append(proposed.Partitions, one)
		}
	}
	for _, plan := range []struct {
		title string
		plan  reassignment
	}{{"Current partition replica assignment", have}, {"Proposed partition reassignment configuration", proposed}} {
		text, err := json.Marshal(plan.plan)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.streams.Out, "%s\n%s\n\n", plan.title, text)
	}
	return nil
}

// toMove are the topics of --topics-to-move-json-file.
func (t *clusterTool) toMove() (topics []string, err error) {
	var file struct {
		Topics []struct {
			Topic string `json:"topic"`
		} `json:"topics"`
	}
	text, err := os.ReadFile(t.moving)
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	for _, one := range file.Topics {
		if one.Topic == "" || slices.Contains(topics, one.Topic) {
			err = errors.Join(err, fmt.Errorf("the topic %q, or twice", one.Topic))
		}
		topics = append(topics, one.Topic)
	}
	if err != nil || len(topics) == 0 {
		return nil, Usagef(`--topics-to-move-json-file %s: want {"topics":[{"topic":"NAME"}],"version":1}: %w`, t.moving, errors.Join(err, errNothing(len(topics))))
	}
	return topics, nil
}

// chosen are the brokers of --broker-list, with their racks.
func (t *clusterTool) chosen(ctx context.Context) (nodes []control.Node, err error) {
	if len(t.brokers) == 0 {
		return nil, Usagef("want --broker-list ID,ID,...: where shall the partitions be?")
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return nil, about("nodes", err)
	}
	racks := 0
	for _, item := range t.brokers {
		id, err := strconv.ParseInt(item, 10, 32)
		if err != nil || id < 0 {
			return nil, Usagef("--broker-list %q: want ID,ID,...", strings.Join(t.brokers, ","))
		}
		i := slices.IndexFunc(resp.Brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == int32(id) })
		if i < 0 {
			return nil, Usagef("--broker-list: no broker %d runs", id)
		}
		n := control.Node{ID: control.NodeID(id)}
		if slices.ContainsFunc(nodes, func(o control.Node) bool { return o.ID == n.ID }) {
			return nil, Usagef("--broker-list: %d is named twice", id)
		}
		if rack := resp.Brokers[i].Rack; rack != nil && !t.rackless {
			n.Rack = *rack
			racks++
		}
		nodes = append(nodes, n)
	}
	if racks > 0 && racks < len(nodes) {
		return nil, Usagef("Not all brokers have rack information. Add --disable-rack-aware to make replica assignment without rack information.")
	}
	return nodes, nil
}
