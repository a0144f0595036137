package replica

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestFollower replays the stories in testdata/follower, one family of rules each. go test -rewrite writes down what happens; the diff is
// then to be read.
//
//	log 1:3 2:2 [from=4]              a log with three records of epoch 1, then two of epoch 2
//	follow leader=2 epoch=5 [high=3]
//	metadata leader=2 epoch=5 [partition-epoch=2]
//	grow 2:1                          the log gets a record
//	ask                               the position is noted; else each answer is to the present one
//	answer [CODE] [high=7] [start=0] [end=9] [diverges=3:5] [1:3 2:2] [cut] [from=4] [width=3]
//	                                  batches go on where the log ends, or from an offset, with so many records in each; cut: the last byte is missing
//
// What is to be done is printed, done, and the log is.
func TestFollower(t *testing.T) {
	datadriven.Walk(t, "testdata/follower", func(t *testing.T, path string) {
		s := &followerStory{log: &memLog{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for _, line := range strings.Split(d.Cmd+" "+argsOf(d)+"\n"+d.Input, "\n") {
				if strings.TrimSpace(line) != "" {
					s.run(t, &out, strings.Fields(line))
				}
			}
			fmt.Fprintf(&out, "log: %s, end %d, high %d", s.log.describe(), s.log.End(), s.f.HighWatermark())
			if s.f.Waiting() {
				out.WriteString(", waiting")
			}
			return out.String() + "\n"
		})
	})
}

type followerStory struct {
	log   *memLog
	f     *Follower
	asked *Position
}

func (s *followerStory) run(t *testing.T, out *strings.Builder, fields []string) {
	_, a := parse(fields[1:])
	m := Metadata{Leader: NodeID(a.number(t, "leader", 2)), LeaderEpoch: int32(a.number(t, "epoch", 1)), PartitionEpoch: int32(a.number(t, "partition-epoch", 1))}
	switch fields[0] {
	case "log":
		s.log = &memLog{start: a.number(t, "from", 0)}
		for _, b := range records(t, fields[1:]) {
			s.log.append(t, b, "v")
		}
		if s.f == nil {
			s.f = NewFollower(m, 0)
		}
	case "grow":
		for _, epoch := range records(t, fields[1:]) {
			s.log.append(t, epoch, "v")
		}
	case "follow":
		s.f, s.asked = NewFollower(m, a.number(t, "high", 0)), nil
	case "metadata":
		fmt.Fprintf(out, "changed: %t\n", s.f.Metadata(m))
	case "ask":
		at, err := s.f.Position(s.log)
		require.NoError(t, err)
		fmt.Fprintf(out, "from %d, last epoch %d, leader epoch %d, log start %d, high %d\n", at.Offset, at.LastEpoch, at.LeaderEpoch, at.LogStart, at.HighWatermark)
		s.asked = &at
	case "answer":
		s.answer(t, out, fields[1:], a)
	default:
		t.Fatalf("unknown: %s", fields[0])
	}
}

func (s *followerStory) answer(t *testing.T, out *strings.Builder, fields []string, a arguments) {
	at, err := s.f.Position(s.log)
	require.NoError(t, err)
	if s.asked != nil {
		at, s.asked = *s.asked, nil
	}
	answer := refusal(None)
	for _, f := range fields {
		if code, ok := codeNames[f]; ok {
			answer.Code = code
		}
	}
	answer.HighWatermark, answer.LogStart, answer.LogEnd = a.number(t, "high", -1), a.number(t, "start", -1), a.number(t, "end", -1)
	if d, ok := a["diverges"]; ok {
		epoch, end, _ := strings.Cut(d, ":")
		e, err := strconv.Atoi(epoch)
		require.NoError(t, err)
		answer.DivergingEpoch = int32(e)
		answer.DivergingEnd, err = strconv.ParseInt(end, 10, 64)
		require.NoError(t, err)
	}
	offset, width := a.number(t, "from", s.log.End()), a.number(t, "width", 1)
	for _, epoch := range records(t, fields) {
		answer.Records = append(answer.Records, wide(t, offset, epoch, "new", int(width))...)
		offset += width
	}
	if a["cut"] != "" {
		answer.Records = answer.Records[:len(answer.Records)-1]
	}
	step, err := s.f.Handle(s.log, at, &answer)
	names := map[StepKind]string{StepNone: "nothing", StepAppend: "append", StepTruncate: "truncate to", StepReset: "begin anew at", StepWait: "wait", StepBackoff: "back off", StepFail: "fail"}
	fmt.Fprintf(out, "%s", names[step.Kind])
	switch step.Kind {
	case StepAppend:
		s.log.appendRaw(t, step.Records)
	case StepTruncate:
		fmt.Fprintf(out, " %d", step.Offset)
		s.log.truncate(step.Offset)
	case StepReset:
		fmt.Fprintf(out, " %d", step.Offset)
		s.log.reset(step.Offset)
		s.log.appendRaw(t, step.Records)
	case StepFail:
		fmt.Fprintf(out, ": %v", err)
	}
	require.Equal(t, step.Kind == StepFail, err != nil)
	if step.Committed {
		out.WriteString(", committed records")
	}
	if step.Dropped {
		out.WriteString(", rest dropped")
	}
	s.f.Done(step, s.log.End())
	if step.LogStart > s.log.Start() {
		fmt.Fprintf(out, ", log start %d", step.LogStart)
		s.log.deleteBefore(step.LogStart)
	}
	out.WriteString("\n")
}

// records are the epochs of what 1:3 2:2 says.
func records(t *testing.T, fields []string) (epochs []int32) {
	for _, f := range fields {
		epoch, count, ok := strings.Cut(f, ":")
		e, err := strconv.Atoi(epoch)
		if !ok || err != nil {
			continue
		}
		n, err := strconv.Atoi(count)
		require.NoError(t, err)
		for range n {
			epochs = append(epochs, int32(e))
		}
	}
	return epochs
}
