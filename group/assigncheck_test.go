package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// fixedAssignor answers what a test says.
type fixedAssignor map[string][]partition.TopicPartition

func (fixedAssignor) Name() string                                           { return "fixed" }
func (fixedAssignor) Cooperative() bool                                      { return true }
func (fixedAssignor) UserData([]partition.TopicPartition, Generation) []byte { return nil }
func (f fixedAssignor) Assign(Cluster, []AssignorMember) map[string][]partition.TopicPartition {
	return f
}

func TestAHostsAssignorIsHeldToItsPromises(t *testing.T) {
	at := func(p int32) partition.TopicPartition { return partition.TopicPartition{Topic: "t", Partition: p} }
	members := []AssignorMember{
		{MemberID: "a", Subscription: Subscription{Topics: []string{"t"}, Owned: []partition.TopicPartition{at(0)}}},
		{MemberID: "b", Subscription: Subscription{Topics: []string{"t"}}},
		{MemberID: "c", Subscription: Subscription{Topics: []string{"u"}}},
	}
	cluster := Cluster{Partitions: map[string]int32{"t": 2, "u": 1}}
	for name, c := range map[string]struct {
		assigned fixedAssignor
		want     string
	}{
		"all is well":          {fixedAssignor{"a": {at(0)}, "b": {at(1)}}, ""},
		"nothing":              {nil, ""},
		"somebody unknown":     {fixedAssignor{"d": nil}, `there is no member "d"`},
		"a partition twice":    {fixedAssignor{"a": {at(1), at(1)}}, `t-1 belongs to "a" and "a"`},
		"no such partition":    {fixedAssignor{"a": {at(2)}}, "t-2 does not exist"},
		"a negative partition": {fixedAssignor{"a": {at(-1)}}, "t--1 does not exist"},
		"not subscribed":       {fixedAssignor{"c": {at(1)}}, `t-1 belongs to "c", which does not subscribe to it`},
		"another still has it": {fixedAssignor{"b": {at(0)}}, `t-0 goes to "b" while "a" still has it`},
	} {
		err := checkAssignment(c.assigned, true, cluster, members, c.assigned)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, ErrInvalidAssignment, name)
		require.ErrorContains(t, err, c.want, name)
	}
	// An eager group has given everything up.
	require.NoError(t, checkAssignment(fixedAssignor{}, false, cluster, members, fixedAssignor{"b": {at(0)}}))
}

// No bytes at all are an error to Kafka's clients; an assignment without partitions is not.
func TestWhoGetsNothingGetsAnEmptyAssignment(t *testing.T) {
	g := &ConsumerGroup{config: Config{Assignors: []Assignor{fixedAssignor{}}}}
	told := Subscription{}
	assignments, _, err := g.Assign(t.Context(), JoinResult{Protocol: "fixed", Members: []MemberMetadata{
		{MemberID: "left out", Metadata: told.Append(nil)}, {MemberID: "unreadable", Metadata: []byte{1}},
	}})
	require.NoError(t, err)
	empty := Assignment{}
	require.Equal(t, map[string][]byte{"left out": empty.Append(nil), "unreadable": empty.Append(nil)}, assignments)
}

func TestTheGroupRebalancesCooperativelyIfAllItsAssignorsDo(t *testing.T) {
	owned := []partition.TopicPartition{{Topic: "t", Partition: 3}}
	subscription := Subscription{Topics: []string{"t"}, Owned: owned, Generation: 7}
	told := func(assignors ...Assignor) (out []Subscription) {
		g := &ConsumerGroup{config: Config{Assignors: assignors}}
		for i, p := range g.Protocols(subscription) {
			require.Equal(t, assignors[i].Name(), p.Name)
			s, err := DecodeSubscription(p.Metadata)
			require.NoError(t, err)
			out = append(out, s)
		}
		return out
	}
	s := told(CooperativeSticky)[0]
	require.Equal(t, owned, s.Owned)
	require.EqualValues(t, 7, s.Generation)
	require.Equal(t, []byte{0, 0, 0, 7}, s.UserData)

	both := told(Range, CooperativeSticky, Sticky)
	for _, s := range both {
		require.Empty(t, s.Owned, "an eager member has given its partitions up")
	}
	require.Nil(t, both[0].UserData)
	topics, g := readStickyUserData(both[2].UserData)
	require.Equal(t, owned, claimsOf(topics))
	require.EqualValues(t, 7, g)
}
