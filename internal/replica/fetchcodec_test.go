package replica

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAFetchRequestIsTheSameAfterTheWire(t *testing.T) {
	a, b := TopicID{1}, TopicID{2}
	req := &FetchRequest{Node: 3, BrokerEpoch: 77, SessionID: 9, SessionEpoch: 4, MaxWait: 500 * time.Millisecond, MinBytes: 1, MaxBytes: 10 << 20,
		Partitions: []FetchPartition{
			{TopicPartition{Topic: a, Index: 0}, Position{Offset: 5, LastEpoch: 2, LeaderEpoch: 3, LogStart: 1, HighWatermark: 4, MaxBytes: 1 << 20}},
			{TopicPartition{Topic: a, Index: 7}, Position{Offset: 0, LastEpoch: NoEpoch, LeaderEpoch: 3, LogStart: 0, HighWatermark: -1, MaxBytes: 1 << 20}},
			{TopicPartition{Topic: b, Index: 0}, Position{Offset: 1 << 40, LastEpoch: 1, LeaderEpoch: 1, LogStart: 1 << 39, HighWatermark: 1 << 40, MaxBytes: 5}},
		},
		Forgotten: []TopicPartition{{Topic: a, Index: 1}, {Topic: a, Index: 2}, {Topic: b, Index: 3}}}
	var scratch kmsg.FetchRequest
	AppendFetchRequest(nil, &FetchRequest{Node: 1, Partitions: req.Partitions[:2], Forgotten: req.Forgotten[:1]}, &scratch)
	body := AppendFetchRequest([]byte("head"), req, &scratch)
	require.Equal(t, AppendFetchRequest(nil, req, nil), body[4:], "whatever the scratch was used for")
	got := FetchRequest{Partitions: make([]FetchPartition, 5)}
	require.NoError(t, ReadFetchRequest(&got, body[4:]))
	require.Equal(t, req, &got)

	require.ErrorIs(t, ReadFetchRequest(&got, body[4:len(body)-3]), ErrMalformedFetch)
	require.ErrorIs(t, ReadFetchRequest(&got, AppendFetchRequest(nil, &FetchRequest{Node: -1}, nil)), ErrMalformedFetch)
}

// whole puts the records where they belong.
func whole(b []byte, cuts []Cut) []byte {
	var out []byte
	from := 0
	for _, c := range cuts {
		out = append(append(out, b[from:c.At]...), c.Records...)
		from = c.At
	}
	return append(out, b[from:]...)
}

func TestAFetchResponseIsTheSameAfterTheWire(t *testing.T) {
	a, b := TopicID{1}, TopicID{2}
	resp := &FetchResponse{SessionID: 9}
	for i, answer := range []Answer{
		{HighWatermark: 7, LogStart: 1, Records: make([]byte, 300)},
		{HighWatermark: 8, LogStart: 2},
		{HighWatermark: 9, LogStart: 3, Records: []byte("abc")},
		refusal(UnknownLeaderEpoch),
		{HighWatermark: 7, LogStart: 1, DivergingEpoch: 4, DivergingEnd: 66},
		{Code: OffsetOutOfRange, HighWatermark: -1, LogStart: 12, LogEnd: math.MaxInt64 - 1},
		{Code: FencedLeaderEpoch, HighWatermark: -1, LogStart: -1, LogEnd: -1, Leader: 4, LeaderEpoch: 9},
	} {
		if answer.Code == None {
			answer.LogEnd, answer.Leader, answer.LeaderEpoch = -1, NoNode, NoEpoch
			if answer.DivergingEnd == 0 {
				answer.DivergingEpoch, answer.DivergingEnd = NoEpoch, NoOffset
			}
		} else if answer.Code != UnknownLeaderEpoch {
			answer.DivergingEpoch, answer.DivergingEnd = NoEpoch, NoOffset
			if answer.Leader == 0 {
				answer.Leader, answer.LeaderEpoch = NoNode, NoEpoch
			}
		}
		topic := a
		if i > 3 {
			topic = b
		}
		resp.Partitions = append(resp.Partitions, FetchAnswer{TopicPartition{Topic: topic, Index: int32(i)}, answer})
	}
	body, cuts := AppendFetchResponse([]byte("head"), nil, resp)
	require.Len(t, cuts, 2)
	require.Same(t, &resp.Partitions[0].Records[0], &cuts[0].Records[0], "records are not copied")
	wire := whole(body, cuts)[4:]
	var got FetchResponse
	require.NoError(t, ReadFetchResponse(&got, wire))
	for i := range got.Partitions {
		if len(got.Partitions[i].Records) == 0 {
			got.Partitions[i].Records = nil
		}
	}
	require.Equal(t, resp, &got)

	// It is what a client of Kafka's protocol reads.
	k := kmsg.NewPtrFetchResponse()
	k.Version = FetchVersion
	require.NoError(t, k.ReadFrom(wire))
	require.Equal(t, wire, k.AppendTo(nil))

	require.ErrorIs(t, ReadFetchResponse(&got, wire[:len(wire)-9]), ErrMalformedFetch)
}

func TestARefusedSessionIsTheSameAfterTheWire(t *testing.T) {
	body, cuts := AppendFetchResponse(nil, nil, &FetchResponse{Code: InvalidFetchSessionEpoch})
	require.Empty(t, cuts)
	var got FetchResponse
	require.NoError(t, ReadFetchResponse(&got, body))
	require.Equal(t, InvalidFetchSessionEpoch, got.Code)
	require.Empty(t, got.Partitions)
}

func FuzzReadFetch(f *testing.F) {
	f.Add(AppendFetchRequest(nil, full(2, 1, 3), nil))
	body, cuts := AppendFetchResponse(nil, nil, &FetchResponse{SessionID: 3, Partitions: []FetchAnswer{{partition(1), Answer{Records: []byte("abc")}}}})
	f.Add(whole(body, cuts))
	f.Fuzz(func(t *testing.T, b []byte) {
		var req FetchRequest
		if ReadFetchRequest(&req, b) == nil {
			var again FetchRequest
			require.NoError(t, ReadFetchRequest(&again, AppendFetchRequest(nil, &req, nil)))
			require.Equal(t, req, again)
		}
		var resp FetchResponse
		if ReadFetchResponse(&resp, b) == nil {
			var again FetchResponse
			require.NoError(t, ReadFetchResponse(&again, whole(AppendFetchResponse(nil, nil, &resp))))
			require.Equal(t, len(resp.Partitions), len(again.Partitions))
		}
	})
}
