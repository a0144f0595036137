package kafka_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// The feature level of a cluster of nodes is a feature of Kafka's protocol, partlog.version, which kafka-features raises; so are those that are Kafka's own, and what one
// node's server was asked for, all tell.
func TestUpdateFeaturesRaisesTheLevelOfACluster(t *testing.T) {
	c := newNodesOf(t, 3, kafka.Config{}, func(c *replication.Config) { c.FeatureLevel = 1 })
	cl := c.client()
	type change struct {
		name  string
		level int16
		way   int8
	}
	update := func(validate bool, changes ...change) (string, error) {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.ValidateOnly, req.TimeoutMillis = validate, 60_000
		for _, u := range changes {
			one := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			one.Feature, one.MaxVersionLevel, one.UpgradeType = u.name, u.level, u.way
			req.FeatureUpdates = append(req.FeatureUpdates, one)
		}
		for {
			resp, err := req.RequestWith(c.ctx, cl)
			require.NoError(t, err)
			err = kerr.ErrorForCode(resp.ErrorCode)
			if !kerr.IsRetriable(err) {
				text := ""
				if resp.ErrorMessage != nil {
					text = *resp.ErrorMessage
				}
				return text, err
			}
			require.NoError(t, c.ctx.Err(), "%v", err) // a node that was slow has lost the controller
		}
	}
	told := func(node int) (finalized, supported map[string]int16, epoch int64) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 4, "x", "1"
		for {
			raw, err := cl.Broker(node).RetriableRequest(c.ctx, req)
			require.NoError(t, c.ctx.Err())
			if err != nil {
				continue
			}
			resp := raw.(*kmsg.ApiVersionsResponse)
			finalized, supported = map[string]int16{}, map[string]int16{}
			for _, f := range resp.FinalizedFeatures {
				finalized[f.Name] = f.MaxVersionLevel
			}
			for _, f := range resp.SupportedFeatures {
				supported[f.Name] = f.MaxVersion
			}
			return finalized, supported, resp.FinalizedFeaturesEpoch
		}
	}
	everywhere := func(name string, level int16) {
		for node := 1; node <= 3; node++ {
			for {
				if now, _, _ := told(node); now[name] == level {
					break
				}
				require.NoError(t, c.ctx.Err(), "node %d does not have %s=%d", node, name, level)
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	now, supported, before := told(2)
	newest := supported["partlog.version"]
	require.Equal(t, int16(1), now["partlog.version"])
	require.Greater(t, newest, int16(1))
	require.Equal(t, int16(27), now["metadata.version"])

	const upgrade, downgrade, unsafe = 1, 2, 3
	text, err := update(false, change{"partlog.version", newest + 1, upgrade})
	require.ErrorIs(t, err, kerr.InvalidUpdateVersion)
	require.Contains(t, text, "can live with feature levels")
	_, err = update(false, change{"partlog.version", 0, downgrade})
	require.ErrorIs(t, err, kerr.InvalidUpdateVersion)
	_, err = update(false, change{"transaction.version", 1, downgrade}, change{"partlog.version", newest + 1, upgrade})
	require.ErrorIs(t, err, kerr.InvalidUpdateVersion, "all or none")
	_, err = update(true, change{"partlog.version", newest, upgrade})
	require.NoError(t, err)
	now, _, _ = told(1)
	require.Equal(t, int16(1), now["partlog.version"], "it was a question")
	require.Equal(t, int16(2), now["transaction.version"])

	text, err = update(false, change{"partlog.version", newest, upgrade}, change{"transaction.version", 1, downgrade})
	require.NoError(t, err, text)
	everywhere("partlog.version", newest)
	everywhere("transaction.version", 1)
	_, _, after := told(2)
	require.Greater(t, after, before)
	_, err = update(false, change{"partlog.version", newest, upgrade})
	require.NoError(t, err, "it is there already")
	for _, way := range []int8{upgrade, downgrade, unsafe} {
		_, err = update(false, change{"partlog.version", newest - 1, way})
		require.ErrorIs(t, err, kerr.InvalidUpdateVersion, "there is no way back")
	}
	require.Equal(t, newest, c.local.Node(1).FeatureLevels().Level)
}

// Brokers over a store alone have no such feature, and say so as Apache Kafka does of a feature that it does not know.
func TestAStoreAloneHasNoFeatureLevelToRaise(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	store, err := partition.Open(t.TempDir(), partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	s, err := kafka.Serve(l, store, kafka.Config{})
	require.NoError(t, err)
	defer s.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()))
	require.NoError(t, err)
	defer cl.Close()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	one := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	one.Feature, one.MaxVersionLevel, one.UpgradeType = "partlog.version", 2, 1
	req.FeatureUpdates = append(req.FeatureUpdates, one)
	resp, err := req.RequestWith(ctx, cl)
	require.NoError(t, err)
	require.Equal(t, kerr.InvalidUpdateVersion.Code, resp.ErrorCode)
	require.Contains(t, *resp.ErrorMessage, "Local controller 1 does not support this feature.")
}

func TestANodeThatIsAControllerOnlyIsNotServed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	local, err := replication.StartLocal(ctx, replication.LocalConfig{Nodes: 1, Change: func(c *replication.Config) { c.ControllerOnly = true }})
	require.NoError(t, err)
	defer local.Close()
	var wrong *partition.ConfigError
	_, err = kafka.NewOfNode(local.Node(1), kafka.Config{})
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "node", wrong.Key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = kafka.ServeNode(l, local.Node(1), kafka.Config{})
	require.ErrorAs(t, err, &wrong)
}
