package kafkatest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// described returns the configurations of a topic or broker by name.
func described(t testing.TB, k *kgo.Client, kind kmsg.ConfigResourceType, name string, configs ...string) map[string]kmsg.DescribeConfigsResponseResourceConfig {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	one := kmsg.NewDescribeConfigsRequestResource()
	one.ResourceType, one.ResourceName, one.ConfigNames = kind, name, configs
	req.Resources, req.IncludeSynonyms, req.IncludeDocumentation = []kmsg.DescribeConfigsRequestResource{one}, true, true
	resp, err := req.RequestWith(bound(t), k)
	require.NoError(t, err)
	require.Zero(t, resp.Resources[0].ErrorCode)
	all := map[string]kmsg.DescribeConfigsResponseResourceConfig{}
	for _, c := range resp.Resources[0].Configs {
		all[c.Name] = c
	}
	require.Len(t, all, len(resp.Resources[0].Configs))
	return all
}

func createWith(t testing.TB, k *kgo.Client, topic, name, value string) int16 {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = topic, 1, 1
	one.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: &value}}
	req.Topics = []kmsg.CreateTopicsRequestTopic{one}
	resp, err := req.RequestWith(bound(t), k)
	require.NoError(t, err)
	if m := resp.Topics[0].ErrorMessage; m != nil {
		require.NotContains(t, *m, "\x00")
	}
	if resp.Topics[0].ErrorCode == 0 && resp.Version >= 5 {
		found := false
		for _, c := range resp.Topics[0].Configs {
			found = found || c.Name == name && *c.Value == value && c.Source == int8(kmsg.ConfigSourceDynamicTopicConfig)
		}
		require.True(t, found)
	}
	return resp.Topics[0].ErrorCode
}

// Topics have the configurations of the release: those that have gone since are there, and may be set; those that came later are not.
func TestTopicsHaveTheConfigurationsOfTheRelease(t *testing.T) {
	const old, recent = "message.format.version", "compression.gzip.level"
	for _, test := range []struct {
		is          *kafkatest.Persona
		old, recent bool
		format      string
	}{{kafkatest.Kafka28, true, false, "2.8-IV1"}, {kafkatest.Kafka39, true, true, "3.0-IV1"}, {kafkatest.Kafka40, false, true, ""}, {kafkatest.Kafka41, false, true, ""}} {
		t.Run(test.is.String(), func(t *testing.T) {
			k := client(t, kafkatest.New(t, kafkatest.As(test.is), kafkatest.Topic("orders", 1)))
			all := described(t, k, kmsg.ConfigResourceTypeTopic, "orders")
			require.Contains(t, all, "cleanup.policy")
			require.Equal(t, []bool{test.old, test.recent}, []bool{all[old].Name != "", all[recent].Name != ""})
			if test.old {
				c := all[old]
				require.Equal(t, test.format, *c.Value)
				require.Equal(t, kmsg.ConfigSourceDefaultConfig, c.Source)
				require.Equal(t, kmsg.ConfigTypeString, c.ConfigType)
				require.Equal(t, "log.message.format.version", c.ConfigSynonyms[0].Name)
			}
			require.Len(t, described(t, k, kmsg.ConfigResourceTypeTopic, "orders", "cleanup.policy"), 1)

			want := kerr.InvalidConfig.Code
			if test.recent {
				want = 0
			}
			require.Equal(t, want, createWith(t, k, "recent", recent, "5"))
			want = kerr.InvalidConfig.Code
			if test.old {
				want = 0
				require.Equal(t, kerr.InvalidConfig.Code, createWith(t, k, "wrong", old, "new"))
			}
			require.Equal(t, want, createWith(t, k, "old", old, "2.5"))
			if !test.old {
				return
			}
			set := func(op kmsg.IncrementalAlterConfigOp, value *string) int16 {
				req := kmsg.NewPtrIncrementalAlterConfigsRequest()
				one := kmsg.NewIncrementalAlterConfigsRequestResource()
				one.ResourceType, one.ResourceName = kmsg.ConfigResourceTypeTopic, "old"
				one.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: old, Op: op, Value: value}, {Name: "retention.ms", Value: kmsg.StringPtr("1000")}}
				req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{one}
				resp, err := req.RequestWith(bound(t), k)
				require.NoError(t, err)
				return resp.Resources[0].ErrorCode
			}
			is := func(value string, source kmsg.ConfigSource) {
				t.Helper()
				c := described(t, k, kmsg.ConfigResourceTypeTopic, "old")[old]
				require.Equal(t, []any{value, source}, []any{*c.Value, c.Source})
			}
			is("2.5", kmsg.ConfigSourceDynamicTopicConfig)
			require.Zero(t, set(kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr("2.7")))
			is("2.7", kmsg.ConfigSourceDynamicTopicConfig)
			require.Equal(t, kerr.InvalidConfig.Code, set(kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr("x")))
			is("2.7", kmsg.ConfigSourceDynamicTopicConfig)
			require.Zero(t, set(kmsg.IncrementalAlterConfigOpDelete, nil))
			is(test.format, kmsg.ConfigSourceDefaultConfig)
			require.Equal(t, "1000", *described(t, k, kmsg.ConfigResourceTypeTopic, "old")["retention.ms"].Value, "the others go on as ever")
		})
	}
}

func TestBrokersHaveThePropertiesAndDefaultsOfTheRelease(t *testing.T) {
	for _, test := range []struct {
		is      *kafkatest.Persona
		name    string
		want    string // empty: there is none
		threads string // of recovery
	}{
		{kafkatest.Kafka28, "zookeeper.session.timeout.ms", "18000", "1"}, {kafkatest.Kafka28, "group.consumer.session.timeout.ms", "", "1"},
		{kafkatest.Kafka39, "group.coordinator.rebalance.protocols", "classic", "1"}, {kafkatest.Kafka39, "log.message.timestamp.after.max.ms", "9223372036854775807", "1"},
		{kafkatest.Kafka40, "group.coordinator.rebalance.protocols", "classic,consumer", "2"}, {kafkatest.Kafka40, "zookeeper.session.timeout.ms", "", "2"},
	} {
		t.Run(test.is.String()+" "+test.name, func(t *testing.T) {
			all := described(t, client(t, kafkatest.New(t, kafkatest.As(test.is))), kmsg.ConfigResourceTypeBroker, "1")
			require.Equal(t, test.threads, *all["num.recovery.threads.per.data.dir"].Value)
			c, ok := all[test.name]
			require.Equal(t, test.want != "", ok)
			if ok {
				require.Equal(t, test.want, *c.Value)
				require.Equal(t, kmsg.ConfigSourceDefaultConfig, c.Source)
				require.Len(t, c.ConfigSynonyms, 1)
			}
		})
	}
}
