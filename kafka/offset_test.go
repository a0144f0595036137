package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// offsetsOf fetches offsets of partitions 0 and 1 of "t" and of "nope", and returns offset and code of each.
func offsetsOf(r *desk, v int16, id string) map[string][2]int64 {
	r.t.Helper()
	out := map[string][2]int64{}
	note := func(topic string, p int32, offset int64, metadata *string, code int16) {
		require.NotNil(r.t, metadata, "clients do not expect null")
		out[topic+"-"+string(rune('0'+p))] = [2]int64{offset, int64(code)}
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	if v >= 8 {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = id
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0, 1}}, {Topic: "nope", Partitions: []int32{0}}}
		req.Groups = append(req.Groups, g)
		resp := ask[*kmsg.OffsetFetchResponse](r, v, req)
		require.Equal(r.t, id, resp.Groups[0].Group)
		require.Zero(r.t, resp.Groups[0].ErrorCode)
		for _, t := range resp.Groups[0].Topics {
			for _, p := range t.Partitions {
				note(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode)
			}
		}
		return out
	}
	req.Group = id
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}, {Topic: "nope", Partitions: []int32{0}}}
	resp := ask[*kmsg.OffsetFetchResponse](r, v, req)
	require.Zero(r.t, resp.ErrorCode)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			note(t.Topic, p.Partition, p.Offset, p.Metadata, p.ErrorCode)
		}
	}
	return out
}

func TestOffsetsAreCommittedAndFetchedInEveryVersion(t *testing.T) {
	r := coordinated(t, nil)
	none := map[string][2]int64{"t-0": {-1, 0}, "t-1": {-1, 0}, "nope-0": {-1, 0}}
	for v := int16(2); v <= 9; v++ {
		id := "g" + string(rune('0'+v))
		for f := int16(1); f <= 9; f++ {
			require.Equal(t, none, offsetsOf(r, f, id), "a group that there is not has no offsets, and that is no error")
		}
		require.Equal(t, map[partition.TopicPartition]int16{{Topic: "t", Partition: 1}: 0}, commitCodes(ask[*kmsg.OffsetCommitResponse](r, v, commitRequest(id, -1, "", map[string][]int32{"t": {1}}))))
		for f := int16(1); f <= 9; f++ {
			require.Equal(t, map[string][2]int64{"t-0": {-1, 0}, "t-1": {101, 0}, "nope-0": {-1, 0}}, offsetsOf(r, f, id))
		}
	}
}

func TestAllOffsetsAreFetchedByANullList(t *testing.T) {
	r := coordinated(t, nil)
	ask[*kmsg.OffsetCommitResponse](r, 9, commitRequest("g", -1, "", map[string][]int32{"t": {1, 2}, "u": {0}}))
	for v := int16(2); v <= 7; v++ {
		resp := ask[*kmsg.OffsetFetchResponse](r, v, &kmsg.OffsetFetchRequest{Group: "g"})
		require.Len(t, resp.Topics, 2, v)
		require.Len(t, resp.Topics[0].Partitions, 2)
		require.Empty(t, ask[*kmsg.OffsetFetchResponse](r, v, &kmsg.OffsetFetchRequest{Group: "g", Topics: []kmsg.OffsetFetchRequestTopic{}}).Topics)
	}
	resp := ask[*kmsg.OffsetFetchResponse](r, 9, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{
		{Group: "g", MemberEpoch: -1}, {Group: "none", MemberEpoch: -1}, {Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{}}}})
	require.Equal(t, []int{2, 0, 0}, []int{len(resp.Groups[0].Topics), len(resp.Groups[1].Topics), len(resp.Groups[2].Topics)})
	require.Zero(t, resp.Groups[1].ErrorCode)
	one := resp.Groups[0].Topics[1].Partitions[0]
	require.Equal(t, []any{int64(100), int32(0), "", int16(0)}, []any{one.Offset, one.LeaderEpoch, *one.Metadata, one.ErrorCode})
}

func TestOffsetsThatAreRefused(t *testing.T) {
	r := coordinated(t, map[string]string{"offset.metadata.max.bytes": "3"})
	codes := func(v int16, req *kmsg.OffsetCommitRequest) map[partition.TopicPartition]int16 {
		return commitCodes(ask[*kmsg.OffsetCommitResponse](r, v, req))
	}
	t0, t9 := partition.TopicPartition{Topic: "t", Partition: 0}, partition.TopicPartition{Topic: "t", Partition: 9}
	req := commitRequest("g", 5, "m", map[string][]int32{"t": {9, 0}})
	for v := int16(2); v <= 9; v++ {
		code := codeIllegalGeneration
		if v >= 9 {
			code = codeGroupIDNotFound
		}
		require.Equal(t, map[partition.TopicPartition]int16{t0: code, t9: codeUnknownTopicOrPartition}, codes(v, req), "there is no such group")
	}
	req = commitRequest("g", -1, "", map[string][]int32{"t": {9, 0}})
	long, short := "long", "ok"
	req.Topics[0].Partitions[1].Metadata = &long
	require.Equal(t, map[partition.TopicPartition]int16{t0: codeOffsetMetadataTooLarge, t9: codeUnknownTopicOrPartition}, codes(9, req))
	req.Topics[0].Partitions[1].Metadata = &short
	require.Equal(t, map[partition.TopicPartition]int16{t0: 0, t9: codeUnknownTopicOrPartition}, codes(9, req))

	j := stable(r, "h")
	for _, x := range []struct {
		generation int32
		member     string
		code       int16
	}{{1, j.MemberID, 0}, {2, j.MemberID, codeIllegalGeneration}, {1, "m", codeUnknownMemberID}, {-1, "", codeUnknownMemberID}} {
		require.Equal(t, map[partition.TopicPartition]int16{t0: x.code}, codes(9, commitRequest("h", x.generation, x.member, map[string][]int32{"t": {0}})))
	}
	completing := joined(r, 9, joinOf("c", ""))
	require.Equal(t, map[partition.TopicPartition]int16{t0: codeRebalanceInProgress}, codes(9, commitRequest("c", 1, completing.MemberID, map[string][]int32{"t": {0}})))
}

func TestACommitOfAnOldClientMayExpireEarly(t *testing.T) {
	r := coordinated(t, map[string]string{"offsets.retention.minutes": "100"})
	for v := int16(2); v <= 5; v++ {
		req := commitRequest("g"+string(rune('0'+v)), -1, "", map[string][]int32{"t": {0}})
		req.RetentionTimeMillis = 60_000
		ask[*kmsg.OffsetCommitResponse](r, v, req)
		req = commitRequest("d"+string(rune('0'+v)), -1, "", map[string][]int32{"t": {0}})
		req.RetentionTimeMillis = -1
		ask[*kmsg.OffsetCommitResponse](r, v, req)
	}
	r.clock.Advance(21 * time.Minute) // two looks at what has expired
	for v := int16(2); v <= 5; v++ {
		want := int64(-1)
		if v == 5 {
			want = 100 // which has no such field any more
		}
		id := "g" + string(rune('0'+v))
		for offsetsOf(r, 9, id)["t-0"] != [2]int64{want, 0} {
			runtimeYield() // it is written in the background
		}
		require.Equal(t, [2]int64{100, 0}, offsetsOf(r, 9, "d"+string(rune('0'+v)))["t-0"])
	}
}

func TestOffsetsOfATransactionAreUnstableUntilItEnds(t *testing.T) {
	r := coordinated(t, nil)
	id, producer := txnOf(r, 5, "x")
	commit := txnCommitOf(id, "g", producer, 0)
	require.Equal(t, codeNone, ask[*kmsg.TxnOffsetCommitResponse](r, 5, commit).Topics[0].Partitions[0].ErrorCode)
	stable := func(v int16) int64 {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.RequireStable, req.Group = true, "g"
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.Topics = "g", []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}
		req.Groups = append(req.Groups, g)
		resp := ask[*kmsg.OffsetFetchResponse](r, v, req)
		if v < 8 {
			p := resp.Topics[0].Partitions[0]
			return p.Offset*1000 + int64(p.ErrorCode)
		}
		p := resp.Groups[0].Topics[0].Partitions[0]
		return p.Offset*1000 + int64(p.ErrorCode)
	}
	for v := int16(7); v <= 9; v++ {
		require.EqualValues(t, -1000+int64(codeUnstableOffsetCommit), stable(v))
	}
	require.Equal(t, [2]int64{-1, 0}, offsetsOf(r, 9, "g")["t-0"])
	end := &kmsg.EndTxnRequest{TransactionalID: id, ProducerID: producer.ID, ProducerEpoch: producer.Epoch, Commit: true}
	require.Zero(t, ask[*kmsg.EndTxnResponse](r, 5, end).ErrorCode)
	for stable(9) != 100*1000 {
		runtimeYield()
	}
	require.Equal(t, [2]int64{100, 0}, offsetsOf(r, 1, "g")["t-0"])
}

func TestOffsetDelete(t *testing.T) {
	r := coordinated(t, nil)
	codes := func(id string, topics ...string) (int16, map[string]int16) {
		req := &kmsg.OffsetDeleteRequest{Group: id}
		for _, topic := range topics {
			req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}})
		}
		resp := ask[*kmsg.OffsetDeleteResponse](r, 0, req)
		got := map[string]int16{}
		for _, topic := range resp.Topics {
			got[topic.Topic] = topic.Partitions[0].ErrorCode
		}
		return resp.ErrorCode, got
	}
	code, _ := codes("", "t")
	require.Equal(t, codeInvalidGroupID, code)
	code, got := codes("none", "t", "nope")
	require.Equal(t, codeGroupIDNotFound, code)
	require.Empty(t, got)
	j := stable(r, "g")
	ask[*kmsg.OffsetCommitResponse](r, 9, commitRequest("g", 1, j.MemberID, map[string][]int32{"t": {0}, "u": {0}}))
	code, got = codes("g", "t", "u", "nope")
	require.Zero(t, code)
	require.Equal(t, map[string]int16{"t": codeGroupSubscribedToTopic, "u": 0, "nope": codeUnknownTopicOrPartition}, got)
	require.Equal(t, [2]int64{100, 0}, offsetsOf(r, 9, "g")["t-0"])

	connect := joinOf("c", "")
	connect.ProtocolType = "connect"
	joined(r, 9, connect)
	code, _ = codes("c", "t")
	require.Equal(t, codeNonEmptyGroup, code)
}

// newgen makes a member of the new protocol join a group, subscribed to "t".
func newgen(r *desk, id, member string) *kmsg.ConsumerGroupHeartbeatResponse {
	r.t.Helper()
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, heartbeatOf(id, member))
	require.Zero(r.t, resp.ErrorCode, stringOf(resp.ErrorMessage))
	return resp
}

func heartbeatOf(id, member string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.RebalanceTimeoutMillis = id, member, 60_000
	req.SubscribedTopicNames, req.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

func TestAConsumerGroupOfTheNewProtocol(t *testing.T) {
	r := coordinated(t, map[string]string{"group.consumer.heartbeat.interval.ms": "7000"})
	v0 := heartbeatOf("g", "")
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 0, v0)
	require.Zero(t, resp.ErrorCode)
	require.NotEmpty(t, *resp.MemberID, "version 0 leaves it to the coordinator")
	require.EqualValues(t, 7000, resp.HeartbeatIntervalMillis)
	require.EqualValues(t, 1, resp.MemberEpoch)
	require.Len(t, resp.Assignment.Topics, 1)
	require.Len(t, resp.Assignment.Topics[0].Partitions, 3)
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Group, beat.MemberID, beat.MemberEpoch = "g", *resp.MemberID, 1
	again := ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, beat)
	require.Zero(t, again.ErrorCode)
	require.Nil(t, again.Assignment, "unchanged")

	second := newgen(r, "g", "second")
	require.Empty(t, second.Assignment.Topics)
	require.NotNil(t, second.Assignment)
	for v := range int16(2) {
		d := ask[*kmsg.ConsumerGroupDescribeResponse](r, v, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g", "none", ""}, IncludeAuthorizedOperations: true})
		g := d.Groups[0]
		require.Zero(t, g.ErrorCode)
		require.Equal(t, []any{"g", "Reconciling", int32(2), int32(2), "uniform"}, []any{g.Group, g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName})
		require.Len(t, g.Members, 2)
		for _, m := range g.Members {
			require.Equal(t, []string{"t"}, m.SubscribedTopics)
			require.Equal(t, []any{"client", "/127.0.0.1"}, []any{m.ClientID, m.ClientHost})
			require.Equal(t, "t", m.TargetAssignment.TopicPartitions[0].Topic)
			require.NotZero(t, m.TargetAssignment.TopicPartitions[0].TopicID)
			if v == 1 {
				require.EqualValues(t, 1, m.MemberType)
			}
		}
		require.Equal(t, codeGroupIDNotFound, d.Groups[1].ErrorCode)
		require.Equal(t, "Group none not found.", *d.Groups[1].ErrorMessage)
		require.Equal(t, codeInvalidGroupID, d.Groups[2].ErrorCode)
	}
	beat.MemberEpoch = -1
	left := ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, beat)
	require.Equal(t, []any{int16(0), int32(-1)}, []any{left.ErrorCode, left.MemberEpoch})
	beat.MemberEpoch = 1
	require.Equal(t, codeUnknownMemberID, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, beat).ErrorCode)
	beat.MemberID, beat.MemberEpoch = "second", 99
	require.Equal(t, codeFencedMemberEpoch, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, beat).ErrorCode)
}

func TestHeartbeatsOfTheNewProtocolThatAreNone(t *testing.T) {
	r := coordinated(t, nil)
	blank := " "
	for what, change := range map[string]func(*kmsg.ConsumerGroupHeartbeatRequest){
		"GroupId can't be empty.":                               func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "" },
		"InstanceId can't be empty.":                            func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.InstanceID = &blank },
		"RackId can't be empty.":                                func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RackID = &blank },
		"MemberId can't be empty.":                              func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberID = "" },
		"RebalanceTimeoutMs must be provided in first request.": func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RebalanceTimeoutMillis = -1 },
		"TopicPartitions must be empty when (re-)joining.":      func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Topics = nil },
		"Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.": func(q *kmsg.ConsumerGroupHeartbeatRequest) {
			q.SubscribedTopicNames = nil
		},
		"InstanceId can't be null.": func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -2 },
		"MemberEpoch is invalid.":   func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.MemberEpoch = -3 },
	} {
		req := heartbeatOf("g", "m")
		change(req)
		resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, req)
		require.Equal(t, codeInvalidRequest, resp.ErrorCode)
		require.Equal(t, what, *resp.ErrorMessage)
	}
	req := heartbeatOf("g", "m")
	best, regex := "best", "("
	req.ServerAssignor = &best
	require.Equal(t, codeUnsupportedAssignor, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, req).ErrorCode)
	req = heartbeatOf("g", "m")
	req.SubscribedTopicRegex = &regex
	require.Equal(t, codeInvalidRegularExpression, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, req).ErrorCode)
	req = heartbeatOf("g", "m")
	req.MemberEpoch = 3
	require.Equal(t, codeGroupIDNotFound, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, req).ErrorCode)
}

func TestWithoutTheNewProtocolItsApisAreUnsupported(t *testing.T) {
	r := coordinated(t, map[string]string{"group.coordinator.rebalance.protocols": "classic"})
	require.Equal(t, codeUnsupportedVersion, ask[*kmsg.ConsumerGroupHeartbeatResponse](r, 1, heartbeatOf("g", "m")).ErrorCode)
	require.Equal(t, codeUnsupportedVersion, ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
}

func TestAMemberIDThatIsEmptyIsNobodysInAGroupOfTheNewProtocol(t *testing.T) {
	r := coordinated(t, nil)
	newgen(r, "new", "m")
	stable(r, "classic")
	empty := ""
	for id, code := range map[string]int16{"new": codeUnknownMemberID, "classic": codeNone, "none": codeNone} {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID = id, &empty
		require.Equal(t, code, ask[*kmsg.OffsetFetchResponse](r, 9, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{g}}).Groups[0].ErrorCode, id)
	}
}

func TestTimesThatNoClockHasAreTheLongest(t *testing.T) {
	r := coordinated(t, nil)
	req := commitRequest("g", -1, "", map[string][]int32{"t": {0}})
	req.RetentionTimeMillis = 1<<63 - 1
	require.Zero(t, ask[*kmsg.OffsetCommitResponse](r, 3, req).Topics[0].Partitions[0].ErrorCode)
	r.clock.Advance(time.Hour)
	require.Equal(t, [2]int64{100, 0}, offsetsOf(r, 9, "g")["t-0"])
	require.Empty(t, ask[*kmsg.ListTransactionsResponse](r, 1, &kmsg.ListTransactionsRequest{DurationFilterMillis: 1<<63 - 1}).TransactionStates)
	require.Less(t, millis(int64(-1<<63)), time.Duration(0))
}

func TestCommitsAndFetchesCarryTheMemberEpoch(t *testing.T) {
	r := coordinated(t, nil)
	newgen(r, "g", "m")
	t0 := partition.TopicPartition{Topic: "t", Partition: 0}
	commit := func(v int16, member string, epoch int32) int16 {
		return commitCodes(ask[*kmsg.OffsetCommitResponse](r, v, commitRequest("g", epoch, member, map[string][]int32{"t": {0}})))[t0]
	}
	require.Equal(t, codeStaleMemberEpoch, commit(9, "m", 0))
	require.Equal(t, codeUnsupportedVersion, commit(8, "m", 0))
	require.Equal(t, codeUnknownMemberID, commit(9, "n", 1))
	require.Zero(t, commit(9, "m", 1))
	fetch := func(member string, epoch int32) int16 {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = "g", &member, epoch
		return ask[*kmsg.OffsetFetchResponse](r, 9, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{g}}).Groups[0].ErrorCode
	}
	require.Zero(t, fetch("m", 1))
	require.Equal(t, codeStaleMemberEpoch, fetch("m", 0))
	require.Equal(t, codeUnknownMemberID, fetch("n", 1))
}

func TestAClassicMemberAndOneOfTheNewProtocolShareAGroup(t *testing.T) {
	r := coordinated(t, nil)
	j := stable(r, "g")
	// The classic member's assignment is no consumer's, so nothing can be taken over from it: it is left at once.
	assigned := group.Assignment{Partitions: []partition.TopicPartition{{Topic: "t", Partition: 0}, {Topic: "t", Partition: 1}, {Topic: "t", Partition: 2}}}
	j = joined(r, 9, joinOf("g", j.MemberID))
	require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", j, j.MemberID, string(assigned.Append(nil)))).ErrorCode)
	newgen(r, "g", "new")
	require.Equal(t, codeRebalanceInProgress, ask[*kmsg.HeartbeatResponse](r, 4, &kmsg.HeartbeatRequest{Group: "g", MemberID: j.MemberID, Generation: j.Generation}).ErrorCode)
	d := ask[*kmsg.ConsumerGroupDescribeResponse](r, 1, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{"g"}}).Groups[0]
	types := map[string]int8{}
	for _, m := range d.Members {
		types[m.MemberID] = m.MemberType
	}
	require.Equal(t, map[string]int8{j.MemberID: 0, "new": 1}, types)
	require.True(t, strings.HasPrefix(j.MemberID, "client-"))
}
