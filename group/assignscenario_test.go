package group

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// assignScenario is what an assignor is asked, as .ci/assignors/Assignors.java reads it.
type assignScenario struct {
	Assignor   string                `json:"assignor"`
	Partitions map[string]int32      `json:"partitions"`
	Racks      map[string][][]string `json:"racks,omitempty"`
	Members    []scenarioMember      `json:"members"`
}

type scenarioMember struct {
	ID           string `json:"id"`
	Instance     string `json:"instance,omitempty"`
	Subscription string `json:"subscription"` // encoded, in hex
}

// scenarioAnswer are the partition numbers by member and topic; Error is what Kafka threw.
type scenarioAnswer struct {
	Partitions map[string]map[string][]int32
	Error      string
}

func (a *scenarioAnswer) UnmarshalJSON(b []byte) error {
	var failed struct{ Error string }
	if err := json.Unmarshal(b, &failed); err == nil && failed.Error != "" {
		a.Error = failed.Error
		return nil
	}
	return json.Unmarshal(b, &a.Partitions)
}

func (a scenarioAnswer) MarshalJSON() ([]byte, error) { return json.Marshal(a.Partitions) }

var assignorsByName = map[string]Assignor{
	"range": Range, "roundrobin": RoundRobin, "sticky": Sticky, "cooperative-sticky": CooperativeSticky,
}

func (s *assignScenario) members(t require.TestingT) []AssignorMember {
	var members []AssignorMember
	for _, m := range s.Members {
		b, err := hex.DecodeString(m.Subscription)
		require.NoError(t, err)
		subscription, err := DecodeSubscription(b)
		require.NoError(t, err)
		members = append(members, AssignorMember{MemberID: m.ID, InstanceID: m.Instance, Subscription: subscription})
	}
	return members
}

func (s *assignScenario) cluster() Cluster {
	c := Cluster{Partitions: s.Partitions}
	if s.Racks != nil {
		c.Racks = func(tp partition.TopicPartition) []string { return s.Racks[tp.Topic][tp.Partition] }
	}
	return c
}

// ask returns our answer.
func (s *assignScenario) ask(t require.TestingT) scenarioAnswer {
	return answerOf(assignorsByName[s.Assignor].Assign(s.cluster(), s.members(t)))
}

func answerOf(assignment map[string][]partition.TopicPartition) scenarioAnswer {
	a := scenarioAnswer{Partitions: map[string]map[string][]int32{}}
	for id, tps := range assignment {
		if len(tps) == 0 {
			continue
		}
		a.Partitions[id] = map[string][]int32{}
		for _, t := range byTopic(tps) {
			a.Partitions[id][t.topic] = t.partitions
		}
	}
	return a
}

// claims returns what the members tell the scenario's assignor, for those that exist, and of which generation.
func (s *assignScenario) claims(m AssignorMember) ([]partition.TopicPartition, Generation) {
	if s.Assignor == "cooperative-sticky" {
		if m.Generation < 0 {
			return m.Owned, cooperativeGeneration(m.UserData)
		}
		return m.Owned, m.Generation
	}
	topics, g := readStickyUserData(m.UserData)
	return claimsOf(topics), g
}

func claimsOf(topics stickyUserData) (out []partition.TopicPartition) {
	topics.all(func(topic, partitions []byte) bool {
		for ; len(partitions) > 0; partitions = partitions[4:] {
			out = append(out, partition.TopicPartition{Topic: string(topic), Partition: int32(partitions[0])<<24 | int32(partitions[1])<<16 | int32(partitions[2])<<8 | int32(partitions[3])})
		}
		return true
	})
	return out
}

// quirk names why Kafka's answer need not be ours, if it need not: input on which its assignors break their own promises.
func (s *assignScenario) quirk(t require.TestingT) string {
	if s.Assignor != "sticky" && s.Assignor != "cooperative-sticky" {
		return ""
	}
	members := hashOrder(s.members(t))
	latest, owner := NoGeneration, map[partition.TopicPartition]AssignorMember{}
	for _, m := range members {
		_, g := s.claims(m)
		latest = max(latest, g)
	}
	for i, m := range members {
		if i == 0 && len(m.Topics) == 0 {
			return "members without topics count as subscribed to those of the next"
		}
		tps, g := s.claims(m)
		for _, tp := range tps {
			if n, ok := s.Partitions[tp.Topic]; ok && tp.Partition >= n {
				return "a partition that does not exist stays with its owner"
			}
			if g < latest && !slices.Contains(m.Topics, tp.Topic) {
				return "a partition goes back to a former owner that does not subscribe any more"
			}
			if other, ok := owner[tp]; ok {
				if _, og := s.claims(other); max(og, -1) != max(other.Generation, -1) || max(g, -1) != max(m.Generation, -1) {
					return "generations of the user data are compared with those of the subscription"
				}
			}
			owner[tp] = m
		}
	}
	return ""
}

// check proves what every assignment promises: each partition of a topic that somebody subscribes to belongs to exactly
// one subscriber (or, if it moves cooperatively, to nobody yet), and shares of equal subscriptions differ by one at
// most.
func (s *assignScenario) check(t require.TestingT, a scenarioAnswer) {
	members := s.members(t)
	owner := make(map[partition.TopicPartition]string)
	sizes := make(map[string]int)
	for id, topics := range a.Partitions {
		i := slices.IndexFunc(members, func(m AssignorMember) bool { return m.MemberID == id })
		require.GreaterOrEqual(t, i, 0, "%s is no member", id)
		for topic, partitions := range topics {
			require.Contains(t, members[i].Topics, topic, "%s does not subscribe", id)
			for _, p := range partitions {
				tp := partition.TopicPartition{Topic: topic, Partition: p}
				require.Less(t, p, s.Partitions[topic])
				require.NotContains(t, owner, tp)
				owner[tp] = id
				sizes[id]++
			}
		}
	}
	withheld := 0
	equal := true
	for _, m := range members {
		equal = equal && sameTopics(m.Topics, members[0].Topics)
		for _, topic := range m.Topics {
			for p := range s.Partitions[topic] {
				tp := partition.TopicPartition{Topic: topic, Partition: p}
				if _, ok := owner[tp]; ok {
					continue
				}
				require.Equal(t, "cooperative-sticky", s.Assignor, "%s is nobody's", tp)
				require.True(t, slices.ContainsFunc(members, func(m AssignorMember) bool { return slices.Contains(m.Owned, tp) }), "%s is nobody's and nobody has it", tp)
				owner[tp] = ""
				withheld++
			}
		}
	}
	if s.Assignor == "cooperative-sticky" {
		for tp, id := range owner {
			if id == "" {
				continue
			}
			claimants := 0
			for _, m := range members {
				if slices.Contains(m.Owned, tp) {
					claimants++
					if m.MemberID == id {
						claimants = -len(members)
					}
				}
			}
			require.LessOrEqual(t, claimants, 0, "%s moves from a member that has it to %s at once", tp, id)
		}
	}
	if !equal || len(members) == 0 || s.Assignor == "range" {
		return
	}
	least, most := len(owner), 0
	for _, m := range members {
		least, most = min(least, sizes[m.MemberID]), max(most, sizes[m.MemberID])
	}
	require.LessOrEqual(t, most-least, 1+withheld)
}

// dice draws a number below n.
type dice func(n int) int

func (d dice) one(in int) bool { return d(in) == 0 }

// scenarioIn draws a scenario: groups with a past, after members came and went, topics grew, and some of them lie.
func scenarioIn(d dice, most int) assignScenario {
	s := assignScenario{Assignor: slices.Sorted(maps.Keys(assignorsByName))[d(4)], Partitions: map[string]int32{}}
	var topics []string
	for i := range 1 + d(6) {
		topic := []string{"t", "orders", "a-", "payments.eu.", "Z"}[d(5)] + fmt.Sprint(i)
		topics = append(topics, topic)
		if !d.one(12) {
			s.Partitions[topic] = int32(1 + d(12))
		}
	}
	members := make([]AssignorMember, 1+d(most))
	racks := d.one(3)
	equal := !d.one(3)
	for i := range members {
		m := &members[i]
		m.MemberID = fmt.Sprintf("%s-%x-%x", []string{"consumer", "c", "flights"}[d(3)], d(1<<16), i)
		m.Generation = NoGeneration
		if d.one(5) {
			m.InstanceID = fmt.Sprintf("i%x", len(members)-i)
		}
		if racks && !d.one(6) {
			m.RackID = string(rune('a' + d(3)))
		}
		m.Topics = subset(d, topics, equal)
	}
	if racks {
		s.Racks = map[string][][]string{}
		alike := d.one(2)
		for t, n := range s.Partitions {
			for p := range n {
				of := []string{string(rune('a' + (p+int32(d(2)))%3))}
				if alike {
					of = []string{string(rune('a' + p%3))}
				}
				for range d(3) {
					of = append(of, []string{"a", "b", "c", "d", ""}[d(5)])
				}
				s.Racks[t] = append(s.Racks[t], of)
			}
		}
	}
	// The past.
	g := Generation(d(5))
	for range d(3) {
		s.tell(members)
		for i := range members {
			members[i].Owned, members[i].Generation = nil, g
		}
		past := s
		past.Racks = nil
		for id, tps := range assignorsByName[s.Assignor].Assign(past.cluster(), members) {
			i := slices.IndexFunc(members, func(m AssignorMember) bool { return m.MemberID == id })
			members[i].Owned = tps
		}
		g++
		for range d(3) {
			switch d(6) {
			case 0:
				i := d(len(members))
				members[i].Owned, members[i].Generation = nil, NoGeneration // as if it came anew
			case 1:
				if len(members) > 1 {
					i := d(len(members))
					members = slices.Delete(members, i, i+1)
				}
			case 2:
				if !racks {
					s.Partitions[topics[d(len(topics))]] += int32(d(8))
				}
			case 3:
				i := d(len(members))
				members[i].Topics = subset(d, topics, equal)
			case 4:
				i := d(len(members))
				members[i].Generation = max(members[i].Generation-1, NoGeneration) // it missed one
			case 5:
				i, j := d(len(members)), d(len(members))
				members[i].Owned = append(slices.Clone(members[i].Owned), members[j].Owned...) // it lies
			}
		}
	}
	if d.one(4) { // everybody claims anything
		for i := range members {
			m := &members[i]
			m.Owned, m.Generation = nil, Generation(d(4))-1
			for _, t := range m.Topics {
				for p := range s.Partitions[t] {
					if d.one(3) {
						m.Owned = append(m.Owned, partition.TopicPartition{Topic: t, Partition: p})
					}
				}
			}
		}
	}
	s.tell(members)
	for _, m := range members {
		version := int16(SubscriptionVersion)
		if d.one(20) {
			version = 1
		}
		if s.Assignor == "sticky" {
			m.Owned = nil
			if d.one(25) {
				m.UserData = m.UserData[:len(m.UserData)-min(len(m.UserData), d(8))]
			}
		}
		s.Members = append(s.Members, scenarioMember{m.MemberID, m.InstanceID, hex.EncodeToString(m.appendVersion(nil, version))})
	}
	// Members of one bucket of Java's HashMap keep the order in which they are put there; ours is that of their ids.
	slices.SortFunc(s.Members, func(a, b scenarioMember) int { return strings.Compare(a.ID, b.ID) })
	maps.DeleteFunc(s.Partitions, func(_ string, n int32) bool { return n == 0 })
	return s
}

// tell fills in the members' user data.
func (s *assignScenario) tell(members []AssignorMember) {
	for i := range members {
		m := &members[i]
		m.UserData = assignorsByName[s.Assignor].UserData(m.Owned, m.Generation)
	}
}

func subset(d dice, topics []string, all bool) []string {
	if all {
		return topics
	}
	var out []string
	for _, t := range topics {
		if !d.one(3) {
			out = append(out, t)
		}
	}
	return out
}

func TestScenariosAreWhatTheySay(t *testing.T) {
	s := assignScenario{Assignor: "range", Partitions: map[string]int32{"t": 2}, Members: []scenarioMember{{ID: "m",
		Subscription: "0000" + "00000001" + "000174" + "ffffffff"}}}
	require.Equal(t, scenarioAnswer{Partitions: map[string]map[string][]int32{"m": {"t": {0, 1}}}}, s.ask(t))
	b, err := json.Marshal(s)
	require.NoError(t, err)
	require.Equal(t, `{"assignor":"range","partitions":{"t":2},"members":[{"id":"m","subscription":"000000000001000174ffffffff"}]}`, strings.TrimSpace(string(b)))
}
