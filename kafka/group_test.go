package kafka

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/producer"
)

// joinOf is a consumer's JoinGroup with the range assignor, subscribed to "t".
func joinOf(id, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	subscription := group.Subscription{Topics: []string{"t"}, Generation: -1}
	req.Group, req.MemberID, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = id, member, 10_000, 60_000, "consumer"
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription.Append(nil)}}
	return req
}

func instance(req *kmsg.JoinGroupRequest, id string) *kmsg.JoinGroupRequest {
	req.InstanceID = &id
	return req
}

// joined makes a new member join and returns the answer.
func joined(r *desk, v int16, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	r.t.Helper()
	resp := ask[*kmsg.JoinGroupResponse](r, v, req)
	if resp.ErrorCode == codeMemberIDRequired {
		req.MemberID = resp.MemberID
		resp = ask[*kmsg.JoinGroupResponse](r, v, req)
	}
	require.Zero(r.t, resp.ErrorCode)
	return resp
}

func syncOf(id string, j *kmsg.JoinGroupResponse, assignments ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID = id, j.Generation, j.MemberID
	consumers, rng := "consumer", "range"
	req.ProtocolType, req.Protocol = &consumers, &rng
	for i := 0; i < len(assignments); i += 2 {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: assignments[i], MemberAssignment: []byte(assignments[i+1])})
	}
	return req
}

// stable makes a group of one member, in one generation.
func stable(r *desk, id string) *kmsg.JoinGroupResponse {
	r.t.Helper()
	j := joined(r, 9, joinOf(id, ""))
	synced := ask[*kmsg.SyncGroupResponse](r, 5, syncOf(id, j, j.MemberID, "mine"))
	require.Zero(r.t, synced.ErrorCode)
	return j
}

func TestAGroupOfOneInEveryVersionOfJoinAndSync(t *testing.T) {
	r := coordinated(t, nil)
	for v := range int16(10) {
		id := fmt.Sprint("g", v)
		req := joinOf(id, "")
		first := ask[*kmsg.JoinGroupResponse](r, v, req)
		if v < 4 {
			require.Zero(t, first.ErrorCode, "version %d: its clients know no MEMBER_ID_REQUIRED", v)
		} else {
			require.Equal(t, codeMemberIDRequired, first.ErrorCode, v)
			require.True(t, strings.HasPrefix(first.MemberID, "client-"), first.MemberID)
			require.EqualValues(t, -1, first.Generation)
			req.MemberID = first.MemberID
			again := ask[*kmsg.JoinGroupResponse](r, v, req)
			require.Zero(t, again.ErrorCode)
			require.Equal(t, first.MemberID, again.MemberID)
			first = again
		}
		require.EqualValues(t, 1, first.Generation)
		require.Equal(t, first.MemberID, first.LeaderID)
		require.Len(t, first.Members, 1)
		require.Equal(t, req.Protocols[0].Metadata, first.Members[0].ProtocolMetadata)
		require.Equal(t, "range", *first.Protocol)
		if v >= 7 {
			require.Equal(t, "consumer", *first.ProtocolType)
		}
		sync := syncOf(id, first, first.MemberID, "mine")
		synced := ask[*kmsg.SyncGroupResponse](r, min(v, 5), sync)
		require.Zero(t, synced.ErrorCode)
		require.Equal(t, "mine", string(synced.MemberAssignment))
		if v >= 5 {
			require.Equal(t, "consumer", *synced.ProtocolType)
			require.Equal(t, "range", *synced.Protocol)
		}
		for hv := range int16(5) {
			beat := &kmsg.HeartbeatRequest{Group: id, MemberID: first.MemberID, Generation: 1}
			require.Zero(t, ask[*kmsg.HeartbeatResponse](r, hv, beat).ErrorCode)
			beat.Generation = 2
			require.Equal(t, codeIllegalGeneration, ask[*kmsg.HeartbeatResponse](r, hv, beat).ErrorCode)
		}
	}
}

func TestJoinIsRefusedInKafkasOrder(t *testing.T) {
	r := coordinated(t, map[string]string{"group.max.size": "1", "group.max.session.timeout.ms": "20000"})
	bad := joinOf("", "")
	bad.SessionTimeoutMillis, bad.Protocols = 1, nil
	for v := range int16(10) {
		require.Equal(t, codeInvalidGroupID, ask[*kmsg.JoinGroupResponse](r, v, bad).ErrorCode)
	}
	bad.Group = "g"
	for _, ms := range []int32{1, 5999, 20001} {
		bad.SessionTimeoutMillis = ms
		require.Equal(t, codeInvalidSessionTimeout, ask[*kmsg.JoinGroupResponse](r, 5, bad).ErrorCode, "before the protocols")
	}
	bad.SessionTimeoutMillis = 20000
	resp := ask[*kmsg.JoinGroupResponse](r, 7, bad)
	require.Equal(t, codeInconsistentGroupProtocol, resp.ErrorCode)
	require.Nil(t, resp.Protocol)
	require.Nil(t, resp.ProtocolType)

	resp = ask[*kmsg.JoinGroupResponse](r, 9, joinOf("g", "nobody"))
	require.Equal(t, codeUnknownMemberID, resp.ErrorCode)
	require.Equal(t, "nobody", resp.MemberID)
	stable(r, "g")
	other := joinOf("g", "")
	other.Protocols[0].Name = "other"
	full := ask[*kmsg.JoinGroupResponse](r, 9, other)
	require.Equal(t, codeGroupMaxSizeReached, full.ErrorCode, "before the protocols")
	require.Empty(t, full.MemberID)
}

func TestMembersThatShareNoProtocolAreRefused(t *testing.T) {
	r := coordinated(t, nil)
	stable(r, "g")
	for _, change := range []func(*kmsg.JoinGroupRequest){
		func(req *kmsg.JoinGroupRequest) { req.Protocols[0].Name = "other" },
		func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "connect" },
		func(req *kmsg.JoinGroupRequest) { req.ProtocolType = "" },
	} {
		req := joinOf("g", "")
		change(req)
		require.Equal(t, codeInconsistentGroupProtocol, ask[*kmsg.JoinGroupResponse](r, 9, req).ErrorCode)
	}
}

func TestAJoinWithoutARebalanceTimeoutKeepsItsMemberUntilItSyncs(t *testing.T) {
	r := coordinated(t, nil)
	for i, timeout := range []int32{0, -1} {
		id := fmt.Sprint("g", i)
		req := joinOf(id, "")
		req.RebalanceTimeoutMillis = timeout
		j := joined(r, 5, req)
		r.clock.Advance(9 * time.Second) // the session is ten seconds
		require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 3, syncOf(id, j, j.MemberID, "mine")).ErrorCode)
		r.clock.Advance(9 * time.Second)
		require.Zero(t, ask[*kmsg.HeartbeatResponse](r, 3, &kmsg.HeartbeatRequest{Group: id, MemberID: j.MemberID, Generation: j.Generation}).ErrorCode)
	}
}

func TestTheRebalanceOfVersion0WaitsForASessionTimeout(t *testing.T) {
	r := coordinated(t, nil)
	a := joined(r, 0, joinOf("g", ""))
	require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 0, syncOf("g", a, a.MemberID, "x")).ErrorCode)
	b := later[*kmsg.JoinGroupResponse](r, t.Context(), 0, joinOf("g", ""))
	r.until("g", group.PreparingRebalance)
	r.clock.Advance(10 * time.Second)
	second := b()
	require.Zero(t, second.ErrorCode)
	require.EqualValues(t, 2, second.Generation)
	require.Len(t, second.Members, 1, "the first did not join again")
}

// until waits for a group to be in a state.
func (r *desk) until(id string, state group.State) {
	r.t.Helper()
	c, err := r.server.groups.Find(context.Background(), id)
	require.NoError(r.t, err)
	for {
		d, err := c.Describe(context.Background(), id)
		require.NoError(r.t, err)
		if d.State == state {
			return
		}
		runtime.Gosched()
	}
}

func TestTheFirstJoinWaitsForTheInitialRebalanceDelay(t *testing.T) {
	r := coordinated(t, map[string]string{"group.initial.rebalance.delay.ms": "3000"})
	a := later[*kmsg.JoinGroupResponse](r, t.Context(), 3, joinOf("g", ""))
	r.until("g", group.PreparingRebalance)
	b := later[*kmsg.JoinGroupResponse](r, t.Context(), 3, joinOf("g", ""))
	r.members("g", 2)
	r.clock.Advance(3 * time.Second)
	r.clock.Advance(3 * time.Second)
	first, second := a(), b()
	require.Equal(t, []int32{1, 1}, []int32{first.Generation, second.Generation})
	require.Equal(t, first.LeaderID, second.LeaderID)
}

func (r *desk) members(id string, n int) {
	r.t.Helper()
	c, err := r.server.groups.Find(context.Background(), id)
	require.NoError(r.t, err)
	for {
		d, err := c.Describe(context.Background(), id)
		require.NoError(r.t, err)
		if len(d.Members) == n {
			return
		}
		runtime.Gosched()
	}
}

func TestTwoMembersRebalanceAndTheFollowerWaitsForItsPart(t *testing.T) {
	r := coordinated(t, nil)
	a := stable(r, "g")
	join := later[*kmsg.JoinGroupResponse](r, t.Context(), 3, joinOf("g", ""))
	r.until("g", group.PreparingRebalance)
	beat := &kmsg.HeartbeatRequest{Group: "g", MemberID: a.MemberID, Generation: 1}
	require.Equal(t, codeRebalanceInProgress, ask[*kmsg.HeartbeatResponse](r, 4, beat).ErrorCode)
	require.Equal(t, codeRebalanceInProgress, ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", a)).ErrorCode)
	leader := joined(r, 9, joinOf("g", a.MemberID))
	follower := join()
	require.EqualValues(t, 2, leader.Generation)
	require.Len(t, leader.Members, 2)
	require.Empty(t, follower.Members)
	part := later[*kmsg.SyncGroupResponse](r, t.Context(), 5, syncOf("g", follower))
	require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", leader, leader.MemberID, "left", follower.MemberID, "right")).ErrorCode)
	require.Equal(t, "right", string(part().MemberAssignment))
}

func TestAClientThatGoesAwayWhileItWaitsInJoinHasItsSession(t *testing.T) {
	r := coordinated(t, nil)
	a := stable(r, "g")
	ctx, leave := context.WithCancel(t.Context())
	gone := later[*kmsg.JoinGroupResponse](r, ctx, 3, joinOf("g", ""))
	r.members("g", 2)
	leave()
	require.Equal(t, codeCoordinatorNotAvailable, gone().ErrorCode)
	r.members("g", 2) // it may come back
	beat := &kmsg.HeartbeatRequest{Group: "g", MemberID: a.MemberID, Generation: 1}
	r.clock.Advance(6 * time.Second)
	require.Equal(t, codeRebalanceInProgress, ask[*kmsg.HeartbeatResponse](r, 4, beat).ErrorCode)
	r.clock.Advance(5 * time.Second) // that makes more than its session, and less than the other's
	r.members("g", 1)
	back := ask[*kmsg.JoinGroupResponse](r, 9, joinOf("g", a.MemberID))
	require.Zero(t, back.ErrorCode)
	require.EqualValues(t, 2, back.Generation)
	require.Len(t, back.Members, 1)
}

func TestUnknownMembersAreToldSoInEveryVersion(t *testing.T) {
	r := coordinated(t, nil)
	for _, id := range []string{"none", "g"} {
		if id == "g" {
			stable(r, id)
		}
		for v := range int16(6) {
			require.Equal(t, codeUnknownMemberID, ask[*kmsg.SyncGroupResponse](r, v, syncOf(id, &kmsg.JoinGroupResponse{MemberID: "m"})).ErrorCode)
			require.Equal(t, codeUnknownMemberID, ask[*kmsg.HeartbeatResponse](r, min(v, 4), &kmsg.HeartbeatRequest{Group: id, MemberID: "m"}).ErrorCode)
			left := ask[*kmsg.LeaveGroupResponse](r, v, &kmsg.LeaveGroupRequest{Group: id, MemberID: "m", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m"}}})
			if v < 3 {
				require.Equal(t, codeUnknownMemberID, left.ErrorCode)
			} else {
				require.Zero(t, left.ErrorCode)
				require.Equal(t, codeUnknownMemberID, left.Members[0].ErrorCode)
			}
		}
	}
	for v := range int16(6) {
		require.Equal(t, codeInvalidGroupID, ask[*kmsg.SyncGroupResponse](r, v, syncOf("", &kmsg.JoinGroupResponse{MemberID: "m"})).ErrorCode)
		require.Equal(t, codeInvalidGroupID, ask[*kmsg.HeartbeatResponse](r, min(v, 4), &kmsg.HeartbeatRequest{}).ErrorCode)
		require.Equal(t, codeInvalidGroupID, ask[*kmsg.LeaveGroupResponse](r, v, &kmsg.LeaveGroupRequest{}).ErrorCode)
	}
}

func TestSyncSaysWhichProtocolItIsOf(t *testing.T) {
	r := coordinated(t, nil)
	j := stable(r, "g")
	other := "other"
	req := syncOf("g", j)
	req.Protocol = &other
	require.Equal(t, codeInconsistentGroupProtocol, ask[*kmsg.SyncGroupResponse](r, 5, req).ErrorCode)
	require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 4, req).ErrorCode, "which had no such field")
	req.Protocol = nil
	require.Equal(t, codeInconsistentGroupProtocol, ask[*kmsg.SyncGroupResponse](r, 5, req).ErrorCode)
	req = syncOf("g", j)
	req.Generation = 7
	require.Equal(t, codeIllegalGeneration, ask[*kmsg.SyncGroupResponse](r, 5, req).ErrorCode)
}

func TestSeveralMembersLeaveAtOnceAndToolsNameInstances(t *testing.T) {
	r := coordinated(t, nil)
	static := joined(r, 9, instance(joinOf("g", ""), "i"))
	require.True(t, strings.HasPrefix(static.MemberID, "i-"), static.MemberID)
	require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", static, static.MemberID, "x")).ErrorCode)
	i, j, why := "i", "j", "a test"
	left := ask[*kmsg.LeaveGroupResponse](r, 5, &kmsg.LeaveGroupRequest{Group: "g", Members: []kmsg.LeaveGroupRequestMember{
		{MemberID: "nobody"}, {InstanceID: &j}, {MemberID: "old", InstanceID: &i}, {InstanceID: &i, Reason: &why}}})
	require.Zero(t, left.ErrorCode)
	var codes []int16
	for _, m := range left.Members {
		codes = append(codes, m.ErrorCode)
	}
	require.Equal(t, []int16{codeUnknownMemberID, codeUnknownMemberID, codeFencedInstanceID, codeNone}, codes)
	require.Equal(t, "i", *left.Members[3].InstanceID)
	r.until("g", group.Empty)
}

func TestAStaticMemberComesBackWithoutARebalance(t *testing.T) {
	for v := int16(5); v <= 9; v++ {
		r := coordinated(t, nil)
		before := joined(r, v, instance(joinOf("g", ""), "i"))
		require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", before, before.MemberID, "kept")).ErrorCode)
		after := ask[*kmsg.JoinGroupResponse](r, v, instance(joinOf("g", ""), "i"))
		require.Zero(t, after.ErrorCode)
		require.NotEqual(t, before.MemberID, after.MemberID)
		require.Equal(t, before.Generation, after.Generation)
		if v < 9 {
			require.NotEqual(t, after.MemberID, after.LeaderID, "it would assign, and nobody would wait for that")
			require.Empty(t, after.Members)
		} else {
			require.Equal(t, after.MemberID, after.LeaderID)
			require.True(t, after.SkipAssignment)
			require.Len(t, after.Members, 1)
		}
		require.Equal(t, "kept", string(ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", after)).MemberAssignment))
		i := "i"
		fenced := ask[*kmsg.HeartbeatResponse](r, 4, &kmsg.HeartbeatRequest{Group: "g", MemberID: before.MemberID, Generation: 1, InstanceID: &i})
		require.Equal(t, codeFencedInstanceID, fenced.ErrorCode)
		refused := ask[*kmsg.JoinGroupResponse](r, v, instance(joinOf("g", before.MemberID), "i"))
		require.Equal(t, codeFencedInstanceID, refused.ErrorCode)
		require.Equal(t, before.MemberID, refused.MemberID)
	}
}

func TestDescribeGroupsInEveryVersion(t *testing.T) {
	r := coordinated(t, nil)
	j := joined(r, 9, instance(joinOf("g", ""), "i"))
	require.Zero(t, ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", j, j.MemberID, "mine")).ErrorCode)
	joined(r, 9, joinOf("joining", ""))
	newgen(r, "new", "m")
	for v := range int16(7) {
		resp := ask[*kmsg.DescribeGroupsResponse](r, v, &kmsg.DescribeGroupsRequest{Groups: []string{"g", "joining", "none", "new", ""}, IncludeAuthorizedOperations: true})
		require.Len(t, resp.Groups, 5)
		g := resp.Groups[0]
		require.Equal(t, []string{"g", "Stable", "consumer", "range"}, []string{g.Group, g.State, g.ProtocolType, g.Protocol})
		m := g.Members[0]
		require.Equal(t, []string{j.MemberID, "client", "/127.0.0.1", "mine"}, []string{m.MemberID, m.ClientID, m.ClientHost, string(m.MemberAssignment)})
		require.NotEmpty(t, m.ProtocolMetadata)
		if v >= 4 {
			require.Equal(t, "i", *m.InstanceID)
		}
		joining := resp.Groups[1]
		require.Equal(t, []string{"CompletingRebalance", "consumer", ""}, []string{joining.State, joining.ProtocolType, joining.Protocol})
		require.Empty(t, joining.Members[0].ProtocolMetadata, "it is not settled yet")
		for i, message := range map[int]string{2: "Group none not found.", 3: "Group new is not a classic group.", 4: "Group  not found."} {
			dead := resp.Groups[i]
			require.Equal(t, "Dead", dead.State)
			if v < 6 {
				require.Zero(t, dead.ErrorCode)
			} else {
				require.Equal(t, codeGroupIDNotFound, dead.ErrorCode)
				require.Equal(t, message, *dead.ErrorMessage)
			}
		}
	}
}

func TestListGroupsFilters(t *testing.T) {
	r := coordinated(t, nil)
	stable(r, "classic")
	newgen(r, "new", "m")
	ask[*kmsg.OffsetCommitResponse](r, 9, commitRequest("simple", -1, "", map[string][]int32{"t": {0}}))
	list := func(v int16, states, types []string) (out []string) {
		resp := ask[*kmsg.ListGroupsResponse](r, v, &kmsg.ListGroupsRequest{StatesFilter: states, TypesFilter: types})
		require.Zero(t, resp.ErrorCode)
		for _, g := range resp.Groups {
			out = append(out, strings.Join([]string{g.Group, g.ProtocolType, g.GroupState, g.GroupType}, "/"))
		}
		return out
	}
	require.Equal(t, []string{"classic/consumer//", "new/consumer//", "simple///"}, list(0, nil, nil))
	require.Equal(t, []string{"classic/consumer//", "new/consumer//", "simple///"}, list(3, nil, nil))
	require.Equal(t, []string{"classic/consumer/Stable/", "new/consumer/Stable/"}, list(4, []string{"sTable", "what"}, nil))
	require.Equal(t, []string{"new/consumer/Stable/consumer"}, list(5, []string{"Stable"}, []string{"CONSUMER"}))
	require.Equal(t, []string{"simple//Empty/classic"}, list(5, []string{"empty"}, []string{"classic", "share"}))
	require.Empty(t, list(5, nil, []string{"share"}))
}

func TestDeleteGroups(t *testing.T) {
	for v := range int16(3) {
		r := coordinated(t, nil)
		stable(r, "busy")
		newgen(r, "new", "m")
		ask[*kmsg.OffsetCommitResponse](r, 9, commitRequest("simple", -1, "", map[string][]int32{"t": {0}}))
		resp := ask[*kmsg.DeleteGroupsResponse](r, v, &kmsg.DeleteGroupsRequest{Groups: []string{"simple", "busy", "none", "simple", "new"}})
		got := map[string]int16{}
		for _, g := range resp.Groups {
			got[g.Group] = g.ErrorCode
		}
		require.Len(t, resp.Groups, 4)
		require.Equal(t, map[string]int16{"simple": 0, "busy": codeNonEmptyGroup, "none": codeGroupIDNotFound, "new": codeNonEmptyGroup}, got)
		require.Equal(t, codeGroupIDNotFound, ask[*kmsg.DeleteGroupsResponse](r, v, &kmsg.DeleteGroupsRequest{Groups: []string{"simple"}}).Groups[0].ErrorCode)
	}
}

func TestAnInProcessConsumerSharesItsGroupWithWireMembers(t *testing.T) {
	r := coordinated(t, nil)
	ctx := t.Context()
	p, err := producer.New(r.store, producer.Config{})
	require.NoError(t, err)
	defer p.Close()
	g, err := group.Open(r.store, "g", group.Config{Assignors: []group.Assignor{group.Range}})
	require.NoError(t, err)
	defer g.Close()
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}})
	require.NoError(t, err)
	r.until("g", group.Stable)

	wire := later[*kmsg.JoinGroupResponse](r, ctx, 3, joinOf("g", ""))
	polled, stop := context.WithCancel(ctx)
	read := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for rec, err := range c.Records(polled) {
			if err != nil {
				return
			}
			read <- string(rec.Value)
		}
	}()
	j := wire()
	require.Zero(t, j.ErrorCode)
	require.NotEqual(t, j.LeaderID, j.MemberID, "the one in this process leads, and assigns")
	synced := ask[*kmsg.SyncGroupResponse](r, 5, syncOf("g", j))
	require.Zero(t, synced.ErrorCode)
	mine, err := group.DecodeAssignment(synced.MemberAssignment)
	require.NoError(t, err)
	require.NotEmpty(t, mine.Partitions)
	require.Less(t, len(mine.Partitions), 3)
	owned := map[int32]bool{}
	for _, tp := range mine.Partitions {
		owned[tp.Partition] = true
	}
	for i := range int32(3) {
		_, err := p.Send(ctx, producer.Record{Topic: "t", Partition: producer.To(i), Value: []byte(fmt.Sprint(i)), Timestamp: r.clock.Now()})
		require.NoError(t, err)
	}
	for i := range int32(3) {
		if !owned[i] {
			require.Equal(t, fmt.Sprint(i), <-read)
		}
	}
	stop()
	<-done
	require.Empty(t, read, "what the wire's member has is not read here")
	require.NoError(t, c.Close())
}
