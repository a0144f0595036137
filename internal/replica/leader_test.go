package replica

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestLeader replays the stories in testdata/leader, one family of rules each, at node 1. go test -rewrite writes down what happens; the
// diff is then to be read.
//
//	brokers 2=20 3=30 4=fenced                    what the metadata says of nodes: broker epochs
//	lead epoch=5 partition-epoch=1 replicas=(1,2,3) isr=(1,2) min-isr=2 [end=10] [high=3] [start=0] [recovering]
//	metadata ...                                  the same, to a leader that is there
//	append N [durable=M]                          N records more; M: up to where they count, else all
//	durable M
//	fetch 2 at=10 [broker=20] [epoch=5] [start=0] a follower's fetch, at once noted if it is good
//	start 4                                       the leader's log start offset
//	wait 10s                                      time passes
//	alive 2                                       a fetch of 2 whose session does not name the partition
//	tick
//	propose                                       takes what is to be sent to the controller
//	answer CODE [isr=(1,2,3)] [partition-epoch=2]
//
// Printed are the effects, then the state.
func TestLeader(t *testing.T) {
	datadriven.Walk(t, "testdata/leader", func(t *testing.T, path string) {
		s := &leaderStory{brokers: aliveBrokers{brokers: brokers{}, last: map[NodeID]time.Duration{}}, now: time.Hour}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for _, line := range strings.Split(d.Cmd+" "+argsOf(d)+"\n"+d.Input, "\n") {
				if strings.TrimSpace(line) != "" {
					s.run(t, &out, strings.Fields(line))
				}
			}
			if s.l != nil {
				out.WriteString(s.state())
			}
			return out.String()
		})
	})
}

// argsOf puts a command's arguments together again.
func argsOf(d *datadriven.TestData) string {
	var s []string
	for _, a := range d.CmdArgs {
		s = append(s, strings.ReplaceAll(a.String(), ", ", ","))
	}
	return strings.Join(s, " ")
}

type aliveBrokers struct {
	brokers
	last map[NodeID]time.Duration
}

func (b aliveBrokers) LastFetch(n NodeID) time.Duration {
	if at, ok := b.last[n]; ok {
		return at
	}
	return Never
}

type leaderStory struct {
	l       *Leader
	log     *memLog
	brokers aliveBrokers
	now     time.Duration
	sent    Proposal
}

// arguments are key=value of a line; flags have the value "true".
type arguments map[string]string

func parse(fields []string) (plain []string, a arguments) {
	a = arguments{}
	for _, f := range fields {
		key, value, ok := strings.Cut(f, "=")
		switch _, err := strconv.Atoi(key); {
		case ok:
			a[key] = value
		case err == nil || len(fields) == 1:
			plain = append(plain, f)
		default:
			a[f] = "true"
			plain = append(plain, f)
		}
	}
	return plain, a
}

func (a arguments) number(t require.TestingT, key string, otherwise int64) int64 {
	s, ok := a[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(s, 10, 64)
	require.NoError(t, err, key)
	return n
}

func (a arguments) nodes(t require.TestingT, key string) (nodes []NodeID) {
	for _, s := range strings.FieldsFunc(a[key], func(r rune) bool { return strings.ContainsRune("(),", r) }) {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, key)
		nodes = append(nodes, NodeID(n))
	}
	return nodes
}

func (s *leaderStory) run(t *testing.T, out *strings.Builder, fields []string) {
	plain, a := parse(fields[1:])
	number := func() int64 {
		n, err := strconv.ParseInt(plain[0], 10, 64)
		require.NoError(t, err)
		return n
	}
	effects := func(e Effects) {
		if e != 0 {
			fmt.Fprintf(out, "%s: %s\n", strings.Join(fields, " "), effectNames(e))
		}
	}
	switch fields[0] {
	case "brokers":
		for key, value := range a {
			id, err := strconv.Atoi(key)
			require.NoError(t, err)
			epoch, err := strconv.ParseInt(value, 10, 64)
			known := s.brokers.brokers[NodeID(id)]
			known.alive = err == nil
			if err == nil {
				known.epoch = epoch
			}
			s.brokers.brokers[NodeID(id)] = known
		}
	case "lead", "metadata":
		m := Metadata{Leader: 1, LeaderEpoch: int32(a.number(t, "epoch", 1)), PartitionEpoch: int32(a.number(t, "partition-epoch", 1)),
			Replicas: a.nodes(t, "replicas"), ISR: a.nodes(t, "isr"), MinISR: int(a.number(t, "min-isr", 1)), Recovering: a["recovering"] != ""}
		if fields[0] == "metadata" {
			effects(s.l.Metadata(m, s.logState(a, t), s.now))
			return
		}
		s.log = &memLog{start: a.number(t, "start", 0)}
		for s.log.End() < a.number(t, "end", 0) {
			s.log.append(t, int32(a.number(t, "of", int64(m.LeaderEpoch)-1)), "v")
		}
		s.l = NewLeader(LeaderConfig{Node: 1, BrokerEpoch: 10, Brokers: s.brokers}, m, s.logState(a, t), s.now)
	case "append":
		for range number() {
			s.log.append(t, s.l.Epoch(), "v")
		}
		effects(s.l.Appended(s.log.End(), a.number(t, "durable", s.log.End())))
	case "durable":
		effects(s.l.Appended(s.log.End(), number()))
	case "start":
		s.log.deleteBefore(number())
		effects(s.l.StartMoved(s.log.Start()))
	case "fetch":
		node := NodeID(number())
		epoch, _ := s.brokers.Broker(node)
		f := &Fetch{Node: node, BrokerEpoch: a.number(t, "broker", epoch), Position: Position{Offset: a.number(t, "at", 0),
			LeaderEpoch: int32(a.number(t, "epoch", int64(s.l.Epoch()))), LogStart: a.number(t, "start", 0), LastEpoch: int32(a.number(t, "last", -1))}}
		answer, err := s.l.Check(s.log, f)
		require.NoError(t, err)
		switch {
		case answer.Code != None:
			fmt.Fprintf(out, "%s: %s", strings.Join(fields, " "), codeName(answer.Code))
			if answer.Code == OffsetOutOfRange {
				fmt.Fprintf(out, ", the leader has %d to %d", answer.LogStart, answer.LogEnd)
			}
			out.WriteString("\n")
		case answer.Diverging():
			fmt.Fprintf(out, "%s: diverges, epoch %d ends at %d\n", strings.Join(fields, " "), answer.DivergingEpoch, answer.DivergingEnd)
		default:
			code, e := s.l.Fetched(f, s.now)
			require.Equal(t, None, code)
			effects(e)
		}
	case "offset-for-epoch":
		found, end, err := s.l.OffsetForEpoch(s.log, int32(number()))
		require.NoError(t, err)
		fmt.Fprintf(out, "%s: epoch %d ends at %d\n", strings.Join(fields, " "), found, end)
	case "wait":
		d, err := time.ParseDuration(fields[1])
		require.NoError(t, err)
		s.now += d
	case "alive":
		s.brokers.last[NodeID(number())] = s.now
	case "tick":
		effects(s.l.Tick(s.now))
	case "propose":
		p, ok := s.l.Proposal()
		if !ok {
			out.WriteString("propose: nothing\n")
			return
		}
		s.sent = p
		fmt.Fprintf(out, "propose: leader epoch %d partition epoch %d", p.LeaderEpoch, p.PartitionEpoch)
		for _, m := range p.ISR {
			fmt.Fprintf(out, " %d(%d)", m.Node, m.Epoch)
		}
		out.WriteString("\n")
	case "answer":
		code, ok := codeNames[fields[1]]
		require.True(t, ok, fields[1])
		altered := Altered{Code: code, LeaderEpoch: s.sent.LeaderEpoch, PartitionEpoch: s.sent.PartitionEpoch}
		if code == None {
			altered.State = Metadata{Leader: 1, LeaderEpoch: s.sent.LeaderEpoch, PartitionEpoch: int32(a.number(t, "partition-epoch", int64(s.sent.PartitionEpoch)+1)),
				Replicas: slices.Clone(s.l.Replicas())}
			for _, m := range s.sent.ISR {
				altered.State.ISR = append(altered.State.ISR, m.Node)
			}
			if _, ok := a["isr"]; ok {
				altered.State.ISR = a.nodes(t, "isr")
			}
		}
		effects(s.l.Altered(altered))
	default:
		t.Fatalf("unknown: %s", fields[0])
	}
}

func (s *leaderStory) logState(a arguments, t *testing.T) LogState {
	return LogState{Start: s.log.Start(), End: s.log.End(), Durable: a.number(t, "durable", s.log.End()), HighWatermark: a.number(t, "high", 0)}
}

func codeName(c Code) string {
	for name, code := range codeNames {
		if code == c {
			return name
		}
	}
	return fmt.Sprintf("code %d", int16(c))
}

var codeNames = map[string]Code{"ok": None, "ineligible": IneligibleReplica, "not-attempted": OperationNotAttempted, "fenced": FencedLeaderEpoch,
	"invalid-version": InvalidUpdateVersion, "invalid-request": InvalidRequest, "unknown-topic": UnknownTopicID, "new-leader": NewLeaderElected,
	"timeout": RequestTimedOut, "not-controller": NotController,
	"out-of-range": OffsetOutOfRange, "unknown-epoch": UnknownLeaderEpoch, "not-leader": NotLeaderOrFollower, "storage-error": KafkaStorageError}

func effectNames(e Effects) string {
	var s []string
	for i, name := range []string{"high watermark", "isr", "proposal", "low watermark"} {
		if e.Has(1 << i) {
			s = append(s, name)
		}
	}
	return strings.Join(s, ", ")
}

func (s *leaderStory) state() string {
	l := s.l
	var out strings.Builder
	fmt.Fprintf(&out, "epoch %d from %d, end %d, high %d, low %d, isr %v", l.Epoch(), l.EpochStart(), s.log.End(), l.HighWatermark(), l.LowWatermark(), l.ISR())
	if maximal := l.MaximalISR(nil); len(maximal) != len(l.ISR()) {
		fmt.Fprintf(&out, " maximal %v", maximal)
	}
	for _, f := range []struct {
		is   bool
		name string
	}{{l.Pending(), "pending"}, {l.UnderMinISR(), "under min isr"}, {!l.Ready(), "not ready"}, {l.Recovering(), "recovering"}} {
		if f.is {
			out.WriteString(", " + f.name)
		}
	}
	return out.String() + "\n"
}
