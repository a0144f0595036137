package kafka

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

func runtimeYield() { runtime.Gosched() }

func initOf(id string, last partition.ProducerID) *kmsg.InitProducerIDRequest {
	return &kmsg.InitProducerIDRequest{TransactionalID: &id, TransactionTimeoutMillis: 60_000, ProducerID: last.ID, ProducerEpoch: last.Epoch}
}

// txnOf gives a transactional id a producer.
func txnOf(r *desk, v int16, id string) (string, partition.ProducerID) {
	r.t.Helper()
	resp := ask[*kmsg.InitProducerIDResponse](r, v, initOf(id, partition.NoProducerID))
	require.Zero(r.t, resp.ErrorCode)
	return id, partition.ProducerID{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}
}

func addOf(id string, p partition.ProducerID, topic string, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	return &kmsg.AddPartitionsToTxnRequest{TransactionalID: id, ProducerID: p.ID, ProducerEpoch: p.Epoch,
		Topics: []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: partitions}}}
}

func addCodes(resp *kmsg.AddPartitionsToTxnResponse) (codes []int16) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	return codes
}

func endOf(id string, p partition.ProducerID, commit bool) *kmsg.EndTxnRequest {
	return &kmsg.EndTxnRequest{TransactionalID: id, ProducerID: p.ID, ProducerEpoch: p.Epoch, Commit: commit}
}

func txnCommitOf(id, group string, p partition.ProducerID, partitions ...int32) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = id, group, p.ID, p.Epoch, -1
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic = "t"
	for _, i := range partitions {
		one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset = i, 100+int64(i)
		topic.Partitions = append(topic.Partitions, one)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// write appends one record of a producer's transaction to "t", as Produce of a client does that adds partitions itself or not.
func (r *desk) write(id string, p partition.ProducerID, part, sequence int32, added bool) error {
	var w batch.Builder
	w.Reset(nil, batch.Options{Transactional: true, ProducerID: p.ID, Epoch: p.Epoch, BaseSequence: sequence})
	w.Append(r.clock.Now().UnixMilli(), nil, []byte("x"), nil)
	b, err := w.Finish()
	require.NoError(r.t, err)
	_, err = r.backend.Append(r.t.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "t", Partition: part},
		Batch: b, Acks: partition.AcksAll, TransactionalID: id, TxnAdded: added, Foreign: true})
	return err
}

func TestProducerIDsInEveryVersion(t *testing.T) {
	r := coordinated(t, nil)
	seen := map[int64]bool{}
	for v := range int16(6) {
		resp := ask[*kmsg.InitProducerIDResponse](r, v, &kmsg.InitProducerIDRequest{ProducerID: -1, ProducerEpoch: -1})
		require.Zero(t, resp.ErrorCode)
		require.Zero(t, resp.ProducerEpoch)
		require.False(t, seen[resp.ProducerID])
		seen[resp.ProducerID] = true
		first := ask[*kmsg.InitProducerIDResponse](r, v, initOf("x", partition.NoProducerID))
		require.Zero(t, first.ErrorCode)
		require.EqualValues(t, v, first.ProducerEpoch, "each fences those before")
	}
}

func TestProducerIDsThatAreRefused(t *testing.T) {
	r := coordinated(t, map[string]string{"transaction.max.timeout.ms": "900000"})
	code := func(v int16, req *kmsg.InitProducerIDRequest) int16 {
		resp := ask[*kmsg.InitProducerIDResponse](r, v, req)
		require.EqualValues(t, -1, resp.ProducerID)
		require.EqualValues(t, -1, resp.ProducerEpoch)
		return resp.ErrorCode
	}
	require.Equal(t, codeInvalidRequest, code(5, initOf("", partition.NoProducerID)))
	require.Equal(t, codeInvalidRequest, code(5, initOf("x", partition.ProducerID{ID: 3, Epoch: -1})))
	require.Equal(t, codeInvalidRequest, code(3, initOf("x", partition.ProducerID{ID: -1, Epoch: 3})))
	for _, ms := range []int32{-1, 0, 900_001} {
		req := initOf("x", partition.NoProducerID)
		req.TransactionTimeoutMillis = ms
		require.Equal(t, codeInvalidTransactionTimeout, code(5, req), ms)
	}
	id, p := txnOf(r, 5, "x")
	txnOf(r, 5, id)
	require.Equal(t, codeProducerFenced, code(4, initOf(id, p)))
	require.Equal(t, codeInvalidProducerEpoch, code(3, initOf(id, p)), "which knows no other")
}

func TestAnOldClientsTransaction(t *testing.T) {
	r := coordinated(t, nil)
	for v := range int16(4) {
		id, p := txnOf(r, v, "x")
		require.ErrorIs(t, r.write(id, p, 0, 0, true), partition.ErrTransactionAbortable, "not added")
		require.Equal(t, []int16{0, 0}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, v, addOf(id, p, "t", 0, 1))))
		require.NoError(t, r.write(id, p, 0, 0, true))
		offsets := &kmsg.AddOffsetsToTxnRequest{TransactionalID: id, ProducerID: p.ID, ProducerEpoch: p.Epoch, Group: "g"}
		notAdded := ask[*kmsg.TxnOffsetCommitResponse](r, v, txnCommitOf(id, "g", p, 0))
		require.Equal(t, codeInvalidTxnState, notAdded.Topics[0].Partitions[0].ErrorCode)
		require.Equal(t, codeTransactionAbortable, ask[*kmsg.TxnOffsetCommitResponse](r, 4, txnCommitOf(id, "g", p, 0)).Topics[0].Partitions[0].ErrorCode)
		require.Zero(t, ask[*kmsg.AddOffsetsToTxnResponse](r, v, offsets).ErrorCode)
		require.Zero(t, ask[*kmsg.TxnOffsetCommitResponse](r, v, txnCommitOf(id, "g", p, 0)).Topics[0].Partitions[0].ErrorCode)
		require.Zero(t, ask[*kmsg.EndTxnResponse](r, v, endOf(id, p, true)).ErrorCode)
		for offsetsOf(r, 9, "g")["t-0"] != [2]int64{100, 0} {
			runtimeYield()
		}

		// The next one has the same epoch, and sequences go on.
		require.Equal(t, []int16{0}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, v, addOf(id, p, "t", 0))))
		require.NoError(t, r.write(id, p, 0, 1, true))
		require.Zero(t, ask[*kmsg.EndTxnResponse](r, v, endOf(id, p, false)).ErrorCode)
		require.Equal(t, codeInvalidTxnState, ask[*kmsg.EndTxnResponse](r, v, endOf(id, p, true)).ErrorCode)
	}
}

func TestANewClientsTransactionAddsItsPartitionsAndHasAnEpochOfItsOwn(t *testing.T) {
	r := coordinated(t, nil)
	id, p := txnOf(r, 5, "x")
	require.NoError(t, r.write(id, p, 0, 0, false))
	require.Zero(t, ask[*kmsg.TxnOffsetCommitResponse](r, 5, txnCommitOf(id, "g", p, 0)).Topics[0].Partitions[0].ErrorCode)
	ended := ask[*kmsg.EndTxnResponse](r, 5, endOf(id, p, true))
	require.Zero(t, ended.ErrorCode)
	require.Equal(t, []any{p.ID, p.Epoch + 1}, []any{ended.ProducerID, ended.ProducerEpoch})
	again := ask[*kmsg.EndTxnResponse](r, 5, endOf(id, p, true))
	require.Zero(t, again.ErrorCode, "its answer may have been lost")
	require.Equal(t, p.Epoch+1, again.ProducerEpoch)
	require.ErrorIs(t, r.write(id, p, 0, 1, false), partition.ErrInvalidProducerEpoch)
	for offsetsOf(r, 9, "g")["t-0"] != [2]int64{100, 0} {
		runtimeYield()
	}
}

func TestFencedProducersAreToldByVersion(t *testing.T) {
	r := coordinated(t, nil)
	id, p := txnOf(r, 5, "x")
	txnOf(r, 5, id)
	byVersion := func(v, from int16) int16 {
		if v < from {
			return codeInvalidProducerEpoch
		}
		return codeProducerFenced
	}
	for v := range int16(6) {
		require.Equal(t, byVersion(v, 2), ask[*kmsg.EndTxnResponse](r, v, endOf(id, p, true)).ErrorCode, "EndTxn %d", v)
		if v <= 3 {
			require.Equal(t, []int16{byVersion(v, 2)}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, v, addOf(id, p, "t", 0))), "AddPartitionsToTxn %d", v)
		}
		if v <= 4 {
			offsets := &kmsg.AddOffsetsToTxnRequest{TransactionalID: id, ProducerID: p.ID, ProducerEpoch: p.Epoch, Group: "g"}
			require.Equal(t, byVersion(v, 2), ask[*kmsg.AddOffsetsToTxnResponse](r, v, offsets).ErrorCode, "AddOffsetsToTxn %d", v)
		}
		require.Equal(t, codeInvalidProducerEpoch, ask[*kmsg.TxnOffsetCommitResponse](r, v, txnCommitOf(id, "g", p, 0)).Topics[0].Partitions[0].ErrorCode, "TxnOffsetCommit %d", v)
	}
	for _, end := range []*kmsg.EndTxnRequest{endOf("none", p, true), endOf(id, partition.ProducerID{ID: 12345}, true)} {
		require.Equal(t, codeInvalidProducerIDMapping, ask[*kmsg.EndTxnResponse](r, 5, end).ErrorCode)
	}
	require.Equal(t, codeInvalidRequest, ask[*kmsg.EndTxnResponse](r, 5, endOf("", p, true)).ErrorCode)
}

func TestOnePartitionThatIsRefusedKeepsAllOutOfTheTransaction(t *testing.T) {
	r := coordinated(t, nil)
	id, p := txnOf(r, 3, "x")
	require.Equal(t, []int16{codeOperationNotAttempted, codeUnknownTopicOrPartition}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, 3, addOf(id, p, "t", 0, 9))))
	require.Equal(t, []int16{codeTopicAuthorizationFailed}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, 3, addOf(id, p, "__consumer_offsets", 0))))
	require.Equal(t, codeInvalidTxnState, ask[*kmsg.EndTxnResponse](r, 4, endOf(id, p, true)).ErrorCode)
	require.Equal(t, []int16{codeInvalidRequest}, addCodes(ask[*kmsg.AddPartitionsToTxnResponse](r, 3, addOf("", p, "t", 0))))
}

func TestBrokersAddAndVerifyPartitionsOfSeveralTransactions(t *testing.T) {
	r := coordinated(t, nil)
	a, pa := txnOf(r, 5, "a")
	b, pb := txnOf(r, 5, "b")
	of := func(id string, p partition.ProducerID, verify bool) kmsg.AddPartitionsToTxnRequestTransaction {
		return kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: id, ProducerID: p.ID, ProducerEpoch: p.Epoch, VerifyOnly: verify,
			Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "t", Partitions: []int32{0, 1}}}}
	}
	codes := func(v int16, xs ...kmsg.AddPartitionsToTxnRequestTransaction) map[string][]int16 {
		resp := ask[*kmsg.AddPartitionsToTxnResponse](r, v, &kmsg.AddPartitionsToTxnRequest{Transactions: xs})
		require.Zero(t, resp.ErrorCode)
		out := map[string][]int16{}
		for _, x := range resp.Transactions {
			for _, p := range x.Topics[0].Partitions {
				out[x.TransactionalID] = append(out[x.TransactionalID], p.ErrorCode)
			}
		}
		return out
	}
	abortable := []int16{codeTransactionAbortable, codeTransactionAbortable}
	require.Equal(t, map[string][]int16{a: {0, 0}, b: abortable}, codes(4, of(a, pa, false), of(b, pb, true)))
	require.Equal(t, map[string][]int16{a: {0, 0}, b: {0, 0}}, codes(5, of(a, pa, true), of(b, pb, false)))
	require.Equal(t, map[string][]int16{"none": {codeInvalidProducerIDMapping, codeInvalidProducerIDMapping}}, codes(5, of("none", pa, true)))
	pa.Epoch--
	require.Equal(t, map[string][]int16{a: {codeProducerFenced, codeProducerFenced}}, codes(5, of(a, pa, true)))
}

func TestTxnOffsetCommitIsCheckedAgainstTheGroup(t *testing.T) {
	r := coordinated(t, nil)
	id, p := txnOf(r, 5, "x")
	j := stable(r, "g")
	code := func(v int16, generation int32, member string) int16 {
		req := txnCommitOf(id, "g", p, 0)
		req.Generation, req.MemberID = generation, member
		return ask[*kmsg.TxnOffsetCommitResponse](r, v, req).Topics[0].Partitions[0].ErrorCode
	}
	require.Equal(t, codeIllegalGeneration, code(5, 7, j.MemberID))
	require.Equal(t, codeUnknownMemberID, code(5, 1, "m"))
	require.Zero(t, code(5, 1, j.MemberID))
	require.Zero(t, code(5, -1, ""), "producers before KIP-447 do not say")
	newgen(r, "new", "m")
	req := txnCommitOf(id, "new", p, 0)
	req.Generation, req.MemberID = 0, "m"
	require.Equal(t, codeIllegalGeneration, ask[*kmsg.TxnOffsetCommitResponse](r, 5, req).Topics[0].Partitions[0].ErrorCode, "STALE_MEMBER_EPOCH is known from version 6 on")
	req = txnCommitOf(id, "none", p, 0, 9)
	req.Generation, req.MemberID = 3, "m"
	resp := ask[*kmsg.TxnOffsetCommitResponse](r, 5, req)
	require.Equal(t, []int16{codeUnknownTopicOrPartition, codeIllegalGeneration}, []int16{resp.Topics[0].Partitions[0].ErrorCode, resp.Topics[0].Partitions[1].ErrorCode})
	require.Equal(t, codeInvalidGroupID, ask[*kmsg.TxnOffsetCommitResponse](r, 5, txnCommitOf(id, "", p, 0)).Topics[0].Partitions[0].ErrorCode)
}

func TestTransactionsAreListedAndDescribed(t *testing.T) {
	r := coordinated(t, nil)
	id, p := txnOf(r, 5, "one")
	txnOf(r, 5, "two")
	require.NoError(t, r.write(id, p, 2, 0, false))
	require.NoError(t, r.write(id, p, 0, 0, false))
	r.clock.Advance(5 * time.Second)
	list := func(v int16, change func(*kmsg.ListTransactionsRequest)) (ids []string, unknown []string) {
		req := kmsg.NewPtrListTransactionsRequest()
		change(req)
		resp := ask[*kmsg.ListTransactionsResponse](r, v, req)
		require.Zero(t, resp.ErrorCode)
		for _, x := range resp.TransactionStates {
			ids = append(ids, x.TransactionalID+"/"+x.TransactionState)
		}
		return ids, resp.UnknownStateFilters
	}
	for v := range int16(3) {
		ids, unknown := list(v, func(*kmsg.ListTransactionsRequest) {})
		require.Equal(t, []string{"one/Ongoing", "two/Empty"}, ids)
		require.Empty(t, unknown)
		ids, unknown = list(v, func(q *kmsg.ListTransactionsRequest) { q.StateFilters = []string{"Ongoing", "Sleeping"} })
		require.Equal(t, []string{"one/Ongoing"}, ids)
		require.Equal(t, []string{"Sleeping"}, unknown)
		ids, _ = list(v, func(q *kmsg.ListTransactionsRequest) { q.StateFilters = []string{"Sleeping"} })
		require.Empty(t, ids)
		ids, _ = list(v, func(q *kmsg.ListTransactionsRequest) { q.ProducerIDFilters = []int64{p.ID} })
		require.Equal(t, []string{"one/Ongoing"}, ids)
	}
	for ms, n := range map[int64]int{0: 1, 4000: 1, 6000: 0, -1: 2} {
		ids, _ := list(1, func(q *kmsg.ListTransactionsRequest) { q.DurationFilterMillis = ms })
		require.Len(t, ids, n, ms)
	}
	pattern := "t.o"
	ids, _ := list(2, func(q *kmsg.ListTransactionsRequest) { q.TransactionalIDPattern = &pattern })
	require.Equal(t, []string{"two/Empty"}, ids)
	bad := "("
	require.Equal(t, codeInvalidRegularExpression, ask[*kmsg.ListTransactionsResponse](r, 2, &kmsg.ListTransactionsRequest{DurationFilterMillis: -1, TransactionalIDPattern: &bad}).ErrorCode)

	d := ask[*kmsg.DescribeTransactionsResponse](r, 0, &kmsg.DescribeTransactionsRequest{TransactionalIDs: []string{"one", "two", "none", ""}}).TransactionStates
	require.Equal(t, []any{int16(0), "Ongoing", int32(60_000), p.ID, p.Epoch}, []any{d[0].ErrorCode, d[0].State, d[0].TimeoutMillis, d[0].ProducerID, d[0].ProducerEpoch})
	require.Equal(t, r.clock.Now().Add(-5*time.Second).UnixMilli(), d[0].StartTimestamp)
	require.Equal(t, []int32{0, 2}, d[0].Topics[0].Partitions)
	require.EqualValues(t, -1, d[1].StartTimestamp)
	require.Equal(t, []int16{codeTransactionalIDNotFound, codeInvalidRequest}, []int16{d[2].ErrorCode, d[3].ErrorCode})
}

func TestProducersAreDescribedAndAHangingTransactionEnded(t *testing.T) {
	r := coordinated(t, nil)
	id, p := txnOf(r, 5, "x")
	require.NoError(t, r.write(id, p, 0, 0, false))
	describe := func() []kmsg.DescribeProducersResponseTopicPartition {
		resp := ask[*kmsg.DescribeProducersResponse](r, 0, &kmsg.DescribeProducersRequest{Topics: []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0, 1, 9}}}})
		return resp.Topics[0].Partitions
	}
	ps := describe()
	require.Equal(t, []int16{0, 0, codeUnknownTopicOrPartition}, []int16{ps[0].ErrorCode, ps[1].ErrorCode, ps[2].ErrorCode})
	require.Empty(t, ps[1].ActiveProducers)
	one := ps[0].ActiveProducers[0]
	require.Equal(t, []any{p.ID, int32(p.Epoch), int32(0), int32(-1), int64(0)}, []any{one.ProducerID, one.ProducerEpoch, one.LastSequence, one.CoordinatorEpoch, one.CurrentTxnStartOffset})
	require.Equal(t, r.clock.Now().UnixMilli(), one.LastTimestamp)

	marker := kmsg.NewWriteTxnMarkersRequestMarker()
	marker.ProducerID, marker.ProducerEpoch, marker.CoordinatorEpoch = p.ID, p.Epoch, 0
	marker.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{0, 9}}}
	resp := ask[*kmsg.WriteTxnMarkersResponse](r, 1, &kmsg.WriteTxnMarkersRequest{Markers: []kmsg.WriteTxnMarkersRequestMarker{marker}})
	require.Equal(t, p.ID, resp.Markers[0].ProducerID)
	require.Equal(t, []int16{0, codeUnknownTopicOrPartition}, []int16{resp.Markers[0].Topics[0].Partitions[0].ErrorCode, resp.Markers[0].Topics[0].Partitions[1].ErrorCode})
	require.EqualValues(t, -1, describe()[0].ActiveProducers[0].CurrentTxnStartOffset)
	_, p2 := txnOf(r, 5, id)
	require.NoError(t, r.write(id, p2, 0, 0, false))
	resp = ask[*kmsg.WriteTxnMarkersResponse](r, 1, &kmsg.WriteTxnMarkersRequest{Markers: []kmsg.WriteTxnMarkersRequestMarker{marker}})
	require.Equal(t, codeInvalidProducerEpoch, resp.Markers[0].Topics[0].Partitions[0].ErrorCode, "the epoch of an older instance")
	require.Empty(t, ask[*kmsg.WriteTxnMarkersResponse](r, 1, &kmsg.WriteTxnMarkersRequest{}).Markers)
}

// A marker that names no partition is left out of the answer, and one that cannot be written (no producer, no epoch) fails the
// whole request if the broker leads any of its partitions, as Apache Kafka's exception does.
func TestMarkersThatCannotBeWrittenAreRefusedAsByKafka(t *testing.T) {
	r := coordinated(t, nil)
	marker := func(producer int64, epoch int16, partitions ...int32) kmsg.WriteTxnMarkersRequestMarker {
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch = producer, epoch
		m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: partitions}}
		return m
	}
	for _, c := range []struct {
		name    string
		markers []kmsg.WriteTxnMarkersRequestMarker
		want    map[int64][]int16
	}{
		{"nothing", []kmsg.WriteTxnMarkersRequestMarker{marker(5, 0), marker(6, 0, 0)}, map[int64][]int16{6: {0}}},
		{"no epoch", []kmsg.WriteTxnMarkersRequestMarker{marker(7, -1, 1, 9)}, map[int64][]int16{7: {codeUnknownServerError, codeUnknownServerError}}},
		{"no producer, and no partition of this broker's", []kmsg.WriteTxnMarkersRequestMarker{marker(-1, 0, 9)}, map[int64][]int16{-1: {codeUnknownTopicOrPartition}}},
		{"one of two", []kmsg.WriteTxnMarkersRequestMarker{marker(8, 0, 0), marker(-1, 0, 0)}, map[int64][]int16{8: {codeUnknownServerError}, -1: {codeUnknownServerError}}},
	} {
		resp := ask[*kmsg.WriteTxnMarkersResponse](r, 1, &kmsg.WriteTxnMarkersRequest{Markers: c.markers})
		got := map[int64][]int16{}
		for _, m := range resp.Markers {
			for _, p := range m.Topics[0].Partitions {
				got[m.ProducerID] = append(got[m.ProducerID], p.ErrorCode)
			}
		}
		require.Equal(t, c.want, got, c.name)
	}
}

func TestANewInstanceAbortsWhatTheOldOneLeftOpen(t *testing.T) {
	r := coordinated(t, nil)
	id, p := txnOf(r, 5, "x")
	require.NoError(t, r.write(id, p, 0, 0, false))
	_, next := txnOf(r, 5, id) // waits for the end of the abort
	require.Greater(t, next.Epoch, p.Epoch+1)
	require.Equal(t, codeProducerFenced, ask[*kmsg.EndTxnResponse](r, 5, endOf(id, p, true)).ErrorCode)
	require.NoError(t, r.write(id, next, 0, 0, false))
	require.Zero(t, ask[*kmsg.EndTxnResponse](r, 5, endOf(id, next, true)).ErrorCode)
}
