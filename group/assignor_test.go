package group

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/partition"
)

// members reads "a:t1,t2 b:t1": member ids with their topics.
func parseMembers(s string) (out []AssignorMember) {
	for _, f := range strings.Fields(s) {
		id, topics, _ := strings.Cut(f, ":")
		out = append(out, AssignorMember{MemberID: id, Subscription: Subscription{Topics: strings.FieldsFunc(topics, func(r rune) bool { return r == ',' })}})
	}
	return out
}

// The cases are those of Kafka's RangeAssignorTest.
func TestRangeAssignsLikeKafka(t *testing.T) {
	for name, c := range map[string]struct {
		members    string
		partitions map[string]int32
		want       map[string]string
	}{
		"one member no topic":                            {"a:", map[string]int32{}, map[string]string{}},
		"one member nonexistent topic":                   {"a:t1", map[string]int32{"t1": 0}, map[string]string{}},
		"one member one topic":                           {"a:t1", map[string]int32{"t1": 3}, map[string]string{"a": "t1-0 t1-1 t1-2"}},
		"only assigns partitions from subscribed topics": {"a:t1", map[string]int32{"t1": 3, "t2": 3}, map[string]string{"a": "t1-0 t1-1 t1-2"}},
		"one member multiple topics":                     {"a:t1,t2", map[string]int32{"t1": 1, "t2": 2}, map[string]string{"a": "t1-0 t2-0 t2-1"}},
		"two members one topic one partition":            {"b:t1 a:t1", map[string]int32{"t1": 1}, map[string]string{"a": "t1-0"}},
		"two members one topic two partitions":           {"a:t1 b:t1", map[string]int32{"t1": 2}, map[string]string{"a": "t1-0", "b": "t1-1"}},
		"mixed topics": {"a:t1 b:t1,t2 c:t1", map[string]int32{"t1": 3, "t2": 2},
			map[string]string{"a": "t1-0", "b": "t1-1 t2-0 t2-1", "c": "t1-2"}},
		"two members two topics six partitions": {"a:t1,t2 b:t1,t2", map[string]int32{"t1": 3, "t2": 3},
			map[string]string{"a": "t1-0 t1-1 t2-0 t2-1", "b": "t1-2 t2-2"}},
		"more members than partitions": {"d:t c:t b:t a:t", map[string]int32{"t": 3}, map[string]string{"a": "t-0", "b": "t-1", "c": "t-2"}},
		"a topic subscribed to twice":  {"a:t,t b:t", map[string]int32{"t": 2}, map[string]string{"a": "t-0", "b": "t-1"}},
	} {
		got := make(map[string]string)
		for id, tps := range Range.Assign(Cluster{Partitions: c.partitions}, parseMembers(c.members)) {
			var all []string
			for _, tp := range tps {
				all = append(all, tp.String())
			}
			got[id] = strings.Join(all, " ")
		}
		require.Equal(t, c.want, got, name)
	}
}

func TestStaticMembersComeFirst(t *testing.T) {
	members := parseMembers("a:t b:t c:t")
	members[1].InstanceID, members[2].InstanceID = "z", "y"
	got := Range.Assign(Cluster{Partitions: map[string]int32{"t": 3}}, members)
	require.Equal(t, []partition.TopicPartition{{Topic: "t", Partition: 0}}, got["c"])
	require.Equal(t, []partition.TopicPartition{{Topic: "t", Partition: 1}}, got["b"])
	require.Equal(t, []partition.TopicPartition{{Topic: "t", Partition: 2}}, got["a"])
}

// Every partition of a topic that somebody subscribes to goes to exactly one subscriber, and per topic nobody has two
// more than another.
func TestRangeCoversEveryPartitionOnceAndEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.MapOf(rapid.SampledFrom([]string{"t1", "t2", "t3", "t4"}), rapid.Int32Range(0, 20)).Draw(t, "partitions")
		topics := rapid.SliceOf(rapid.SampledFrom([]string{"t1", "t2", "t3", "t4", "none"}))
		var members []AssignorMember
		for _, id := range rapid.SliceOfNDistinct(rapid.StringMatching("[a-z]{1,3}"), 0, 8, rapid.ID).Draw(t, "members") {
			members = append(members, AssignorMember{MemberID: id, Subscription: Subscription{Topics: topics.Draw(t, "topics")}})
		}
		got := Range.Assign(Cluster{Partitions: partitions}, members)
		owner := make(map[partition.TopicPartition]string)
		for id, tps := range got {
			for _, tp := range tps {
				require.NotContains(t, owner, tp)
				owner[tp] = id
			}
		}
		for topic, n := range partitions {
			share := make(map[string]int)
			for _, m := range members {
				if slices.Contains(m.Topics, topic) {
					share[m.MemberID] = 0
				}
			}
			for p := range n {
				id, ok := owner[partition.TopicPartition{Topic: topic, Partition: p}]
				require.Equal(t, len(share) > 0, ok)
				if ok {
					require.Contains(t, share, id)
					share[id]++
				}
			}
			least, most := int(n), 0
			for _, k := range share {
				least, most = min(least, k), max(most, k)
			}
			require.True(t, len(share) == 0 || most-least <= 1)
		}
	})
}
