package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

func tpOf(topic string, p int32) partition.TopicPartition {
	return partition.TopicPartition{Topic: topic, Partition: p}
}

// fill appends n batches of one record.
func (r *rig) fill(topic string, p int32, n int) {
	r.t.Helper()
	for range n {
		_, err := r.backend.Append(r.t.Context(), partition.AppendRequest{TopicPartition: tpOf(topic, p), Batch: records(batch.Options{}, "value")})
		require.NoError(r.t, err)
	}
}

// In every version the answer has whole batches, just as they are in the log, and the offsets around them.
func TestFetchReturnsBatchesInEveryVersion(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{Partitions: 2})
	r.fill("orders", 1, 5)
	_, err := r.backend.DeleteRecords(t.Context(), tpOf("orders", 1), 1)
	require.NoError(t, err)
	for _, v := range versionsOf(keyFetch) {
		resp, ps := r.fetched(r.session(1), v, r.fetchOf(2, tpOf("orders", 1)))
		require.Zero(t, resp.ErrorCode)
		require.Len(t, ps, 1)
		p := ps[0]
		require.Equal(t, []int64{0, 5, 5}, []int64{int64(p.ErrorCode), p.HighWatermark, p.LastStableOffset})
		if v >= 5 {
			require.Equal(t, int64(1), p.LogStartOffset)
		}
		require.Equal(t, int32(-1), p.PreferredReadReplica)
		require.Nil(t, p.AbortedTransactions, "read_uncommitted")
		first, err := batch.Peek(p.RecordBatches)
		require.NoError(t, err)
		require.Equal(t, []int64{2, 3}, []int64{first.BaseOffset(), int64(len(p.RecordBatches) / len(first))})
		require.NoError(t, first.CheckCRC())
	}
}

// An answer without records has empty records, not null, and read_committed an empty list of aborted transactions.
func TestFetchAtTheEndHasNoNulls(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	r.fill("orders", 0, 3)
	for _, v := range versionsOf(keyFetch) {
		req := r.fetchOf(3, tpOf("orders", 0))
		req.IsolationLevel = 1
		_, ps := r.fetched(r.session(1), v, req)
		require.NotNil(t, ps[0].RecordBatches)
		require.Empty(t, ps[0].RecordBatches)
		require.NotNil(t, ps[0].AbortedTransactions)
		require.Empty(t, ps[0].AbortedTransactions)
	}
}

func TestFetchErrorsOfPartitions(t *testing.T) {
	r := newRig(t, 2, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	for _, id := range []int32{1, 2} { // so that there is an older epoch
		require.NoError(t, r.server.MoveLeader(t.Context(), tpOf("orders", 0), id))
	}
	r.fill("orders", 0, 3)
	epoch := r.epoch(topic, 0)
	for _, c := range []struct {
		name   string
		broker int32
		tp     partition.TopicPartition
		offset int64
		epoch  int32
		from   int16 // the first version that can say it
		want   int16
	}{
		{"below the log", 2, tpOf("orders", 0), -5, -1, 4, codeOffsetOutOfRange},
		{"beyond the log", 2, tpOf("orders", 0), 4, -1, 4, codeOffsetOutOfRange},
		{"an unknown topic", 2, tpOf("nowhere", 0), 0, -1, 4, codeUnknownTopicOrPartition},
		{"an unknown partition", 2, tpOf("orders", 1), 0, -1, 4, codeUnknownTopicOrPartition},
		{"an old epoch", 2, tpOf("orders", 0), 0, epoch - 1, 9, codeFencedLeaderEpoch},
		{"a new epoch", 2, tpOf("orders", 0), 0, epoch + 1, 9, codeUnknownLeaderEpoch},
		{"the epoch", 2, tpOf("orders", 0), 0, epoch, 9, codeNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range versionsOf(keyFetch) {
				if v < c.from {
					continue
				}
				req := r.fetchOf(c.offset, c.tp)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = c.epoch
				want := c.want
				if v >= 13 && c.tp.Topic == "nowhere" {
					want = codeUnknownTopicID
				}
				_, ps := r.fetched(r.session(c.broker), v, req)
				p := ps[0]
				require.Equal(t, want, p.ErrorCode, "version %d", v)
				if want == codeNone {
					continue
				}
				require.Equal(t, []int64{-1, -1, -1}, []int64{p.HighWatermark, p.LastStableOffset, p.LogStartOffset})
				require.NotNil(t, p.RecordBatches)
				if want == codeFencedLeaderEpoch && v >= 16 {
					require.Equal(t, []int32{2, epoch}, []int32{p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch})
				} else {
					require.Equal(t, int32(-1), p.CurrentLeader.LeaderID)
				}
			}
		})
	}
}

// A broker without a replica refuses and says who leads (KIP-951); one with a replica lets consumers read from version 11 on
// (KIP-392).
func TestFetchFromABrokerThatDoesNotLead(t *testing.T) {
	r := newRig(t, 3, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	r.assign(topic, [][]int32{{2, 1}})
	r.fill("orders", 0, 3)
	for _, v := range versionsOf(keyFetch) {
		_, ps := r.fetched(r.session(1), v, r.fetchOf(0, tpOf("orders", 0)))
		require.Equal(t, v >= 11, ps[0].ErrorCode == codeNone)
		require.Equal(t, v >= 11, len(ps[0].RecordBatches) > 0)

		resp, ps := r.fetched(r.session(3), v, r.fetchOf(0, tpOf("orders", 0)))
		require.Equal(t, codeNotLeaderOrFollower, ps[0].ErrorCode)
		if v >= 16 {
			require.Equal(t, int32(2), ps[0].CurrentLeader.LeaderID)
			require.Len(t, resp.Brokers, 1)
			require.Equal(t, int32(2), resp.Brokers[0].NodeID)
		}
	}
}

// Kafka's broker, which has more to say of what it has looked at, says null there and an empty list elsewhere.
func TestFetchErrorsHaveNullOrNoAbortedTransactions(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	for _, v := range versionsOf(keyFetch) {
		_, ps := r.fetched(r.session(1), v, r.fetchOf(99, tpOf("orders", 0), tpOf("orders", 7), tpOf("nowhere", 0)))
		require.Equal(t, []bool{true, false, false}, []bool{ps[0].AbortedTransactions == nil, ps[1].AbortedTransactions == nil, ps[2].AbortedTransactions == nil})
	}
}

// Null says that nobody has looked for aborted transactions: where the next batch is cut off by the limit (and where the last
// epoch diverges, or a nearer replica is named, see there). Where there is no room at all, or nothing to read, the list is empty.
func TestFetchSaysNullForAbortedTransactionsWhereKafkaDoes(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{Partitions: 2})
	r.fill("orders", 0, 3)
	r.fill("orders", 1, 3)
	size := int32(len(records(batch.Options{}, "value")))
	a, b := tpOf("orders", 0), tpOf("orders", 1)
	for _, v := range versionsOf(keyFetch) {
		nulls := func(total, each int32) (out []bool) {
			req := r.fetchOf(0, a, b)
			req.IsolationLevel, req.MaxBytes = 1, total
			for i := range req.Topics {
				for j := range req.Topics[i].Partitions {
					req.Topics[i].Partitions[j].PartitionMaxBytes = each
				}
			}
			_, ps := r.fetched(r.session(1), v, req)
			require.NotEmpty(t, ps[0].RecordBatches)
			for _, p := range ps {
				require.Zero(t, p.ErrorCode)
				require.NotNil(t, p.RecordBatches)
				out = append(out, p.AbortedTransactions == nil)
			}
			return out
		}
		require.Equal(t, []bool{false, false}, nulls(1<<20, 1<<20))
		require.Equal(t, []bool{false, false}, nulls(size, 1<<20), "there is no room")
		require.Equal(t, []bool{false, true}, nulls(1<<20, 1), "the first partition gives a batch whatever the limit is, the second is cut off")
		require.Equal(t, []bool{false, true}, nulls(size+1, 1<<20))
		require.Equal(t, []bool{false, false}, nulls(1<<20, 0))
	}
}

// What is wrong with an offset is told although others have filled the answer; fewer bytes than none matter only to who could have some.
func TestFetchSaysWhatIsOutOfRangeInAFullAnswer(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{Partitions: 2})
	r.fill("orders", 0, 3)
	r.fill("orders", 1, 3)
	_, err := r.backend.DeleteRecords(t.Context(), tpOf("orders", 1), 2)
	require.NoError(t, err)
	for _, v := range versionsOf(keyFetch) {
		for _, isolation := range []int8{0, 1} {
			for offset, want := range []int16{codeOffsetOutOfRange, codeOffsetOutOfRange, codeNone, codeNone, codeOffsetOutOfRange} {
				req := r.fetchOf(0, tpOf("orders", 0), tpOf("orders", 1))
				req.MaxBytes, req.IsolationLevel = 1, isolation
				req.Topics[0].Partitions[1].FetchOffset = int64(offset)
				_, ps := r.fetched(r.session(1), v, req)
				require.NotEmpty(t, ps[0].RecordBatches)
				require.Equal(t, want, ps[1].ErrorCode, offset)
				require.Empty(t, ps[1].RecordBatches)
				req.Topics[0].Partitions[1].PartitionMaxBytes = -1
				if offset == 2 {
					want = codeUnknownServerError
				}
				_, ps = r.fetched(r.session(1), v, req)
				require.Equal(t, want, ps[1].ErrorCode, offset)
			}
		}
	}
}

// A follower has no business here.
func TestFetchAsAFollowerIsRefused(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	req := r.fetchOf(0, tpOf("orders", 0))
	req.ReplicaID = 7
	_, ps := r.fetched(r.session(1), 14, req)
	require.Equal(t, codeNotLeaderOrFollower, ps[0].ErrorCode)
	req = r.fetchOf(0, tpOf("orders", 0))
	req.ReplicaState.ID = 7
	_, ps = r.fetched(r.session(1), 15, req)
	require.Equal(t, codeNotLeaderOrFollower, ps[0].ErrorCode)
}

// A reader whose last record is of an epoch that ended before it learns where (KIP-320, KIP-595).
func TestFetchTellsWhereEpochsDiverge(t *testing.T) {
	r := newRig(t, 1, Config{})
	topic := r.topic("orders", partition.TopicConfig{})
	r.fill("orders", 0, 3)
	old := r.epoch(topic, 0)
	r.raise(tpOf("orders", 0))
	now := r.epoch(topic, 0)
	r.fill("orders", 0, 2)
	ask := func(v int16, offset int64, epoch int32) kmsg.FetchResponseTopicPartition {
		req := r.fetchOf(offset, tpOf("orders", 0))
		req.Topics[0].Partitions[0].LastFetchedEpoch, req.IsolationLevel = epoch, 1
		_, ps := r.fetched(r.session(1), v, req)
		return ps[0]
	}
	for v := int16(12); v <= apis[keyFetch].Max; v++ {
		p := ask(v, 4, old)
		require.Equal(t, []int64{0, int64(old), 3, 5}, []int64{int64(p.ErrorCode), int64(p.DivergingEpoch.Epoch), p.DivergingEpoch.EndOffset, p.HighWatermark})
		require.Empty(t, p.RecordBatches)
		require.Nil(t, p.AbortedTransactions, "nobody has looked")
		for _, same := range []struct {
			offset int64
			epoch  int32
		}{{3, old}, {4, now}, {2, old}} {
			p = ask(v, same.offset, same.epoch)
			require.Equal(t, []int64{0, -1, -1}, []int64{int64(p.ErrorCode), int64(p.DivergingEpoch.Epoch), p.DivergingEpoch.EndOffset})
			require.NotEmpty(t, p.RecordBatches)
			require.NotNil(t, p.AbortedTransactions)
		}
	}
}

// With Kafka's selector for racks a consumer is sent to an in-sync replica in its own (KIP-392).
func TestFetchNamesANearerReplica(t *testing.T) {
	r := newRigOn(t, terms{brokers: 3, racks: []string{"a", "b", "b"}, server: Config{Properties: map[string]string{"replica.selector.class": rackAware}}})
	topic := r.topic("orders", partition.TopicConfig{})
	r.assign(topic, [][]int32{{1, 2, 3}})
	r.fill("orders", 0, 3)
	r.without(tpOf("orders", 0), 2, 1, 3)
	for rack, want := range map[string]int32{"": -1, "a": -1, "b": 3, "c": -1} {
		req := r.fetchOf(0, tpOf("orders", 0))
		req.Rack, req.IsolationLevel = rack, 1
		_, ps := r.fetched(r.session(1), 16, req)
		require.Equal(t, want, ps[0].PreferredReadReplica, rack)
		require.Equal(t, want >= 0, len(ps[0].RecordBatches) == 0)
		require.Equal(t, want >= 0, ps[0].AbortedTransactions == nil)
		require.Equal(t, int64(3), ps[0].HighWatermark)
	}
}

// MaxBytes bounds the answer, but the first partition with data always gives a batch.
func TestFetchBounds(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{Partitions: 3})
	one := len(records(batch.Options{}, "value"))
	for i := range int32(3) {
		r.fill("orders", i, 4)
	}
	for _, c := range []struct{ all, each, want0, want1, want2 int }{
		{1 << 20, 1 << 20, 4, 4, 4},
		{1 << 20, 1, 1, 0, 0},
		{1, 1 << 20, 1, 0, 0},
		{6 * one, 1 << 20, 4, 2, 0},
		{1 << 20, 2 * one, 2, 2, 2},
	} {
		req := r.fetchOf(0, tpOf("orders", 0), tpOf("orders", 1), tpOf("orders", 2))
		req.MaxBytes = int32(c.all)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = int32(c.each)
		}
		_, ps := r.fetched(r.session(1), 12, req)
		require.Equal(t, []int{c.want0, c.want1, c.want2}, []int{len(ps[0].RecordBatches) / one, len(ps[1].RecordBatches) / one, len(ps[2].RecordBatches) / one})
	}
}

// A fetch waits until an append brings it MinBytes; nobody polls, as the clock stands still.
func TestFetchIsWokenByTheAppend(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	req := r.fetchOf(0, tpOf("orders", 0))
	req.MaxWaitMillis, req.MinBytes = 60_000, int32(len(records(batch.Options{}, "value"))+1)
	got := make(chan *kmsg.FetchResponse, 1)
	s := r.session(1)
	go func() {
		resp, err := try(context.Background(), s, 12, req)
		if err != nil {
			resp = (*kmsg.FetchResponse)(nil)
		}
		got <- resp.(*kmsg.FetchResponse)
	}()
	r.parked(1, got)
	r.fill("orders", 0, 1) // not enough
	r.parked(1, got)
	r.fill("orders", 0, 1)
	resp := <-got
	require.NotNil(t, resp)
	require.Equal(t, int64(2), resp.Topics[0].Partitions[0].HighWatermark)
}

// parked waits until so many fetches wait.
func (r *rig) parked(n int, got chan *kmsg.FetchResponse) {
	r.t.Helper()
	for r.store.Stats().ParkedFetches != n {
		select {
		case resp := <-got:
			require.Fail(r.t, "the fetch did not wait", "%v", resp)
		case <-time.After(time.Millisecond):
		}
	}
}

// A fetch that waits ends with MaxWait, with the leadership of the broker, and with its context (a shutdown).
func TestWaitingFetchesEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(r *rig, cancel func())
		want int16
	}{
		"when time is up":        {func(r *rig, _ func()) { r.clock.Advance(time.Minute) }, codeNone},
		"when the leader moves":  {func(r *rig, _ func()) { require.NoError(r.t, r.server.MoveLeader(r.t.Context(), tpOf("orders", 0), 2)) }, codeNotLeaderOrFollower},
		"when the topic goes":    {func(r *rig, _ func()) { require.NoError(r.t, r.backend.DeleteTopic(r.t.Context(), "orders")) }, codeUnknownTopicOrPartition},
		"when the server stops":  {func(_ *rig, cancel func()) { cancel() }, codeNone},
		"when a record is added": {func(r *rig, _ func()) { r.fill("orders", 0, 1) }, codeNone},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, Config{})
			topic := r.topic("orders", partition.TopicConfig{})
			r.assign(topic, [][]int32{{1}})
			req := r.fetchOf(0, tpOf("orders", 0))
			req.MaxWaitMillis = 60_000
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			got := make(chan *kmsg.FetchResponse, 1)
			s := r.session(1)
			go func() {
				resp, err := try(ctx, s, 10, req)
				if err != nil {
					resp = (*kmsg.FetchResponse)(nil)
				}
				got <- resp.(*kmsg.FetchResponse)
			}()
			r.parked(1, got)
			c.end(r, cancel)
			resp := <-got
			require.NotNil(t, resp)
			require.Equal(t, c.want, resp.Topics[0].Partitions[0].ErrorCode)
		})
	}
}

// Clients that do not know zstd get what comes before it, and then an error (KIP-110).
func TestFetchBelowVersion10HasNoZstd(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	r.fill("orders", 0, 2)
	_, err := r.backend.Append(t.Context(), partition.AppendRequest{TopicPartition: tpOf("orders", 0), Batch: records(batch.Options{Codec: partition.CodecZstd}, string(make([]byte, 500)))})
	require.NoError(t, err)
	for _, v := range versionsOf(keyFetch) {
		_, ps := r.fetched(r.session(1), v, r.fetchOf(0, tpOf("orders", 0)))
		first, err := batch.Peek(ps[0].RecordBatches)
		require.NoError(t, err)
		require.Equal(t, v >= 10, len(ps[0].RecordBatches) > 2*len(first), "version %d", v)
		_, ps = r.fetched(r.session(1), v, r.fetchOf(2, tpOf("orders", 0)))
		want := codeNone
		if v < 10 {
			want = codeUnsupportedCompressionType
		}
		require.Equal(t, want, ps[0].ErrorCode)
		require.Equal(t, v >= 10, len(ps[0].RecordBatches) > 0)
	}
	require.Zero(t, r.store.Stats().Total.Leases)
}

// A reader of committed records stops at the last stable offset, and learns which producers to skip.
func TestFetchReadCommitted(t *testing.T) {
	r := newRig(t, 1, Config{})
	r.topic("orders", partition.TopicConfig{})
	id, err := r.backend.InitProducerID(t.Context(), "txn", time.Minute, partition.NoProducerID)
	require.NoError(t, err)
	append := func() {
		_, err := r.backend.Append(t.Context(), partition.AppendRequest{TopicPartition: tpOf("orders", 0), TransactionalID: "txn",
			Batch: records(batch.Options{Idempotent: true, Transactional: true, ProducerID: id.ID, Epoch: id.Epoch}, "value")})
		require.NoError(t, err)
	}
	append()
	_, err = r.backend.EndTxn(t.Context(), "txn", id, false)
	require.NoError(t, err)
	id, err = r.backend.InitProducerID(t.Context(), "txn", time.Minute, partition.NoProducerID) // behind the marker
	require.NoError(t, err)
	r.fill("orders", 0, 1)
	append()
	for _, v := range versionsOf(keyFetch) {
		req := r.fetchOf(0, tpOf("orders", 0))
		req.IsolationLevel = 1
		_, ps := r.fetched(r.session(1), v, req)
		p := ps[0]
		require.Equal(t, []int64{4, 3}, []int64{p.HighWatermark, p.LastStableOffset})
		require.Len(t, p.AbortedTransactions, 1)
		require.Equal(t, []int64{id.ID, 0}, []int64{p.AbortedTransactions[0].ProducerID, p.AbortedTransactions[0].FirstOffset})
	}
}
