package txn

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestMachine replays the stories in testdata/machine: one rule of the coordinator each. go test -rewrite writes down
// what happens; the diff is then to be read.
//
//	init a [timeout=60s] [last=100/0]          InitProducerId
//	add a 100/0 t-0 t-1 [v1] [verify]          AddPartitionsToTxn
//	end a 100/0 commit|abort [v1]              EndTxn
//	abort a                                    by the administrator
//	advance 10s · tick · expire 168h
//	written a ok|full                          answers a write that was held
//	marked 100/1 t-0 [orphan]                  these markers are there, the others of the attempt failed
//	resume 100/1 [orphan]
//	restart [lose=n]                           another process reads the log, without the last n records that were not durable
//	found 100/0 t-0 · seen 100/5 · start
//	epoch a 32766                              to have one that is nearly used up
//
// Writes and markers succeed at once, but for those of a command with hold-writes or hold-markers. Requests are answered with
// the producer id and epoch to use from then on. New producer ids are 100, 101 ...
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		s := &story{fresh: 100, now: 1_700_000_000_000}
		s.m.MaxTimeout = 900_000
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			s.out.Reset()
			s.run(d)
			s.states()
			if d.Cmd != "restart" && d.Cmd != "found" && d.Cmd != "seen" {
				checkInvariants(t, &s.m) // after Start, as before a restart
			}
			return s.out.String()
		})
	})
}

type story struct {
	t          *testing.T
	m          Machine
	out        strings.Builder
	now        int64
	fresh      int64
	holdWrites bool
	holdMarks  bool
	log        []logged
	held       map[string]Write
}

// producerEpoch orders what producers of an id have been told.
type producerEpoch struct {
	id    int64
	epoch int16
}

type logged struct {
	key, value []byte
	durable    bool
}

var errFull = errors.New("no space")

func (s *story) run(d *datadriven.TestData) {
	name := func(i int) string { return d.CmdArgs[i].Key }
	s.holdWrites, s.holdMarks = d.HasArg("hold-writes"), d.HasArg("hold-markers")
	producer := func(text string) (int64, int16) {
		id, epoch, ok := strings.Cut(text, "/")
		require.True(s.t, ok, "%q", text)
		i, err := strconv.ParseInt(id, 10, 64)
		require.NoError(s.t, err)
		e, err := strconv.ParseInt(epoch, 10, 16)
		require.NoError(s.t, err)
		return i, int16(e)
	}
	partitions := func(from int) (ps []Partition) {
		for _, a := range d.CmdArgs[from:] {
			if i := strings.LastIndex(a.Key, "-"); i > 0 && !strings.HasPrefix(a.Key, "hold") && len(a.Vals) == 0 {
				n, err := strconv.Atoi(a.Key[i+1:])
				require.NoError(s.t, err)
				ps = append(ps, Partition{a.Key[:i], int32(n)})
			}
		}
		return ps
	}
	version := int16(2)
	if d.HasArg("v1") {
		version = 1
	}
	switch d.Cmd {
	case "init":
		ev := Init{Call: 1, ID: name(0), Timeout: 60_000, Last: None, LastEpoch: None, Fresh: None}
		if d.HasArg("timeout") {
			var text string
			d.ScanArgs(s.t, "timeout", &text)
			v, err := time.ParseDuration(text)
			require.NoError(s.t, err)
			ev.Timeout = int32(v.Milliseconds())
		}
		if d.HasArg("last") {
			var text string
			d.ScanArgs(s.t, "last", &text)
			ev.Last, ev.LastEpoch = producer(text)
		}
		s.step(ev)
	case "add":
		id, epoch := producer(name(1))
		s.step(Add{Call: 1, ID: name(0), ProducerID: id, Epoch: epoch, Partitions: partitions(2), Version: version, VerifyOnly: d.HasArg("verify")})
	case "end":
		id, epoch := producer(name(1))
		s.step(End{Call: 1, ID: name(0), ProducerID: id, Epoch: epoch, Commit: d.HasArg("commit"), Version: version, Fresh: None})
	case "abort":
		s.step(Abort{Call: 1, ID: name(0)})
	case "advance":
		v, err := time.ParseDuration(name(0))
		require.NoError(s.t, err)
		s.now += v.Milliseconds()
	case "tick":
		s.step(Tick{})
	case "expire":
		v, err := time.ParseDuration(name(0))
		require.NoError(s.t, err)
		s.step(Expire{Idle: v.Milliseconds()})
	case "written":
		w, ok := s.held[name(0)]
		require.True(s.t, ok, "nothing of %s is being written", name(0))
		delete(s.held, name(0))
		ev := Written{ID: name(0)}
		if d.HasArg("full") {
			ev.Err = errFull
		} else {
			s.append(w)
		}
		s.step(ev)
	case "marked":
		id, epoch := producer(name(0))
		s.step(Marked{ProducerID: id, Epoch: epoch, Done: partitions(1), Orphan: d.HasArg("orphan")})
	case "resume":
		id, epoch := producer(name(0))
		s.step(Resume{ProducerID: id, Epoch: epoch, Orphan: d.HasArg("orphan")})
	case "restart":
		lose := 0
		if d.HasArg("lose") {
			d.ScanArgs(s.t, "lose", &lose)
		}
		for range lose {
			last := len(s.log) - 1
			require.False(s.t, s.log[last].durable, "the record was durable")
			s.log = s.log[:last]
		}
		s.m, s.held = Machine{MaxTimeout: s.m.MaxTimeout}, nil
		for _, r := range s.log {
			id, ok, err := ParseKey(r.key)
			require.NoError(s.t, err)
			require.True(s.t, ok)
			ev := Replay{ID: id}
			if r.value != nil {
				m, ok, err := ParseValue(id, r.value)
				require.NoError(s.t, err)
				require.True(s.t, ok)
				ev.Meta = &m
			}
			require.Empty(s.t, s.m.Step(s.now, ev, nil))
		}
	case "found":
		id, epoch := producer(name(0))
		s.step(Found{ProducerID: id, Epoch: epoch, Partition: partitions(1)[0]})
	case "seen":
		id, epoch := producer(name(0))
		s.step(Seen{ProducerID: id, Epoch: epoch})
	case "start":
		s.step(Start{})
	case "epoch":
		e, err := strconv.Atoi(name(1))
		require.NoError(s.t, err)
		s.m.byID[name(0)].meta.Epoch = int16(e)
	default:
		s.t.Fatalf("unknown command %q", d.Cmd)
	}
}

// step makes a step, and answers what it asks for unless that is held.
func (s *story) step(ev Event) {
	effects := s.m.Step(s.now, ev, nil)
	for len(effects) > 0 {
		e := effects[0]
		effects = effects[1:]
		switch e := e.(type) {
		case Write:
			durable := ""
			if e.Durable {
				durable = ", durable"
			}
			fmt.Fprintf(&s.out, "write %s%s\n", text(e.Meta), durable)
			if s.holdWrites {
				if s.held == nil {
					s.held = map[string]Write{}
				}
				s.held[e.Meta.ID] = e
				continue
			}
			s.append(e)
			effects = append(effects, s.m.Step(s.now, Written{ID: e.Meta.ID}, nil)...)
		case Mark:
			what := "abort"
			if e.Commit {
				what = "commit"
			}
			orphan := ""
			if e.Orphan {
				orphan = ", of nobody"
			}
			fmt.Fprintf(&s.out, "mark %s %d/%d in %v, version %d%s\n", what, e.ProducerID, e.Epoch, names(e.Partitions), e.Version, orphan)
			if !s.holdMarks {
				effects = append(effects, s.m.Step(s.now, Marked{ProducerID: e.ProducerID, Epoch: e.Epoch, Orphan: e.Orphan, Done: e.Partitions}, nil)...)
			}
		case Answer:
			if e.Err != nil {
				fmt.Fprintf(&s.out, "answer: %v\n", e.Err)
			} else {
				fmt.Fprintf(&s.out, "answer: %d/%d\n", e.ProducerID, e.Epoch)
			}
		case NeedID:
			fmt.Fprintf(&s.out, "a new producer id: %d\n", s.fresh)
			switch again := ev.(type) {
			case Init:
				again.Fresh = s.fresh
				ev = again
			case End:
				again.Fresh = s.fresh
				ev = again
			}
			s.fresh++
			effects = append(effects, s.m.Step(s.now, ev, nil)...)
		case Later:
			fmt.Fprintf(&s.out, "later: %d/%d\n", e.ProducerID, e.Epoch)
		case Free:
			fmt.Fprintf(&s.out, "%s is free\n", cmp.Or(e.ID, "nobody"))
		case Ended:
			what := "aborted"
			if e.Commit {
				what = "committed"
			}
			fmt.Fprintf(&s.out, "%s has %s, by %s\n", e.Meta.ID, what, e.Cause)
		}
	}
}

func (s *story) append(w Write) {
	r := logged{key: AppendKey(nil, w.Meta.ID), durable: w.Durable}
	if w.Meta.State != Dead {
		r.value = AppendValue(nil, &w.Meta)
	}
	s.log = append(s.log, r)
}

func names(ps []Partition) (out []string) {
	for _, p := range ps {
		out = append(out, p.Topic+"-"+strconv.Itoa(int(p.Index)))
	}
	return out
}

func text(m Meta) string {
	out := fmt.Sprintf("%s %s %d/%d", m.ID, m.State, m.ProducerID, m.Epoch)
	if m.Next != None {
		out += fmt.Sprintf(" then %d/0", m.Next)
	}
	if len(m.Partitions) > 0 {
		out += fmt.Sprint(" ", names(m.Partitions))
	}
	return out
}

func (s *story) states() {
	s.m.Each(func(m Meta) {
		fmt.Fprintf(&s.out, "= %s\n", text(m))
	})
}

// checkInvariants holds what no event may break.
func checkInvariants(t require.TestingT, m *Machine) {
	require.Len(t, m.byProducer, len(m.byID))
	for id, e := range m.byID {
		require.Equal(t, id, e.meta.ID)
		require.Same(t, e, m.byProducer[e.meta.ProducerID])
		require.Equal(t, e.meta.State == Ongoing, m.open[id] == e, "%s", text(e.meta))
		busy := 0
		for _, b := range []bool{e.next != nil, e.marking, e.resting} {
			if b {
				busy++
			}
		}
		require.LessOrEqual(t, busy, 1, "%s", text(e.meta))
		if e.meta.State.Prepared() {
			require.Equal(t, 1, busy, "%s: nobody finishes it", text(e.meta))
		} else {
			require.Empty(t, e.left)
		}
	}
}
