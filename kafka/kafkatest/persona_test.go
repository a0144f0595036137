package kafkatest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
)

var personas = []struct {
	is      *kafkatest.Persona
	release string
	beyond  []int16 // keys that kversion has only for brokers without ZooKeeper, or that the release keeps to itself
}{
	{kafkatest.Kafka28, "v2.8", nil}, {kafkatest.Kafka39, "v3.9", []int16{55, 71, 72, 74, 75}}, {kafkatest.Kafka40, "v4.0", nil}, {kafkatest.Kafka41, "v4.1", nil},
}

// advertised asks for the ranges as a client does.
func advertised(t testing.TB, c *kafkatest.Cluster, version int16) *kmsg.ApiVersionsResponse {
	t.Helper()
	k := client(t, c)
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "test", "1"
	resp, err := req.RequestWith(bound(t), k)
	require.NoError(t, err)
	require.Zero(t, resp.ErrorCode)
	return resp
}

// notServed are APIs that releases have and the double does not: those between brokers, AlterReplicaLogDirs, UnregisterBroker,
// which needs a cluster of nodes, and raft voters and share groups.
var notServed = []int16{4, 5, 6, 7, 34, 56, 64, 76, 77, 78, 79, 80, 81, 83, 84, 85, 86, 87, 90, 91, 92}

// The versions are those that a broker of the release has advertised, from the oldest to the newest, but for the message formats v0
// and v1; and the newest are those that franz-go's package kversion lists too.
func TestAPersonaAdvertisesTheVersionsOfItsRelease(t *testing.T) {
	ours := map[int16]kmsg.ApiVersionsResponseApiKey{}
	for _, k := range advertised(t, kafkatest.New(t), 3).ApiKeys {
		ours[k.ApiKey] = k
	}
	for _, p := range personas {
		t.Run(p.release, func(t *testing.T) {
			release := kversion.FromString(p.release)
			require.NotNil(t, release)
			beyond := map[int16]bool{}
			for _, key := range p.beyond {
				beyond[key] = true
			}
			seen := map[int16]bool{}
			for _, k := range advertised(t, kafkatest.New(t, kafkatest.As(p.is)), 3).ApiKeys {
				seen[k.ApiKey] = true
				want, ok := release.LookupMaxKeyVersion(k.ApiKey)
				if !ok && beyond[k.ApiKey] {
					continue
				}
				require.True(t, ok, "%s has no %s", p.is, kmsg.NameForKey(k.ApiKey))
				require.Equal(t, want, k.MaxVersion, kmsg.NameForKey(k.ApiKey))
			}
			for key := range ours {
				if _, ok := release.LookupMaxKeyVersion(key); ok {
					require.True(t, seen[key], "%s has %s", p.is, kmsg.NameForKey(key))
				}
			}
		})
		t.Run(p.release+", a broker", func(t *testing.T) {
			got := map[int16][2]int16{}
			for _, k := range advertised(t, kafkatest.New(t, kafkatest.As(p.is)), 3).ApiKeys {
				got[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
			}
			want := brokerSaid(t, p.release[1:])
			for _, key := range notServed {
				require.NotContains(t, got, key)
				delete(want, key)
			}
			if fetch := want[1]; fetch[0] < 4 {
				want[1] = [2]int16{4, fetch[1]}
			}
			require.Equal(t, want, got)
		})
	}
}

// brokerSaid reads what a broker of a release has said of itself.
func brokerSaid(t testing.TB, release string) map[int16][2]int16 {
	t.Helper()
	file, err := os.ReadFile("testdata/personas/" + release + ".tsv")
	require.NoError(t, err)
	said := map[int16][2]int16{}
	for line := range strings.Lines(string(file)) {
		var key, from, to int16
		var name string
		if n, _ := fmt.Sscanf(line, "%d\t%s\t%d\t%d\n", &key, &name, &from, &to); n == 4 {
			said[key] = [2]int16{from, to}
		}
	}
	require.Greater(t, len(said), 50)
	return said
}

func TestAPersonaTellsTheFeaturesOfItsRelease(t *testing.T) {
	for _, p := range personas {
		version := int16(4)
		if p.is == kafkatest.Kafka28 {
			version = 3
		}
		resp := advertised(t, kafkatest.New(t, kafkatest.As(p.is)), version)
		supported, finalized := map[string]string{}, map[string]int16{}
		for _, f := range resp.SupportedFeatures {
			supported[f.Name] = fmt.Sprint(f.MinVersion, "-", f.MaxVersion)
		}
		for _, f := range resp.FinalizedFeatures {
			finalized[f.Name] = f.MaxVersionLevel
		}
		wantSupported, wantFinalized := map[string]string{}, map[string]int16{}
		release := kversion.FromString(p.release)
		release.EachSupportedFeature(func(name string, min, max int16) { wantSupported[name] = fmt.Sprint(min, "-", max) })
		release.EachFinalizedFeature(func(name string, level int16) {
			if level > 0 && name != "kraft.version" { // finalized where voters are added while the cluster runs
				wantFinalized[name] = level
			}
		})
		require.Equal(t, wantSupported, supported, p.release)
		require.Equal(t, wantFinalized, finalized, p.release)
		if p.is == kafkatest.Kafka28 {
			require.EqualValues(t, 0, resp.FinalizedFeaturesEpoch, "there is a node of ZooKeeper for them, with nothing in it")
		}
	}
}

func TestAClientWorksWithEveryPersona(t *testing.T) {
	for _, p := range personas {
		t.Run(p.release, func(t *testing.T) {
			c := kafkatest.New(t, kafkatest.As(p.is), kafkatest.Topic("orders", 2))
			ctx := bound(t)
			k := client(t, c, kgo.TransactionalID("tx"))
			require.NoError(t, k.BeginTransaction())
			require.NoError(t, k.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("a")}).FirstErr())
			require.NoError(t, k.EndTransaction(ctx, kgo.TryCommit))
			r := reader(t, c, "orders", kgo.ConsumerGroup("billing"), kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			require.Equal(t, []string{"a"}, consume(t, r, 1))
			require.NoError(t, r.CommitUncommittedOffsets(ctx))
			is(t, c).LagZero("billing")
			for _, call := range c.Calls() {
				if max, ok := kversion.FromString(p.release).LookupMaxKeyVersion(call.Key); ok && call.Key != 18 {
					require.LessOrEqual(t, call.Version, max, call.API())
				}
			}
		})
	}
}

func TestAPersonaDoesNotServeWhatItsReleaseDoesNotKnow(t *testing.T) {
	c := kafkatest.New(t, kafkatest.As(kafkatest.Kafka28), kafkatest.Topic("orders", 1))
	k := client(t, c)
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	_, err := req.RequestWith(bound(t), k)
	require.Error(t, err)
}

func TestKafka39AnswersTheNewGroupProtocolWithUnsupportedVersion(t *testing.T) {
	c := kafkatest.New(t, kafkatest.As(kafkatest.Kafka39))
	k := client(t, c)
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{"billing"}
	resp, err := req.RequestWith(bound(t), k)
	require.NoError(t, err)
	require.Len(t, resp.Groups, 1)
	require.Equal(t, kerr.UnsupportedVersion.Code, resp.Groups[0].ErrorCode)
}

func TestAPersonaHasTheDefaultsOfItsReleaseUnlessTheyAreSet(t *testing.T) {
	const name = "log.message.timestamp.after.max.ms"
	later := time.Now().Add(48 * time.Hour)
	for _, test := range []struct {
		opts    []kafkatest.Option
		refused bool
	}{
		{[]kafkatest.Option{kafkatest.As(kafkatest.Kafka28)}, false},
		{[]kafkatest.Option{kafkatest.As(kafkatest.Kafka39)}, false},
		{[]kafkatest.Option{kafkatest.As(kafkatest.Kafka40)}, true},
		{[]kafkatest.Option{kafkatest.As(kafkatest.Kafka41)}, true},
		{[]kafkatest.Option{kafkatest.Property(name, "3600000"), kafkatest.As(kafkatest.Kafka39)}, true},
		{[]kafkatest.Option{kafkatest.As(kafkatest.Kafka39), kafkatest.Property(name, "3600000")}, true},
	} {
		c := kafkatest.New(t, append(test.opts, kafkatest.Topic("orders", 1))...)
		err := client(t, c).ProduceSync(context.Background(), &kgo.Record{Topic: "orders", Value: []byte("a"), Timestamp: later}).FirstErr()
		if test.refused {
			require.ErrorIs(t, err, kerr.InvalidTimestamp)
		} else {
			require.NoError(t, err)
		}
	}
}

func TestAnErrorThatTheReleaseDoesNotKnowIsAnUnknownServerError(t *testing.T) {
	c := kafkatest.New(t, kafkatest.As(kafkatest.Kafka28), kafkatest.Topic("orders", 1), kafkatest.Server(kafka.Config{
		Intercept: func(call *kafka.Call, next func() kafka.Answer) kafka.Answer {
			a := next()
			if resp, ok := a.Response.(*kmsg.InitProducerIDResponse); ok {
				resp.ErrorCode = kerr.TransactionAbortable.Code
			}
			return a
		},
	}))
	resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(bound(t), client(t, c))
	require.NoError(t, err)
	require.Equal(t, kerr.UnknownServerError.Code, resp.ErrorCode)
}
