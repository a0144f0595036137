package group

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewriteAssignors = flag.Bool("rewrite-assignors", false, "write the golden answers of Kafka's assignors anew (needs Java)")

// goldenScenario is a line of the golden file: a scenario with the answer of Kafka's Java assignor.
type goldenScenario struct {
	assignScenario
	Answer scenarioAnswer `json:"answer"`
}

const goldenAssignors = "testdata/assignors/kafka-4.1.2.jsonl"

func TestAssignorsAnswerAsKafkaDid(t *testing.T) {
	f, err := os.Open(filepath.FromSlash(goldenAssignors))
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var s goldenScenario
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s))
		require.Equal(t, s.Answer, s.ask(t), "line %d: %s", n+1, s.Assignor)
		s.check(t, s.Answer)
	}
	require.NoError(t, lines.Err())
	require.Greater(t, n, 100)
}

// kafkaAssignors answers questions with Kafka's Java assignors. It skips the test if there is no Java to ask:
// .ci/assignors/run names it.
func kafkaAssignors(t *testing.T, questions []any) [][]byte {
	return askKafka(t, "PARTLOG_KAFKA_ASSIGNORS", questions)
}

// askKafka asks the program that a variable of the environment names.
func askKafka(t *testing.T, variable string, questions []any) [][]byte {
	command := strings.Fields(os.Getenv(variable))
	if len(command) == 0 {
		t.Skip(variable + " does not say how to ask Kafka's assignors; .ci/assignors/run does")
	}
	var in bytes.Buffer
	for _, q := range questions {
		b, err := json.Marshal(q)
		require.NoError(t, err)
		in.Write(append(b, '\n'))
	}
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Stdin = &in
	out, err := c.Output()
	require.NoError(t, err)
	answers := bytes.Split(bytes.TrimSuffix(out, []byte{'\n'}), []byte{'\n'})
	require.Len(t, answers, len(questions))
	return answers
}

func TestAssignorsAnswerAsKafkaDoes(t *testing.T) {
	count, _ := strconv.Atoi(os.Getenv("PARTLOG_KAFKA_SCENARIOS"))
	count = max(count, 5000)
	seed := uint64(1)
	if s, err := strconv.ParseUint(os.Getenv("PARTLOG_KAFKA_SEED"), 10, 64); err == nil {
		seed = s
	}
	random := rand.New(rand.NewPCG(seed, 0))
	scenarios, questions := make([]assignScenario, count), make([]any, count)
	for i := range scenarios {
		most := 8
		if i%4 == 3 {
			most = 60
		}
		scenarios[i] = scenarioIn(random.IntN, most)
		questions[i] = scenarios[i]
	}
	same, quirks := map[string]int{}, map[string]int{}
	var golden []string
	for i, line := range kafkaAssignors(t, questions) {
		s := scenarios[i]
		ours := s.ask(t)
		s.check(t, ours)
		var kafkas scenarioAnswer
		require.NoError(t, json.Unmarshal(line, &kafkas))
		if quirk := s.quirk(t); quirk != "" {
			quirks[quirk]++
			continue
		}
		question, _ := json.Marshal(s)
		require.Empty(t, kafkas.Error, "%s", question)
		require.Equal(t, kafkas, ours, "%s", question)
		same[s.Assignor]++
		if i%4 < 3 && len(golden) < 250 && len(s.Members) > 1 {
			b, err := json.Marshal(goldenScenario{s, kafkas})
			require.NoError(t, err)
			golden = append(golden, string(b))
		}
	}
	fmt.Printf("the same answers: %v; not compared: %v\n", same, quirks)
	if *rewriteAssignors {
		require.NoError(t, os.MkdirAll(filepath.FromSlash(filepath.Dir(goldenAssignors)), 0o755))
		require.NoError(t, os.WriteFile(filepath.FromSlash(goldenAssignors), []byte(strings.Join(golden, "\n")+"\n"), 0o644))
	}
}

// The bytes that we write are those that Kafka writes after reading them.
func TestConsumerProtocolIsKafkas(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var want []string
	var questions []any
	for range 1000 {
		s := scenarioIn(random.IntN, 4)
		for _, m := range s.members(t) {
			for version := range int16(SubscriptionVersion + 1) {
				b := fmt.Sprintf("%x", m.appendVersion(nil, version))
				want, questions = append(want, b), append(questions, map[string]string{"subscription": b})
			}
			a := Assignment{Partitions: m.Owned, UserData: m.UserData}
			b := fmt.Sprintf("%x", a.Append(nil))
			want, questions = append(want, b), append(questions, map[string]string{"assignment": b})
		}
	}
	for i, line := range kafkaAssignors(t, questions) {
		var got struct{ Hex string }
		require.NoError(t, json.Unmarshal(line, &got), "%s", line)
		require.Equal(t, want[i], got.Hex)
	}
}
