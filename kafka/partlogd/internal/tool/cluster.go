package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const clusterHelp = `
Usage: partlogd cluster nodes
       partlogd cluster partitions [--topic NAME,...] [--unavailable] [--under-replicated]
       partlogd cluster reassign --topic NAME --partition N --replicas ID,ID,...
       partlogd cluster reassign --topics-to-move-json-file FILE --broker-list ID,ID,... --generate [--disable-rack-aware]
       partlogd cluster reassign --reassignment-json-file FILE [--execute [--throttle N] | --verify [--preserve-throttles]
           | --cancel]
       partlogd cluster reassign --list | --cancel --topic NAME --partition N
       partlogd cluster elect --topic NAME,... [--partition N] | --all-topic-partitions [--election-type preferred|unclean]
       partlogd cluster remove-node ID

What kafka-cluster, kafka-reassign-partitions and kafka-leader-election do, of a cluster that runs; by Kafka's protocol, so
Apache Kafka's clusters, too.
nodes shows who is registered, who is fenced, and who votes. partitions shows leaders, replicas and which of them are in sync.
reassign gives a partition other replicas; the first is the preferred leader. --list shows what is under way. The file is that of
kafka-reassign-partitions, and --execute and --verify print what they print there. --generate proposes such a file: the partitions
of some topics, spread over the nodes that are named and their racks as those of a new topic are.
elect makes the preferred replicas leaders; an unclean election may lose acknowledged records.
remove-node takes a node that is gone for good out of the cluster and its quorum: reassign its replicas first.

Flags:
  --topic NAME,...                  the topics that are meant; of reassign one
  --partition N                     one partition of them
  --unavailable, --under-replicated only partitions without a leader, or with replicas that are not in sync
  --replicas ID,ID,...              where the partition shall be
  --reassignment-json-file FILE     the same of many partitions
  --execute                         the default with a file; prints first what there is, for a way back
  --verify                          whether what the file says is so
  --throttle N                      with --execute: sets {leader,follower}.replication.throttled.rate of the nodes to N bytes a
                                    second, and throttled.replicas of the topics. A node of partlogd keeps these settings, and
                                    does not follow them: its own bound is replication.Config.CatchUpRate. Apache Kafka's do
  --preserve-throttles              with --verify: they stay; without, they are taken away when all reassignments are complete
  --generate                        prints a proposal; nothing is changed
  --topics-to-move-json-file FILE   {"topics":[{"topic":"NAME"}],"version":1}
  --broker-list ID,ID,...           with --generate: the nodes
  --disable-rack-aware              racks do not count
  --list                            reassignments that are under way
  --cancel                          ends them, with the replicas that there were
  --all-topic-partitions            all, in place of --topic
  --election-type TYPE              preferred (default) or unclean
` + connectionHelp

// clusterTool is one run of the command.
type clusterTool struct {
	flags   *flags
	streams Streams
	client  *kgo.Client

	topics                   list
	partition                int
	replicas, file, election string
	unavailable, under       bool
	listing, cancel, all     bool
	execute, verify          bool

	moving             string // of generate
	brokers            list   // ids
	proposes, rackless bool
	rate               int64 // of throttle; -1: none
	preserve           bool
}

func clusterCommand(ctx context.Context, args []string, s Streams) error {
	var conn connection
	f := newFlags("cluster", clusterHelp)
	t := &clusterTool{flags: f, streams: s}
	f.Var(&t.brokers, "broker-list", "") // ids for --generate, as in kafka-reassign-partitions; else addresses
	conn.addTo(f)
	f.StringVar(&t.moving, "topics-to-move-json-file", "", "")
	f.BoolVar(&t.proposes, "generate", false, "")
	f.BoolVar(&t.rackless, "disable-rack-aware", false, "")
	f.Int64Var(&t.rate, "throttle", -1, "")
	f.BoolVar(&t.preserve, "preserve-throttles", false, "")
	f.Var(&t.topics, "topic", "")
	f.IntVar(&t.partition, "partition", -1, "")
	f.StringVar(&t.replicas, "replicas", "", "")
	f.StringVar(&t.file, "reassignment-json-file", "", "")
	f.StringVar(&t.election, "election-type", "preferred", "")
	f.BoolVar(&t.unavailable, "unavailable", false, "")
	f.BoolVar(&t.under, "under-replicated", false, "")
	f.BoolVar(&t.listing, "list", false, "")
	f.BoolVar(&t.cancel, "cancel", false, "")
	f.BoolVar(&t.execute, "execute", false, "")
	f.BoolVar(&t.verify, "verify", false, "")
	f.BoolVar(&t.all, "all-topic-partitions", false, "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	word := ""
	if len(f.words) > 0 {
		word = f.words[0]
	}
	do := map[string]func(context.Context) error{"nodes": t.nodes, "partitions": t.partitions, "reassign": t.reassign, "elect": t.elect, "remove-node": t.removeNode}[word]
	if most := map[string]int{"remove-node": 2}[word]; do == nil || len(f.words) > max(most, 1) {
		return Usagef("want one of nodes, partitions, reassign, elect and remove-node\n(partlogd cluster --help tells what there is)")
	}
	if !t.proposes {
		conn.brokers = append(conn.brokers, t.brokers...)
	}
	client, err := conn.open()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return unless(ctx, err)
	}
	t.client = client
	return unless(ctx, do(ctx))
}

// describeQuorum asks for the state of the controllers' quorum.
func describeQuorum(ctx context.Context, client *kgo.Client) (*kmsg.DescribeQuorumResponseTopicPartition, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic, p := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = failure(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, about("quorum", err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.New("quorum: the answer has no partition")
	}
	got := &resp.Topics[0].Partitions[0]
	return got, about("quorum", failure(got.ErrorCode, got.ErrorMessage))
}

// nodes shows who is registered, and what the quorum is.
func (t *clusterTool) nodes(ctx context.Context) error {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = 1, true
	resp, err := req.RequestWith(ctx, t.client)
	if err == nil {
		err = failure(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return about("cluster", err)
	}
	q, err := describeQuorum(ctx, t.client)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.streams.Out, "cluster %s, controller %d of epoch %d\n", resp.ClusterID, q.LeaderID, q.LeaderEpoch)
	has := func(list []kmsg.DescribeQuorumResponseTopicPartitionReplicaState, id int32) bool {
		return slices.ContainsFunc(list, func(m kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool { return m.ReplicaID == id })
	}
	var out table
	out.add("NODE", "ADDRESS", "RACK", "STATE", "QUORUM")
	for _, b := range resp.Brokers {
		rack, state, part := "-", "active", "-"
		if b.Rack != nil {
			rack = *b.Rack
		}
		if b.IsFenced {
			state = "fenced"
		}
		switch {
		case b.NodeID == q.LeaderID:
			part = "leader"
		case has(q.CurrentVoters, b.NodeID):
			part = "voter"
		case has(q.Observers, b.NodeID):
			part = "observer"
		}
		out.add(strconv.Itoa(int(b.NodeID)), fmt.Sprintf("%s:%d", b.Host, b.Port), rack, state, part)
	}
	return out.write(t.streams.Out)
}

// described are the partitions of the topics that are meant, of all without any.
func (t *clusterTool) described(ctx context.Context) ([]kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range t.topics {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = &name
		req.Topics = append(req.Topics, one)
	}
	resp, err := req.RequestWith(ctx, t.client)
	if err != nil {
		return nil, about("topics", err)
	}
	slices.SortFunc(resp.Topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
	for _, m := range resp.Topics {
		slices.SortFunc(m.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition) - int(b.Partition) })
		if err := failure(m.ErrorCode, nil); err != nil {
			return nil, about("topic "+*m.Topic, err)
		}
	}
	return resp.Topics, nil
}

func (t *clusterTool) partitions(ctx context.Context) error {
	all, err := t.described(ctx)
	if err != nil {
		return err
	}
	var out table
	out.add("TOPIC", "PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR")
	for _, m := range all {
		for _, p := range m.Partitions {
			if t.unavailable && p.Leader >= 0 || t.under && len(p.ISR) >= len(p.Replicas) {
				continue
			}
			leader := "none"
			if p.Leader >= 0 {
				leader = strconv.Itoa(int(p.Leader))
			}
			out.add(*m.Topic, strconv.Itoa(int(p.Partition)), leader, strconv.Itoa(int(p.LeaderEpoch)), ids(p.Replicas), ids(p.ISR))
		}
	}
	return out.write(t.streams.Out)
}

// targets are the partitions that the command line, or its file, names, with their replicas; nil cancels.
func (t *clusterTool) targets() (r reassignment, err error) {
	if t.file != "" {
		text, err := os.ReadFile(t.file)
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil || len(r.Partitions) == 0 {
			return r, Usagef("--reassignment-json-file %s: want the JSON of kafka-reassign-partitions: %w", t.file, errors.Join(err, errNothing(len(r.Partitions))))
		}
	} else {
		var replicas []int32
		for item := range strings.SplitSeq(t.replicas, ",") {
			id, err := strconv.ParseInt(strings.TrimSpace(item), 10, 32)
			if err != nil && !t.cancel {
				return r, Usagef("--replicas %q: want ID,ID,...", t.replicas)
			}
			replicas = append(replicas, int32(id))
		}
		if len(t.topics) != 1 || t.partition < 0 {
			return r, Usagef("want --topic NAME, --partition N and --replicas, or --reassignment-json-file: what is reassigned?")
		}
		r.Partitions = append(r.Partitions, reassigned{t.topics[0], int32(t.partition), replicas})
	}
	for i := range r.Partitions {
		if t.cancel {
			r.Partitions[i].Replicas = nil
		}
	}
	return r, nil
}

func errNothing(n int) error {
	if n == 0 {
		return errors.New("it has no partitions")
	}
	return nil
}

func (t *clusterTool) reassign(ctx context.Context) error {
	switch {
	case t.rate >= 0 && (t.verify || t.cancel || t.listing || t.proposes):
		return Usagef("--throttle is set when a reassignment begins; --verify takes it away")
	case t.proposes && (t.execute || t.verify || t.cancel || t.listing || t.file != ""):
		return Usagef("--generate proposes, and nothing else; save what it prints, and give it to --reassignment-json-file")
	case t.proposes:
		return t.generate(ctx)
	case t.listing:
		return t.listReassignments(ctx)
	}
	if t.execute && t.verify || t.cancel && (t.execute || t.verify) {
		return Usagef("of --execute, --verify and --cancel one can be")
	}
	r, err := t.targets()
	if err != nil {
		return err
	}
	switch {
	case t.verify:
		return t.verifyReassignment(ctx, r)
	case t.execute:
		if err := t.wayBack(ctx, r); err != nil {
			return err
		}
	}
	if t.rate >= 0 {
		if err := t.throttle(ctx, r); err != nil {
			return err
		}
	}
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	for _, one := range r.Partitions {
		topic, p := kmsg.NewAlterPartitionAssignmentsRequestTopic(), kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = one.Partition, one.Replicas
		i := slices.IndexFunc(req.Topics, func(t kmsg.AlterPartitionAssignmentsRequestTopic) bool { return t.Topic == one.Topic })
		if i < 0 {
			topic.Topic = one.Topic
			i, req.Topics = len(req.Topics), append(req.Topics, topic)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	resp, err := req.RequestWith(ctx, t.client)
	if err == nil {
		err = failure(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return about("reassignment", err)
	}
	var errs []error
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			name := fmt.Sprintf("%s-%d", topic.Topic, p.Partition)
			if err := failure(p.ErrorCode, p.ErrorMessage); err != nil {
				errs = append(errs, about(name, err))
				continue
			}
			fmt.Fprintf(t.streams.Out, "%s: begun\n", name)
		}
	}
	return errors.Join(errs...)
}

func (t *clusterTool) listReassignments(ctx context.Context) error {
	resp, err := kmsg.NewPtrListPartitionReassignmentsRequest().RequestWith(ctx, t.client)
	if err == nil {
		err = failure(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return about("reassignments", err)
	}
	var out table
	out.add("TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING")
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			out.add(topic.Topic, strconv.Itoa(int(p.Partition)), ids(p.Replicas), ids(p.AddingReplicas), ids(p.RemovingReplicas))
		}
	}
	return out.write(t.streams.Out)
}

func (t *clusterTool) elect(ctx context.Context) error {
	kind := slices.Index([]string{"preferred", "unclean"}, strings.ToLower(t.election))
	if kind < 0 {
		return Usagef("--election-type %q is neither preferred nor unclean", t.election)
	}
	if t.all == (len(t.topics) > 0) {
		return Usagef("want --topic NAME,... or --all-topic-partitions: whose leaders?")
	}
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType, req.TimeoutMillis = int8(kind), 30000
	if !t.all {
		all, err := t.described(ctx)
		if err != nil {
			return err
		}
		for _, m := range all {
			topic := kmsg.NewElectLeadersRequestTopic()
			topic.Topic = *m.Topic
			for _, p := range m.Partitions {
				if t.partition < 0 || int(p.Partition) == t.partition {
					topic.Partitions = append(topic.Partitions, p.Partition)
				}
			}
			req.Topics = append(req.Topics, topic)
		}
	}
	resp, err := req.RequestWith(ctx, t.client)
	if err == nil {
		err = failure(resp.ErrorCode, nil)
	}
	if err != nil {
		return about("election", err)
	}
	var errs []error
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			name := fmt.Sprintf("%s-%d", topic.Topic, p.Partition)
			switch {
			case p.ErrorCode == 84: // ELECTION_NOT_NEEDED
				fmt.Fprintf(t.streams.Out, "%s: leads already\n", name)
			case p.ErrorCode != 0:
				errs = append(errs, about(name, failure(p.ErrorCode, p.ErrorMessage)))
			default:
				fmt.Fprintf(t.streams.Out, "%s: elected\n", name)
			}
		}
	}
	return errors.Join(errs...)
}

func (t *clusterTool) removeNode(ctx context.Context) error {
	if len(t.flags.words) != 2 {
		return Usagef("want the id of the node: partlogd cluster remove-node ID")
	}
	id, err := strconv.ParseInt(t.flags.words[1], 10, 32)
	if err != nil || id < 0 {
		return Usagef("%q is no node id", t.flags.words[1])
	}
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = int32(id)
	resp, err := req.RequestWith(ctx, t.client)
	if err == nil {
		err = failure(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return about(fmt.Sprintf("node %d", id), err)
	}
	fmt.Fprintf(t.streams.Out, "node %d is removed\n", id)
	return nil
}
