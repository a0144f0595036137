package group

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// serverScenario is a question to a server assignor. A topic is a number, its id the UUID of that value.
type serverScenario struct {
	Assignor   string               `json:"assignor"`
	Partitions map[int]int32        `json:"partitions"`
	Members    []serverMember       `json:"members"` // by id
	Answer     serverScenarioAnswer `json:"answer,omitempty"`
}

type serverMember struct {
	ID       string          `json:"id"`
	Instance string          `json:"instance,omitempty"`
	Topics   []int           `json:"topics"`
	Target   map[int][]int32 `json:"target"`
}

type serverScenarioAnswer map[string]map[int][]int32

func numberedTopic(n int) (id partition.TopicID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func (s *serverScenario) group() ServerGroup {
	g := ServerGroup{Partitions: make(map[partition.TopicID]int32)}
	for t, n := range s.Partitions {
		g.Partitions[numberedTopic(t)] = n
	}
	for _, m := range s.Members {
		member := ServerMember{MemberID: m.ID, InstanceID: m.Instance}
		for _, t := range m.Topics {
			member.Topics = append(member.Topics, numberedTopic(t))
		}
		slices.SortFunc(member.Topics, compareTopicIDs)
		target := make(map[partition.TopicID][]int32)
		for t, p := range m.Target {
			target[numberedTopic(t)] = p
		}
		member.Target = partitionSetOf(target)
		g.Members = append(g.Members, member)
	}
	return g
}

func (s *serverScenario) ask() serverScenarioAnswer {
	assignor := Uniform
	if s.Assignor == "range" {
		assignor = ServerRange
	}
	answer := make(serverScenarioAnswer)
	for id, set := range assignor.Assign(s.group()) {
		for _, t := range set {
			if answer[id] == nil {
				answer[id] = make(map[int][]int32)
			}
			answer[id][int(binary.BigEndian.Uint64(t.TopicID[8:]))] = t.Partitions
		}
	}
	return answer
}

// randomServerScenario makes up a group; targets are what an assignor gave to another such group, or nothing.
func randomServerScenario(random *rand.Rand, most int) serverScenario {
	s := serverScenario{Assignor: []string{"uniform", "uniform", "range"}[random.IntN(3)], Partitions: make(map[int]int32)}
	topics := 1 + random.IntN(min(most, 12)) // Java's sets of small numbers are sorted up to twelve
	for t := 1; t <= topics; t++ {
		s.Partitions[t] = 1 + random.Int32N(int32(most))
	}
	same := random.IntN(2) == 0
	all := random.Perm(topics)[:1+random.IntN(topics)]
	for i := range 1 + random.IntN(most) {
		m := serverMember{ID: fmt.Sprintf("m%03d", i), Topics: []int{}, Target: map[int][]int32{}}
		if random.IntN(4) == 0 {
			m.Instance = fmt.Sprintf("i%d", random.IntN(1000)*1000+i)
		}
		of := all
		if !same {
			of = random.Perm(topics)[:random.IntN(topics+1)]
		}
		for _, t := range of {
			m.Topics = append(m.Topics, t+1)
		}
		slices.Sort(m.Topics)
		s.Members = append(s.Members, m)
	}
	if random.IntN(4) > 0 { // as it was with another subscription, other partitions, other members
		before := s
		before.Partitions = make(map[int]int32)
		for t, n := range s.Partitions {
			before.Partitions[t] = 1 + random.Int32N(n)
		}
		before.Members = slices.Clone(s.Members)
		before.Members = slices.DeleteFunc(before.Members, func(serverMember) bool { return random.IntN(4) == 0 })
		for i := range before.Members {
			if random.IntN(3) == 0 {
				before.Members[i].Topics = before.Members[random.IntN(len(before.Members))].Topics
			}
		}
		if len(before.Members) > 0 {
			had := before.ask()
			for i, m := range s.Members {
				if target := had[m.ID]; target != nil {
					s.Members[i].Target = target
				}
			}
		}
	}
	used := make(map[int]bool)
	for _, m := range s.Members {
		for _, t := range m.Topics {
			used[t] = true
		}
		for t := range m.Target {
			used[t] = true
		}
	}
	for t := range s.Partitions {
		if !used[t] {
			delete(s.Partitions, t)
		}
	}
	return s
}

// check holds an answer to what every assignor promises: each partition of a topic with subscribers is with one of them; and
// members with the same subscription differ by one partition at most, but not with range.
func (s *serverScenario) check(t require.TestingT, a serverScenarioAnswer) {
	owners := make(map[[2]int]string)
	sizes := make(map[string]int)
	subscribed := make(map[int]bool)
	homogeneous := true
	for _, m := range s.Members {
		homogeneous = homogeneous && slices.Equal(m.Topics, s.Members[0].Topics)
		for _, topic := range m.Topics {
			subscribed[topic] = true
		}
		for topic, partitions := range a[m.ID] {
			require.Contains(t, m.Topics, topic)
			for _, p := range partitions {
				require.Empty(t, owners[[2]int{topic, int(p)}])
				require.Less(t, p, s.Partitions[topic])
				owners[[2]int{topic, int(p)}] = m.ID
				sizes[m.ID]++
			}
		}
	}
	total := 0
	for topic := range subscribed {
		total += int(s.Partitions[topic])
	}
	require.Len(t, owners, total)
	if s.Assignor == "uniform" && homogeneous {
		least, most, moved := total, 0, 0
		for _, m := range s.Members {
			least, most = min(least, sizes[m.ID]), max(most, sizes[m.ID])
			for topic, partitions := range m.Target {
				for _, p := range partitions {
					if owners[[2]int{topic, int(p)}] != m.ID && subscribed[topic] {
						moved++
					}
				}
			}
		}
		require.LessOrEqual(t, most-least, 1)
		excess, quota, extra := 0, total/len(s.Members), total%len(s.Members)
		for _, m := range s.Members {
			had := 0
			for topic, partitions := range m.Target {
				if subscribed[topic] {
					had += len(partitions)
				}
			}
			if had > quota && extra > 0 {
				had--
				extra--
			}
			excess += max(0, had-quota)
		}
		require.Equal(t, moved, excess, "more has moved than had to")
	}
}

func TestServerAssignorsKeepTheirPromises(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 3000 {
		s := randomServerScenario(random, 1+random.IntN(20))
		s.check(t, s.ask())
	}
}

// What nothing has changed about stays as it is.
func TestUniformAssignmentIsStable(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	for range 1000 {
		s := randomServerScenario(random, 1+random.IntN(20))
		s.Assignor = "uniform"
		for round := 0; ; round++ {
			a := s.ask()
			unchanged := true
			for i, m := range s.Members {
				had := m.Target
				if len(had) == 0 {
					had = nil
				}
				if fmt.Sprint(a[m.ID]) != fmt.Sprint(had) {
					unchanged = false
				}
				s.Members[i].Target = a[m.ID]
			}
			if unchanged {
				break
			}
			require.Less(t, round, 20, "it never settles")
		}
	}
}

const goldenServerAssignors = "testdata/assignors/kafka-4.1.2-server.jsonl"

func TestServerAssignorsAnswerAsKafkaDid(t *testing.T) {
	f, err := os.Open(filepath.FromSlash(goldenServerAssignors))
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var s serverScenario
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s))
		if s.Answer == nil {
			s.Answer = serverScenarioAnswer{}
		}
		require.Equal(t, s.Answer, s.ask(), "line %d", n+1)
		s.check(t, s.Answer)
	}
	require.NoError(t, lines.Err())
	require.Greater(t, n, 100)
}

func TestServerAssignorsAnswerAsKafkaDoes(t *testing.T) {
	count, _ := strconv.Atoi(os.Getenv("PARTLOG_KAFKA_SCENARIOS"))
	count = max(count, 5000)
	seed, _ := strconv.ParseUint(os.Getenv("PARTLOG_KAFKA_SEED"), 10, 64)
	random := rand.New(rand.NewPCG(seed, 1))
	scenarios, questions := make([]serverScenario, count), make([]any, count)
	for i := range scenarios {
		scenarios[i] = randomServerScenario(random, []int{4, 8, 12, 40}[i%4])
		questions[i] = scenarios[i]
	}
	var golden []string
	for i, line := range askKafka(t, "PARTLOG_KAFKA_SERVER_ASSIGNORS", questions) {
		s := scenarios[i]
		ours := s.ask()
		s.check(t, ours)
		var kafkas serverScenarioAnswer
		question, _ := json.Marshal(s)
		require.NoError(t, json.Unmarshal(line, &kafkas), "%s: %s", question, line)
		require.Equal(t, kafkas, ours, "%s", question)
		if i%4 < 3 && len(golden) < 250 && len(s.Members) > 1 {
			s.Answer = kafkas
			b, err := json.Marshal(s)
			require.NoError(t, err)
			golden = append(golden, string(b))
		}
	}
	fmt.Printf("the same answers of server assignors: %d\n", count)
	if *rewriteAssignors {
		require.NoError(t, os.WriteFile(filepath.FromSlash(goldenServerAssignors), []byte(strings.Join(golden, "\n")+"\n"), 0o644))
	}
}
