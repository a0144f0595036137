package kafka

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// The answers in testdata/admin/00_broker.txt are a real broker's, so the names, types and defaults of the table are held
// against them by the scripts. Here is what the table says of values.

func TestPropertiesAreRefusedInTheWordsOfApacheKafka(t *testing.T) {
	for name, test := range map[string]struct{ value, want string }{
		"num.partitions":                        {"banana", "Invalid value banana for configuration num.partitions: Not a number of type INT"},
		"log.retention.ms":                      {"9223372036854775808", "Invalid value 9223372036854775808 for configuration log.retention.ms: Not a number of type LONG"},
		"offsets.topic.replication.factor":      {"40000", "Invalid value 40000 for configuration offsets.topic.replication.factor: Not a number of type SHORT"},
		"auto.create.topics.enable":             {"yes", "Invalid value yes for configuration auto.create.topics.enable: Expected value to be either true or false"},
		"log.segment.bytes":                     {"5", "Invalid value 5 for configuration log.segment.bytes: Value must be at least 1048576"},
		"quota.window.num":                      {"0", "Invalid value 0 for configuration quota.window.num: Value must be at least 1"},
		"log.cleaner.min.cleanable.ratio":       {"2", "Invalid value 2 for configuration log.cleaner.min.cleanable.ratio: Value must be no more than 1"},
		"compression.gzip.level":                {"10", "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		"log.cleanup.policy":                    {"keep", "Invalid value keep for configuration log.cleanup.policy: String must be one of: compact, delete"},
		"ssl.client.auth":                       {"maybe", "Invalid value maybe for configuration ssl.client.auth: String must be one of: required, requested, none"},
		"group.consumer.migration.policy":       {"x", "Invalid value x for configuration group.consumer.migration.policy: String must be one of (case insensitive): DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL"},
		"listener.name.x.ssl.client.auth":       {"maybe", "Invalid value maybe for configuration ssl.client.auth: String must be one of: required, requested, none"},
		"group.max.session.timeout.ms":          {"1000", "Invalid value 1000 for configuration group.max.session.timeout.ms: must be at least group.min.session.timeout.ms=6000"},
		"group.consumer.session.timeout.ms":     {"1000", "Invalid value 1000 for configuration group.consumer.session.timeout.ms: must be at least group.consumer.min.session.timeout.ms=45000"},
		"log.cleaner.max.compaction.lag.ms":     {"0", "Invalid value 0 for configuration log.cleaner.max.compaction.lag.ms: Value must be at least 1"},
		"socket.request.max.bytes":              {" 0 ", "Invalid value 0 for configuration socket.request.max.bytes: Value must be at least 1"},
		"max.connections.per.ip.overrides":      {"host", "Invalid value host for configuration max.connections.per.ip.overrides: want HOST:COUNT,..."},
		"log.message.timestamp.type":            {"Never", "Invalid value Never for configuration log.message.timestamp.type: String must be one of: CreateTime, LogAppendTime"},
		"process.roles":                         {"controller", "Invalid value controller for configuration process.roles: a node without the role broker serves no client"},
		"log.flush.interval.messages":           {"0", "Invalid value 0 for configuration log.flush.interval.messages: Value must be at least 1"},
		"transaction.state.log.min.isr":         {"x", "Invalid value x for configuration transaction.state.log.min.isr: Not a number of type INT"},
		"group.coordinator.rebalance.protocols": {"consumer", "Invalid value consumer for configuration group.coordinator.rebalance.protocols: disabling the 'classic' protocol is not supported"},
	} {
		_, _, err := parseProperties(map[string]string{name: test.value})
		require.EqualError(t, err, test.want, name)
		_, ok := err.(*PropertyError)
		require.True(t, ok)
	}
}

func TestPropertiesThatPromiseWhatCannotBeKeptAreRefusedWithTheReason(t *testing.T) {
	for name, value := range map[string]string{
		"remote.log.storage.system.enable":        "true",
		"create.topic.policy.class.name":          "com.example.Policy",
		"alter.config.policy.class.name":          "com.example.Policy",
		"principal.builder.class":                 "com.example.Builder",
		"client.quota.callback.class":             "com.example.Quotas",
		"replica.selector.class":                  "com.example.Selector",
		"ssl.engine.factory.class":                "com.example.Engine",
		"delegation.token.secret.key":             "secret",
		"transaction.two.phase.commit.enable":     "true",
		"log.dirs":                                "/a,/b",
		"controller.quorum.voters":                "1@a:1,2@b:1,3@c:1",
		"authorizer.class.name":                   "com.example.Authorizer",
		"sasl.enabled.mechanisms":                 "GSSAPI",
		"listener.name.x.sasl.enabled.mechanisms": "OAUTHBEARER",
		"group.consumer.assignors":                "com.example.Assignor",
		"metric.reporters":                        "com.example.Reporter",
	} {
		_, _, err := parseProperties(map[string]string{name: value})
		e, ok := err.(*PropertyError)
		require.True(t, ok, "%s: %v", name, err)
		require.NotEmpty(t, e.Reason, name)
		require.NotContains(t, e.Error(), "secret for", "a secret is not told")
	}
	_, _, err := parseProperties(map[string]string{"ssl.keystore.location": "/x.jks", "ssl.keystore.type": "JKS"})
	require.ErrorContains(t, err, "only PEM is read")
}

func TestDefaultsOfApacheKafkaArePromisesThatAreKept(t *testing.T) {
	props := map[string]string{}
	for _, name := range brokerProperties().names {
		if p := brokerProperties().byName[name]; p.value != nil && !p.hidden {
			props[name] = *p.value
		}
	}
	delete(props, "sasl.enabled.mechanisms") // GSSAPI, which nobody sets who does not want it
	_, warnings, err := parseProperties(props)
	require.NoError(t, err)
	for _, w := range warnings {
		require.False(t, w.Unknown, w.Property)
	}
}

func TestUnknownPropertiesAreWarningsByName(t *testing.T) {
	s, warnings, err := parseProperties(map[string]string{
		"num.partitons": "3", "zookeeper.connect": "x", "num.partitions": "4", "super.users": "User:a; User:b;",
		"allow.everyone.if.no.acl.found": "true", "listener.name.internal.plain.sasl.jaas.config": "x", "controller.listener.names": "CONTROLLER",
	})
	require.NoError(t, err)
	var unknown, known []string
	for _, w := range warnings {
		require.NotEmpty(t, w.Text)
		if w.Unknown {
			unknown = append(unknown, w.Property)
		} else {
			known = append(known, w.Property)
		}
	}
	require.Equal(t, []string{"num.partitons", "zookeeper.connect"}, unknown)
	require.Equal(t, []string{"controller.listener.names"}, known)
	require.Equal(t, int32(4), s.numPartitions)
	require.Equal(t, []string{"User:a", "User:b"}, s.superUsers)
	require.True(t, s.allowEveryoneIfNoACL)
}

func TestSettingsWithoutPropertiesAreApacheKafkasDefaults(t *testing.T) {
	s, warnings, err := parseProperties(nil)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.True(t, s.autoCreateTopics)
	require.True(t, s.deleteTopics)
	require.Equal(t, int32(1), s.numPartitions)
	require.Equal(t, int16(1), s.replicationFactor)
	require.Equal(t, int32(-1), s.nodeID)
	require.Equal(t, 3*time.Second, s.groupInitialDelay)
	require.Equal(t, 15*time.Minute, s.txnMaxTimeout)
	require.Equal(t, int32(57671680), s.fetchMaxBytes)
	require.Equal(t, int32(100<<20), s.requestMaxBytes)
	require.Equal(t, 10*time.Minute, s.connectionsMaxIdle)
	require.Equal(t, int32(50), s.offsetsPartitions)
	require.Equal(t, 11, s.quotaSamples)
	require.Equal(t, time.Second, s.quotaWindow)
	require.Empty(t, s.authorizer)
	require.Empty(t, s.topicDefaults)
	other, _, _ := parseProperties(nil)
	require.NotSame(t, s, other)
}

func TestPropertiesOfTheBrokerAreDefaultsOfTopicsInTheirUnits(t *testing.T) {
	s, _, err := parseProperties(map[string]string{
		"log.retention.hours": "2", "log.retention.minutes": "3", "log.roll.hours": "1", "log.flush.interval.messages": "1000",
		"message.max.bytes": "2147483647", "log.cleanup.policy": "compact, delete", "log.preallocate": "TRUE", "log.retention.bytes": "77",
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"retention.ms": "180000", "segment.ms": "3600000", "flush.messages": "1000", "max.message.bytes": "2147483647",
		"cleanup.policy": "compact, delete", "preallocate": "TRUE", "retention.bytes": "77",
	}, s.topicDefaults, "minutes count before hours")

	store, err := partition.OpenMemory(s.store(partition.SyncNever))
	require.NoError(t, err)
	defer store.Close()
	got := store.TopicDefaults()
	for key, want := range map[string]string{
		"retention.ms": "180000", "segment.ms": "3600000", "flush.messages": "1", "max.message.bytes": "1073741823",
		"cleanup.policy": "compact,delete", "preallocate": "true", "retention.bytes": "77",
	} {
		require.Equal(t, want, got[key], key)
	}
}

func TestStoresOfBrokersHaveApacheKafkasDefaultsButForTheSyncMode(t *testing.T) {
	s, _, err := parseProperties(nil)
	require.NoError(t, err)
	store, err := partition.OpenMemory(s.store(partition.SyncNever))
	require.NoError(t, err)
	defer store.Close()
	for key, v := range store.TopicDefaults() {
		if p := topicProperties().byName[key]; p != nil {
			require.Equal(t, *p.value, v, key)
		}
	}
	c := s.store(partition.SyncAlways)
	require.Equal(t, partition.SyncAlways, c.Sync)
	require.Equal(t, 168*time.Hour, c.TransactionalIDExpiration)
	require.Equal(t, 24*time.Hour, c.ProducerIDExpiration)

	s, _, err = parseProperties(map[string]string{"log.cleaner.enable": "false", "log.cleaner.threads": "3", "log.cleaner.io.max.bytes.per.second": "1048576.5", "num.recovery.threads.per.data.dir": "7"})
	require.NoError(t, err)
	c = s.store(partition.SyncAlways)
	require.Equal(t, time.Duration(partition.Unlimited), c.CleanerBackoff)
	require.Equal(t, []int{3, 7}, []int{c.CleanerThreads, c.OpenConcurrency})
	require.Equal(t, int64(1<<20), c.CleanerBytesPerSecond)
}

func TestCoordinatorsOfGroupsHaveTheBrokersProperties(t *testing.T) {
	s, _, err := parseProperties(map[string]string{
		"group.initial.rebalance.delay.ms": "7", "group.max.size": "5", "offsets.retention.minutes": "60", "offset.metadata.max.bytes": "9",
		"group.consumer.heartbeat.interval.ms": "6000", "group.consumer.migration.policy": "UPGRADE", "group.consumer.assignors": "range",
		"group.consumer.max.size": "3", "group.consumer.regex.refresh.interval.ms": "20000",
	})
	require.NoError(t, err)
	c := s.coordinator()
	require.Equal(t, 7*time.Millisecond, c.InitialRebalanceDelay)
	require.Equal(t, []int{5, 9, 3}, []int{c.MaxSize, c.MaxMetadataBytes, c.ConsumerGroups.MaxSize})
	require.Equal(t, time.Hour, c.OffsetsRetention)
	require.Equal(t, 6*time.Second, c.ConsumerGroups.HeartbeatInterval)
	require.Equal(t, 20*time.Second, c.ConsumerGroups.RegexRefreshInterval)
	require.Equal(t, group.MigrateUpgrade, c.ConsumerGroups.Migration)
	require.Len(t, c.ConsumerGroups.Assignors, 1)
	d := defaultSettings().coordinator()
	require.Equal(t, 3*time.Second, d.InitialRebalanceDelay)
	require.Zero(t, d.MaxSize, "2147483647 is no bound")
	require.Len(t, d.ConsumerGroups.Assignors, 2)
}

func TestEveryTopicDefaultNamesPropertiesThatThereAre(t *testing.T) {
	for key, names := range topicSynonyms {
		require.Contains(t, topicProperties().byName, key)
		for _, n := range names {
			require.Contains(t, brokerProperties().byName, n)
		}
	}
	require.Len(t, slices.Collect(maps.Keys(topicSynonyms)), len(topicProperties().names)-6, "all but those that a broker has no default of")
	for _, r := range registries() {
		for _, name := range r.names {
			p := r.byName[name]
			require.NotZero(t, p.typ, name)
			require.False(t, strings.Contains(p.doc, "</"), name)
			if p.value != nil && *p.value != "" {
				require.NoError(t, p.check(*p.value), name)
			}
		}
	}
}

func FuzzPropertiesAreAcceptedOrRefusedForAReason(f *testing.F) {
	f.Add("num.partitions", "3")
	f.Add("listener.name.x.y.sasl.jaas.config", "x")
	f.Add("leader.replication.throttled.rate", "-1")
	f.Fuzz(func(t *testing.T, name, value string) {
		s, _, err := parseProperties(map[string]string{name: value})
		if (s == nil) == (err == nil) {
			t.Fatal("neither settings nor an error, or both")
		}
	})
}

func TestPropertiesThatWereReadBeforeSayTheSame(t *testing.T) {
	props := map[string]string{"num.partitions": "3", "of.nobody": "x"}
	first, warned, err := parseProperties(props)
	require.NoError(t, err)
	props["num.partitions"] = "4" // the caller's map is the caller's
	second, _, err := parseProperties(props)
	require.NoError(t, err)
	require.EqualValues(t, 3, first.numPartitions)
	require.EqualValues(t, 4, second.numPartitions)
	again, warnedAgain, err := parseProperties(props)
	require.NoError(t, err)
	require.NotSame(t, second, again)
	require.Equal(t, second, again)
	require.Equal(t, warned, warnedAgain)
}
