package kafka

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// rig is a ground that is asked without sockets: requests are encoded by kmsg, go through Frame, and their
// answers are decoded by kmsg. Time stands still.
type rig struct {
	*ground
	clock *clock.Manual
}

// rigStart is a time at which all tests begin.
var rigStart = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func newRig(t testing.TB, brokers int, c Config) *rig {
	t.Helper()
	return newRigOn(t, terms{brokers: brokers, server: c})
}

// newRigOn is a rig on terms of its own.
func newRigOn(t testing.TB, terms terms) *rig {
	t.Helper()
	k := clock.NewManual(rigStart)
	terms.store.Clock = k
	return &rig{newGround(t, terms), k}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// session is a connection to a broker's first listener.
func (r *rig) session(broker int32) *session {
	return r.newSession(broker, 99, 4711)
}

func (r *rig) topic(name string, c partition.TopicConfig) *partition.Topic {
	r.t.Helper()
	return r.createTopic(name, c)
}

var errNoAnswer = errors.New("no answer")

// try sends a request in a version and returns the answer, errNoAnswer if there is none, or why the connection closes.
func try(ctx context.Context, s *session, version int16, req kmsg.Request) (kmsg.Response, error) {
	req.SetVersion(version)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("rig")).AppendRequest(nil, req, 7)[4:]
	reply, err := s.Frame(ctx, frame)
	settleAfter(s.server, req)
	if err != nil {
		return nil, err
	}
	if reply == nil {
		return nil, errNoAnswer
	}
	whole := append([]byte(nil), reply.Buf[4:]...)
	for _, p := range reply.Pieces {
		whole = append(whole, p...)
	}
	if reply.Release != nil {
		reply.Release()
	}
	if len(whole) < 4 || whole[3] != 7 {
		return nil, errors.New("another correlation id")
	}
	whole = whole[4:]
	resp := req.ResponseKind()
	resp.SetVersion(version)
	if resp.IsFlexible() && req.Key() != keyApiVersions {
		if whole[0] != 0 {
			return nil, errors.New("tags in the header")
		}
		whole = whole[1:]
	}
	if err := resp.ReadFrom(whole); err != nil {
		return nil, err
	}
	if again := resp.AppendTo(nil); string(again) != string(whole) {
		return nil, errors.New("the answer has other bytes than kmsg would write")
	}
	return resp, nil
}

// put is try for a request that has an answer.
func put[R kmsg.Response](r *rig, s *session, version int16, req kmsg.Request) R {
	r.t.Helper()
	resp, err := try(r.t.Context(), s, version, req)
	require.NoError(r.t, err)
	return resp.(R)
}

// records builds one batch with a record for each value; its timestamps are the rig's time.
func records(o batch.Options, values ...string) []byte {
	var w batch.Builder
	w.Reset(nil, o)
	for _, v := range values {
		w.Append(rigStart.UnixMilli(), []byte("key"), []byte(v), nil)
	}
	b, err := w.Finish()
	if err != nil {
		panic(err)
	}
	return b
}

// produce is a Produce request of one batch for one partition.
func produceOf(topic string, p int32, acks int16, b []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 5000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = p, b
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// byID makes a request of names one of topic ids, as from version 13 on.
func (r *rig) byID(req *kmsg.ProduceRequest) *kmsg.ProduceRequest {
	for i := range req.Topics {
		if t, err := r.store.Topic(req.Topics[i].Topic); err == nil {
			req.Topics[i].TopicID = t.ID()
		}
	}
	return req
}

// produced sends a batch and returns the answer about its partition.
func (r *rig) produced(s *session, version int16, req *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
	r.t.Helper()
	resp := put[*kmsg.ProduceResponse](r, s, version, r.byID(req))
	require.Len(r.t, resp.Topics, 1)
	require.Len(r.t, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

// fetchOf is a Fetch request that does not wait.
func (r *rig) fetchOf(offset int64, tps ...partition.TopicPartition) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes = 1, 1<<20
	for _, tp := range tps {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != tp.Topic {
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic = tp.Topic
			if t, err := r.store.Topic(tp.Topic); err == nil {
				rt.TopicID = t.ID()
			}
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = tp.Partition, offset, 1<<20
		rt := &req.Topics[len(req.Topics)-1]
		rt.Partitions = append(rt.Partitions, rp)
	}
	return req
}

// fetched sends a Fetch and returns what it says of partitions.
func (r *rig) fetched(s *session, version int16, req *kmsg.FetchRequest) (*kmsg.FetchResponse, []kmsg.FetchResponseTopicPartition) {
	r.t.Helper()
	resp := put[*kmsg.FetchResponse](r, s, version, req)
	var all []kmsg.FetchResponseTopicPartition
	for _, t := range resp.Topics {
		all = append(all, t.Partitions...)
	}
	return resp, all
}

// versionsOf is the range that is served of an API.
func versionsOf(key int16) (vs []int16) {
	for v := apis[key].floor; v <= apis[key].Max; v++ {
		vs = append(vs, v)
	}
	return vs
}
