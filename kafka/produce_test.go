package kafka

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// In every version a batch is appended with acks 1 and -1, the answer says where, and acks 0 is never answered.
func TestProduceAppendsInEveryVersion(t *testing.T) {
	r := newRig(t, 1, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 2})
	next := int64(0)
	for _, v := range versionsOf(keyProduce) {
		s := r.session(1)
		for _, acks := range []int16{-1, 1} {
			p := r.produced(s, v, produceOf("orders", 1, acks, records(batch.Options{}, "a", "b")))
			require.Equal(t, int16(0), p.ErrorCode)
			require.Equal(t, next, p.BaseOffset)
			require.Equal(t, int64(-1), p.LogAppendTime)
			if v >= 5 {
				require.Equal(t, int64(0), p.LogStartOffset)
			}
			require.Nil(t, p.ErrorMessage)
			require.Equal(t, int32(-1), p.CurrentLeader.LeaderID)
			next += 2
		}
		_, err := try(t.Context(), s, v, r.byID(produceOf("orders", 1, 0, records(batch.Options{}, "c"))))
		require.ErrorIs(t, err, errNoAnswer)
		next++
	}
	p, err := topic.Partition(1)
	require.NoError(t, err)
	mark, err := p.HighWatermark()
	require.NoError(t, err)
	require.Equal(t, partition.Offset(next), mark)
}

func TestProduceAnswersTheTimeOfTheAppend(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("stamped", partition.TopicConfig{TimestampType: partition.LogAppendTime})
	r.clock.Advance(time.Hour)
	p := r.produced(r.session(1), 9, produceOf("stamped", 0, 1, records(batch.Options{}, "a")))
	require.Equal(t, rigStart.Add(time.Hour).UnixMilli(), p.LogAppendTime)
}

// What is wrong with records is told as Apache Kafka tells it, in each version.
func TestProduceRefusesWhatIsNotOneGoodBatch(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{MaxMessageBytes: 2000, TimestampAfter: time.Hour, TimestampBefore: time.Hour})
	r.topic("table", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	good := func() []byte { return records(batch.Options{}, "a", "b", "c") }
	change := func(f func(b []byte)) []byte { b := good(); f(b); return b }
	resum := func(f func(b []byte)) []byte {
		return change(func(b []byte) { f(b); batch.Batch(b).UpdateCRC() })
	}
	oldFormat := func(magic byte) []byte { // a message set of one record without key and value
		b := make([]byte, 34)
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		b[16] = magic
		return b
	}
	at := func(ts int64) []byte {
		var w batch.Builder
		w.Reset(nil, batch.Options{})
		w.Append(rigStart.UnixMilli(), nil, []byte("fine"), nil)
		w.Append(ts, nil, []byte("not"), nil)
		b, err := w.Finish()
		require.NoError(t, err)
		return b
	}
	nullKeys := func() []byte {
		var w batch.Builder
		w.Reset(nil, batch.Options{})
		w.Append(rigStart.UnixMilli(), []byte("k"), nil, nil)
		w.Append(rigStart.UnixMilli(), nil, []byte("v"), nil)
		b, err := w.Finish()
		require.NoError(t, err)
		return b
	}
	for _, c := range []struct {
		name    string
		topic   string
		records []byte
		want    int16
		bad     []int32 // records named, from version 8 on
		below   int16   // only below this version; 0: in all
	}{
		{name: "a few bytes", records: []byte{1, 2, 3}, want: codeInvalidRecord},
		{name: "half a batch", records: good()[:80], want: codeInvalidRecord},
		{name: "two batches", records: append(good(), good()...), want: codeInvalidRecord},
		{name: "format 0", records: oldFormat(0), want: codeInvalidRecord},
		{name: "format 1", records: oldFormat(1), want: codeInvalidRecord},
		{name: "format 3", records: oldFormat(3), want: codeCorruptMessage},
		{name: "a size below all records", records: change(func(b []byte) { binary.BigEndian.PutUint32(b[8:], 13) }), want: codeCorruptMessage},
		{name: "a negative size", records: change(func(b []byte) { binary.BigEndian.PutUint32(b[8:], 1<<31) }), want: codeCorruptMessage},
		{name: "a flipped bit", records: change(func(b []byte) { b[len(b)-1] ^= 1 }), want: codeCorruptMessage},
		{name: "a wrong checksum", records: change(func(b []byte) { b[17] ^= 1 }), want: codeCorruptMessage},
		{name: "a wrong count", records: resum(func(b []byte) { binary.BigEndian.PutUint32(b[57:], 2) }), want: codeInvalidRecord},
		{name: "a count that the offsets contradict", records: resum(func(b []byte) { binary.BigEndian.PutUint32(b[23:], 5) }), want: codeInvalidRecord},
		{name: "a control batch", records: resum(func(b []byte) { b[22] |= 0x20 }), want: codeInvalidRecord},
		{name: "too large", records: records(batch.Options{}, string(make([]byte, 2000))), want: codeMessageTooLarge},
		{name: "a time too late", records: at(rigStart.Add(2 * time.Hour).UnixMilli()), want: codeInvalidTimestamp, bad: []int32{1}},
		{name: "a time too early", records: at(rigStart.Add(-2 * time.Hour).UnixMilli()), want: codeInvalidTimestamp, bad: []int32{1}},
		{name: "no key in a compacted topic", topic: "table", records: nullKeys(), want: codeInvalidRecord, bad: []int32{1}},
		{name: "zstd that old clients cannot read", records: records(batch.Options{Codec: partition.CodecZstd}, string(make([]byte, 500))), want: codeUnsupportedCompressionType, below: 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic := c.topic
			if topic == "" {
				topic = "orders"
			}
			for _, v := range versionsOf(keyProduce) {
				if c.below > 0 && v >= c.below {
					continue
				}
				p := r.produced(r.session(1), v, produceOf(topic, 0, -1, append([]byte(nil), c.records...)))
				require.Equal(t, c.want, p.ErrorCode, "version %d", v)
				require.Equal(t, int64(-1), p.BaseOffset)
				var bad []int32
				for _, e := range p.ErrorRecords {
					bad = append(bad, e.RelativeOffset)
				}
				if v < 8 {
					require.Nil(t, bad)
					continue
				}
				require.Equal(t, c.bad, bad)
				require.Equal(t, len(c.bad) > 0, p.ErrorMessage != nil && p.LogStartOffset == 0)
				// acks=0 cannot be told, so the connection ends.
				_, err := try(t.Context(), r.session(1), v, r.byID(produceOf(topic, 0, 0, append([]byte(nil), c.records...))))
				_, is := err.(*RequestError)
				require.True(t, is, "%v", err)
			}
		})
	}
}

// Null records close the connection, none are no batch, and a beginning that is no batch of any format refuses the whole request, with a
// reason, whatever the other partitions have.
func TestProduceWithoutABatchIsRefusedAsAWhole(t *testing.T) {
	r := newRig(t, 1, Config{})
	topic := r.topic("orders", partition.TopicConfig{Partitions: 2})
	for _, v := range versionsOf(keyProduce) {
		_, err := try(t.Context(), r.session(1), v, r.byID(produceOf("orders", 0, -1, nil)))
		require.ErrorIs(t, err, errNoRecords)
		none := put[*kmsg.ProduceResponse](r, r.session(1), v, r.byID(produceOf("orders", 0, -1, []byte{})))
		require.Equal(t, codeInvalidRecord, none.Topics[0].Partitions[0].ErrorCode)
		req := produceOf("orders", 0, -1, records(batch.Options{}, "a"))
		bad := records(batch.Options{}, "b")
		bad[16] = 9
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = 1, bad
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, rp)
		resp := put[*kmsg.ProduceResponse](r, r.session(1), v, r.byID(req))
		for _, p := range resp.Topics[0].Partitions {
			require.Equal(t, codeCorruptMessage, p.ErrorCode)
			require.Equal(t, v >= 8, p.ErrorMessage != nil)
		}
	}
	p, err := topic.Partition(0)
	require.NoError(t, err)
	mark, err := p.HighWatermark()
	require.NoError(t, err)
	require.Zero(t, mark)
}

// A batch followed by less than another one is taken without what follows, as Kafka takes it.
func TestProduceIgnoresAPartialBatchAtTheEnd(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	b := records(batch.Options{}, "a")
	require.Zero(t, r.produced(r.session(1), 7, produceOf("orders", 0, 1, append(b, b[:30]...))).ErrorCode)
}

// The order in which Kafka looks at what else is wrong: the topic, the records, the acks, the kind of topic, the leader.
func TestProduceErrorsInTheirOrder(t *testing.T) {
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{MinInsyncReplicas: 2})
	r.topic("__consumer_offsets", partition.TopicConfig{})
	for _, id := range []int32{1, 2} { // both are replicas then
		require.NoError(t, r.server.MoveLeader(t.Context(), partition.TopicPartition{Topic: "orders", Partition: 0}, id))
	}
	good, bad := records(batch.Options{}, "a"), []byte{1}
	for _, c := range []struct {
		name    string
		broker  int32
		topic   string
		p       int32
		acks    int16
		records []byte
		want    int16
	}{
		{"an unknown topic with bad records", 2, "nowhere", 0, 5, bad, codeUnknownTopicOrPartition},
		{"an unknown partition with bad records", 2, "orders", 7, 5, bad, codeUnknownTopicOrPartition},
		{"a negative partition", 2, "orders", -1, 5, bad, codeUnknownTopicOrPartition},
		{"bad records with bad acks", 1, "orders", 0, 5, bad, codeInvalidRecord},
		{"bad acks at the wrong broker", 1, "orders", 0, 5, good, codeInvalidRequiredAcks},
		{"acks 2", 2, "orders", 0, 2, good, codeInvalidRequiredAcks},
		{"acks -2", 2, "orders", 0, -2, good, codeInvalidRequiredAcks},
		{"an internal topic", 1, "__consumer_offsets", 0, 1, good, codeInvalidTopic},
		{"the wrong broker", 1, "orders", 0, -1, good, codeNotLeaderOrFollower},
		{"as many in-sync replicas as acks=all wants", 2, "orders", 0, -1, good, codeNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range versionsOf(keyProduce) {
				want := c.want
				if v >= 13 && c.topic == "nowhere" {
					want = codeUnknownTopicID
				}
				p := r.produced(r.session(c.broker), v, produceOf(c.topic, c.p, c.acks, append([]byte(nil), c.records...)))
				require.Equal(t, want, p.ErrorCode, "version %d", v)
				if want == codeNotLeaderOrFollower && v >= 10 {
					require.Equal(t, []int32{2, r.epoch(topic, 0)}, []int32{p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch})
				} else {
					require.Equal(t, int32(-1), p.CurrentLeader.LeaderID)
				}
			}
		})
	}
	r.alone(tpOf("orders", 0), 2)
	for acks, want := range map[int16]int16{-1: codeNotEnoughReplicas, 1: codeNone} {
		require.Equal(t, want, r.produced(r.session(2), 9, produceOf("orders", 0, acks, records(batch.Options{}, "a"))).ErrorCode)
	}
}

// Answers of a broker that does not lead say where the leader is, from version 10 on (KIP-951).
func TestProduceHintsAtTheLeader(t *testing.T) {
	r := newRig(t, 3, Config{})
	r.topic("orders", partition.TopicConfig{})
	require.NoError(t, r.server.MoveLeader(t.Context(), partition.TopicPartition{Topic: "orders", Partition: 0}, 3))
	host, port, _ := r.server.brokerByID(3).Addr("")
	for _, v := range versionsOf(keyProduce) {
		resp := put[*kmsg.ProduceResponse](r, r.session(1), v, r.byID(produceOf("orders", 0, 1, records(batch.Options{}, "a"))))
		if v < 10 {
			require.Empty(t, resp.Brokers)
			continue
		}
		require.Len(t, resp.Brokers, 1)
		require.Equal(t, []any{int32(3), host, port}, []any{resp.Brokers[0].NodeID, resp.Brokers[0].Host, resp.Brokers[0].Port})
	}
}

// Idempotent producers: duplicates are answered with the first one's offset, gaps and old epochs are refused.
func TestProduceKeepsIdempotentProducersInOrder(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	s := r.session(1)
	send := func(epoch int16, sequence int32) kmsg.ProduceResponseTopicPartition {
		return r.produced(s, 9, produceOf("orders", 0, -1, records(batch.Options{Idempotent: true, ProducerID: 77, Epoch: epoch, BaseSequence: sequence}, "a")))
	}
	require.Equal(t, int64(0), send(1, 0).BaseOffset)
	require.Equal(t, int64(1), send(1, 1).BaseOffset)
	again := send(1, 1)
	require.Equal(t, []int64{0, 1}, []int64{int64(again.ErrorCode), again.BaseOffset})
	require.Equal(t, codeOutOfOrderSequenceNumber, send(1, 7).ErrorCode)
	require.Equal(t, codeInvalidProducerEpoch, send(0, 2).ErrorCode)
	require.Equal(t, int64(2), send(2, 0).BaseOffset)
}

// A batch that is part of a transaction needs a transactional id, in the request and in the principal's rights.
func TestProduceRefusesTransactionalBatchesWithoutAnID(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	req := produceOf("orders", 0, -1, records(batch.Options{Idempotent: true, Transactional: true, ProducerID: 77, Epoch: 1}, "a"))
	require.Equal(t, codeTransactionalIDAuthFailed, r.produced(r.session(1), 9, req).ErrorCode)
}

// One request for many partitions gets one answer for each, in its order.
func TestProduceAnswersEveryPartitionOfARequest(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("a", partition.TopicConfig{Partitions: 8})
	r.topic("b", partition.TopicConfig{Partitions: 8})
	for range 3 { // in the storage of the request before
		req := kmsg.NewPtrProduceRequest()
		req.Acks = -1
		for _, name := range []string{"b", "nowhere", "a"} {
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic = name
			for i := range 8 {
				rp := kmsg.NewProduceRequestTopicPartition()
				rp.Partition, rp.Records = int32(7-i), records(batch.Options{}, name)
				rt.Partitions = append(rt.Partitions, rp)
			}
			req.Topics = append(req.Topics, rt)
		}
		resp := put[*kmsg.ProduceResponse](r, r.session(1), 9, req)
		require.Len(t, resp.Topics, 3)
		for i, name := range []string{"b", "nowhere", "a"} {
			require.Equal(t, name, resp.Topics[i].Topic)
			for j, p := range resp.Topics[i].Partitions {
				require.Equal(t, int32(7-j), p.Partition)
				require.Equal(t, name == "nowhere", p.ErrorCode != 0)
			}
		}
	}
}
