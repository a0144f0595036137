package kafka_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestDynamicConfigurationsAreInForceOnAllNodes: what one node is asked for, as the default of all brokers, counts on the others as soon as they have applied
// the change, without a new start: the defaults of topics in their stores, and what they tell and check themselves. So does that it is taken back.
func TestDynamicConfigurationsAreInForceOnAllNodes(t *testing.T) {
	c := newNodes(t, 3)
	alter := func(node int32, kind kmsg.ConfigResourceType, resource, name string, value *string) {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, resource
		one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		one.Name, one.Value = name, value
		if value == nil {
			one.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, one)
		req.Resources = append(req.Resources, r)
		cl := c.client()
		defer cl.Close()
		for ; ; time.Sleep(10 * time.Millisecond) {
			raw, err := cl.Broker(int(node)).RetriableRequest(c.ctx, req)
			if err == nil {
				err = kerr.ErrorForCode(raw.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode)
			}
			if err == nil {
				return
			}
			require.NoError(t, c.ctx.Err(), "%v", err) // a slow node is fenced, and one that was killed had another address
		}
	}
	largest := func(want string) {
		for id := int32(1); id <= 3; id++ {
			n := c.local.Node(id)
			for have := ""; have != want; {
				changed := n.MetadataChanged()
				if have = n.Store().TopicDefaults()["max.message.bytes"]; have == want {
					break
				}
				select {
				case <-changed: // the server looks at about this time, too
				case <-time.After(10 * time.Millisecond):
				}
				require.NoError(t, c.ctx.Err(), "node %d: max.message.bytes is %s and not %s", id, have, want)
			}
		}
	}
	before := c.local.Node(1).Store().TopicDefaults()["max.message.bytes"]
	value := "4321"
	alter(2, kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", &value)
	largest(value)
	c.createTopic("orders", 3, 3)
	cl := c.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range int32(3) { // wherever it is led
		err := cl.ProduceSync(c.ctx, &kgo.Record{Topic: "orders", Partition: i, Value: make([]byte, 5000)}).FirstErr()
		require.ErrorIs(t, err, kerr.MessageTooLarge)
	}

	// What a group sets reaches its coordinator, whichever node was asked.
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"billing"}
	coordinator := int32(-1)
	for ; coordinator < 0; time.Sleep(10 * time.Millisecond) {
		if resp, err := find.RequestWith(c.ctx, cl); err == nil { // a slow node is fenced
			coordinator = resp.Coordinators[0].NodeID
		}
		require.NoError(t, c.ctx.Err())
	}
	interval := "6000"
	alter(coordinator%3+1, kmsg.ConfigResourceTypeGroupConfig, "billing", "consumer.heartbeat.interval.ms", &interval)
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Group, beat.MemberID, beat.SubscribedTopicNames, beat.RebalanceTimeoutMillis = "billing", "AAAAAAAAAAAAAAAAAAAAAw", []string{"orders"}, 60000
	beat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for ; ; time.Sleep(10 * time.Millisecond) {
		resp, err := beat.RequestWith(c.ctx, cl)
		if err == nil && resp.ErrorCode == 0 && resp.HeartbeatIntervalMillis == 6000 {
			break
		}
		require.NoError(t, c.ctx.Err(), "%v, %v", resp, err)
	}

	c.kill(3) // one that starts anew has it, too
	n, err := c.local.Start(3)
	require.NoError(t, err)
	c.serve(3)
	require.Equal(t, value, n.Store().TopicDefaults()["max.message.bytes"])
	require.NoError(t, n.Ready(c.ctx))
	alter(3, kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", nil)
	largest(before)
}
