package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// metadataOf is a request for topics by name that creates nothing; none means all from version 1 on.
func metadataOf(v int16, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, name := range names {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func namesOf(resp *kmsg.MetadataResponse) (names []string) {
	for _, t := range resp.Topics {
		if t.Topic == nil {
			names = append(names, "")
		} else {
			names = append(names, *t.Topic)
		}
	}
	return names
}

// In every version: the brokers, the cluster, a controller, topics with leaders, replicas and ids.
func TestMetadataDescribesTheClusterInEveryVersion(t *testing.T) {
	r := newRig(t, 3, Config{ClusterID: "my-cluster"})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 2})
	r.assign(topic, [][]int32{{2, 3}, {1}})
	for _, v := range versionsOf(keyMetadata) {
		resp := put[*kmsg.MetadataResponse](r, r.session(1), v, metadataOf(v, "orders", "orders"))
		require.Len(t, resp.Brokers, 3)
		for i, b := range resp.Brokers {
			host, port, _ := r.server.brokers()[i].Addr("")
			require.Equal(t, []any{int32(i + 1), host, port}, []any{b.NodeID, b.Host, b.Port})
			require.Nil(t, b.Rack)
		}
		if v >= 1 {
			require.Equal(t, r.server.controller(), resp.ControllerID)
		}
		if v >= 2 {
			require.Equal(t, "my-cluster", *resp.ClusterID)
		}
		require.Len(t, resp.Topics, 1, "a topic named twice is described once")
		rt := resp.Topics[0]
		require.Equal(t, "orders", *rt.Topic)
		require.Equal(t, v >= 10, rt.TopicID == topic.ID())
		require.Len(t, rt.Partitions, 2)
		for i, want := range [][]int32{{2, 3}, {1}} {
			p := rt.Partitions[i]
			require.Equal(t, []any{int32(i), int16(0), want[0], want, want}, []any{p.Partition, p.ErrorCode, p.Leader, p.Replicas, p.ISR})
			require.Empty(t, p.OfflineReplicas)
			if v >= 7 {
				require.Equal(t, r.epoch(topic, int32(i)), p.LeaderEpoch)
			}
		}
	}
}

// Null asks for all topics, nothing for none; but version 0 has no null, and asks for all with nothing.
func TestMetadataOfAllTopicsAndOfNone(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("b", partition.TopicConfig{})
	r.topic("a", partition.TopicConfig{})
	for _, v := range versionsOf(keyMetadata) {
		require.Equal(t, []string{"a", "b"}, namesOf(put[*kmsg.MetadataResponse](r, r.session(1), v, metadataOf(v))))
		none := metadataOf(v)
		none.Topics = []kmsg.MetadataRequestTopic{}
		if v > 0 {
			require.Empty(t, put[*kmsg.MetadataResponse](r, r.session(1), v, none).Topics)
		}
	}
}

func TestMetadataErrorsOfTopics(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"auto.create.topics.enable": "false"}})
	r.topic("orders", partition.TopicConfig{})
	for _, v := range versionsOf(keyMetadata) {
		for name, want := range map[string]int16{"nowhere": codeUnknownTopicOrPartition, "b!d": codeInvalidTopic, "": codeInvalidTopic, "..": codeInvalidTopic} {
			req := metadataOf(v, name)
			req.AllowAutoTopicCreation = true // which the broker does not allow
			resp := put[*kmsg.MetadataResponse](r, r.session(1), v, req)
			require.Len(t, resp.Topics, 1)
			require.Equal(t, []any{want, name}, []any{resp.Topics[0].ErrorCode, *resp.Topics[0].Topic})
		}
	}
	_, err := r.store.Topic("nowhere")
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
}

// A topic that does not exist is created if the request and the broker allow it, and is there in the answer. Up to version 3
// every request allows it.
func TestMetadataCreatesTopics(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"num.partitions": "3"}})
	for _, v := range versionsOf(keyMetadata) {
		name := "topic-" + string(rune('a'+v))
		resp := put[*kmsg.MetadataResponse](r, r.session(1), v, metadataOf(v, name))
		if v < 4 {
			require.Zero(t, resp.Topics[0].ErrorCode)
		} else {
			require.Equal(t, codeUnknownTopicOrPartition, resp.Topics[0].ErrorCode)
			req := metadataOf(v, name)
			req.AllowAutoTopicCreation = true
			resp = put[*kmsg.MetadataResponse](r, r.session(1), v, req)
		}
		require.Zero(t, resp.Topics[0].ErrorCode)
		require.Len(t, resp.Topics[0].Partitions, 3)
	}
}

// A topic's id finds it from version 12 on, whatever its name; an unknown one is UNKNOWN_TOPIC_ID.
func TestMetadataByTopicID(t *testing.T) {
	r := newRig(t, 1, Config{})
	old := r.topic("orders", partition.TopicConfig{}).ID()
	require.NoError(t, r.backend.DeleteTopic(t.Context(), "orders"))
	topic := r.topic("orders", partition.TopicConfig{})
	for _, v := range versionsOf(keyMetadata) {
		if v < 10 {
			continue
		}
		req := metadataOf(v)
		for _, id := range []partition.TopicID{topic.ID(), old} {
			rt := kmsg.NewMetadataRequestTopic()
			if rt.TopicID = id; v < 12 {
				rt.Topic = kmsg.StringPtr("orders")
			}
			req.Topics = append(req.Topics, rt)
		}
		resp := put[*kmsg.MetadataResponse](r, r.session(1), v, req)
		require.Len(t, resp.Topics, 2)
		if v < 12 {
			require.Equal(t, []int16{codeInvalidRequest, codeInvalidRequest}, []int16{resp.Topics[0].ErrorCode, resp.Topics[1].ErrorCode})
			continue
		}
		require.Equal(t, []any{int16(0), "orders", [16]byte(topic.ID())}, []any{resp.Topics[0].ErrorCode, *resp.Topics[0].Topic, resp.Topics[0].TopicID})
		require.Equal(t, []any{codeUnknownTopicID, [16]byte(old)}, []any{resp.Topics[1].ErrorCode, resp.Topics[1].TopicID})
		require.Nil(t, resp.Topics[1].Topic)
	}
}

// What has no leader says so, and replicas of brokers that are down are offline.
func TestMetadataOfPartitionsWithoutLeader(t *testing.T) {
	r := newRig(t, 3, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 2})
	r.assign(topic, [][]int32{{2}, {2, 3}})
	r.stop(2)
	for _, v := range versionsOf(keyMetadata) {
		resp := put[*kmsg.MetadataResponse](r, r.session(1), v, metadataOf(v, "orders"))
		require.Len(t, resp.Brokers, 2)
		ps := resp.Topics[0].Partitions
		require.Equal(t, []any{codeLeaderNotAvailable, int32(-1)}, []any{ps[0].ErrorCode, ps[0].Leader})
		require.Equal(t, int32(3), ps[1].Leader)
		if v == 0 {
			require.Equal(t, []any{codeReplicaNotAvailable, []int32{3}, []int32{3}}, []any{ps[1].ErrorCode, ps[1].Replicas, ps[1].ISR})
			continue
		}
		require.Equal(t, []any{codeNone, []int32{2, 3}, []int32{3}}, []any{ps[1].ErrorCode, ps[1].Replicas, ps[1].ISR})
		if v >= 5 {
			require.Equal(t, []int32{2}, ps[1].OfflineReplicas)
		}
	}
}

// Each listener's clients are told of the endpoints of that listener; a leader that has none is not there for them.
func TestMetadataIsOfTheListenerAsked(t *testing.T) {
	inner := listen(t)
	r := newRigOn(t, terms{brokers: 3, racks: []string{"r", "r", "r"}, listeners: [][]ListenerConfig{
		{{Name: "IN", Listener: listen(t), Advertised: "inner-1:19092"}, {Name: "OUT", Listener: listen(t), Advertised: "outer-1:29092"}},
		{{Name: "IN", Listener: inner, Advertised: "inner-2:0"}},
		{{Name: "IN", Listener: listen(t), Advertised: "inner-3:19093"}, {Name: "OUT", Listener: listen(t), Advertised: "outer-3:29093"}},
	}})
	topic := r.topic("orders", partition.TopicConfig{})
	r.assign(topic, [][]int32{{2}})
	for _, v := range versionsOf(keyMetadata) {
		resp := put[*kmsg.MetadataResponse](r, r.session(1), v, metadataOf(v, "orders"))
		require.Len(t, resp.Brokers, 3)
		require.Equal(t, []string{"inner-1", "inner-2", "inner-3"}, []string{resp.Brokers[0].Host, resp.Brokers[1].Host, resp.Brokers[2].Host})
		require.Equal(t, int32(19092), resp.Brokers[0].Port)
		_, port := splitAddr(inner.Addr().String())
		require.Equal(t, port, resp.Brokers[1].Port)
		require.Equal(t, v >= 1, resp.Brokers[0].Rack != nil)
		require.Equal(t, int32(2), resp.Topics[0].Partitions[0].Leader)

		outside := r.session(1)
		outside.listener = r.server.brokerByID(1).listeners[1]
		resp = put[*kmsg.MetadataResponse](r, outside, v, metadataOf(v, "orders"))
		require.Len(t, resp.Brokers, 2)
		require.Equal(t, []string{"outer-1", "outer-3"}, []string{resp.Brokers[0].Host, resp.Brokers[1].Host})
		want := codeListenerNotFound
		if v < 6 {
			want = codeLeaderNotAvailable
		}
		require.Equal(t, []any{want, int32(-1)}, []any{resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[0].Partitions[0].Leader})
	}
}

func TestDescribeClusterNamesTheBrokers(t *testing.T) {
	r := newRig(t, 3, Config{})
	r.stop(2)
	for _, v := range versionsOf(keyDescribeCluster) {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.IncludeClusterAuthorizedOperations = v == 1
		resp := put[*kmsg.DescribeClusterResponse](r, r.session(1), v, req)
		require.Equal(t, []any{int16(0), r.server.ClusterID(), r.server.controller(), 2}, []any{resp.ErrorCode, resp.ClusterID, resp.ControllerID, len(resp.Brokers)})
		require.Equal(t, v == 1, resp.ClusterAuthorizedOperations > 0)
		if v < 1 {
			continue
		}
		for endpoint, want := range map[int8]int16{2: codeMismatchedEndpointType, 3: codeUnsupportedEndpointType} {
			req.EndpointType = endpoint
			require.Equal(t, want, put[*kmsg.DescribeClusterResponse](r, r.session(1), v, req).ErrorCode)
		}
		if v < 2 {
			continue
		}
		req.EndpointType, req.IncludeFencedBrokers = 1, true
		resp = put[*kmsg.DescribeClusterResponse](r, r.session(1), v, req)
		require.Len(t, resp.Brokers, 3)
		require.Equal(t, []bool{false, true, false}, []bool{resp.Brokers[0].IsFenced, resp.Brokers[1].IsFenced, resp.Brokers[2].IsFenced})
	}
}
