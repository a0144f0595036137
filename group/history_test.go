package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// classicHistory is one group with members that are slow, die, come back, lose answers and are taken for dead, and with a
// coordinator that is restarted. Nothing in it runs by itself; a seed decides what happens next.
type classicHistory struct {
	rng     *rand.Rand
	now     time.Time
	m       *machine
	lives   int // of coordinators
	log     story
	writes  []appendEffect
	timers  map[timerKey]bool
	call    callID
	calls   map[callID]*historyMember
	answers []answerEffect // on their way
	members []*historyMember
	ids     int

	owners    map[Generation]map[partition.TopicPartition]string // of each generation, by instance or member id
	committed map[partition.TopicPartition]Generation            // of the last commit that was accepted
	assigned  int                                                // assignments that were taken over
	commits   int                                                // that were accepted
}

// historyMember is a consumer as the coordinator may meet it.
type historyMember struct {
	instance string
	id       string
	waits    callID
	doing    string // join, sync or commit, while it waits
	what     partition.TopicPartition
	joined   JoinResult
	owned    []partition.TopicPartition
	gen      Generation
}

const historyPartitions = 6

func (s *classicHistory) send(c *historyMember, doing string, e func(callID) event) {
	s.call++
	c.waits, c.doing = s.call, doing
	s.calls[s.call] = c
	s.step(e(s.call))
}

func (s *classicHistory) step(e event) {
	s.now = s.now.Add(time.Millisecond)
	for _, e := range s.m.Step(s.now, e) {
		switch e := e.(type) {
		case answerEffect:
			s.answers = append(s.answers, e)
		case setTimerEffect:
			s.timers[e.timerKey] = true
		case stopTimerEffect:
			delete(s.timers, e.timerKey)
		case appendEffect:
			s.writes = append(s.writes, e)
		}
	}
}

// act lets a member do what a consumer does next.
func (s *classicHistory) act(c *historyMember) {
	membership := Membership{Group: "g", MemberID: c.id, Generation: c.gen, InstanceID: c.instance}
	switch k := s.rng.IntN(30); {
	case k == 0: // it is killed, and begins anew
		*c = historyMember{instance: c.instance}
	case c.waits != 0:
	case c.gen == 0 || k < 3:
		s.ids++
		r := JoinRequest{
			Group: "g", MemberID: c.id, InstanceID: c.instance, SessionTimeout: time.Minute, ProtocolType: ProtocolTypeConsumer,
			Protocols: []Protocol{{Name: "range", Metadata: []byte{byte(s.rng.IntN(3))}}}, RequireKnownMemberID: s.rng.IntN(2) == 0,
		}
		id := fmt.Sprint("m", s.ids)
		s.send(c, "join", func(call callID) event { return joinEvent{call, id, r} })
	case k == 3:
		s.send(c, "leave", func(call callID) event {
			return leaveEvent{call, []LeavingMember{{MemberID: c.id, InstanceID: c.instance}}}
		})
	case k < 8:
		s.send(c, "heartbeat", func(call callID) event { return heartbeatEvent{call, membership} })
	case len(c.owned) > 0:
		c.what = c.owned[s.rng.IntN(len(c.owned))]
		o := offsetRecord{c.what, storedOffset{CommittedOffset: CommittedOffset{Offset: 1}}}
		s.send(c, "commit", func(call callID) event {
			return commitEvent{call: call, Membership: membership, offsets: []offsetRecord{o}}
		})
	}
}

// deliver hands an answer to the member that waits for it, unless it is lost or the member has gone.
func (s *classicHistory) deliver(t *testing.T, a answerEffect) {
	c := s.calls[a.call]
	delete(s.calls, a.call)
	if c == nil || c.waits != a.call {
		return
	}
	doing := c.doing
	c.waits, c.doing = 0, ""
	if s.rng.IntN(15) == 0 { // lost: it asks again some time
		return
	}
	switch {
	case a.err == ErrMemberIDRequired: //nolint:errorlint // the machine's own
		c.id = a.join.MemberID
	case a.err == ErrUnknownMemberID, a.err == ErrFencedInstanceID: //nolint:errorlint // the machine's own
		c.id, c.gen, c.owned = "", 0, nil
	case a.err != nil:
		c.gen, c.owned = 0, nil // it joins again
	case doing == "join":
		c.id, c.gen, c.joined, c.owned = a.join.MemberID, a.join.Generation, *a.join, nil
		s.sync(c)
	case doing == "sync":
		s.takeOver(t, c, a.sync.Assignment)
	case doing == "commit":
		s.commits++
	case doing == "leave":
		c.id, c.gen, c.owned = "", 0, nil
	}
}

// sync asks for the assignment, which the leader makes.
func (s *classicHistory) sync(c *historyMember) {
	r := SyncRequest{Membership: c.joined.Membership}
	if c.joined.IsLeader() && !c.joined.SkipAssignment {
		r.Assignments = make(map[string][]byte)
		for p := range historyPartitions {
			m := c.joined.Members[s.rng.IntN(len(c.joined.Members))]
			r.Assignments[m.MemberID] = append(r.Assignments[m.MemberID], byte(p))
		}
	}
	s.send(c, "sync", func(call callID) event { return syncEvent{call, r} })
}

func (s *classicHistory) takeOver(t *testing.T, c *historyMember, assignment []byte) {
	name := c.id
	if c.instance != "" {
		name = c.instance // whoever comes back under it has its partitions
	}
	if s.owners[c.gen] == nil {
		s.owners[c.gen] = make(map[partition.TopicPartition]string)
	}
	for _, p := range assignment {
		owned := tp("t", int32(p))
		if other := s.owners[c.gen][owned]; other != "" {
			require.Equal(t, other, name, "%s has two owners in generation %d", owned, c.gen)
		}
		s.owners[c.gen][owned] = name
		c.owned = append(c.owned, owned)
	}
	s.assigned++
}

// written answers the oldest write. A commit that is in the log was of the present generation, and none of an older one
// follows it.
func (s *classicHistory) written(t *testing.T) {
	e := appendedEvent{id: s.writes[0].id}
	if s.rng.IntN(12) == 0 {
		e.err = partition.ErrStorage
	} else {
		p := s.m.appends[e.id]
		for _, o := range p.offsets {
			if c := s.calls[p.call]; c != nil && c.waits == p.call {
				require.GreaterOrEqual(t, c.gen, s.committed[o.TopicPartition], "%s is committed by an older generation", o.TopicPartition)
				s.committed[o.TopicPartition] = c.gen
			}
		}
		e.base = s.log.write(s.writes[0])
	}
	s.writes = s.writes[1:]
	s.step(e)
}

func (s *classicHistory) restart() {
	s.lives++
	s.m = newMachine("g", machineConfig{
		minSession: time.Second, maxSession: time.Hour, newMember: time.Minute, maxMetadata: 10, retry: time.Second, incarnation: fmt.Sprint(s.lives),
	})
	s.timers, s.writes, s.answers, s.calls = make(map[timerKey]bool), nil, nil, make(map[callID]*historyMember)
	s.log.replay(s.m)
	for _, c := range s.members {
		c.waits, c.doing = 0, "" // the connection is gone
	}
	s.step(loadedEvent{})
}

// In whatever order things happen: in one generation no partition has two owners, and once a generation has committed
// for a partition, none before it does.
func TestEveryPartitionHasOneOwnerInAGeneration(t *testing.T) {
	histories, steps := 3000, 400
	if testing.Short() {
		histories = 300
	}
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	assigned, commits, generations := 0, 0, 0
	n := 0
	for began := time.Now(); n < histories || time.Since(began) < soak; n++ {
		s := &classicHistory{
			rng: rand.New(rand.NewPCG(uint64(n), 48)), now: time.UnixMilli(1_700_000_000_000), log: story{t: t},
			owners: make(map[Generation]map[partition.TopicPartition]string), committed: make(map[partition.TopicPartition]Generation),
			members: []*historyMember{{}, {}, {}, {instance: "i"}, {instance: "j"}, {instance: "j"}},
		}
		s.restart()
		for range steps {
			switch k := s.rng.IntN(40); {
			case k == 0 && s.rng.IntN(3) == 0:
				s.restart()
			case k < 3 && len(s.timers) > 0:
				keys := slices.SortedFunc(maps.Keys(s.timers), func(a, b timerKey) int { return strings.Compare(a.String(), b.String()) })
				key := keys[s.rng.IntN(len(keys))]
				delete(s.timers, key)
				s.step(timerEvent{key})
			case k < 16 && len(s.answers) > 0:
				i := s.rng.IntN(len(s.answers))
				a := s.answers[i]
				s.answers = slices.Delete(s.answers, i, i+1)
				s.deliver(t, a)
			case k < 28 && len(s.writes) > 0:
				s.written(t)
			default:
				s.act(s.members[s.rng.IntN(len(s.members))])
			}
			if t.Failed() {
				t.Fatalf("history %d", n)
			}
		}
		assigned, commits, generations = assigned+s.assigned, commits+s.commits, generations+len(s.owners)
	}
	require.Greater(t, commits, histories/2, "the histories have to be about something")
	t.Logf("%d histories: %d generations, %d assignments, %d commits", n, generations, assigned, commits)
}
