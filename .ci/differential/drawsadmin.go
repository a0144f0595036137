package main

import (
	"math/rand/v2"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// reassign draws replicas that are there as often as not, also twice.
func reassign(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.AlterPartitionAssignmentsRequest)
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			switch p := &r.Topics[i].Partitions[j]; g.IntN(8) {
			case 0, 1, 2:
				p.Replicas = []int32{1}
			case 3:
				p.Replicas = []int32{1, 1}
			case 4:
				p.Replicas = nil
			}
		}
	}
}

// credentials draws salts and passwords, some of them empty.
func credentials(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.AlterUserSCRAMCredentialsRequest)
	some := func(n int) []byte {
		return []byte(strings.Repeat("s", []int{n, n, n, n, 0, 1}[g.IntN(6)]))
	}
	for i := range r.Upsertions {
		r.Upsertions[i].Salt, r.Upsertions[i].SaltedPassword = some(16), some([]int{32, 64}[g.IntN(2)])
	}
}

// otherConfig is a configuration of what is no topic.
type otherConfig struct {
	kind   kmsg.ConfigResourceType
	name   string
	values []string
}

const (
	ofBroker  = kmsg.ConfigResourceTypeBroker
	ofGroup   = kmsg.ConfigResourceTypeGroupConfig
	ofMetrics = kmsg.ConfigResourceTypeClientMetrics
)

// otherConfigs are what is drawn of them. What they change takes long to act, or changes nothing that is compared.
var otherConfigs = []otherConfig{
	{ofBroker, "log.retention.ms", []string{"-1", "100000000", "x"}}, {ofBroker, "message.max.bytes", []string{"1048588", "2000000", "-1", "x"}}, {ofBroker, "log.cleaner.threads", []string{"1", "2", "x"}},
	{ofBroker, "num.network.threads", []string{"3", "100", "0"}}, {ofBroker, "num.io.threads", []string{"8", "100", "x"}}, {ofBroker, "background.threads", []string{"10", "11", "1"}},
	{ofBroker, "max.connections", []string{"1000", "-1", "2147483647"}}, {ofBroker, "max.connections.per.ip", []string{"1000", "-1"}}, {ofBroker, "log.segment.bytes", []string{"1048576", "1073741824", "1"}},
	{ofBroker, "compression.type", []string{"producer", "bogus"}}, {ofBroker, "log.cleanup.policy", []string{"delete", "compact", "bogus", ""}}, {ofBroker, "min.insync.replicas", []string{"1", "0", "x"}},
	{ofBroker, "unclean.leader.election.enable", []string{"true", "false", "x"}}, {ofBroker, "log.message.timestamp.type", []string{"CreateTime", "bogus"}}, {ofBroker, "broker.id", []string{"2"}}, {ofBroker, "log.dirs", []string{"/x"}},
	{ofBroker, "auto.create.topics.enable", []string{"false"}}, {ofBroker, "bogus", []string{"1", ""}}, {ofBroker, "", []string{"1"}}, {ofBroker, "log.flush.interval.messages", []string{"9223372036854775807", "0"}},
	{ofGroup, "consumer.session.timeout.ms", []string{"1800000", "1", "45000", "x"}}, {ofGroup, "consumer.heartbeat.interval.ms", []string{"5000", "1", "15000", "x"}}, {ofGroup, "bogus", []string{"1"}}, {ofGroup, "", []string{"1"}},
	{ofMetrics, "metrics", []string{"org.apache.kafka.client.", "*", ""}}, {ofMetrics, "interval.ms", []string{"100", "99", "3600000", "3600001", "x"}}, {ofMetrics, "match", []string{"client_id=a", "bogus=a", "client_id=(", ""}}, {ofMetrics, "bogus", []string{"1"}},
}

// otherNames are those of the resources.
var otherNames = map[kmsg.ConfigResourceType][]string{
	ofBroker: {"1", "1", "", "", "2", "x"}, ofGroup: {"configured", "configured", "g1", ""}, ofMetrics: {"subscription", "subscription", "other", ""},
}

// drawOther draws a resource and up to three of its configurations.
func drawOther(g *rand.Rand) (kind kmsg.ConfigResourceType, resource string, configs []otherConfig, values []*string) {
	kind = []kmsg.ConfigResourceType{ofBroker, ofBroker, ofGroup, ofMetrics}[g.IntN(4)]
	resource = otherNames[kind][g.IntN(len(otherNames[kind]))]
	seen := map[string]bool{}
	for range 1 + g.IntN(3) {
		c := otherConfigs[g.IntN(len(otherConfigs))]
		if c.kind != kind && g.IntN(15) > 0 || seen[c.name] {
			continue
		}
		seen[c.name] = true
		configs = append(configs, c)
		if v := c.values[g.IntN(len(c.values))]; g.IntN(10) > 0 {
			values = append(values, &v)
		} else {
			values = append(values, nil)
		}
	}
	return kind, resource, configs, values
}

func alterOtherConfigs(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.AlterConfigsRequest)
	kind, resource, configs, values := drawOther(g)
	one := kmsg.NewAlterConfigsRequestResource()
	one.ResourceType, one.ResourceName = kind, resource
	for i, c := range configs {
		x := kmsg.NewAlterConfigsRequestResourceConfig()
		x.Name, x.Value = c.name, values[i]
		one.Configs = append(one.Configs, x)
	}
	r.Resources = []kmsg.AlterConfigsRequestResource{one}
}

func alterOtherConfigsBy(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.IncrementalAlterConfigsRequest)
	kind, resource, configs, values := drawOther(g)
	one := kmsg.NewIncrementalAlterConfigsRequestResource()
	one.ResourceType, one.ResourceName = kind, resource
	for i, c := range configs {
		x := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		x.Name, x.Value, x.Op = c.name, values[i], kmsg.IncrementalAlterConfigOp([]int8{0, 0, 0, 1, 1, 2, 3}[g.IntN(7)])
		one.Configs = append(one.Configs, x)
	}
	r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{one}
}

// describeOtherConfigs asks for some of a broker's configurations: others are its own.
func describeOtherConfigs(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.DescribeConfigsRequest)
	r.Resources = nil
	for range 1 + g.IntN(2) {
		kind := []kmsg.ConfigResourceType{ofBroker, ofBroker, ofGroup, ofMetrics, 99}[g.IntN(5)]
		one := kmsg.NewDescribeConfigsRequestResource()
		one.ResourceType, one.ResourceName = kind, "x"
		if names := otherNames[kind]; names != nil {
			one.ResourceName = names[g.IntN(len(names))]
		}
		for _, c := range otherConfigs {
			if (kind == ofBroker || g.IntN(2) == 0) && c.kind == kind && c.name != "log.dirs" {
				one.ConfigNames = append(one.ConfigNames, c.name)
			}
		}
		r.Resources = append(r.Resources, one)
	}
}

// settle brings back what the random requests have changed and the others rest on.
func (r *run) settle() {
	r.both("the features of a new cluster", func(s *side) kmsg.Response {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.TimeoutMillis = 60000
		for name, level := range map[string]int16{"group.version": 1, "transaction.version": 2} {
			one := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			one.Feature, one.MaxVersionLevel, one.UpgradeType = name, level, 1
			req.FeatureUpdates = append(req.FeatureUpdates, one)
		}
		return s.ask(1, req)
	})
	r.barrier()
}
