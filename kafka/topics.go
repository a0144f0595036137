package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/partlog/partlog/partition"
)

const (
	// maxTopicName leaves room for the partition in the name of a directory.
	maxTopicName = 249
	// maxPartitionsPerRequest is how many partitions one request may create, as in Kafka's controller.
	maxPartitionsPerRequest = 10_000
	// metadataTopic is where Kafka's controllers keep what the catalogue keeps here.
	metadataTopic = "__cluster_metadata"
)

// checkTopicName applies Kafka's rules for names of topics, in its words.
func checkTopicName(name string) error {
	bad := func(why string) error {
		return refusal(codeInvalidTopic, "Topic name is invalid: "+why)
	}
	switch {
	case name == "":
		return bad("the empty string is not allowed")
	case name == ".":
		return bad("'.' is not allowed")
	case name == "..":
		return bad("'..' is not allowed")
	case len(name) > maxTopicName:
		return bad(fmt.Sprintf("the length of '%s' is longer than the max allowed length %d", name, maxTopicName))
	}
	for i := range len(name) {
		b := name[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '.' && b != '_' && b != '-' {
			return bad("'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
		}
	}
	return nil
}

// collidesWith returns the topic from which name differs only in '.' and '_', empty if there is none: names of metrics would
// be the same.
func (s *Server) collidesWith(name string) string {
	if !strings.ContainsAny(name, "._") {
		return ""
	}
	fold := strings.NewReplacer(".", "_")
	folded := fold.Replace(name)
	for _, other := range s.store.TopicNames() {
		if len(other) == len(name) && other != name && fold.Replace(other) == folded {
			return other
		}
	}
	return ""
}

// topicSpec is a topic that somebody wants.
type topicSpec struct {
	name       string
	partitions int32     // -1: num.partitions
	factor     int16     // -1: default.replication.factor
	replicas   [][]int32 // by hand, for each partition; nil: spread
	configs    map[string]string
}

// plan completes a spec and says what is wrong with it, in Kafka's order. The topic's name is good and free.
func (s *Server) plan(set *settings, spec *topicSpec) error {
	if err := s.checkTopicConfigs(set, spec.configs); err != nil {
		return err
	}
	if spec.replicas != nil {
		return nil // looked at when the request was read
	}
	switch {
	case spec.factor < -1 || spec.factor == 0:
		return refusal(codeInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case spec.partitions < -1 || spec.partitions == 0:
		return refusal(codeInvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	if spec.partitions == -1 {
		spec.partitions = set.numPartitions
	}
	if spec.factor == -1 {
		spec.factor = s.defaultFactor(set)
	}
	var err error
	spec.replicas, err = s.spreadReplicas(int(spec.partitions), int(spec.factor))
	return err
}

// spreadReplicas chooses replicas for n new partitions, beginning anywhere.
func (s *Server) spreadReplicas(n, factor int) ([][]int32, error) {
	if s.place != nil && factor <= len(s.brokers()) {
		return s.place(n, factor), nil
	}
	brokers := s.alive()
	if len(brokers) < factor {
		brokers = s.brokers() // as many of those that are stopped as it takes
	}
	if len(brokers) < factor {
		return nil, refusal(codeInvalidReplicationFactor, fmt.Sprintf("Unable to replicate the partition %d time(s): The target"+
			" replication factor of %d cannot be reached because only %d broker(s) are registered.", factor, factor, len(brokers)))
	}
	rng := rand.New(rand.NewPCG(s.config.Seed, s.admin.drawn.Add(1)))
	return assignReplicas(brokers, n, factor, rng.IntN(len(brokers)), rng.IntN(len(brokers))), nil
}

// checkReplicas applies Kafka's rules to the replicas of one partition that somebody has chosen. factor is what the other
// partitions have, 0 for the first.
func (s *Server) checkReplicas(ids []int32, factor int) error {
	bad := func(format string, args ...any) error {
		return refusal(codeInvalidReplicaAssignment, fmt.Sprintf("The manual partition assignment includes "+format, args...))
	}
	if len(ids) == 0 {
		return bad("an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(ids))
	for i, id := range sorted {
		switch {
		case s.brokerByID(id) == nil:
			return bad("broker %d, but no such broker is registered.", id)
		case i > 0 && sorted[i-1] == id:
			return bad("the broker %d more than once.", id)
		}
	}
	if factor != 0 && len(ids) != factor {
		return bad("a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).", len(ids), factor)
	}
	return nil
}

// createTopic makes a topic as it was planned. The topic and its replicas are durable when it returns nil.
func (s *Server) createTopic(ctx context.Context, spec topicSpec) (*partition.Topic, error) {
	config := partition.TopicConfig{Partitions: int32(len(spec.replicas)), Extra: map[string]string{}}
	kept := map[string]string{}
	for key, value := range spec.configs {
		stored, ok := storedTopicConfig(key, value)
		if ok {
			config.Extra[stored.key] = stored.value
		}
		if !ok || stored.value != value {
			kept[key] = value
		}
	}
	var t *partition.Topic
	var err error
	if s.node != nil {
		config.Assignment = spec.replicas
		t, err = s.node.node.CreateTopic(ctx, spec.name, config)
	} else {
		t, err = s.store.CreateTopic(ctx, spec.name, config)
	}
	if err != nil {
		return nil, err
	}
	if len(kept) > 0 {
		if err := s.putConfigs(ctx, kindTopic, t.ID().String(), kept); err != nil {
			return t, err
		}
	}
	if s.node != nil || len(s.brokers()) == 1 && len(spec.replicas[0]) == 1 {
		return t, nil // they are there already, or where else
	}
	return t, s.layout.assign(ctx, t, spec.replicas)
}

// deleteTopic deletes a topic and what is kept about it.
func (s *Server) deleteTopic(ctx context.Context, t *partition.Topic) error {
	if err := s.store.DeleteTopic(ctx, t.Name()); err != nil {
		return err
	}
	if s.node == nil {
		if err := s.layout.forget(ctx, t.ID()); err != nil {
			return err
		}
	}
	return s.dropConfigs(ctx, kindTopic, t.ID().String())
}

// createDefault creates a topic as a metadata request may (auto.create.topics.enable), with the broker's defaults.
func (s *session) createDefault(c *call, name string) error {
	if err := checkTopicName(name); err != nil {
		return err
	}
	set := s.settings()
	spec := topicSpec{name: name, partitions: -1, factor: -1, configs: map[string]string{}}
	switch name {
	case offsetsTopic:
		spec.partitions, spec.factor = set.offsetsPartitions, set.offsetsReplication
		spec.configs["segment.bytes"] = strconv.FormatInt(set.offsetsSegmentBytes, 10)
	case transactionsTopic:
		spec.partitions, spec.factor = set.txnPartitions, set.txnReplication
	}
	if name == offsetsTopic || name == transactionsTopic {
		spec.configs["cleanup.policy"] = "compact"
		spec.factor = min(spec.factor, int16(len(s.server.brokers()))) // three by default, which one broker cannot have
	}
	if err := s.server.plan(set, &spec); err != nil {
		return err
	}
	_, err := s.server.createTopic(c.ctx, spec)
	if errors.Is(err, partition.ErrTopicAlreadyExists) {
		return nil // somebody else's request
	}
	return err
}
