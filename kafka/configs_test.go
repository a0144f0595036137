package kafka

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// alter changes configurations one by one: "name=value" sets, "name" deletes. It returns the code and the text.
func (r *rig) alter(s *session, kind configKind, name string, changes ...string) (int16, string) {
	r.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceType(kind), name
	for _, c := range changes {
		cfg := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		key, value, set := strings.Cut(c, "=")
		cfg.Name = key
		if cfg.Op = alterDelete; set {
			cfg.Op, cfg.Value = alterSet, &value
		}
		res.Configs = append(res.Configs, cfg)
	}
	req.Resources = append(req.Resources, res)
	out := put[*kmsg.IncrementalAlterConfigsResponse](r, s, 1, req).Resources[0]
	if out.ErrorMessage == nil {
		return out.ErrorCode, ""
	}
	return out.ErrorCode, *out.ErrorMessage
}

// config describes one configuration.
func (r *rig) config(s *session, kind configKind, name, key string) kmsg.DescribeConfigsResponseResourceConfig {
	r.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType, res.ResourceName, res.ConfigNames = kmsg.ConfigResourceType(kind), name, []string{key}
	req.Resources = append(req.Resources, res)
	out := put[*kmsg.DescribeConfigsResponse](r, s, 4, req).Resources[0]
	require.Zero(r.t, out.ErrorCode, "%s", *out.ErrorMessage)
	require.Len(r.t, out.Configs, 1)
	return out.Configs[0]
}

func (r *rig) limit(topic string) int {
	r.t.Helper()
	t, err := r.store.Topic(topic)
	require.NoError(r.t, err)
	return t.Info().MaxMessageBytes
}

func TestConfigurationsOfTopicsAreInForceAtOnce(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("t", partition.TopicConfig{})
	code, text := r.alter(r.session(1), kindTopic, "t", "max.message.bytes=700", "min.insync.replicas=2", "cleanup.policy=compact")
	require.Zero(t, code, text)
	topic, err := r.store.Topic("t")
	require.NoError(t, err)
	info := topic.Info()
	require.Equal(t, []int{700, 2}, []int{info.MaxMessageBytes, int(info.MinInsyncReplicas)})
	require.True(t, info.Compacted)
	code, _ = r.alter(r.session(1), kindTopic, "t", "max.message.bytes")
	require.Zero(t, code)
	require.Equal(t, 1048588, r.limit("t"))
}

// What the store takes in other words, or not at all, is told as it was asked for; and told no more once somebody has
// changed it in this process.
func TestConfigurationsAreToldAsTheyWereAskedFor(t *testing.T) {
	r := newRig(t, 1, Config{})
	topic := r.topic("t", partition.TopicConfig{})
	code, text := r.alter(r.session(1), kindTopic, "t", "flush.messages=100", "flush.ms=0", "max.message.bytes=2147483647", "cleanup.policy=",
		"unclean.leader.election.enable=true", "leader.replication.throttled.replicas=*")
	require.Zero(t, code, text)
	for key, want := range map[string]string{"flush.messages": "100", "flush.ms": "0", "max.message.bytes": "2147483647", "cleanup.policy": "", "unclean.leader.election.enable": "true"} {
		got := r.config(r.session(1), kindTopic, "t", key)
		require.Equal(t, want, *got.Value, key)
		require.Equal(t, kmsg.ConfigSource(sourceTopic), got.Source)
		require.NotEmpty(t, *got.Documentation)
	}
	d, err := r.backend.DescribeTopic(t.Context(), "t")
	require.NoError(t, err)
	delete(d.Overrides, "min.insync.replicas") // which a topic of three nodes has
	require.Equal(t, map[string]string{"flush.messages": "1", "flush.ms": "1", "max.message.bytes": "1073741823", "cleanup.policy": "none", "unclean.leader.election.enable": "true"}, d.Overrides)

	require.NoError(t, r.backend.AlterTopicConfig(t.Context(), "t", map[string]string{"max.message.bytes": "500"}))
	require.Equal(t, "500", *r.config(r.session(1), kindTopic, "t", "max.message.bytes").Value)

	all := kmsg.NewPtrAlterConfigsRequest() // replaces everything by nothing
	all.Resources = append(all.Resources, kmsg.AlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"})
	require.Zero(t, put[*kmsg.AlterConfigsResponse](r, r.session(1), 2, all).Resources[0].ErrorCode)
	d, err = r.backend.DescribeTopic(t.Context(), topic.Name())
	require.NoError(t, err)
	require.Empty(t, d.Overrides)
	require.Empty(t, r.store.Settings(configArea))
}

func TestWhatIsKeptOfATopicGoesWithItAtTheNextStartAtLast(t *testing.T) {
	r := newRig(t, 1, Config{})
	for _, name := range []string{"gone", "there"} {
		r.topic(name, partition.TopicConfig{})
		code, text := r.alter(r.session(1), kindTopic, name, "flush.messages=100")
		require.Zero(t, code, text)
	}
	require.NoError(t, r.backend.DeleteTopic(t.Context(), "gone")) // in this process, past the listener
	require.Len(t, r.store.Settings("kafka/config/topic/"), 2)
	s, err := r.newServer(Config{})
	require.NoError(t, err)
	defer s.Close()
	require.Len(t, r.store.Settings("kafka/config/topic/"), 1)
}

func TestTheKeyIndexIsAConfigurationToo(t *testing.T) {
	r := newRig(t, 1, Config{})
	spec := wanted("t", 1, 1)
	spec.Configs = append(spec.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "partlog.key.index", Value: kmsg.StringPtr("true")})
	require.Zero(t, r.createOne(r.session(1), 7, spec).ErrorCode)
	require.Equal(t, "true", *r.config(r.session(1), kindTopic, "t", "partlog.key.index").Value)
}

// A store that was opened with other defaults than Kafka's says so, as if its broker had been started with them.
func TestDefaultsOfTheStoreAreToldAsTheBrokersOwn(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("t", partition.TopicConfig{})
	for key, want := range map[string][2]string{"retention.ms": {"-1", "log.retention.ms"}, "flush.messages": {"1", "log.flush.interval.messages"}} {
		got := r.config(r.session(1), kindTopic, "t", key)
		require.Equal(t, want[0], *got.Value, key)
		require.Equal(t, kmsg.ConfigSource(sourceStatic), got.Source)
		require.Equal(t, want[1], got.ConfigSynonyms[0].Name)
		require.Equal(t, want[0], *r.config(r.session(1), kindBroker, "1", want[1]).Value)
	}
}

func TestPropertiesOfTheServerAreDefaultsOfTopics(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"message.max.bytes": "900", "log.retention.minutes": "2"}})
	r.topic("t", partition.TopicConfig{})
	require.Equal(t, 900, r.limit("t"))
	got := r.config(r.session(1), kindTopic, "t", "retention.ms")
	require.Equal(t, "120000", *got.Value)
	d, err := r.backend.DescribeTopic(t.Context(), "t")
	require.NoError(t, err)
	require.Equal(t, "120000", d.Config["retention.ms"])
}

func TestDynamicConfigurationsOfBrokersOutliveTheServer(t *testing.T) {
	onOneStore(t, "what other nodes set is in force after a while (TestDynamicConfigurationsAreInForceOnAllNodes)")
	r := newRig(t, 2, Config{})
	r.topic("t", partition.TopicConfig{})
	code, text := r.alter(r.session(1), kindBroker, "", "message.max.bytes=800", "max.connections.per.ip=77")
	require.Zero(t, code, text)
	require.Equal(t, 800, r.limit("t"))
	require.Equal(t, 77, r.server.brokerByID(2).settings.Load().maxConnectionsPerIP)
	code, text = r.alter(r.session(2), kindBroker, "2", "max.connections.per.ip=55")
	require.Zero(t, code, text)
	require.Equal(t, 55, r.server.brokerByID(2).settings.Load().maxConnectionsPerIP)
	require.Equal(t, 77, r.server.brokerByID(1).settings.Load().maxConnectionsPerIP, "the other's is its own")
	got := r.config(r.session(2), kindBroker, "2", "max.connections.per.ip")
	require.Equal(t, []string{"55", "77", "2147483647"}, []string{*got.ConfigSynonyms[0].Value, *got.ConfigSynonyms[1].Value, *got.ConfigSynonyms[2].Value})
	code, text = r.alter(r.session(1), kindBroker, "2", "max.connections.per.ip=5")
	require.Equal(t, codeInvalidRequest, code)
	require.Equal(t, "Unexpected broker id, expected 1, but received 2", text)

	require.NoError(t, r.store.AlterTopicDefaults(t.Context(), map[string]string{"max.message.bytes": ""})) // as after an open
	s, err := New(r.store, Config{})
	require.NoError(t, err)
	defer s.Close()
	b, err := s.AddBroker(BrokerConfig{ID: 2, Listeners: []ListenerConfig{{Listener: listen(t)}}})
	require.NoError(t, err)
	require.Equal(t, 55, b.settings.Load().maxConnectionsPerIP)
	require.Equal(t, 800, r.limit("t"))
}

func TestSecretsAreNotTold(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"ssl.key.password": "hush", "sasl.jaas.config": "hush", "super.users": "User:hush"}})
	for _, key := range []string{"ssl.key.password", "sasl.jaas.config", "super.users"} {
		got := r.config(r.session(1), kindBroker, "1", key)
		require.True(t, got.IsSensitive, key)
		require.Nil(t, got.Value)
		for _, s := range got.ConfigSynonyms {
			require.Nil(t, s.Value)
		}
	}
}

func TestDocumentationIsToldToWhoeverAsks(t *testing.T) {
	r := newRig(t, 1, Config{})
	require.Equal(t, "The default number of log partitions per topic", *r.config(r.session(1), kindBroker, "1", "num.partitions").Documentation)
}

func TestConfigurationsOfGroupsReachTheirMembers(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("t", partition.TopicConfig{})
	code, text := r.alter(r.session(1), kindGroup, "g", "consumer.heartbeat.interval.ms=7000")
	require.Zero(t, code, text)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	require.Zero(t, put[*kmsg.FindCoordinatorResponse](r, r.session(1), 4, find).Coordinators[0].ErrorCode)
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.RebalanceTimeoutMillis, req.SubscribedTopicNames = "g", "AAAAAAAAAAAAAAAAAAAAAA", 1000, []string{"t"}
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	resp := put[*kmsg.ConsumerGroupHeartbeatResponse](r, r.session(1), 1, req)
	require.Zero(t, resp.ErrorCode, resp.ErrorMessage)
	require.Equal(t, int32(7000), resp.HeartbeatIntervalMillis)
	code, text = r.alter(r.session(1), kindGroup, "g", "consumer.session.timeout.ms=1000")
	require.Equal(t, codeInvalidConfig, code, text)
}

func TestValidateOnlyChangesNothing(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("t", partition.TopicConfig{})
	for kind, name := range map[configKind]string{kindTopic: "t", kindBroker: "", kindGroup: "g", kindClientMetrics: "m", kindLogger: "1"} {
		key, value := "max.message.bytes", "5"
		switch kind {
		case kindBroker:
			key = "message.max.bytes"
		case kindGroup:
			key, value = "consumer.session.timeout.ms", "50000"
		case kindClientMetrics:
			key, value = "interval.ms", "1000"
		case kindLogger:
			key, value = "root", "DEBUG"
		}
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.ValidateOnly = true
		res := kmsg.NewIncrementalAlterConfigsRequestResource()
		res.ResourceType, res.ResourceName = kmsg.ConfigResourceType(kind), name
		res.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Value: &value}}
		req.Resources = append(req.Resources, res)
		out := put[*kmsg.IncrementalAlterConfigsResponse](r, r.session(1), 1, req).Resources[0]
		require.Zero(t, out.ErrorCode, "%d", kind)
	}
	require.Empty(t, r.store.Settings(configArea))
	require.Equal(t, 1048588, r.limit("t"))
	require.Equal(t, "INFO", *r.config(r.session(1), kindLogger, "1", "root").Value)
}

// Every request of administration is refused to whom the access rules allow nothing, and changes nothing.
func TestAdministrationNeedsPermission(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"authorizer.class.name": standardAuthorizer}})
	r.topic("t", partition.TopicConfig{})
	topic, cluster, group := codeTopicAuthorizationFailed, codeClusterAuthorizationFailed, codeGroupAuthorizationFailed
	s := r.session(1)

	require.Equal(t, topic, r.createOne(s, 7, wanted("new", 1, 1)).ErrorCode)

	del := kmsg.NewPtrDeleteTopicsRequest()
	del.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("t")}}
	require.Equal(t, topic, put[*kmsg.DeleteTopicsResponse](r, s, 6, del).Topics[0].ErrorCode)
	found, err := r.store.Topic("t")
	require.NoError(t, err)
	del.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: found.ID()}}
	gone := put[*kmsg.DeleteTopicsResponse](r, s, 6, del).Topics[0]
	require.Equal(t, topic, gone.ErrorCode)
	require.Nil(t, gone.Topic, "whoever may not see it does not learn its name")

	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 5}}
	require.Equal(t, topic, put[*kmsg.CreatePartitionsResponse](r, s, 3, grow).Topics[0].ErrorCode)

	for kind, want := range map[configKind]int16{kindTopic: topic, kindBroker: cluster, kindLogger: cluster, kindClientMetrics: cluster, kindGroup: group} {
		code, _ := r.alter(s, kind, "1", "retention.ms=1")
		require.Equal(t, want, code, "%d", kind)
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceType(kind), ResourceName: "1"}}
		out := put[*kmsg.DescribeConfigsResponse](r, s, 4, req).Resources[0]
		require.Equal(t, want, out.ErrorCode)
		require.Empty(t, out.Configs)
	}
	require.Equal(t, cluster, put[*kmsg.ListConfigResourcesResponse](r, s, 1, kmsg.NewPtrListConfigResourcesRequest()).ErrorCode)
	require.Equal(t, cluster, put[*kmsg.DescribeLogDirsResponse](r, s, 4, kmsg.NewPtrDescribeLogDirsRequest()).ErrorCode)
	require.Equal(t, cluster, put[*kmsg.ElectLeadersResponse](r, s, 2, kmsg.NewPtrElectLeadersRequest()).ErrorCode)
	require.Equal(t, cluster, put[*kmsg.AlterPartitionAssignmentsResponse](r, s, 1, kmsg.NewPtrAlterPartitionAssignmentsRequest()).ErrorCode)
	require.Equal(t, cluster, put[*kmsg.ListPartitionReassignmentsResponse](r, s, 0, kmsg.NewPtrListPartitionReassignmentsRequest()).ErrorCode)
	require.Equal(t, cluster, put[*kmsg.UpdateFeaturesResponse](r, s, 2, kmsg.NewPtrUpdateFeaturesRequest()).ErrorCode)
	require.Equal(t, cluster, put[*kmsg.DescribeQuorumResponse](r, s, 2, kmsg.NewPtrDescribeQuorumRequest()).ErrorCode)

	pages := kmsg.NewPtrDescribeTopicPartitionsRequest()
	pages.ResponsePartitionLimit = 10
	require.Empty(t, put[*kmsg.DescribeTopicPartitionsResponse](r, s, 0, pages).Topics, "of all those that may not be seen are left out")
	pages.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}
	require.Equal(t, topic, put[*kmsg.DescribeTopicPartitionsResponse](r, s, 0, pages).Topics[0].ErrorCode)

	require.Empty(t, r.store.Settings("kafka/"))
	require.Equal(t, int32(1), found.Partitions())
	_, err = r.store.Topic("new")
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
}

func TestChangesOfTopicsAreWithinTheirQuota(t *testing.T) {
	r := newRig(t, 1, Config{})
	quota := kmsg.NewPtrAlterClientQuotasRequest()
	e := kmsg.NewAlterClientQuotasRequestEntry()
	e.Entity = []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id"}}
	e.Ops = []kmsg.AlterClientQuotasRequestEntryOp{{Key: "controller_mutation_rate", Value: 0.5}} // and a burst of 5
	quota.Entries = append(quota.Entries, e)
	require.Zero(t, put[*kmsg.AlterClientQuotasResponse](r, r.session(1), 1, quota).Entries[0].ErrorCode)
	require.Zero(t, r.createOne(r.session(1), 6, wanted("first", 20, 1)).ErrorCode, "what begins within the quota is done")
	out := r.createOne(r.session(1), 6, wanted("second", 1, 1))
	require.Equal(t, codeThrottlingQuotaExceeded, out.ErrorCode)
	require.Equal(t, "The throttling quota has been exceeded.", *out.ErrorMessage)
	require.Zero(t, r.createOne(r.session(1), 5, wanted("older", 1, 1)).ErrorCode, "older clients are throttled and served")
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("first")}}
	require.Equal(t, codeThrottlingQuotaExceeded, put[*kmsg.DeleteTopicsResponse](r, r.session(1), 6, del).Topics[0].ErrorCode)
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "older", Count: 5}}
	resp := put[*kmsg.CreatePartitionsResponse](r, r.session(1), 3, grow)
	require.Equal(t, codeThrottlingQuotaExceeded, resp.Topics[0].ErrorCode)
	require.Positive(t, resp.ThrottleMillis)
}

// The same by a client and sockets, on three brokers: requests find the broker that they are for.
func TestKgoAdministersBrokersAndTopics(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	server, err := New(store, Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	var seeds []string
	for range 3 {
		l := listen(t)
		_, err := server.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Listener: l}}})
		require.NoError(t, err)
		seeds = append(seeds, l.Addr().String())
	}
	ctx := eventually(t)
	c := kgoClient(t, seeds[2], kgo.AllowAutoTopicCreation())

	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10000
	create.Topics = append(create.Topics, wanted("made", 6, 3))
	created, err := create.RequestWith(ctx, c)
	require.NoError(t, err)
	require.Zero(t, created.Topics[0].ErrorCode)
	require.NotEmpty(t, created.Topics[0].Configs)

	for _, name := range []string{"1", "2", "3"} { // each broker answers for itself
		alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
		alter.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "background.threads", Value: kmsg.StringPtr("1" + name)}}}}
		altered, err := alter.RequestWith(ctx, c)
		require.NoError(t, err)
		require.Zero(t, altered.Resources[0].ErrorCode, altered.Resources[0].ErrorMessage)
		describe := kmsg.NewPtrDescribeConfigsRequest()
		describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: name, ConfigNames: []string{"background.threads"}}}
		described, err := describe.RequestWith(ctx, c)
		require.NoError(t, err)
		require.Equal(t, "1"+name, *described.Resources[0].Configs[0].Value)
	}

	produced := c.ProduceSync(ctx, &kgo.Record{Topic: "made", Value: []byte("v"), Partition: 0})
	require.NoError(t, produced.FirstErr())
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TimeoutMillis = 10000
	del.TopicNames = []string{"made"}
	del.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("made")}}
	deleted, err := del.RequestWith(ctx, c)
	require.NoError(t, err)
	require.Zero(t, deleted.Topics[0].ErrorCode)
	_, err = store.Topic("made")
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
}
