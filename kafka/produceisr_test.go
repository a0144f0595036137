package kafka

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
)

// min.insync.replicas of a topic that a client creates is what acks=all is measured by.
func TestMinInsyncReplicasOfCreatedTopicsCount(t *testing.T) {
	r := newRig(t, 3, Config{})
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "orders", 1, 3
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	c.Name, c.Value = "min.insync.replicas", kmsg.StringPtr("2")
	rt.Configs = append(rt.Configs, c)
	req.Topics = append(req.Topics, rt)
	resp := put[*kmsg.CreateTopicsResponse](r, r.session(1), 7, req)
	require.Zero(t, resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
	topic, err := r.store.Topic("orders")
	require.NoError(t, err)
	r.assign(topic, [][]int32{{2, 3, 1}})
	at := r.at(topic, 0)
	require.Len(t, at.replicas, 3)
	send := func(acks int16) int16 {
		return r.produced(r.session(at.leader), 9, produceOf("orders", 0, acks, records(batch.Options{}, "a"))).ErrorCode
	}
	require.Zero(t, send(-1))
	end := r.alone(tpOf("orders", 0), at.leader)
	require.Equal(t, codeNotEnoughReplicas, send(-1))
	require.Zero(t, send(1))
	end()
	require.Zero(t, send(-1))
}
