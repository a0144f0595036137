package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// createOne asks for one topic and returns what is said of it.
func (r *rig) createOne(s *session, version int16, t kmsg.CreateTopicsRequestTopic) kmsg.CreateTopicsResponseTopic {
	r.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, t)
	resp := put[*kmsg.CreateTopicsResponse](r, s, version, req)
	require.Len(r.t, resp.Topics, 1)
	return resp.Topics[0]
}

// wanted is a topic for createOne.
func wanted(name string, partitions int32, factor int16, assignment ...[]int32) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	for i, ids := range assignment {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), ids
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

// places returns the replicas of a topic's partitions, and its leaders.
func (r *rig) places(name string) (replicas [][]int32, leaders []int32) {
	r.t.Helper()
	t, err := r.store.Topic(name)
	require.NoError(r.t, err)
	for _, p := range r.server.layout.of(t).partitions {
		replicas, leaders = append(replicas, p.replicas), append(leaders, p.leader)
	}
	return replicas, leaders
}

func TestNewTopicsAreSpreadOverTheBrokers(t *testing.T) {
	r := newRig(t, 3, Config{})
	out := r.createOne(r.session(2), 7, wanted("spread", 6, 2))
	require.Zero(t, out.ErrorCode)
	require.Equal(t, []int{6, 2}, []int{int(out.NumPartitions), int(out.ReplicationFactor)})
	replicas, leaders := r.places("spread")
	count := map[int32]int{}
	for i, ids := range replicas {
		require.Len(t, ids, 2)
		require.NotEqual(t, ids[0], ids[1])
		require.Equal(t, ids[0], leaders[i], "the first is preferred")
		count[ids[0]]++
	}
	require.Equal(t, map[int32]int{1: 2, 2: 2, 3: 2}, count)
	topic, err := r.store.Topic("spread")
	require.NoError(t, err)
	for i := range int32(6) {
		require.Zero(t, r.epoch(topic, i), "a new topic begins with the first epoch")
	}
}

func TestMoreReplicasThanBrokersAreRefused(t *testing.T) {
	r := newRig(t, 3, Config{Properties: map[string]string{"default.replication.factor": "4"}})
	for _, factor := range []int16{4, -1} {
		out := r.createOne(r.session(1), 7, wanted("many", 1, factor))
		require.Equal(t, codeInvalidReplicationFactor, out.ErrorCode)
		require.Equal(t, "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because only 3 broker(s) are registered.", *out.ErrorMessage)
	}
}

func TestReplicasByHandAreKept(t *testing.T) {
	r := newRig(t, 3, Config{})
	out := r.createOne(r.session(1), 7, wanted("hand", -1, -1, []int32{3, 1}, []int32{2, 3}))
	require.Zero(t, out.ErrorCode, out.ErrorMessage)
	replicas, leaders := r.places("hand")
	require.Equal(t, [][]int32{{3, 1}, {2, 3}}, replicas)
	require.Equal(t, []int32{3, 2}, leaders)

	out = r.createOne(r.session(1), 7, wanted("uneven", -1, -1, []int32{3, 1}, []int32{2}))
	require.Equal(t, codeInvalidReplicaAssignment, out.ErrorCode)
	require.Equal(t, "The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with previous partitions, which have 2 replica(s).", *out.ErrorMessage)

	r.stop(2)
	out = r.createOne(r.session(1), 7, wanted("down", -1, -1, []int32{2}))
	require.Equal(t, codeInvalidReplicaAssignment, out.ErrorCode, "nobody could lead it")

	grow := kmsg.NewPtrCreatePartitionsRequest()
	g := kmsg.NewCreatePartitionsRequestTopic()
	g.Topic, g.Count, g.Assignment = "hand", 3, []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1, 2}}}
	grow.Topics = append(grow.Topics, g)
	require.Zero(t, put[*kmsg.CreatePartitionsResponse](r, r.session(1), 3, grow).Topics[0].ErrorCode)
	replicas, _ = r.places("hand")
	require.Equal(t, [][]int32{{3, 1}, {2, 3}, {1, 2}}, replicas)
	grow.Topics[0].Count, grow.Topics[0].Assignment[0].Replicas = 4, []int32{1}
	require.Equal(t, codeInvalidReplicaAssignment, put[*kmsg.CreatePartitionsResponse](r, r.session(1), 3, grow).Topics[0].ErrorCode)
	grow.Topics[0].Assignment = nil
	require.Zero(t, put[*kmsg.CreatePartitionsResponse](r, r.session(1), 3, grow).Topics[0].ErrorCode)
	replicas, _ = r.places("hand")
	require.Len(t, replicas[3], 2, "as many as the others have")
}

func TestAReassignmentEndsWithExactlyTheReplicasAskedFor(t *testing.T) {
	r := newRig(t, 3, Config{})
	require.Zero(t, r.createOne(r.session(1), 7, wanted("moved", -1, -1, []int32{1}, []int32{1})).ErrorCode)
	ask := func(version int16, change bool, ids ...int32) int16 {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.AllowReplicationFactorChange = change
		topic := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		topic.Topic = "moved"
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Replicas = ids
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		return put[*kmsg.AlterPartitionAssignmentsResponse](r, r.session(1), version, req).Topics[0].Partitions[0].ErrorCode
	}
	require.Zero(t, ask(0, true, 3, 2))
	replicas, leaders := r.places("moved")
	require.Equal(t, [][]int32{{3, 2}, {1}}, replicas)
	require.Equal(t, []int32{3, 1}, leaders)
	topic, err := r.store.Topic("moved")
	require.NoError(t, err)
	require.Greater(t, r.epoch(topic, 0), int32(0), "another leader, another epoch")

	require.Equal(t, codeInvalidReplicationFactor, ask(1, false, 1))
	require.Zero(t, ask(1, false, 2, 3))
	require.Equal(t, codeNoReassignmentInProgress, ask(1, true))
	require.Zero(t, r.epoch(topic, 1))
	replicas, leaders = r.places("moved")
	require.Equal(t, []int32{2, 3}, replicas[0])
	require.Equal(t, int32(3), leaders[0], "which has not gone")
	list := put[*kmsg.ListPartitionReassignmentsResponse](r, r.session(1), 0, kmsg.NewPtrListPartitionReassignmentsRequest())
	require.Zero(t, list.ErrorCode)
	require.Empty(t, list.Topics)
}

func TestAnElectionMakesThePreferredReplicaTheLeader(t *testing.T) {
	r := newRig(t, 2, Config{})
	require.Zero(t, r.createOne(r.session(1), 7, wanted("led", -1, -1, []int32{1, 2}, []int32{2, 1})).ErrorCode)
	require.NoError(t, r.server.MoveLeader(t.Context(), partition.TopicPartition{Topic: "led"}, 2))
	elect := func(kind int8, all bool) map[int32]int16 {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType = kind
		if !all {
			topic := kmsg.NewElectLeadersRequestTopic()
			topic.Topic, topic.Partitions = "led", []int32{0, 1}
			req.Topics = append(req.Topics, topic)
		} else {
			req.Topics = nil
		}
		resp := put[*kmsg.ElectLeadersResponse](r, r.session(1), 2, req)
		require.Zero(t, resp.ErrorCode)
		codes := map[int32]int16{}
		for _, p := range resp.Topics[0].Partitions {
			codes[p.Partition] = p.ErrorCode
		}
		return codes
	}
	require.Equal(t, map[int32]int16{0: 0, 1: codeElectionNotNeeded}, elect(electPreferred, false))
	_, leaders := r.places("led")
	require.Equal(t, []int32{1, 2}, leaders)
	require.NoError(t, r.server.MoveLeader(t.Context(), partition.TopicPartition{Topic: "led"}, 2))
	require.Equal(t, map[int32]int16{0: 0}, elect(electPreferred, true), "of all only those that were elected are told")

	require.NoError(t, r.server.MoveLeader(t.Context(), partition.TopicPartition{Topic: "led", Partition: 1}, 1))
	r.stop(2)
	require.Equal(t, map[int32]int16{0: codeElectionNotNeeded, 1: codePreferredLeaderNotAvailable}, elect(electPreferred, false))
	require.Equal(t, map[int32]int16{0: codeElectionNotNeeded, 1: codeElectionNotNeeded}, elect(electUnclean, false), "both have leaders")
}

func TestAnUncleanElectionGivesALeaderToWhatHasNone(t *testing.T) {
	onOneStore(t, "the ISR is set by hand")
	r := newRig(t, 2, Config{})
	require.Zero(t, r.createOne(r.session(1), 7, wanted("lost", -1, -1, []int32{2, 1})).ErrorCode)
	require.NoError(t, r.server.SetISR(t.Context(), partition.TopicPartition{Topic: "lost"}, 2))
	r.stop(2)
	_, leaders := r.places("lost")
	require.Equal(t, []int32{-1}, leaders)
	req := kmsg.NewPtrElectLeadersRequest()
	topic := kmsg.NewElectLeadersRequestTopic()
	topic.Topic, topic.Partitions = "lost", []int32{0}
	req.Topics = append(req.Topics, topic)
	require.Equal(t, codePreferredLeaderNotAvailable, put[*kmsg.ElectLeadersResponse](r, r.session(1), 2, req).Topics[0].Partitions[0].ErrorCode)
	req.ElectionType = electUnclean
	require.Zero(t, put[*kmsg.ElectLeadersResponse](r, r.session(1), 2, req).Topics[0].Partitions[0].ErrorCode)
	_, leaders = r.places("lost")
	require.Equal(t, []int32{1}, leaders)
}

func TestTopicsAreDeletedWithWhatIsKeptOfThem(t *testing.T) {
	r := newRig(t, 2, Config{})
	spec := wanted("gone", 2, 2)
	spec.Configs = append(spec.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "flush.messages", Value: kmsg.StringPtr("100")})
	require.Zero(t, r.createOne(r.session(1), 7, spec).ErrorCode)
	require.Len(t, r.store.Settings("kafka/config/topic/"), 1)
	if !onNodes(t) {
		require.Len(t, r.store.Settings(placementPrefix), 1)
	}
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{"gone"}
	require.Zero(t, put[*kmsg.DeleteTopicsResponse](r, r.session(1), 5, del).Topics[0].ErrorCode)
	require.Empty(t, r.store.Settings("kafka/"))
	_, err := r.store.Topic("gone")
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
}

func TestTopicsAreNotDeletedWhereThatIsForbidden(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"delete.topic.enable": "false"}})
	r.topic("stays", partition.TopicConfig{})
	for version, want := range map[int16]int16{1: codeInvalidRequest, 2: codeInvalidRequest, 3: codeTopicDeletionDisabled, 6: codeTopicDeletionDisabled} {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TopicNames = []string{"stays"}
		req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("stays")}}
		require.Equal(t, want, put[*kmsg.DeleteTopicsResponse](r, r.session(1), version, req).Topics[0].ErrorCode)
	}
	_, err := r.store.Topic("stays")
	require.NoError(t, err)
}

func TestLogDirsTellTheSizesOfTheBrokersReplicas(t *testing.T) {
	r := newRig(t, 2, Config{})
	require.Zero(t, r.createOne(r.session(1), 7, wanted("sized", -1, -1, []int32{1}, []int32{2}, []int32{2})).ErrorCode)
	bytes := records(batch.Options{}, "value")
	_, err := r.backend.Append(t.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "sized"}, Batch: bytes})
	require.NoError(t, err)
	sizes := func(broker int32, req *kmsg.DescribeLogDirsRequest) map[int32]int64 {
		resp := put[*kmsg.DescribeLogDirsResponse](r, r.session(broker), 4, req)
		require.Len(t, resp.Dirs, 1)
		require.Zero(t, resp.Dirs[0].ErrorCode)
		out := map[int32]int64{}
		for _, topic := range resp.Dirs[0].Topics {
			for _, p := range topic.Partitions {
				require.False(t, p.IsFuture)
				out[p.Partition] = p.Size
			}
		}
		return out
	}
	require.Equal(t, map[int32]int64{0: int64(len(bytes))}, sizes(1, kmsg.NewPtrDescribeLogDirsRequest()), "no topics: all")
	require.Equal(t, map[int32]int64{1: 0, 2: 0}, sizes(2, kmsg.NewPtrDescribeLogDirsRequest()))
	one := kmsg.NewPtrDescribeLogDirsRequest()
	one.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "sized", Partitions: []int32{0, 0, 9, -1}}, {Topic: ""}}
	require.Equal(t, map[int32]int64{0: int64(len(bytes))}, sizes(1, one))
}

func TestTopicPartitionsAreDescribedInPages(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"max.request.partition.size.limit": "4"}})
	for i, n := range []int32{2, 3, 1} {
		r.topic(fmt.Sprint("t", i), partition.TopicConfig{Partitions: n})
	}
	var pages [][]string
	var cursor *kmsg.DescribeTopicPartitionsRequestCursor
	for range 9 {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit, req.Cursor = 2, cursor
		resp := put[*kmsg.DescribeTopicPartitionsResponse](r, r.session(1), 0, req)
		var page []string
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				page = append(page, fmt.Sprint(*topic.Topic, "-", p.Partition))
				require.NotNil(t, p.EligibleLeaderReplicas, "Java's client fails on null")
			}
		}
		pages = append(pages, page)
		if resp.NextCursor == nil {
			break
		}
		cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
	}
	require.Equal(t, [][]string{{"t0-0", "t0-1"}, {"t1-0", "t1-1"}, {"t1-2", "t2-0"}}, pages)
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 2000
	resp := put[*kmsg.DescribeTopicPartitionsResponse](r, r.session(1), 0, req)
	require.Equal(t, "t1", resp.NextCursor.Topic, "the broker's own limit is 4")
	require.Equal(t, int32(2), resp.NextCursor.Partition)
}

// What is described in a page is what was known when it began, however many partitions the topic has got since.
func TestATopicThatGrowsWhileItIsDescribedEndsNoPage(t *testing.T) {
	r := newRig(t, 1, Config{})
	topic := r.topic("growing", partition.TopicConfig{Partitions: 2})
	s := r.session(1)
	before := s.server.layout.of(topic)
	require.NoError(t, r.backend.CreatePartitions(t.Context(), "growing", 5))
	require.EqualValues(t, 5, topic.Partitions(), "the topic knows")
	for from, want := range []int{2, 1, 0, 0, 0} { // the last ones: a cursor of a page that knew of more
		var out kmsg.DescribeTopicPartitionsResponseTopic
		left := int32(10)
		require.EqualValues(t, -1, s.describePlaced(&out, topic, before, int32(from), &left))
		require.Len(t, out.Partitions, want)
		require.EqualValues(t, 10-want, left)
	}
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 2000
	req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "growing"}}
	require.Len(t, put[*kmsg.DescribeTopicPartitionsResponse](r, s, 0, req).Topics[0].Partitions, 5)
}

func TestFinalizedFeaturesOutliveTheServer(t *testing.T) {
	r := newRig(t, 1, Config{})
	update := func(level int16, way int8) int16 {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType = "transaction.version", level, way
		req.FeatureUpdates = append(req.FeatureUpdates, u)
		return put[*kmsg.UpdateFeaturesResponse](r, r.session(1), 1, req).ErrorCode
	}
	levels := func(version int16) (finalized, supported map[string]int16, epoch int64) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "x", "1"
		resp := put[*kmsg.ApiVersionsResponse](r, r.session(1), version, req)
		finalized, supported = map[string]int16{}, map[string]int16{}
		for _, f := range resp.FinalizedFeatures {
			finalized[f.Name] = f.MaxVersionLevel
		}
		for _, f := range resp.SupportedFeatures {
			supported[f.Name] = f.MaxVersion
		}
		if onNodes(t) { // and then the cluster's own, see nodefeatures_test.go
			require.Contains(t, finalized, partlogVersion)
			delete(finalized, partlogVersion)
			delete(supported, partlogVersion)
		}
		return finalized, supported, resp.FinalizedFeaturesEpoch
	}
	now, supported, epoch := levels(4)
	require.Equal(t, map[string]int16{"group.version": 1, "transaction.version": 2, "eligible.leader.replicas.version": 1, "metadata.version": 27}, now)
	require.Equal(t, map[string]int16{"group.version": 1, "kraft.version": 1, "metadata.version": 27, "share.version": 1, "transaction.version": 2, "eligible.leader.replicas.version": 1}, supported)
	_, supported, _ = levels(3)
	require.Equal(t, map[string]int16{"metadata.version": 27}, supported, "a smallest level of 0 could not be told then")

	require.Equal(t, codeInvalidUpdateVersion, update(1, upgradeOnly))
	require.Zero(t, update(1, safeDowngrade))
	now, _, later := levels(4)
	require.Equal(t, int16(1), now["transaction.version"])
	require.Greater(t, later, epoch)

	s, err := r.newServer(Config{})
	require.NoError(t, err)
	defer s.Close()
	require.Equal(t, int16(1), s.featureLevel("transaction.version"))
}

func TestDelegationTokensAreDisabled(t *testing.T) {
	r := newRig(t, 1, Config{})
	s := r.session(1)
	reqs := []kmsg.Request{kmsg.NewPtrCreateDelegationTokenRequest(), kmsg.NewPtrRenewDelegationTokenRequest(), kmsg.NewPtrExpireDelegationTokenRequest(), kmsg.NewPtrDescribeDelegationTokenRequest()}
	codes := func() (out []int16) {
		for _, req := range reqs {
			switch resp := put[kmsg.Response](r, s, 2, req).(type) {
			case *kmsg.CreateDelegationTokenResponse:
				out = append(out, resp.ErrorCode)
			case *kmsg.RenewDelegationTokenResponse:
				out = append(out, resp.ErrorCode)
			case *kmsg.ExpireDelegationTokenResponse:
				out = append(out, resp.ErrorCode)
			case *kmsg.DescribeDelegationTokenResponse:
				out = append(out, resp.ErrorCode)
			}
		}
		return out
	}
	require.Equal(t, slices.Repeat([]int16{codeDelegationTokenRequestNotAllowed}, 4), codes(), "anybody could ask")
	s.listener.config.Protocol = TLS
	s.principal.Name = "alice"
	require.Equal(t, slices.Repeat([]int16{codeDelegationTokenAuthDisabled}, 4), codes())
}
