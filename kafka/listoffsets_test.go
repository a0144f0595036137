package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

func listOffsetsOf(timestamp int64, epoch int32, tps ...partition.TopicPartition) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for _, tp := range tps {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = tp.Topic
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = tp.Partition, timestamp, epoch
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
	}
	return req
}

// timed appends a batch whose records have these times, in seconds after the rig's start.
func (r *rig) timed(topic string, seconds ...int) {
	r.t.Helper()
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	for _, s := range seconds {
		w.Append(rigStart.Add(time.Duration(s)*time.Second).UnixMilli(), nil, nil, nil)
	}
	b, err := w.Finish()
	require.NoError(r.t, err)
	_, err = r.backend.Append(r.t.Context(), partition.AppendRequest{TopicPartition: tpOf(topic, 0), Batch: b})
	require.NoError(r.t, err)
}

// Offsets by time: the first record not older, and what its time is; nothing is -1 and no error. The special timestamps, and
// the versions from which there are any.
func TestListOffsets(t *testing.T) {
	r := newRig(t, 1, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	r.timed("orders", 0, 10)
	r.timed("orders", 30, 20)
	old := r.epoch(topic, 0)
	r.raise(tpOf("orders", 0))
	now := r.epoch(topic, 0)
	r.timed("orders", 25)
	_, err := r.backend.DeleteRecords(t.Context(), tpOf("orders", 0), 1)
	require.NoError(t, err)
	at := func(s int) int64 { return rigStart.Add(time.Duration(s) * time.Second).UnixMilli() }
	for _, c := range []struct {
		name      string
		timestamp int64
		from      int16
		offset    int64
		time      int64
		epoch     int32
	}{
		{"latest", -1, 0, 5, -1, now},
		{"earliest", -2, 0, 1, -1, old},
		{"the largest timestamp", -3, 7, 2, at(30), old},
		{"earliest local", -4, 8, 1, -1, old},
		{"latest tiered", -5, 9, -1, -1, -1},
		{"long ago", at(-100), 0, 1, at(10), old},
		{"just then", at(10), 0, 1, at(10), old},
		{"a little later", at(11), 0, 2, at(30), old},
		{"the future", at(31), 0, -1, -1, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range versionsOf(keyListOffsets) {
				resp := put[*kmsg.ListOffsetsResponse](r, r.session(1), v, listOffsetsOf(c.timestamp, -1, tpOf("orders", 0)))
				p := resp.Topics[0].Partitions[0]
				if v < c.from {
					require.Equal(t, codeUnsupportedVersion, p.ErrorCode)
					continue
				}
				require.Equal(t, []int64{0, c.offset, c.time}, []int64{int64(p.ErrorCode), p.Offset, p.Timestamp}, "version %d", v)
				if v >= 4 {
					require.Equal(t, c.epoch, p.LeaderEpoch)
				}
			}
		})
	}
}

func TestListOffsetsErrors(t *testing.T) {
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	r.assign(topic, [][]int32{{1}})
	r.raise(tpOf("orders", 0))
	epoch := r.epoch(topic, 0)
	for _, c := range []struct {
		name      string
		broker    int32
		tp        partition.TopicPartition
		timestamp int64
		epoch     int32
		want      int16
	}{
		{"unknown topic", 1, tpOf("nowhere", 0), -1, -1, codeUnknownTopicOrPartition},
		{"no topic", 1, tpOf("", 0), -1, -1, codeUnknownTopicOrPartition},
		{"unknown partition", 1, tpOf("orders", 5), -1, -1, codeUnknownTopicOrPartition},
		{"another broker", 2, tpOf("orders", 0), -1, epoch, codeNotLeaderOrFollower},
		{"old epoch", 1, tpOf("orders", 0), -1, epoch - 1, codeFencedLeaderEpoch},
		{"new epoch", 1, tpOf("orders", 0), -1, epoch + 1, codeUnknownLeaderEpoch},
		{"unknown special timestamp", 1, tpOf("orders", 0), -6, epoch, codeUnsupportedVersion},
		{"the last special timestamp of ours", 1, tpOf("orders", 0), -100, epoch, codeUnsupportedVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range versionsOf(keyListOffsets) {
				if v < 4 && c.epoch >= 0 {
					continue
				}
				p := put[*kmsg.ListOffsetsResponse](r, r.session(c.broker), v, listOffsetsOf(c.timestamp, c.epoch, c.tp)).Topics[0].Partitions[0]
				require.Equal(t, []int64{int64(c.want), -1, -1}, []int64{int64(p.ErrorCode), p.Offset, p.Timestamp})
			}
		})
	}
	twice := put[*kmsg.ListOffsetsResponse](r, r.session(1), 5, listOffsetsOf(-1, -1, tpOf("orders", 0), tpOf("orders", 0)))
	require.Equal(t, []int16{codeInvalidRequest, 1}, []int16{twice.Topics[0].Partitions[0].ErrorCode, int16(len(twice.Topics))})
}

// With read_committed the end is the last stable offset, and records behind it are not found.
func TestListOffsetsReadCommitted(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	r.timed("orders", 0)
	id, err := r.backend.InitProducerID(t.Context(), "txn", time.Minute, partition.NoProducerID)
	require.NoError(t, err)
	_, err = r.backend.Append(t.Context(), partition.AppendRequest{TopicPartition: tpOf("orders", 0), TransactionalID: "txn",
		Batch: records(batch.Options{Idempotent: true, Transactional: true, ProducerID: id.ID, Epoch: id.Epoch}, "value")})
	require.NoError(t, err)
	for timestamp, want := range map[int64][2]int64{-1: {2, 1}, rigStart.UnixMilli(): {0, 0}, rigStart.UnixMilli() + 1: {-1, -1}} {
		for level := range int8(2) {
			req := listOffsetsOf(timestamp, -1, tpOf("orders", 0))
			req.IsolationLevel = level
			require.Equal(t, want[level], put[*kmsg.ListOffsetsResponse](r, r.session(1), 6, req).Topics[0].Partitions[0].Offset)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	r.assign(topic, [][]int32{{1}})
	first := r.epoch(topic, 0)
	r.fill("orders", 0, 3)
	r.raise(tpOf("orders", 0))
	second := r.epoch(topic, 0)
	r.fill("orders", 0, 2)
	for _, v := range versionsOf(keyOffsetForLeaderEpoch) {
		ask := func(broker int32, tp partition.TopicPartition, current, epoch int32) []int64 {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
			rt.Topic = tp.Topic
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = tp.Partition, current, epoch
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			p := put[*kmsg.OffsetForLeaderEpochResponse](r, r.session(broker), v, req).Topics[0].Partitions[0]
			return []int64{int64(p.ErrorCode), int64(p.LeaderEpoch), p.EndOffset}
		}
		tp := tpOf("orders", 0)
		require.Equal(t, []int64{0, int64(first), 3}, ask(1, tp, -1, first))
		require.Equal(t, []int64{0, int64(second), 5}, ask(1, tp, second, second))
		require.Equal(t, []int64{0, -1, -1}, ask(1, tp, -1, second+1))
		require.Equal(t, []int64{int64(codeFencedLeaderEpoch), -1, -1}, ask(1, tp, first, first))
		require.Equal(t, []int64{int64(codeUnknownLeaderEpoch), -1, -1}, ask(1, tp, second+1, first))
		other := ask(2, tp, -1, first)
		for onNodes(t) && other[0] == 0 { // it may not know yet that it has ceased to lead
			other = ask(2, tp, -1, first)
		}
		require.Equal(t, []int64{int64(codeNotLeaderOrFollower), -1, -1}, other)
		require.Equal(t, []int64{int64(codeUnknownTopicOrPartition), -1, -1}, ask(1, tpOf("nowhere", 0), -1, first))
	}
}

func TestDeleteRecords(t *testing.T) {
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	r.assign(topic, [][]int32{{1}})
	table := r.topic("table", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	internal := r.topic("__consumer_offsets", partition.TopicConfig{})
	for _, x := range []*partition.Topic{table, internal} {
		r.assign(x, assignReplicas(r.server.brokers()[:1], int(x.Partitions()), 1, 0, 0))
	}
	r.fill("orders", 0, 9)
	for _, v := range versionsOf(keyDeleteRecords) {
		ask := func(broker int32, tp partition.TopicPartition, before int64) []int64 {
			req := kmsg.NewPtrDeleteRecordsRequest()
			rt := kmsg.NewDeleteRecordsRequestTopic()
			rt.Topic = tp.Topic
			rp := kmsg.NewDeleteRecordsRequestTopicPartition()
			rp.Partition, rp.Offset = tp.Partition, before
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			p := put[*kmsg.DeleteRecordsResponse](r, r.session(broker), v, req).Topics[0].Partitions[0]
			return []int64{int64(p.ErrorCode), p.LowWatermark}
		}
		tp, want := tpOf("orders", 0), int64(v)+1
		require.Equal(t, []int64{0, want}, ask(1, tp, want))
		require.Equal(t, []int64{0, want}, ask(1, tp, want-1), "it never goes back")
		require.Equal(t, []int64{int64(codeOffsetOutOfRange), -1}, ask(1, tp, 10))
		require.Equal(t, []int64{int64(codeOffsetOutOfRange), -1}, ask(1, tp, -2))
		require.Equal(t, []int64{int64(codeNotLeaderOrFollower), -1}, ask(2, tp, 3))
		require.Equal(t, []int64{int64(codeUnknownTopicOrPartition), -1}, ask(1, tpOf("nowhere", 0), 0))
		require.Equal(t, []int64{int64(codeUnknownTopicOrPartition), -1}, ask(1, tpOf("orders", 1), 0))
		require.Equal(t, []int64{int64(codeInvalidTopic), -1}, ask(1, tpOf("__consumer_offsets", 0), 0))
		require.Equal(t, []int64{int64(codePolicyViolation), -1}, ask(1, tpOf("table", 0), 0))
		if v == apis[keyDeleteRecords].Max {
			require.Equal(t, []int64{0, 9}, ask(1, tp, -1))
		}
	}
}
