package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

// A server that is not told to serve them closes the connection of a request in a version that Kafka 4 has dropped.
func TestVersionsThatKafka4HasDroppedAreServedWhereTheyAreAskedFor(t *testing.T) {
	usual, old := newRig(t, 1, Config{}), newRig(t, 1, Config{OldVersions: true})
	dropped := 0
	for key, a := range apis {
		served, ok := usual.server.versions[key]
		if !ok {
			continue
		}
		require.Equal(t, a.Range, served, a.name)
		want := Range{0, a.Max}
		if key == keyFetch {
			want.Min = 4 // message formats v0 and v1 before
		}
		require.Equal(t, want, old.server.versions[key], a.name)
		for v := a.oldest; v < a.floor; v++ {
			dropped++
			req := kmsg.RequestForKey(key)
			_, err := try(t.Context(), usual.session(1), v, req)
			require.ErrorIs(t, err, ErrUnsupportedVersion, "%s %d", a.name, v)
			_, err = try(t.Context(), old.session(1), v, req)
			require.NotErrorIs(t, err, ErrUnsupportedVersion, "%s %d", a.name, v)
		}
	}
	require.Equal(t, 19, dropped)
	for _, v := range []int16{0, 1, 2} {
		frame := wire.AppendHeader(nil, wire.Header{Key: keyProduce, Version: v}, false)
		_, err := old.session(1).Frame(t.Context(), append(frame, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
		require.ErrorIs(t, err, ErrUnsupportedVersion)
		frame = wire.AppendHeader(nil, wire.Header{Key: keyFetch, Version: v + 1}, false)
		_, err = old.session(1).Frame(t.Context(), append(frame, make([]byte, 16)...))
		require.ErrorIs(t, err, ErrUnsupportedVersion)
	}
}

// Versions narrow what OldVersions widens.
func TestOldVersionsAreNarrowedToo(t *testing.T) {
	r := newRig(t, 1, Config{OldVersions: true, Versions: map[int16]Range{keyListOffsets: {1, 3}, keyOffsetForLeaderEpoch: {0, 1}, keyFetch: {0, 5}}})
	require.Equal(t, Range{1, 3}, r.server.versions[keyListOffsets])
	require.Equal(t, Range{0, 1}, r.server.versions[keyOffsetForLeaderEpoch])
	require.Equal(t, Range{4, 5}, r.server.versions[keyFetch])
	_, err := try(t.Context(), r.session(1), 0, kmsg.NewPtrListOffsetsRequest())
	require.ErrorIs(t, err, ErrUnsupportedVersion)
}

// ListOffsets 0 asks for several offsets: where segments begin, behind the end.
func TestListOffsets0AnswersWhereSegmentsBegin(t *testing.T) {
	r := newRig(t, 1, Config{OldVersions: true})
	r.topic("orders", partition.TopicConfig{Partitions: 2, Extra: map[string]string{"segment.bytes": "1048576"}})
	s := r.session(1)
	look := func(topic string, p int32, timestamp int64, n int32) (code int16, offsets []int64) {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Partition, one.Timestamp, one.MaxNumOffsets = p, timestamp, n
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{one}}}
		resp := put[*kmsg.ListOffsetsResponse](r, s, 0, req)
		return resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[0].Partitions[0].OldStyleOffsets
	}
	is := func(timestamp int64, n int32, want ...int64) {
		t.Helper()
		code, got := look("orders", 0, timestamp, n)
		require.Zero(t, code)
		require.Equal(t, want, got)
	}
	is(-1, 5, 0) // the only segment, which is empty
	is(-2, 5, 0)
	for range 3 { // each fills a segment
		require.Zero(t, r.produced(s, 3, produceOf("orders", 0, -1, records(batch.Options{}, string(make([]byte, 600<<10))))).ErrorCode)
	}
	now := rigStart.UnixMilli()
	is(-1, 1, 3)
	is(-1, 2, 3, 2)
	is(-1, 10, 3, 2, 1, 0)
	is(-2, 10, 0)
	is(now, 10, 3, 2, 1, 0)
	is(now-1, 10)
	is(-1, 0)
	code, offsets := look("nothing", 0, -1, 1)
	require.Equal(t, codeUnknownTopicOrPartition, code)
	require.Empty(t, offsets)
	code, _ = look("orders", 2, -1, 1)
	require.Equal(t, codeUnknownTopicOrPartition, code)
	code, _ = look("", 0, -1, 1)
	require.Equal(t, codeUnknownTopicOrPartition, code)
	_, err := r.store.DeleteRecords(t.Context(), partition.TopicPartition{Topic: "orders"}, 1)
	require.NoError(t, err)
	is(-2, 10, 1)
}

func commitOne(group, topic string, p int32, offset int64, metadata string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	one := kmsg.NewOffsetCommitRequestTopicPartition()
	one.Partition, one.Offset, one.Metadata = p, offset, &metadata
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{one}}}
	return req
}

// Version 0 was about offsets in ZooKeeper, which the coordinators know nothing of.
func TestOffsetsOfVersion0AreApartFromThoseOfGroups(t *testing.T) {
	r := newRig(t, 1, Config{OldVersions: true, Properties: map[string]string{"offset.metadata.max.bytes": "3"}})
	r.topic("orders", partition.TopicConfig{Partitions: 2})
	s := r.session(1)
	commit := func(v int16, req *kmsg.OffsetCommitRequest) int16 {
		return put[*kmsg.OffsetCommitResponse](r, s, v, req).Topics[0].Partitions[0].ErrorCode
	}
	fetch := func(v int16, group, topic string, p int32) (int64, int16) {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group, req.Topics = group, []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{p}}}
		one := put[*kmsg.OffsetFetchResponse](r, s, v, req).Topics[0].Partitions[0]
		require.Equal(t, "", *one.Metadata)
		return one.Offset, one.ErrorCode
	}
	is := func(v int16, group, topic string, p int32, offset int64, code int16) {
		t.Helper()
		o, c := fetch(v, group, topic, p)
		require.Equal(t, []any{offset, code}, []any{o, c})
	}
	is(0, "billing", "orders", 0, -1, codeUnknownTopicOrPartition)
	require.Zero(t, commit(0, commitOne("billing", "orders", 0, 5, "")), "no coordinator has been looked for")
	is(0, "billing", "orders", 0, 5, codeNone)
	is(0, "billing", "orders", 1, -1, codeUnknownTopicOrPartition)
	is(0, "billing", "nothing", 0, -1, codeUnknownTopicOrPartition)
	is(0, "other", "orders", 0, -1, codeUnknownTopicOrPartition)
	require.Equal(t, codeUnknownTopicOrPartition, commit(0, commitOne("billing", "nothing", 0, 5, "")))
	require.Equal(t, codeUnknownTopicOrPartition, commit(0, commitOne("billing", "orders", 2, 5, "")))
	require.Equal(t, codeOffsetMetadataTooLarge, commit(0, commitOne("billing", "orders", 0, 6, "long")))
	require.Equal(t, codeUnknownServerError, commit(0, commitOne("", "orders", 0, 6, "")))
	is(0, "", "orders", 0, -1, codeUnknownServerError)
	require.Zero(t, commit(0, commitOne("billing", "orders", 0, 7, "xyz")))
	is(0, "billing", "orders", 0, 7, codeNone)

	require.Zero(t, put[*kmsg.FindCoordinatorResponse](r, s, 0, &kmsg.FindCoordinatorRequest{CoordinatorKey: "billing"}).ErrorCode)
	is(1, "billing", "orders", 0, -1, codeNone)
	one := commitOne("billing", "orders", 0, 9, "")
	require.Zero(t, commit(1, one))
	is(1, "billing", "orders", 0, 9, codeNone)
	is(5, "billing", "orders", 0, 9, codeNone)
	is(0, "billing", "orders", 0, 7, codeNone)
}

func TestTopicsAreMadeAndDeletedInTheOldestVersions(t *testing.T) {
	r := newRig(t, 1, Config{OldVersions: true})
	s := r.session(1)
	for v := int16(0); v < 2; v++ {
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = "orders", 3, 1
		one.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("1000")}}
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Topics = []kmsg.CreateTopicsRequestTopic{one}
		if v == 1 {
			req.ValidateOnly = true
			require.Zero(t, put[*kmsg.CreateTopicsResponse](r, s, v, req).Topics[0].ErrorCode)
			require.Empty(t, r.store.TopicNames())
			req.ValidateOnly = false
		}
		require.Zero(t, put[*kmsg.CreateTopicsResponse](r, s, v, req).Topics[0].ErrorCode)
		again := put[*kmsg.CreateTopicsResponse](r, s, v, req).Topics[0]
		require.Equal(t, codeTopicAlreadyExists, again.ErrorCode)
		require.Equal(t, v >= 1, again.ErrorMessage != nil, "version 0 has no message")

		d := kmsg.NewPtrDescribeConfigsRequest()
		d.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders", ConfigNames: []string{"retention.ms"}}}
		described := put[*kmsg.DescribeConfigsResponse](r, s, 0, d).Resources[0]
		require.Zero(t, described.ErrorCode)
		require.Equal(t, "1000", *described.Configs[0].Value)
		require.False(t, described.Configs[0].IsDefault)

		dirs := put[*kmsg.DescribeLogDirsResponse](r, s, 0, kmsg.NewPtrDescribeLogDirsRequest())
		require.Len(t, dirs.Dirs[0].Topics[0].Partitions, 3)

		gone := put[*kmsg.DeleteTopicsResponse](r, s, 0, &kmsg.DeleteTopicsRequest{TopicNames: []string{"orders", "nothing"}, TimeoutMillis: 1000})
		require.Equal(t, []int16{codeNone, codeUnknownTopicOrPartition}, []int16{gone.Topics[0].ErrorCode, gone.Topics[1].ErrorCode})
		require.Empty(t, r.store.TopicNames())
	}
}

func TestLeaderEpochsEndInTheOldestVersions(t *testing.T) {
	r := newRig(t, 1, Config{OldVersions: true})
	r.topic("orders", partition.TopicConfig{Partitions: 1})
	s := r.session(1)
	require.Zero(t, r.produced(s, 3, produceOf("orders", 0, -1, records(batch.Options{}, "a", "b"))).ErrorCode)
	for v := int16(0); v < 2; v++ {
		one := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		one.LeaderEpoch = 0
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{one}}}
		p := put[*kmsg.OffsetForLeaderEpochResponse](r, s, v, req).Topics[0].Partitions[0]
		require.Zero(t, p.ErrorCode)
		require.EqualValues(t, 2, p.EndOffset)
		require.EqualValues(t, int32(v)-1, p.LeaderEpoch, "version 0 has none")
	}
}

// Version 0 knows names that are meant literally, and no others: it shows no rule for a prefix, and deletes none.
func TestAccessRulesOfVersion0AreLiteral(t *testing.T) {
	r := newRig(t, 1, Config{OldVersions: true, Properties: map[string]string{"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS"}})
	s := r.session(1)
	rule := func(name string, pattern kmsg.ACLResourcePatternType) *kmsg.CreateACLsRequest {
		one := kmsg.NewCreateACLsRequestCreation()
		one.ResourceType, one.ResourceName, one.ResourcePatternType = kmsg.ACLResourceTypeTopic, name, pattern
		one.Principal, one.Host, one.Operation, one.PermissionType = "User:a", "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
		return &kmsg.CreateACLsRequest{Creations: []kmsg.CreateACLsRequestCreation{one}}
	}
	require.Zero(t, put[*kmsg.CreateACLsResponse](r, s, 0, rule("orders", kmsg.ACLResourcePatternTypePrefixed)).Results[0].ErrorCode, "version 0 has no place for the pattern")
	require.Zero(t, put[*kmsg.CreateACLsResponse](r, s, 1, rule("ord", kmsg.ACLResourcePatternTypePrefixed)).Results[0].ErrorCode)
	shown := func(v int16) (names []string) {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.Operation, req.PermissionType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny, kmsg.ACLResourcePatternTypeAny
		for _, x := range put[*kmsg.DescribeACLsResponse](r, s, v, req).Resources {
			names = append(names, x.ResourceName)
		}
		return names
	}
	require.ElementsMatch(t, []string{"ord", "orders"}, shown(1))
	require.Equal(t, []string{"orders"}, shown(0))
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.Operation, f.PermissionType, f.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny, kmsg.ACLResourcePatternTypeAny
	deleted := put[*kmsg.DeleteACLsResponse](r, s, 0, &kmsg.DeleteACLsRequest{Filters: []kmsg.DeleteACLsRequestFilter{f}})
	require.Len(t, deleted.Results[0].MatchingACLs, 1)
	require.Equal(t, []string{"ord"}, shown(1))
}

// Clients of ListOffsets before version 5 do not know OFFSET_NOT_AVAILABLE.
func TestOldListOffsetsSaysThatTheLeaderIsNotAvailable(t *testing.T) {
	for v := int16(1); v <= 10; v++ {
		want := codeOffsetNotAvailable
		if v < 5 {
			want = codeLeaderNotAvailable
		}
		require.Equal(t, want, errorCode(partition.ErrOffsetNotAvailable, keyListOffsets, v))
	}
	require.Equal(t, codeOffsetNotAvailable, errorCode(partition.ErrOffsetNotAvailable, keyFetch, 4))
}

func TestLevelsOfFeaturesMayBeOthersThanThoseOfANewCluster(t *testing.T) {
	r := newRig(t, 1, Config{Features: map[string]int16{"group.version": 0, "transaction.version": 99, "bogus": 3}})
	require.Equal(t, []int16{0, 2, 27}, []int16{r.server.featureLevel("group.version"), r.server.featureLevel("transaction.version"), r.server.featureLevel(metadataVersion)})
}
