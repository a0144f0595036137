package group

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/partition"
)

func toHex(b []byte) string { return hex.EncodeToString(b) }

func rapidDice(t *rapid.T) dice {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") }
}

// Each partition to one subscriber, evenly where subscriptions are equal; and the same again, in whatever order the
// members come.
func TestAssignorsKeepTheirPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := scenarioIn(rapidDice(t), 12)
		answer := s.ask(t)
		s.check(t, answer)
		slices.Reverse(s.Members)
		require.Equal(t, answer, s.ask(t))
	})
}

// stuck divides with Sticky, from what the members had before, and returns what they have now.
func stuck(partitions map[string]int32, members []AssignorMember, had map[string][]partition.TopicPartition, g Generation) map[string][]partition.TopicPartition {
	for i := range members {
		m := &members[i]
		m.Generation = g
		if len(had) == 0 {
			m.Generation = NoGeneration
		}
		m.UserData = Sticky.UserData(had[m.MemberID], m.Generation)
	}
	return Sticky.Assign(Cluster{Partitions: partitions}, members)
}

func drawMembers(t *rapid.T, topics []string, equal bool) []AssignorMember {
	var members []AssignorMember
	for i := range rapid.IntRange(1, 20).Draw(t, "members") {
		m := AssignorMember{MemberID: fmt.Sprintf("m-%d-%d", rapid.IntRange(0, 999).Draw(t, "id"), i)}
		if m.Topics = topics; !equal {
			m.Topics = subset(rapidDice(t), topics, false)
		}
		members = append(members, m)
	}
	return members
}

// Whatever the subscriptions, nothing moves if nothing has changed.
func TestStickyMovesNothingWithoutNeed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := map[string]int32{"t1": rapid.Int32Range(1, 20).Draw(t, "t1"), "t2": rapid.Int32Range(1, 20).Draw(t, "t2"), "t3": 4}
		members := drawMembers(t, slices.Sorted(maps.Keys(partitions)), rapid.Bool().Draw(t, "equal"))
		first := stuck(partitions, members, nil, 0)
		require.Equal(t, first, stuck(partitions, members, first, 1))
	})
}

// With equal subscriptions no fewer partitions could move: those of members that left, those above a share, no more.
func TestStickyMovesAsLittleAsBalanceAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := map[string]int32{"t1": rapid.Int32Range(1, 30).Draw(t, "t1"), "t2": rapid.Int32Range(1, 30).Draw(t, "t2")}
		topics := slices.Sorted(maps.Keys(partitions))
		members := drawMembers(t, topics, true)
		had := stuck(partitions, members, nil, 0)
		for range rapid.IntRange(0, 4).Draw(t, "leave") {
			if len(members) > 1 {
				i := rapid.IntRange(0, len(members)-1).Draw(t, "who")
				members = slices.Delete(members, i, i+1)
			}
		}
		for i := range rapid.IntRange(0, 4).Draw(t, "join") {
			members = append(members, AssignorMember{MemberID: fmt.Sprintf("new-%d", i), Subscription: Subscription{Topics: topics}})
		}
		partitions["t1"] += rapid.Int32Range(0, 5).Draw(t, "grown")
		has := stuck(partitions, members, had, 1)

		total, kept, could := int(partitions["t1"]+partitions["t2"]), 0, 0
		least, more := total/len(members), total%len(members)
		for _, m := range members {
			for _, tp := range had[m.MemberID] {
				if slices.Contains(has[m.MemberID], tp) {
					kept++
				}
			}
			share := min(len(had[m.MemberID]), least)
			if len(had[m.MemberID]) > least && more > 0 {
				more--
				share++
			}
			could += share
		}
		require.Equal(t, could, kept)
	})
}

// Members of a cooperative group come, go, change their minds, miss what they were assigned, and topics grow. Whoever
// gets a partition gets it when nobody else has it; and when it is quiet, the third generation at the latest has
// everything.
func TestCooperativePartitionsAreNeverOwnedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapidDice(t)
		g := cooperativeGroup{partitions: map[string]int32{"t1": int32(1 + d(12)), "t2": int32(1 + d(12)), "t3": int32(1 + d(5))}, equal: d.one(2)}
		for range 2 + d(10) {
			for range d(3) {
				g.change(d)
			}
			g.generation(t, func() bool { return d.one(4) })
		}
		if len(g.members) == 0 {
			return
		}
		for range 3 {
			g.generation(t, func() bool { return false })
		}
		owned := make(map[partition.TopicPartition]bool)
		for _, m := range g.members {
			for _, tp := range m.Owned {
				owned[tp] = true
			}
		}
		for _, m := range g.members {
			for _, topic := range m.Topics {
				for p := range g.partitions[topic] {
					require.True(t, owned[partition.TopicPartition{Topic: topic, Partition: p}], "%s-%d is left over", topic, p)
				}
			}
		}
		before := g.count()
		g.generation(t, func() bool { return false })
		require.Equal(t, before, g.count(), "a quiet group does not move")
	})
}

// cooperativeGroup is a group as CooperativeSticky sees it: what its members own, by their own account.
type cooperativeGroup struct {
	partitions map[string]int32
	equal      bool
	members    []AssignorMember
	now        Generation
	ids        int
}

func (g *cooperativeGroup) change(d dice) {
	topics := slices.Sorted(maps.Keys(g.partitions))
	switch d(6) {
	case 0, 1, 2:
		g.ids++
		m := AssignorMember{MemberID: fmt.Sprintf("m%d-%d", d(100), g.ids)}
		m.Topics, m.Generation = subset(d, topics, g.equal), NoGeneration
		g.members = append(g.members, m)
	case 3:
		if len(g.members) > 0 {
			i := d(len(g.members))
			g.members = slices.Delete(g.members, i, i+1)
		}
	case 4:
		g.partitions[topics[d(len(topics))]] += int32(d(4))
	case 5:
		if len(g.members) > 0 && !g.equal {
			m := &g.members[d(len(g.members))]
			m.Topics = subset(d, topics, false)
			// It gives up what it does not want before it joins.
			m.Owned = slices.DeleteFunc(slices.Clone(m.Owned), func(tp partition.TopicPartition) bool { return !slices.Contains(m.Topics, tp.Topic) })
		}
	}
}

// generation lets everybody join and take its assignment, one after the other; some miss it and keep what they had.
func (g *cooperativeGroup) generation(t require.TestingT, missed func() bool) {
	g.now++
	for i := range g.members {
		m := &g.members[i]
		m.UserData = CooperativeSticky.UserData(m.Owned, m.Generation)
	}
	had := make(map[partition.TopicPartition]string)
	for _, m := range g.members {
		for _, tp := range m.Owned {
			require.NotContains(t, had, tp, "%s and %s own %s", m.MemberID, had[tp], tp)
			had[tp] = m.MemberID
		}
	}
	got := CooperativeSticky.Assign(Cluster{Partitions: g.partitions}, g.members)
	for i := range g.members {
		m := &g.members[i]
		for _, tp := range got[m.MemberID] {
			other, ok := had[tp]
			require.True(t, !ok || other == m.MemberID, "%s gets %s while %s has it", m.MemberID, tp, other)
		}
		if missed() {
			continue
		}
		m.Owned, m.Generation = got[m.MemberID], g.now
	}
}

func (g *cooperativeGroup) count() (owned map[string]int) {
	owned = make(map[string]int)
	for _, m := range g.members {
		owned[m.MemberID] = len(m.Owned)
	}
	return owned
}
