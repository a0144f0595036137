package kafkatest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// ofReleases asks the same of the doubles of two releases and returns what each says.
func ofReleases[T any](t *testing.T, a, b *kafkatest.Persona, ask func(k *kgo.Client, p *kafkatest.Persona) T) (T, T) {
	t.Helper()
	one := func(p *kafkatest.Persona) T {
		return ask(client(t, kafkatest.New(t, kafkatest.As(p), kafkatest.Topic("orders", 1))), p)
	}
	return one(a), one(b)
}

func answerTo[R kmsg.Response](t testing.TB, k *kgo.Client, req kmsg.Request) R {
	t.Helper()
	resp, err := k.Request(bound(t), req)
	require.NoError(t, err)
	return resp.(R)
}

func TestSpecialTimestampsThatCameLaterAreTimesToKafka28(t *testing.T) {
	old, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka41, func(k *kgo.Client, _ *kafkatest.Persona) int64 {
		require.NoError(t, k.ProduceSync(bound(t), &kgo.Record{Topic: "orders"}, &kgo.Record{Topic: "orders"}).FirstErr())
		req := kmsg.NewPtrListOffsetsRequest()
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = -3
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "orders", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		got := answerTo[*kmsg.ListOffsetsResponse](t, k, req).Topics[0].Partitions[0]
		require.Zero(t, got.ErrorCode)
		return got.Timestamp
	})
	require.Positive(t, old)
	require.Positive(t, recent)
}

func TestBesideAnErrorThereIsNoListOfAbortedTransactionsInKafka28(t *testing.T) {
	is := func(k *kgo.Client, _ *kafkatest.Persona) bool {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.IsolationLevel = 1<<20, 1
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = "orders", topicID(t, k, "orders")
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.PartitionMaxBytes, rp.Partition = 1<<20, 9
		rt.Partitions = []kmsg.FetchRequestTopicPartition{rp}
		req.Topics = []kmsg.FetchRequestTopic{rt}
		p := answerTo[*kmsg.FetchResponse](t, k, req).Topics[0].Partitions[0]
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, p.ErrorCode)
		return p.AbortedTransactions == nil
	}
	old, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka39, is)
	require.Equal(t, []bool{true, false}, []bool{old, recent})
}

func topicID(t testing.TB, k *kgo.Client, name string) [16]byte {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	resp, err := req.RequestWith(bound(t), k)
	require.NoError(t, err)
	return resp.Topics[0].TopicID
}

func TestGroupsAreDescribedAsTheReleaseDid(t *testing.T) {
	type told struct {
		operations int32
		listed     int
	}
	old, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka40, func(k *kgo.Client, _ *kafkatest.Persona) told {
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.Group, commit.Topics = "billing", []kmsg.OffsetCommitRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}}}
		require.Zero(t, answerTo[*kmsg.OffsetCommitResponse](t, k, commit).Topics[0].Partitions[0].ErrorCode)
		d := answerTo[*kmsg.DescribeGroupsResponse](t, k, &kmsg.DescribeGroupsRequest{Groups: []string{"billing"}, IncludeAuthorizedOperations: true})
		require.Len(t, answerTo[*kmsg.ListGroupsResponse](t, k, &kmsg.ListGroupsRequest{StatesFilter: []string{"Empty"}}).Groups, 1)
		return told{d.Groups[0].AuthorizedOperations, len(answerTo[*kmsg.ListGroupsResponse](t, k, &kmsg.ListGroupsRequest{StatesFilter: []string{"empty"}}).Groups)}
	})
	require.Equal(t, told{328, 0}, old)
	require.Equal(t, told{3400, 1}, recent)
}

// With ZooKeeper the numbers of a new topic were looked at before its name.
func TestOfSeveralThingsThatAreWrongWithATopicKafka28TellsTheNumbers(t *testing.T) {
	old, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka39, func(k *kgo.Client, _ *kafkatest.Persona) (codes [6]int16) {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Topics = []kmsg.CreateTopicsRequestTopic{
			{Topic: "bad name", NumPartitions: 1, ReplicationFactor: 2}, {Topic: "worse name", NumPartitions: 0, ReplicationFactor: 0}, {Topic: "orders", NumPartitions: 0, ReplicationFactor: 1},
			{Topic: "null", NumPartitions: 1, ReplicationFactor: 1, Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}},
			{Topic: "both", NumPartitions: 1, ReplicationFactor: 1, ReplicaAssignment: []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{1}}}},
			{Topic: "good", NumPartitions: 1, ReplicationFactor: 1},
		}
		for i, r := range answerTo[*kmsg.CreateTopicsResponse](t, k, req).Topics {
			require.Equal(t, req.Topics[i].Topic, r.Topic)
			codes[i] = r.ErrorCode
		}
		return codes
	})
	require.Equal(t, [6]int16{38, 37, 36, 42, 42, 0}, old)
	require.Equal(t, [6]int16{17, 17, 36, 40, 42, 0}, recent)
}

func TestKindsOfConfigurationsThatTheReleaseDoesNotKnowAreInvalid(t *testing.T) {
	ask := func(k *kgo.Client, _ *kafkatest.Persona) [3]int16 {
		alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
		for _, r := range []struct {
			kind kmsg.ConfigResourceType
			name string
		}{{kmsg.ConfigResourceTypeTopic, "orders"}, {kmsg.ConfigResourceTypeGroupConfig, "billing"}} {
			one := kmsg.NewIncrementalAlterConfigsRequestResource()
			one.ResourceType, one.ResourceName = r.kind, r.name
			alter.Resources = append(alter.Resources, one)
		}
		d := kmsg.NewPtrDescribeConfigsRequest()
		one := kmsg.NewDescribeConfigsRequestResource()
		one.ResourceType, one.ResourceName = kmsg.ConfigResourceTypeClientMetrics, "subscription"
		d.Resources = []kmsg.DescribeConfigsRequestResource{one}
		altered := answerTo[*kmsg.IncrementalAlterConfigsResponse](t, k, alter).Resources
		require.Len(t, altered, 2)
		described := answerTo[*kmsg.DescribeConfigsResponse](t, k, d).Resources
		require.Empty(t, described[0].Configs, "nothing is set")
		return [3]int16{altered[0].ErrorCode, altered[1].ErrorCode, described[0].ErrorCode}
	}
	old, later := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka39, ask)
	require.Equal(t, [3]int16{0, 42, 42}, old)
	require.Equal(t, [3]int16{0, 42, 0}, later)
	_, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka40, ask)
	require.Equal(t, [3]int16{0, 0, 0}, recent)
}

func TestCommitsOfStrangersAreRefusedAsTheReleaseDid(t *testing.T) {
	old, recent := ofReleases(t, kafkatest.Kafka39, kafkatest.Kafka40, func(k *kgo.Client, _ *kafkatest.Persona) [2]int16 {
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.Group, commit.MemberID, commit.Generation = "billing", "m", 3
		commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "orders", TopicID: topicID(t, k, "orders"), Partitions: []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}}}
		plain := answerTo[*kmsg.OffsetCommitResponse](t, k, commit).Topics[0].Partitions[0].ErrorCode
		init := kmsg.NewPtrInitProducerIDRequest()
		init.TransactionalID, init.TransactionTimeoutMillis = kmsg.StringPtr("tx"), 60000
		id := answerTo[*kmsg.InitProducerIDResponse](t, k, init)
		require.Zero(t, id.ErrorCode)
		add := &kmsg.AddOffsetsToTxnRequest{TransactionalID: "tx", ProducerID: id.ProducerID, ProducerEpoch: id.ProducerEpoch, Group: "billing"}
		require.Zero(t, answerTo[*kmsg.AddOffsetsToTxnResponse](t, k, add).ErrorCode)
		txn := kmsg.NewPtrTxnOffsetCommitRequest()
		txn.TransactionalID, txn.Group, txn.ProducerID, txn.ProducerEpoch, txn.MemberID, txn.Generation = "tx", "billing", id.ProducerID, id.ProducerEpoch, "m", 3
		txn.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "orders", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{kmsg.NewTxnOffsetCommitRequestTopicPartition()}}}
		return [2]int16{plain, answerTo[*kmsg.TxnOffsetCommitResponse](t, k, txn).Topics[0].Partitions[0].ErrorCode}
	})
	require.Equal(t, [2]int16{kerr.IllegalGeneration.Code, kerr.UnknownMemberID.Code}, old)
	require.Equal(t, [2]int16{kerr.GroupIDNotFound.Code, kerr.IllegalGeneration.Code}, recent)
}

// A feature that came later is none, and its level stays.
func TestAnUpdateOfFeaturesThatFailsSaysSoOfEach(t *testing.T) {
	ask := func(feature string) func(k *kgo.Client, _ *kafkatest.Persona) [2]int16 {
		return func(k *kgo.Client, _ *kafkatest.Persona) [2]int16 {
			req := kmsg.NewPtrUpdateFeaturesRequest()
			one := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			one.Feature, one.MaxVersionLevel, one.UpgradeType = feature, 1, 1
			req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{one}
			resp := answerTo[*kmsg.UpdateFeaturesResponse](t, k, req)
			codes := [2]int16{resp.ErrorCode, 0}
			if resp.ErrorMessage != nil {
				require.NotContains(t, *resp.ErrorMessage, "\x00")
			}
			if len(resp.Results) > 0 {
				codes[1] = resp.Results[0].ErrorCode
				require.Equal(t, feature, resp.Results[0].Feature)
			}
			return codes
		}
	}
	old, recent := ofReleases(t, kafkatest.Kafka39, kafkatest.Kafka40, ask("bogus"))
	require.Equal(t, [2]int16{0, kerr.InvalidUpdateVersion.Code}, old)
	require.Equal(t, [2]int16{kerr.InvalidUpdateVersion.Code, 0}, recent)
	old, recent = ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka40, ask("group.version"))
	require.Equal(t, [2]int16{0, kerr.InvalidRequest.Code}, old)
	require.Equal(t, [2]int16{0, 0}, recent)
	_, recent = ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka40, ask("share.version"))
	require.Equal(t, [2]int16{kerr.InvalidUpdateVersion.Code, 0}, recent)
}

func TestATopicOfABadNameHasNoProducersInKafka28(t *testing.T) {
	old, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka39, func(k *kgo.Client, _ *kafkatest.Persona) int16 {
		req := &kmsg.DescribeProducersRequest{Topics: []kmsg.DescribeProducersRequestTopic{{Topic: "bad name", Partitions: []int32{0}}}}
		resp, err := k.SeedBrokers()[0].Request(bound(t), req)
		require.NoError(t, err)
		return resp.(*kmsg.DescribeProducersResponse).Topics[0].Partitions[0].ErrorCode
	})
	require.Equal(t, []int16{kerr.UnknownTopicOrPartition.Code, kerr.InvalidTopicException.Code}, []int16{old, recent})
}

func TestElectionsOfAllTellOfThoseThatWereElected(t *testing.T) {
	old, _ := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka39, func(k *kgo.Client, _ *kafkatest.Persona) int {
		req := kmsg.NewPtrElectLeadersRequest()
		req.TimeoutMillis = 0
		resp := answerTo[*kmsg.ElectLeadersResponse](t, k, req)
		return len(resp.Topics) + int(resp.ErrorCode)
	})
	require.Zero(t, old)
}

func TestShareCoordinatorsAreNotAvailableInKafka39(t *testing.T) {
	old, recent := ofReleases(t, kafkatest.Kafka39, kafkatest.Kafka41, func(k *kgo.Client, _ *kafkatest.Persona) int16 {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKeys = 2, []string{"g:AAAAAAAAAAAAAAAAAAAAAA:0"}
		resp, err := k.SeedBrokers()[0].Request(bound(t), req)
		require.NoError(t, err)
		return resp.(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode
	})
	require.Equal(t, kerr.CoordinatorNotAvailable.Code, old)
	require.Equal(t, kerr.InvalidRequest.Code, recent)
}

func TestAnElectionOfNoKindFailsInKafka28(t *testing.T) {
	type told struct{ all, one int16 }
	old, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka39, func(k *kgo.Client, _ *kafkatest.Persona) told {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType, req.TimeoutMillis = 2, 60000
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "orders", Partitions: []int32{0}}}
		resp := answerTo[*kmsg.ElectLeadersResponse](t, k, req)
		return told{resp.ErrorCode, resp.Topics[0].Partitions[0].ErrorCode}
	})
	require.Equal(t, told{kerr.UnknownServerError.Code, kerr.UnknownServerError.Code}, old)
	require.Equal(t, told{kerr.InvalidRequest.Code, kerr.InvalidRequest.Code}, recent)
}

func TestAFilterOfQuotasForDefaultsMayHaveANameInKafka28(t *testing.T) {
	old, recent := ofReleases(t, kafkatest.Kafka28, kafkatest.Kafka39, func(k *kgo.Client, _ *kafkatest.Persona) int16 {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		name := "alice"
		req.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: kmsg.QuotasMatchTypeAny, Match: &name}}
		return answerTo[*kmsg.DescribeClientQuotasResponse](t, k, req).ErrorCode
	})
	require.Zero(t, old)
	require.Equal(t, kerr.InvalidRequest.Code, recent)
}

func TestAnInvalidApiVersionsHasNoEpochOfFeaturesInKafka28(t *testing.T) {
	k := client(t, kafkatest.New(t, kafkatest.As(kafkatest.Kafka28)))
	for name, want := range map[string]struct {
		code  int16
		epoch int64
	}{"client": {0, 0}, "-": {kerr.InvalidRequest.Code, -1}} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = name, "1"
		resp := answerTo[*kmsg.ApiVersionsResponse](t, k, req)
		require.Equal(t, want.code, resp.ErrorCode, name)
		require.Equal(t, want.epoch, resp.FinalizedFeaturesEpoch, name)
	}
}

func TestOneGroupSpoilsADescriptionOfConfigurationsInKafka39(t *testing.T) {
	codes := func(k *kgo.Client, _ *kafkatest.Persona) []int16 {
		req := kmsg.NewPtrDescribeConfigsRequest()
		topic, group := kmsg.NewDescribeConfigsRequestResource(), kmsg.NewDescribeConfigsRequestResource()
		topic.ResourceType, topic.ResourceName = kmsg.ConfigResourceTypeTopic, "orders"
		group.ResourceType, group.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "billing"
		req.Resources = []kmsg.DescribeConfigsRequestResource{topic, group}
		var codes []int16
		for _, r := range answerTo[*kmsg.DescribeConfigsResponse](t, k, req).Resources {
			codes = append(codes, r.ErrorCode)
		}
		return codes
	}
	old, recent := ofReleases(t, kafkatest.Kafka39, kafkatest.Kafka40, codes)
	invalid := kerr.InvalidRequest.Code
	require.Equal(t, []int16{invalid, invalid}, old)
	require.Equal(t, []int16{0, 0}, recent)
}
