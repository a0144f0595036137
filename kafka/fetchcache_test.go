package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// sessionFetch is a Fetch within a session.
func (r *rig) sessionFetch(id, epoch int32, offset int64, tps ...partition.TopicPartition) *kmsg.FetchRequest {
	req := r.fetchOf(offset, tps...)
	req.SessionID, req.SessionEpoch = id, epoch
	return req
}

// partitionsOf is which partitions an answer tells of.
func partitionsOf(ps []kmsg.FetchResponseTopicPartition) (out []int32) {
	for _, p := range ps {
		out = append(out, p.Partition)
	}
	return out
}

// The life of a fetch session (KIP-227), with names and with ids: begun by a full fetch, then only changes are said in both
// directions, partitions with data going to the end of the list, until it is closed.
func TestFetchSessionTellsWhatHasChanged(t *testing.T) {
	for _, v := range []int16{7, 11, 12, 13, 16, 18} {
		r := newRig(t, 1, Config{})
		r.topic("a", partition.TopicConfig{Partitions: 3})
		r.topic("b", partition.TopicConfig{})
		s := r.session(1)
		all := []partition.TopicPartition{tpOf("a", 0), tpOf("a", 1), tpOf("a", 2)}

		resp, ps := r.fetched(s, v, r.sessionFetch(0, 0, 0, all...))
		require.Zero(t, resp.ErrorCode)
		require.NotZero(t, resp.SessionID)
		require.Equal(t, []int32{0, 1, 2}, partitionsOf(ps), "a full fetch tells of everything")
		id := resp.SessionID

		resp, ps = r.fetched(s, v, r.sessionFetch(id, 1, 0))
		require.Equal(t, id, resp.SessionID)
		require.Empty(t, ps, "nothing has changed")

		r.fill("a", 1, 1)
		_, ps = r.fetched(s, v, r.sessionFetch(id, 2, 0))
		require.Equal(t, []int32{1}, partitionsOf(ps))
		require.NotEmpty(t, ps[0].RecordBatches)

		// From another connection, with an offset moved on and a partition more.
		_, ps = r.fetched(r.session(1), v, r.sessionFetch(id, 3, 1, tpOf("a", 1)))
		require.Empty(t, ps)
		r.fill("a", 0, 1)
		r.fill("a", 1, 1)
		_, ps = r.fetched(s, v, r.sessionFetch(id, 4, 0, tpOf("b", 0)))
		require.Equal(t, []int32{0, 1, 0}, partitionsOf(ps), "a-0, a-1 and, new, b-0")

		// What had data last is tried last.
		r.fill("a", 2, 1)
		_, ps = r.fetched(s, v, r.sessionFetch(id, 5, 0))
		require.Equal(t, []int32{2, 0, 1}, partitionsOf(ps))

		// Forgotten partitions are not told of.
		req := r.sessionFetch(id, 6, 0)
		for _, tp := range all {
			f := kmsg.NewFetchRequestForgottenTopic()
			f.Topic, f.Partitions = tp.Topic, []int32{tp.Partition}
			topic, err := r.store.Topic(tp.Topic)
			require.NoError(t, err)
			f.TopicID = topic.ID()
			req.ForgottenTopics = append(req.ForgottenTopics, f)
		}
		_, ps = r.fetched(s, v, req)
		require.Empty(t, ps)

		// An error is told each time, and its end as well.
		require.NoError(t, r.server.MoveLeader(t.Context(), tpOf("b", 0), 1))
		require.NoError(t, r.backend.DeleteTopic(t.Context(), "b"))
		for epoch := int32(7); epoch < 9; epoch++ {
			_, ps = r.fetched(s, v, r.sessionFetch(id, epoch, 0))
			require.Len(t, ps, 1)
			require.NotZero(t, ps[0].ErrorCode)
		}
		if v < 13 {
			r.topic("b", partition.TopicConfig{})
			_, ps = r.fetched(s, v, r.sessionFetch(id, 9, 0))
			require.Len(t, ps, 1)
			require.Zero(t, ps[0].ErrorCode)
		}

		require.Equal(t, 1, r.server.Stats().FetchSessions)
		resp, _ = r.fetched(s, v, r.sessionFetch(id, -1, 0, tpOf("a", 0))) // closes it, and fetches all the same
		require.Zero(t, resp.SessionID)
		require.Zero(t, r.server.Stats().FetchSessions)
	}
}

// What an old version does not have is not taken from the request before it on the connection: it would end its session.
func TestAFetchWithoutSessionsLeavesSessionsAlone(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("a", partition.TopicConfig{})
	s := r.session(1)
	resp, _ := r.fetched(s, 12, r.sessionFetch(0, 0, 0, tpOf("a", 0)))
	id := resp.SessionID
	r.fetched(s, 12, r.sessionFetch(id, 1, 0))
	r.fetched(s, 6, r.sessionFetch(0, 0, 0, tpOf("a", 0)))
	resp, _ = r.fetched(s, 12, r.sessionFetch(id, 2, 0))
	require.Zero(t, resp.ErrorCode)
	require.Equal(t, id, resp.SessionID)
}

func TestFetchSessionErrors(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("a", partition.TopicConfig{})
	s := r.session(1)
	resp, _ := r.fetched(s, 12, r.sessionFetch(0, 0, 0, tpOf("a", 0)))
	id := resp.SessionID
	for _, c := range []struct {
		id, epoch int32
		version   int16
		want      int16
	}{
		{id + 1, 1, 12, codeFetchSessionIDNotFound},
		{0, 1, 12, codeFetchSessionIDNotFound},
		{id, 2, 12, codeInvalidFetchSessionEpoch},
		{id, 1, 13, codeFetchSessionTopicIDError},
		{id, 1, 12, codeNone},
		{id, 1, 12, codeInvalidFetchSessionEpoch}, // again
	} {
		resp, ps := r.fetched(s, c.version, r.sessionFetch(c.id, c.epoch, 0))
		require.Equal(t, c.want, resp.ErrorCode)
		require.Empty(t, ps)
		if c.want != codeNone {
			require.Zero(t, resp.SessionID)
		}
	}
	// A session without a partition is none.
	req := r.sessionFetch(id, 2, 0)
	f := kmsg.NewFetchRequestForgottenTopic()
	f.Topic, f.Partitions = "a", []int32{0}
	req.ForgottenTopics = append(req.ForgottenTopics, f)
	resp, _ = r.fetched(s, 12, req)
	require.Zero(t, resp.SessionID)
	require.Zero(t, r.server.Stats().FetchSessions)
}

// The cache is bounded. A session makes room if it has not been used for two minutes, or if it is older than that and
// smaller than the one that wants its place; else the newcomer goes without.
func TestFetchSessionsMakeRoomAsKafkasDo(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"max.incremental.fetch.session.cache.slots": "2"}})
	r.topic("a", partition.TopicConfig{Partitions: 4})
	s := r.session(1)
	begin := func(partitions int32) int32 {
		var tps []partition.TopicPartition
		for i := range partitions {
			tps = append(tps, tpOf("a", i))
		}
		resp, ps := r.fetched(s, 12, r.sessionFetch(0, 0, 0, tps...))
		require.Len(t, ps, int(partitions), "without a session it fetches all the same")
		return resp.SessionID
	}
	use := func(id, epoch int32) int16 {
		resp, _ := r.fetched(s, 12, r.sessionFetch(id, epoch, 0))
		return resp.ErrorCode
	}
	small, large := begin(1), begin(2)
	require.NotZero(t, small)
	require.NotZero(t, large)
	require.Zero(t, begin(4), "both are young")

	r.clock.Advance(evictAfter + time.Second)
	require.Zero(t, use(small, 1))
	require.Zero(t, use(large, 1))
	require.Zero(t, begin(1), "none is smaller, and both are in use")
	third := begin(2)
	require.NotZero(t, third)
	require.Equal(t, codeFetchSessionIDNotFound, use(small, 2))
	require.Zero(t, use(large, 2))

	r.clock.Advance(evictAfter + time.Second)
	require.Zero(t, use(large, 3))
	require.NotZero(t, begin(1), "the third has not been used for long")
	require.Equal(t, codeFetchSessionIDNotFound, use(third, 1))
	require.Equal(t, int64(2), r.server.Stats().Evicted)
	require.Equal(t, 2, r.server.Stats().FetchSessions)
}

// Without a place for sessions there are none, and nobody notices but by the bytes.
func TestNoSlotsNoFetchSessions(t *testing.T) {
	r := newRig(t, 1, Config{Properties: map[string]string{"max.incremental.fetch.session.cache.slots": "0"}})
	r.topic("a", partition.TopicConfig{})
	resp, ps := r.fetched(r.session(1), 12, r.sessionFetch(0, 0, 0, tpOf("a", 0)))
	require.Zero(t, resp.SessionID)
	require.Len(t, ps, 1)
}

// Two connections that use a session at the same time: the second is told that it is too late.
func TestFetchSessionIsUsedByOneAtATime(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("a", partition.TopicConfig{})
	first := r.session(1)
	resp, _ := r.fetched(first, 12, r.sessionFetch(0, 0, 0, tpOf("a", 0)))
	id := resp.SessionID
	req := r.sessionFetch(id, 1, 0)
	req.MaxWaitMillis = 60_000
	got := make(chan *kmsg.FetchResponse, 1)
	go func() {
		resp, err := try(t.Context(), first, 12, req)
		if err != nil {
			resp = (*kmsg.FetchResponse)(nil)
		}
		got <- resp.(*kmsg.FetchResponse)
	}()
	r.parked(1, got)
	resp, _ = r.fetched(r.session(1), 12, r.sessionFetch(id, 2, 0))
	require.Zero(t, resp.ErrorCode)
	r.fill("a", 0, 1)
	late := <-got
	require.NotNil(t, late)
	require.Equal(t, codeInvalidFetchSessionEpoch, late.ErrorCode)
	require.Empty(t, late.Topics)
	require.Zero(t, r.store.Stats().Total.Leases)
}
