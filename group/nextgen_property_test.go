package group

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// simConsumer is a consumer as it behaves: it believes what it is told, gives up what it is told to, loses answers, and
// stalls. Its partitions are those that it would consume at this moment.
type simConsumer struct {
	id       string
	instance string
	classic  bool
	eager    bool // of classic ones
	local    bool
	topics   []string
	regex    string
	epoch    MemberEpoch // or generation
	joined   bool
	told     bool // classic: to join again
	synced   bool
	owned    partitionSet
	full     bool // the next heartbeat says everything
	gone     bool
	call     callID // what it waits for, 0 for nothing
	lost     bool   // and will not get
	expelled bool   // and has not heard of it: what it has in its hands counts for nothing
	leader   bool
	members  []MemberMetadata
}

// consumerSim is a group with its members and its log.
type consumerSim struct {
	*consumerStory
	random  *rand.Rand
	members []*simConsumer
	waits   map[callID]*simConsumer
	next    int
	steps   int
	calm    bool // looks at every tenth step only
}

// TestNobodySharesAPartitionOfAConsumerGroup runs groups at random: members of both protocols, static and dynamic, join,
// leave, stall, lose answers and change their minds; topics come, grow and go; the log refuses writes, and the coordinator
// is restarted. At every moment a partition is with one member at most, in the coordinator's books and in the members'
// hands; and when peace returns, everything is assigned, and balanced.
func TestNobodySharesAPartitionOfAConsumerGroup(t *testing.T) {
	runs := uint64(60)
	if testing.Short() {
		runs = 10
	}
	deadline := time.Time{}
	if soak, err := time.ParseDuration(os.Getenv("PARTLOG_SOAK")); err == nil {
		runs, deadline = 1<<62, time.Now().Add(soak)
	}
	done := uint64(0)
	for ; done < runs && (deadline.IsZero() || time.Now().Before(deadline)); done++ {
		s := newConsumerSim(t, done)
		for range 300 {
			s.act()
		}
		s.peace()
	}
	fmt.Printf("random runs of a consumer group: %d, no partition shared\n", done)
}

func newConsumerSim(t *testing.T, seed uint64) *consumerSim {
	s := &consumerSim{consumerStory: newConsumerStory(t), random: rand.New(rand.NewPCG(seed, 42)), waits: make(map[callID]*simConsumer)}
	s.config = consumerMachineConfig()
	s.config.consumer.AssignmentInterval = []time.Duration{0, 0, 10 * time.Second}[s.random.IntN(3)]
	if s.random.IntN(3) == 0 {
		s.config.consumer.Assignors = []ServerAssignor{ServerRange, Uniform}
	}
	s.slow = true
	s.fresh(s.config)
	s.setTopic("t", 4, false)
	s.setTopic("u", 3, false)
	return s
}

// step steps the machine, and lets members have what is for them.
func (s *consumerSim) step(e event) {
	for _, e := range slices.Clone(s.m.Step(s.now, e)) {
		switch e := e.(type) {
		case answerEffect:
			require.False(s.t, s.answered[e.call], "%s was answered twice", s.calls[e.call-1])
			s.answered[e.call] = true
			if m := s.waits[e.call]; m != nil {
				delete(s.waits, e.call)
				m.call = 0
				if (!m.lost || m.local) && !m.gone { // in this process no answer is lost
					s.hear(m, e)
				}
			}
		case setTimerEffect:
			s.timers[e.timerKey] = true
		case stopTimerEffect:
			delete(s.timers, e.timerKey)
		case appendEffect:
			s.waiting = append(s.waiting, e)
		case endedEffect:
			for _, m := range s.members {
				if m.id == e.memberID && m.local && m.joined {
					m.told = true
				}
			}
		}
	}
	if s.steps++; !s.calm || s.steps%10 == 0 {
		s.check()
		s.checkMembers()
	}
}

// checkMembers holds what members have in their hands to the books: nobody has what another one has.
func (s *consumerSim) checkMembers() {
	if s.m.next == nil {
		return
	}
	owners, there := make(map[topicIDPartition]*simConsumer), s.image(nil, true).names
	for _, m := range s.members {
		known := s.m.next.live.members[m.id]
		if known == nil || known.instanceID != m.instance {
			m.expelled = true
		}
		if m.gone || !m.joined || m.expelled {
			continue
		}
		for id, p := range eachPartition(m.owned) {
			at := topicIDPartition{id, p}
			if _, exists := there[id]; !exists {
				continue // nobody has anything of it
			}
			if other := owners[at]; other != nil {
				require.FailNow(s.t, "shared", "%v is with %s and %s", at, m.id, other.id)
			}
			owners[at] = m
			if !known.assigned.has(id, p) && !known.revoking.has(id, p) {
				require.FailNow(s.t, "not its own", "%s has %v\n%+v", m.id, at, known)
			}
		}
	}
}

func (s *consumerSim) lose(m *simConsumer) {
	m.owned, m.joined, m.epoch, m.told, m.synced, m.expelled = nil, false, 0, false, false, false
}

// hear is an answer that arrives.
func (s *consumerSim) hear(m *simConsumer, e answerEffect) {
	switch {
	case e.consumer != nil && e.err == nil:
		m.epoch, m.joined, m.full, m.expelled = e.consumer.MemberEpoch, true, false, false
		if e.consumer.Assignment != nil {
			// It stops with what it is not to have, and begins with what is new.
			m.owned = newPartitionSet(e.consumer.Assignment)
		}
	case e.join != nil && e.err == nil:
		m.id, m.epoch, m.joined, m.told, m.synced = e.join.MemberID, MemberEpoch(e.join.Generation), true, false, false
		m.leader, m.members = e.join.LeaderID == m.id, e.join.Members
	case e.sync != nil && e.err == nil:
		m.synced, m.expelled = true, false
		a, err := DecodeAssignment(e.sync.Assignment)
		require.NoError(s.t, err)
		m.owned = s.image(nil, true).byTopicID(a.Partitions)
	case errors.Is(e.err, ErrMemberIDRequired):
		m.id = e.join.MemberID
	case errors.Is(e.err, ErrRebalanceInProgress):
		m.told = true
	case errors.Is(e.err, ErrUnknownMemberID), errors.Is(e.err, ErrFencedMemberEpoch), errors.Is(e.err, ErrIllegalGeneration), errors.Is(e.err, ErrGroupIDNotFound), errors.Is(e.err, ErrGroupMaxSizeReached):
		s.lose(m)
		if m.classic {
			m.id = ""
		}
	case errors.Is(e.err, ErrFencedInstanceID), errors.Is(e.err, ErrUnreleasedInstanceID):
		s.lose(m)
		m.gone = true
	default:
		m.full = true // the log was not written, or something else: again
	}
}

func (s *consumerSim) ask(m *simConsumer, what string, e func(callID) event) {
	call := s.call(what + " " + m.id)
	m.call, m.lost = call, s.random.IntN(8) == 0
	s.waits[call] = m
	s.step(e(call))
}

// turn lets a member do what it does next.
func (s *consumerSim) turn(m *simConsumer) {
	if m.gone || m.call != 0 && !m.lost {
		return
	}
	if m.lost {
		m.lost, m.full = false, true // it has waited long enough
		delete(s.waits, m.call)
		if m.classic && m.call != 0 && !s.answered[m.call] {
			s.answered[m.call] = true
			s.step(withdrawEvent{m.call})
			if m.local && m.instance == "" {
				s.lose(m)
				m.id = ""
			}
		}
		m.call = 0
	}
	if m.classic {
		s.classicTurn(m)
		return
	}
	r := ConsumerHeartbeatRequest{Group: "g", MemberID: m.id, InstanceID: m.instance, MemberEpoch: m.epoch, ClientID: "c", ClientHost: "/h"}
	if !m.joined || m.full {
		r.RebalanceTimeout, r.Topics, r.Owned = time.Minute, append([]string{}, m.topics...), m.owned.clone()
		r.Regex = &m.regex
	} else if s.random.IntN(2) == 0 {
		r.Owned = m.owned.clone()
	}
	topics := s.look(wantedBy(r))
	s.ask(m, "heartbeat", func(call callID) event { return consumerHeartbeatEvent{call, m.id, topics, r} })
}

func (s *consumerSim) classicTurn(m *simConsumer) {
	membership := Membership{Group: "g", MemberID: m.id, InstanceID: m.instance, Generation: Generation(m.epoch)}
	switch {
	case !m.joined || m.told:
		if m.eager {
			m.owned = nil
		}
		sub := Subscription{Topics: m.topics, Owned: s.image(nil, true).byTopicName(m.owned), Generation: Generation(m.epoch)}
		r := JoinRequest{
			Group: "g", MemberID: m.id, InstanceID: m.instance, ClientID: "c", ClientHost: "/h", Local: m.local, ProtocolType: ProtocolTypeConsumer,
			SessionTimeout: 45 * time.Second, RebalanceTimeout: time.Minute, Protocols: []Protocol{{"range", sub.Append(nil)}},
			RequireKnownMemberID: !m.local && s.random.IntN(2) == 0,
		}
		s.next++
		e := joinEvent{newMemberID: fmt.Sprintf("c%d", s.next), JoinRequest: r}
		if s.m.next != nil {
			if topics := s.look(topicsWanted{names: joinTopics(r), heartbeat: true}); topics != nil {
				s.step(topicsEvent{topics})
			}
		}
		s.ask(m, "join", func(call callID) event { e.call = call; return e })
	case !m.synced:
		r := SyncRequest{Membership: membership}
		if m.leader {
			r.Assignments = s.assign(m)
		}
		s.ask(m, "sync", func(call callID) event { return syncEvent{call, r} })
	case !m.local:
		s.ask(m, "alive", func(call callID) event { return heartbeatEvent{call, membership} })
	}
}

// assign is the work of a classic leader.
func (s *consumerSim) assign(m *simConsumer) map[string][]byte {
	var members []AssignorMember
	counts := make(map[string]int32)
	for name, t := range s.topics {
		counts[name] = t.partitions
	}
	for _, other := range m.members {
		sub, err := DecodeSubscription(other.Metadata)
		require.NoError(s.t, err)
		members = append(members, AssignorMember{MemberID: other.MemberID, InstanceID: other.InstanceID, Subscription: sub})
	}
	out := make(map[string][]byte)
	for id, tps := range Range.Assign(Cluster{Partitions: counts}, members) {
		a := Assignment{Partitions: slices.DeleteFunc(tps, func(tp partition.TopicPartition) bool { // cooperatively
			for _, other := range members {
				if other.MemberID != id && slices.Contains(other.Owned, tp) {
					return true
				}
			}
			return false
		})}
		out[id] = a.Append(nil)
	}
	return out
}

// act lets something happen.
func (s *consumerSim) act() {
	s.now = s.now.Add(time.Duration(s.random.IntN(1500)) * time.Millisecond)
	alive := slices.DeleteFunc(slices.Clone(s.members), func(m *simConsumer) bool { return m.gone })
	var m *simConsumer
	if len(alive) > 0 {
		m = alive[s.random.IntN(len(alive))]
	}
	switch dice := s.random.IntN(100); {
	case m == nil || dice < 5 && len(alive) < 7:
		s.come("")
	case dice < 50:
		s.turn(m)
	case dice < 85:
		if len(s.waiting) > 0 {
			how := "ok"
			if s.random.IntN(12) == 0 {
				how = []string{"broken", "full"}[s.random.IntN(2)]
			}
			s.answerLog(how)
		}
	case dice < 88:
		s.leave(m)
	case dice < 91:
		m.topics = s.someTopics()
		m.full = true
		if m.classic {
			m.told = m.joined
		} else {
			m.regex = []string{"", "t|u", "[u-z]"}[s.random.IntN(3)]
		}
	case dice < 94: // time is up for somebody
		if timers := slices.SortedFunc(maps.Keys(s.timers), compareTimers); len(timers) > 0 {
			k := timers[s.random.IntN(len(timers))]
			delete(s.timers, k)
			s.step(timerEvent{k})
		}
	case dice < 97:
		name := []string{"t", "u", "v"}[s.random.IntN(3)]
		if t, ok := s.topics[name]; ok && s.random.IntN(3) == 0 {
			_ = t
			delete(s.topics, name)
		} else {
			s.setTopic(name, min(8, s.topics[name].partitions+1), false)
		}
	case dice < 98:
		s.crash()
	}
}

// answerLog is the log's word on the oldest batch.
func (s *consumerSim) answerLog(how string) {
	w := s.waiting[0]
	s.waiting = s.waiting[1:]
	e := appendedEvent{id: w.id}
	switch how {
	case "ok":
		e.base = s.write(w)
	case "full":
		e.err, e.noSpace = partition.ErrNoSpace, true
	default:
		e.err = partition.ErrStorage
	}
	s.step(e)
}

func (s *consumerSim) someTopics() []string {
	all := []string{"t", "u", "v"}
	s.random.Shuffle(3, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return sortedSet(all[:1+s.random.IntN(3)])
}

func (s *consumerSim) come(instance string) *simConsumer {
	s.next++
	m := &simConsumer{instance: instance, topics: s.someTopics(), classic: s.random.IntN(3) == 0}
	if m.classic {
		m.local, m.eager = s.random.IntN(2) == 0, s.random.IntN(2) == 0
	} else {
		m.id = fmt.Sprintf("n%d", s.next)
	}
	if instance == "" && s.random.IntN(4) == 0 {
		m.instance = fmt.Sprintf("i%d", s.next)
	}
	s.members = append(s.members, m)
	return m
}

// leave lets a member go: orderly, or for a while if it is static, or without a word.
func (s *consumerSim) leave(m *simConsumer) {
	m.gone = true
	delete(s.waits, m.call)
	how := s.random.IntN(3)
	switch {
	case how == 0 && !m.local || m.id == "" || !m.joined:
		if m.local && m.call != 0 {
			s.answered[m.call] = true
			s.step(withdrawEvent{m.call})
		}
	case m.classic:
		l := LeavingMember{MemberID: m.id, InstanceID: m.instance, Temporary: m.instance != "" && how == 1}
		s.step(leaveEvent{s.call("leave " + m.id), []LeavingMember{l}})
	default:
		r := ConsumerHeartbeatRequest{Group: "g", MemberID: m.id, InstanceID: m.instance, MemberEpoch: LeaveGroupEpoch}
		if m.instance != "" && how == 1 {
			r.MemberEpoch = LeaveGroupStaticEpoch
		}
		s.step(consumerHeartbeatEvent{s.call("leave " + m.id), "", nil, r})
	}
	m.owned = nil
	if m.instance != "" && s.random.IntN(2) == 0 {
		s.come(m.instance)
	}
}

// crash is the end of the coordinator's process: what was on its way is lost, or not; members of the process are gone.
func (s *consumerSim) crash() {
	for len(s.waiting) > 0 && s.random.IntN(2) == 0 {
		w := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.write(w)
	}
	if s.random.IntN(3) == 0 {
		s.compactSome()
	}
	for _, m := range s.members {
		if m.call != 0 {
			m.lost = true
		}
		if m.local {
			m.gone, m.owned = true, nil
		}
	}
	s.waits = make(map[callID]*simConsumer)
	answered := s.answered
	s.incarnation++
	s.fresh(s.config)
	s.answered = answered
	for i := range s.calls {
		s.answered[callID(i+1)] = true
	}
	s.replay(s.m)
	s.step(loadedEvent{})
}

// compactSome takes away some records that have a later one of their key, as a cleaner in the middle of its work.
func (s *consumerSim) compactSome() {
	last := make(map[string]partition.Offset)
	for _, e := range s.log {
		last[string(e.key)] = e.at
	}
	share := 1 + s.random.IntN(4)
	s.log = slices.DeleteFunc(s.log, func(e entry) bool { return last[string(e.key)] != e.at && s.random.IntN(share) == 0 })
}

// peace lets everybody do their duty until nothing happens any more, and then looks at the result.
func (s *consumerSim) peace() {
	s.calm = true
	defer s.check()
	for _, m := range s.members {
		if m.call != 0 && s.random.IntN(2) == 0 {
			m.lost = true
		}
	}
	for range 400 {
		s.now = s.now.Add(4 * time.Second)
		for len(s.waiting) > 0 {
			s.answerLog("ok")
		}
		for _, k := range slices.SortedFunc(maps.Keys(s.timers), compareTimers) {
			expired := k.kind == timerAssign || k.kind == timerRetry || k.kind == timerJoin || k.kind == timerSync || k.kind == timerPending
			// Whoever was fenced joins again, and is let in when its session has ended.
			if !slices.ContainsFunc(s.members, func(m *simConsumer) bool { return m.id == k.memberID && !m.gone && m.joined }) && (expired || k.memberID != "") && s.timers[k] {
				delete(s.timers, k)
				s.step(timerEvent{k})
			}
		}
		for _, m := range s.members {
			s.turn(m)
			m.lost = false
		}
	}
	for len(s.waiting) > 0 {
		s.answerLog("ok")
	}
	n := s.m.next
	if n == nil {
		return // a classic group, which has its own tests
	}
	alive := 0
	s.out.Reset()
	s.show()
	for _, m := range s.members {
		if n.live.members[m.id] != nil {
			fmt.Fprintf(&s.out, "%+v synced %t joining %t here %t away %t\n", m, n.synced[m.id], n.joining[m.id], s.m.isHere(n.live.members[m.id]), n.away[m.id])
		}
	}
	fmt.Fprint(&s.out, s.timers)
	for _, m := range s.members {
		if m.gone {
			continue
		}
		alive++
		known := n.live.members[m.id]
		require.True(s.t, m.call == 0 || s.answered[m.call], "%s was forgotten, %+v\n%s", s.calls[max(0, m.call-1)], m, &s.out)
		require.NotNil(s.t, known, "%+v", m)
		require.True(s.t, known.isReconciledTo(n.live.assignmentEpoch), "%s is not settled: %+v\n%s", m.id, m, &s.out)
		require.True(s.t, m.owned.equal(known.assigned), "%s has %v and not %v\n%+v", m.id, m.owned, known.assigned, m)
		require.True(s.t, known.assigned.equal(n.live.targets[m.id]))
	}
	require.Len(s.t, n.live.members, alive, "%s", &s.out)
	if alive == 0 {
		return
	}
	require.Equal(s.t, Stable, s.m.state)
	g := ServerGroup{Partitions: make(map[partition.TopicID]int32)}
	total, least, most := 0, 1<<30, 0
	for _, member := range n.live.sorted() {
		g.Members = append(g.Members, ServerMember{MemberID: member.id, Topics: s.image(nil, true).ids(n.live.subscription(member))})
		least, most = min(least, member.assigned.size()), max(most, member.assigned.size())
		total += member.assigned.size()
	}
	want := 0
	for name := range n.live.subscribed() {
		want += int(s.topics[name].partitions)
	}
	require.Equal(s.t, want, total, "everything is assigned")
	if g.homogeneous() && n.assignor() == Uniform {
		require.LessOrEqual(s.t, most-least, 1)
	}
}

// Whatever a log says, in whatever order, a coordinator reads it and answers whoever comes.
func TestAnyLogOfAConsumerGroupIsSurvived(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for range 1500 {
		s := newConsumerStory(t)
		s.config = consumerMachineConfig()
		s.slow = true
		s.fresh(s.config)
		s.setTopic("t", 4, false)
		ids := []string{"a", "b", "c"}
		pick := func() string { return ids[random.IntN(len(ids))] }
		set := func() partitionSet {
			var parts []TopicIDPartitions
			for range random.IntN(3) {
				parts = append(parts, TopicIDPartitions{[]partition.TopicID{s.topics["t"].id, {0: 'x', 15: 1}}[random.IntN(2)], []int32{random.Int32N(7) - 1}})
			}
			return newPartitionSet(parts)
		}
		for range random.IntN(25) {
			m := &consumerMember{
				id: pick(), instanceID: []string{"", "", "i", "j"}[random.IntN(4)], topics: []string{"t"}, regex: []string{"", "t", "["}[random.IntN(3)],
				assignor: []string{"", "range", "gone"}[random.IntN(3)], rebalance: -1, clientHost: []string{"/h", localPrefix + "0", localPrefix + "2"}[random.IntN(3)],
				epoch: MemberEpoch(random.IntN(9) - 3), previous: MemberEpoch(random.IntN(9) - 3), state: ReconciliationState(random.IntN(5) - 1), assigned: set(), revoking: set(),
			}
			if random.IntN(2) == 0 {
				m.classic = &classicMember{session: time.Duration(random.IntN(2)) * time.Second}
			}
			all := []change{
				epochChange(MemberEpoch(random.IntN(6)), random.Int64()), subscriptionChange(m), subscriptionChange(m), assignmentChange(m), assignmentChange(m),
				targetChange(pick(), set()), assignmentEpochChange(MemberEpoch(random.IntN(6))), regexChange("t", &resolvedRegex{topics: []string{"t"}}),
				goneChange(keyConsumerMember, pick()), goneChange(keyConsumerAssignment, pick()), goneChange(keyConsumerTargetMember, pick()),
				goneChange(keyConsumerTarget, ""), goneChange(keyConsumerGroup, ""), goneChange(keyConsumerRegex, "t"),
			}
			c := all[random.IntN(len(all))]
			s.log = append(s.log, entry{record: c.record("g"), at: s.end})
			s.end++
		}
		s.restart()
		for range 20 {
			for len(s.waiting) > 0 {
				s.answerLog("ok")
			}
			s.now = s.now.Add(2 * time.Second)
			m := Membership{Group: "g", MemberID: pick(), Generation: Generation(random.IntN(6))}
			switch random.IntN(6) {
			case 0:
				s.classic(syncEvent{s.call("sync"), SyncRequest{Membership: m}}, nil)
			case 1:
				s.classic(heartbeatEvent{s.call("alive"), m}, nil)
			case 2:
				if timers := slices.SortedFunc(maps.Keys(s.timers), compareTimers); len(timers) > 0 {
					delete(s.timers, timers[0])
					s.step(timerEvent{timers[0]})
				}
			default:
				r := ConsumerHeartbeatRequest{Group: "g", MemberID: m.MemberID, MemberEpoch: MemberEpoch(random.IntN(6)), Topics: []string{"t"}, Owned: []TopicIDPartitions{}, RebalanceTimeout: time.Second}
				s.heartbeat("heartbeat", r)
			}
		}
	}
}
