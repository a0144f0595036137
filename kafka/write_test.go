package kafka

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/wire"
)

// Our encoders write, for every answer and version, what kmsg writes.
func TestAnswersToProduceAndFetchAreEncodedAsKmsgDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProduceResponse(t)
		for _, v := range versionsOf(keyProduce) {
			p.SetVersion(v)
			want := *p
			if v < 10 { // kmsg has the tags of KIP-951 in all flexible versions, Kafka from 10 on
				want = withoutHints(p)
			}
			require.Equal(t, want.AppendTo(nil), appendProduceResponse(nil, p), "Produce %d", v)
		}
		f := drawFetchResponse(t)
		for _, v := range versionsOf(keyFetch) {
			f.SetVersion(v)
			brokers := f.Brokers
			if v < 16 { // likewise
				f.Brokers = nil
			}
			for _, copies := range []bool{false, true} {
				state := fetchState{copies: copies}
				r := &wire.Reply{Buf: make([]byte, 4, 8)}
				require.NoError(t, state.encode(r, f))
				got := append([]byte(nil), r.Buf...)
				for _, piece := range r.Pieces {
					got = append(got, piece...)
				}
				require.Equal(t, f.AppendTo(make([]byte, 4)), got, "Fetch %d", v)
				require.True(t, !copies || len(r.Pieces) == 0)
			}
			f.Brokers = brokers
		}
	})
}

// withoutHints is a copy of an answer without what KIP-951 added.
func withoutHints(p *kmsg.ProduceResponse) kmsg.ProduceResponse {
	out := *p
	out.Brokers, out.Topics = nil, slices.Clone(p.Topics)
	for i := range out.Topics {
		t := &out.Topics[i]
		t.Partitions = slices.Clone(t.Partitions)
		for j := range t.Partitions {
			t.Partitions[j].CurrentLeader = kmsg.NewProduceResponseTopicPartitionCurrentLeader()
		}
	}
	return out
}

func drawText(t *rapid.T, name string) string { return rapid.StringN(0, 5, 10).Draw(t, name) }

func drawNull(t *rapid.T, name string) *string {
	if rapid.Bool().Draw(t, name+" is null") {
		return nil
	}
	s := drawText(t, name)
	return &s
}

func drawTags(t *rapid.T) (tags kmsg.Tags) {
	if rapid.IntRange(0, 9).Draw(t, "tags") == 0 {
		tags.Set(uint32(rapid.IntRange(200, 300).Draw(t, "tag")), []byte(drawText(t, "value")))
	}
	return tags
}

func drawProduceResponse(t *rapid.T) *kmsg.ProduceResponse {
	r := kmsg.NewPtrProduceResponse()
	r.ThrottleMillis = rapid.Int32().Draw(t, "throttle")
	r.UnknownTags = drawTags(t)
	for range rapid.IntRange(0, 3).Draw(t, "topics") {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = drawText(t, "topic")
		rt.TopicID[3] = rapid.Byte().Draw(t, "id")
		rt.UnknownTags = drawTags(t)
		for range rapid.IntRange(0, 3).Draw(t, "partitions") {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = rapid.Int32().Draw(t, "partition"), rapid.Int16().Draw(t, "code")
			rp.BaseOffset, rp.LogAppendTime, rp.LogStartOffset = rapid.Int64().Draw(t, "base"), rapid.Int64().Draw(t, "time"), rapid.Int64().Draw(t, "start")
			rp.ErrorMessage = drawNull(t, "message")
			rp.UnknownTags = drawTags(t)
			if rapid.Bool().Draw(t, "moved") {
				rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = rapid.Int32Range(-1, 5).Draw(t, "leader"), rapid.Int32Range(-1, 5).Draw(t, "epoch")
			}
			for range rapid.IntRange(0, 2).Draw(t, "errors") {
				e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
				e.RelativeOffset, e.ErrorMessage, e.UnknownTags = rapid.Int32().Draw(t, "record"), drawNull(t, "message"), drawTags(t)
				rp.ErrorRecords = append(rp.ErrorRecords, e)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		r.Topics = append(r.Topics, rt)
	}
	for range rapid.IntRange(0, 2).Draw(t, "brokers") {
		b := kmsg.NewProduceResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = rapid.Int32().Draw(t, "id"), drawText(t, "host"), rapid.Int32().Draw(t, "port"), drawNull(t, "rack")
		r.Brokers = append(r.Brokers, b)
	}
	return r
}

func drawFetchResponse(t *rapid.T) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchResponse()
	r.ThrottleMillis, r.ErrorCode, r.SessionID = rapid.Int32().Draw(t, "throttle"), rapid.Int16().Draw(t, "code"), rapid.Int32().Draw(t, "session")
	r.UnknownTags = drawTags(t)
	for range rapid.IntRange(0, 3).Draw(t, "topics") {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic = drawText(t, "topic")
		rt.TopicID[3] = rapid.Byte().Draw(t, "id")
		rt.UnknownTags = drawTags(t)
		for range rapid.IntRange(0, 3).Draw(t, "partitions") {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.ErrorCode = rapid.Int32().Draw(t, "partition"), rapid.Int16().Draw(t, "code")
			rp.HighWatermark, rp.LastStableOffset = rapid.Int64().Draw(t, "mark"), rapid.Int64().Draw(t, "stable")
			rp.LogStartOffset, rp.PreferredReadReplica = rapid.Int64().Draw(t, "start"), rapid.Int32().Draw(t, "replica")
			rp.UnknownTags = drawTags(t)
			if rapid.Bool().Draw(t, "moved") {
				rp.CurrentLeader.LeaderID, rp.CurrentLeader.LeaderEpoch = rapid.Int32Range(-1, 5).Draw(t, "leader"), rapid.Int32Range(-1, 5).Draw(t, "epoch")
			}
			if rapid.Bool().Draw(t, "diverges") {
				rp.DivergingEpoch.Epoch, rp.DivergingEpoch.EndOffset = rapid.Int32Range(-1, 5).Draw(t, "epoch"), rapid.Int64Range(-1, math.MaxInt64).Draw(t, "end")
			}
			if rapid.Bool().Draw(t, "committed") {
				rp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
				for range rapid.IntRange(0, 2).Draw(t, "aborted") {
					a := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
					a.ProducerID, a.FirstOffset, a.UnknownTags = rapid.Int64().Draw(t, "producer"), rapid.Int64().Draw(t, "first"), drawTags(t)
					rp.AbortedTransactions = append(rp.AbortedTransactions, a)
				}
			}
			if rapid.Bool().Draw(t, "records") {
				rp.RecordBatches = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "batches")
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		r.Topics = append(r.Topics, rt)
	}
	for range rapid.IntRange(0, 2).Draw(t, "brokers") {
		b := kmsg.NewFetchResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = rapid.Int32().Draw(t, "id"), drawText(t, "host"), rapid.Int32().Draw(t, "port"), drawNull(t, "rack")
		r.Brokers = append(r.Brokers, b)
	}
	return r
}
