package group

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// TestConsumerGroups replays the stories in testdata/nextgen: one rule of consumer groups (KIP-848) each. go test
// -rewrite writes down what happens; the diff is then to be read.
//
//	group [max-size=N] [classic-max-size=N] [policy=disabled] [interval=D] [assignors=(range,uniform)] [slow]
//	                                          a new group; what it writes is in the log at once unless it is slow
//	topics t=4 u=2 v                          there are these topics; v is no more; t=4/new is another one of that name
//	heartbeat A epoch=0 [topics=(t,u)] [regex=R] [owned=(t-0,t-1)] [rebalance=D] [instance=I] [rack=R] [assignor=A]
//	          [may-not-describe=(t,u)]
//	                                          when joining, owned is () and rebalance 60s; else what is not said is unchanged
//	join A [new] [local] [require-id] [instance=I] [topics=(t)] [owned=(t-0)] [protocols=(range)] [session=D]
//	sync A gen=1 [instance=I]                 of classic members, as join and the next two
//	alive A gen=1 [instance=I]
//	leave A :I [temporary]
//	withdraw join A                           whoever waits for that answer gives up
//	commit A epoch=1 t-0=5 [txn]              commit - is from outside the group
//	offsets A epoch=1                         whether A may ask for committed offsets
//	delete-group, expire retention=D, compact
//	timer session A, timer assign             the timer fires; it must be running
//	log ok | full | broken                    the oldest unanswered append is answered
//	wait D
//	restart                                   another process reads what is in the log
//	stop
//
// Printed are effects, then the group, and each member with its epoch, its state, what it has, and what it is to give up.
func TestConsumerGroups(t *testing.T) {
	datadriven.Walk(t, "testdata/nextgen", func(t *testing.T, path string) {
		s := newConsumerStory(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.t = t
			s.run(t, d)
			s.check()
			return s.out.String()
		})
	})
}

type consumerStory struct {
	story
	slow   bool
	config machineConfig
	topics map[string]topicInfo
	made   map[string]byte // topics of each name
}

func newConsumerStory(t require.TestingT) *consumerStory {
	s := &consumerStory{topics: make(map[string]topicInfo), made: make(map[string]byte)}
	s.t, s.incarnation, s.now = t, 1, time.UnixMilli(1_700_000_000_000)
	return s
}

func consumerMachineConfig() machineConfig {
	return machineConfig{
		minSession: 6 * time.Second, maxSession: 30 * time.Minute, newMember: 5 * time.Minute, maxMetadata: 10, retry: time.Second,
		consumer: ConsumerGroupConfig{}.withDefaults(),
	}
}

func (s *consumerStory) setTopic(name string, partitions int32, another bool) {
	t, ok := s.topics[name]
	if !ok || another {
		s.made[name]++
		copy(t.id[:], name)
		t.id[15] = s.made[name]
	}
	t.partitions = partitions
	s.topics[name] = t
}

// image is what the shell sees of topics.
func (s *consumerStory) image(names []string, all bool) *topicImage {
	if all {
		names = slices.Collect(maps.Keys(s.topics))
	}
	var metadata []partition.Metadata
	for _, name := range sortedSet(names) {
		m := partition.Metadata{Topic: name, Err: partition.ErrUnknownTopicOrPartition}
		if t, ok := s.topics[name]; ok {
			m.Err, m.ID, m.Partitions = nil, t.id, make([]partition.PartitionMetadata, t.partitions)
		}
		metadata = append(metadata, m)
	}
	return newTopicImage(metadata, all)
}

// look does what the shell does before a request.
func (s *consumerStory) look(w topicsWanted) *topicImage {
	look, need := s.m.topicsNeeded(s.now, w)
	if !need {
		return nil
	}
	i := s.image(look.names, look.all)
	i.resolve(look, w.describable)
	return i
}

// heartbeat is a member's request through the shell.
func (s *consumerStory) heartbeat(what string, r ConsumerHeartbeatRequest) callID {
	e := consumerHeartbeatEvent{call: s.call(what), newMemberID: "made-up", ConsumerHeartbeatRequest: r}
	e.topics = s.look(wantedBy(r))
	s.step(e)
	return e.call
}

// classic is a request of a classic member through the shell.
func (s *consumerStory) classic(e event, names []string) {
	if s.m.next != nil {
		if topics := s.look(topicsWanted{names: names, heartbeat: true}); topics != nil {
			s.step(topicsEvent{topics})
		}
	}
	s.step(e)
}

func (s *consumerStory) partitions(list []string) []TopicIDPartitions {
	byTopic := make(map[partition.TopicID][]int32)
	for _, v := range list {
		i := strings.LastIndexByte(v, '-')
		p, err := strconv.Atoi(v[i+1:])
		require.NoError(s.t, err)
		t, ok := s.topics[v[:i]]
		require.True(s.t, ok, "no topic %s", v[:i])
		byTopic[t.id] = append(byTopic[t.id], int32(p))
	}
	return append([]TopicIDPartitions{}, partitionSetOf(byTopic)...)
}

func (s *consumerStory) run(t *testing.T, d *datadriven.TestData) {
	if d.Cmd != "wait" {
		s.now = s.now.Add(time.Second)
	}
	str := func(key, def string) string {
		if d.HasArg(key) {
			d.ScanArgs(t, key, &def)
		}
		return def
	}
	number := func(key string, def int) int {
		n, err := strconv.Atoi(str(key, strconv.Itoa(def)))
		require.NoError(t, err)
		return n
	}
	duration := func(key, def string) time.Duration {
		v, err := time.ParseDuration(str(key, def))
		require.NoError(t, err)
		return v
	}
	list := func(key string, def []string) []string {
		if arg, ok := d.Arg(key); ok {
			return slices.DeleteFunc(slices.Clone(arg.Vals), func(v string) bool { return v == "" })
		}
		return def
	}
	name := func(i int) string { return d.CmdArgs[i].Key }
	member := func() Membership {
		return Membership{Group: "g", MemberID: strings.Trim(name(0), "-"), InstanceID: str("instance", ""), Generation: Generation(number("gen", number("epoch", -1)))}
	}
	switch d.Cmd {
	case "group":
		s.config = consumerMachineConfig()
		s.config.maxSize, s.config.consumer.MaxSize = number("classic-max-size", 0), number("max-size", 0)
		s.config.consumer.AssignmentInterval = duration("interval", "0s")
		for p := MigrateBoth; p <= MigrateNone; p++ {
			if p.String() == str("policy", "bidirectional") {
				s.config.consumer.Migration = p
			}
		}
		if names := list("assignors", nil); names != nil {
			s.config.consumer.Assignors = nil
			for _, n := range names {
				s.config.consumer.Assignors = append(s.config.consumer.Assignors, map[string]ServerAssignor{"uniform": Uniform, "range": ServerRange}[n])
			}
		}
		s.slow = d.HasArg("slow")
		s.fresh(s.config)
	case "topics":
		for _, arg := range d.CmdArgs {
			if len(arg.Vals) == 0 {
				delete(s.topics, arg.Key)
				continue
			}
			count, another := strings.CutSuffix(arg.Vals[0], "/new")
			n, err := strconv.Atoi(count)
			require.NoError(t, err)
			s.setTopic(arg.Key, int32(n), another)
		}
		return
	case "heartbeat":
		r := ConsumerHeartbeatRequest{
			Group: "g", MemberID: strings.Trim(name(0), "-"), MemberEpoch: MemberEpoch(number("epoch", 0)), InstanceID: str("instance", ""), RackID: str("rack", ""),
			ClientID: "client", ClientHost: "/host", Assignor: str("assignor", ""), Topics: list("topics", nil), RebalanceTimeout: duration("rebalance", "0s"),
		}
		if d.HasArg("regex") {
			regex := str("regex", "")
			r.Regex = &regex
		}
		if r.MemberEpoch == JoinGroupEpoch {
			r.RebalanceTimeout, r.Owned = duration("rebalance", "60s"), []TopicIDPartitions{}
		}
		if d.HasArg("owned") {
			r.Owned = s.partitions(list("owned", nil))
		}
		if hidden := list("may-not-describe", nil); hidden != nil {
			r.Describable = func(topic string) bool { return !slices.Contains(hidden, topic) }
		}
		s.heartbeat("heartbeat "+name(0), r)
	case "join":
		r := JoinRequest{
			Group: "g", MemberID: name(0), InstanceID: str("instance", ""), ClientID: "client", ClientHost: "/host", ProtocolType: str("type", ProtocolTypeConsumer),
			Local: d.HasArg("local"), RequireKnownMemberID: d.HasArg("require-id"), SessionTimeout: duration("session", "45s"), RebalanceTimeout: duration("rebalance", "60s"),
		}
		if d.HasArg("new") {
			r.MemberID = ""
		}
		sub := Subscription{Topics: list("topics", []string{"t"}), Generation: NoGeneration}
		for _, v := range list("owned", nil) {
			sub.Owned = append(sub.Owned, parseTP(t, v))
		}
		for _, p := range list("protocols", []string{"range"}) {
			r.Protocols = append(r.Protocols, Protocol{Name: p, Metadata: sub.Append(nil)})
		}
		s.classic(joinEvent{call: s.call("join " + name(0)), newMemberID: name(0), JoinRequest: r}, joinTopics(r))
	case "sync":
		r := SyncRequest{Membership: member(), Protocol: str("protocol", "")}
		if arg, ok := d.Arg("assign"); ok { // of a classic leader
			r.Assignments = make(map[string][]byte)
			for _, v := range arg.Vals {
				id, what, _ := strings.Cut(v, ":")
				var a Assignment
				for _, p := range strings.Fields(strings.ReplaceAll(what, "+", " ")) {
					a.Partitions = append(a.Partitions, parseTP(t, p))
				}
				if d.HasArg("user-data") {
					a.UserData = []byte("custom")
				}
				r.Assignments[id] = a.Append(nil)
			}
		}
		s.classic(syncEvent{s.call("sync " + name(0)), r}, nil)
	case "alive":
		s.classic(heartbeatEvent{s.call("heartbeat " + name(0)), member()}, nil)
	case "leave":
		e := leaveEvent{call: s.call("leave")}
		for _, arg := range d.CmdArgs {
			if arg.Key != "temporary" {
				id, instance, _ := strings.Cut(arg.Key, ":")
				e.members = append(e.members, LeavingMember{MemberID: id, InstanceID: instance, Temporary: d.HasArg("temporary")})
			}
		}
		s.step(e)
	case "withdraw":
		label := name(0) + " " + name(1)
		for i, c := range s.calls {
			if id := callID(i + 1); c == label && !s.answered[id] {
				s.answered[id] = true
				s.step(withdrawEvent{id})
			}
		}
	case "commit":
		e := commitEvent{call: s.call("commit " + name(0)), Membership: member()}
		for _, arg := range d.CmdArgs[1:] {
			if !strings.Contains(arg.Key, "-") {
				continue
			}
			o, err := strconv.Atoi(arg.Vals[0])
			require.NoError(t, err)
			e.offsets = append(e.offsets, offsetRecord{parseTP(t, arg.Key), storedOffset{CommittedOffset: CommittedOffset{Offset: partition.Offset(o)}}})
		}
		s.step(e)
	case "offsets":
		require.NotNil(t, s.m.next)
		return
	case "delete-group":
		s.step(deleteGroupEvent{s.call("delete-group")})
	case "expire":
		s.step(expireEvent{duration("retention", "0s")})
	case "compact":
		s.compact()
		return
	case "timer":
		k := timerKey{}
		for kind := range timerAssign + 1 {
			if (timerKey{kind: kind}).String() == name(0) {
				k.kind = kind
			}
		}
		if len(d.CmdArgs) > 1 {
			k.memberID = name(1)
		}
		require.True(t, s.timers[k], "%s: timer is not running", d.Pos)
		delete(s.timers, k)
		s.step(timerEvent{k})
	case "log":
		s.answerLog(name(0))
		s.show()
		return
	case "wait":
		v, err := time.ParseDuration(name(0))
		require.NoError(t, err)
		s.now = s.now.Add(v)
		return
	case "restart":
		s.restart()
	case "stop":
		s.step(stopEvent{partition.ErrClosed})
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
	for !s.slow && len(s.waiting) > 0 {
		s.answerLog("ok")
	}
	s.show()
}

func (s *consumerStory) restart() {
	s.incarnation++
	s.fresh(s.config)
	s.replay(s.m)
	s.step(loadedEvent{})
}

func (s *consumerStory) answerLog(how string) {
	require.NotEmpty(s.t, s.waiting, "nothing on its way to the log")
	w := s.waiting[0]
	s.waiting = s.waiting[1:]
	e := appendedEvent{id: w.id}
	switch how {
	case "ok":
		e.base = s.write(w)
	case "full":
		e.err, e.noSpace = partition.ErrNoSpace, true
	case "broken":
		e.err = partition.ErrStorage
	default:
		require.Fail(s.t, "log "+how)
	}
	s.step(e)
}

func (s *consumerStory) show() {
	n := s.m.next
	if n == nil {
		s.state()
		return
	}
	fmt.Fprintf(&s.out, "= %s, epoch %d, assigned at %d\n", s.m.state, n.live.epoch, n.live.assignmentEpoch)
	for _, m := range n.live.sorted() {
		kind, giveUp := "", ""
		if m.classic != nil {
			kind = " (classic)"
		}
		if len(m.revoking) > 0 {
			giveUp = " -[" + printableSet(m.revoking) + "]"
		}
		fmt.Fprintf(&s.out, "  %s%s %d %s [%s]%s\n", m.id, kind, m.epoch, m.state, printableSet(m.assigned), giveUp)
	}
}

// check holds the group to its invariants after every step.
func (s *consumerStory) check() {
	n := s.m.next
	if n == nil {
		if s.m.converting == nil {
			s.story.check()
		}
		return
	}
	require.Empty(s.t, s.m.members)
	require.Equal(s.t, n.live.phase(), s.m.state)
	s.checkState(n.live)
	if n.durable != nil && !n.busy() {
		require.Equal(s.t, n.durable.clone(), n.live, "what is in memory is what the log has")
	}
	if s.m.converting != nil {
		require.True(s.t, len(s.m.appends) > 0, "nothing ends the conversion")
		return
	}
	for id, m := range n.live.members {
		require.True(s.t, n.m.isHere(m) && !n.away[id] || s.timers[timerKey{timerSession, id}], "nothing ends the session of %s", id)
		require.True(s.t, m.classic != nil || m.epoch < 0 || m.state != MemberUnrevokedPartitions || s.timers[timerKey{timerRevoke, id}], "nothing ends the revocation of %s", id)
	}
}

func (s *consumerStory) checkState(state *consumerState) {
	owners := make(map[topicIDPartition]string)
	instances := make(map[string]string)
	for _, m := range state.sorted() {
		for _, set := range []partitionSet{m.assigned, m.revoking} {
			for id, p := range eachPartition(set) {
				at := topicIDPartition{id, p}
				if other := owners[at]; other != "" {
					require.FailNow(s.t, "two owners", "%v is with %s and %s", at, other, m.id)
				}
				owners[at] = m.id
				if e, owned := state.owner(id, p); !owned || e != m.epoch {
					require.FailNow(s.t, "wrong epoch", "%v is owned at %d by the books, but at %d", at, e, m.epoch)
				}
			}
		}
		if m.instanceID != "" {
			require.Empty(s.t, instances[m.instanceID])
			instances[m.instanceID] = m.id
		}
		require.LessOrEqual(s.t, m.epoch, state.epoch)
	}
	require.Equal(s.t, instances, state.instances)
	total := 0
	for _, of := range state.owners {
		total += len(of)
	}
	require.Len(s.t, owners, total)
	targets := make(map[topicIDPartition]bool)
	for member, target := range state.targets {
		require.Contains(s.t, state.members, member)
		for id, p := range eachPartition(target) {
			if targets[topicIDPartition{id, p}] {
				require.FailNow(s.t, "a partition is in two targets")
			}
			targets[topicIDPartition{id, p}] = true
		}
	}
	for regex := range state.regexes {
		require.Positive(s.t, state.subscribers(regex), "nobody subscribes by %s", regex)
	}
}

// printableSet names topics by their ids, which are their names and which of that name it is.
func printableSet(s partitionSet) string {
	var out []string
	for _, t := range s {
		var p []string
		for _, v := range t.Partitions {
			p = append(p, strconv.Itoa(int(v)))
		}
		name := strings.TrimRight(string(t.TopicID[:15]), "\x00") + strings.Repeat("'", int(t.TopicID[15])-1)
		out = append(out, name+":"+strings.Join(p, ","))
	}
	return strings.Join(out, " ")
}

func printableAssignment(b []byte) string {
	if len(b) > 2 && b[0] == 0 {
		if a, err := DecodeAssignment(b); err == nil {
			var out []string
			for _, tp := range a.Partitions {
				out = append(out, tp.String())
			}
			return strings.Join(out, " ")
		}
	}
	return string(b)
}

func printableHeartbeat(r *ConsumerHeartbeatResult) string {
	if r.Assignment == nil {
		return fmt.Sprintf("%s at epoch %d", r.MemberID, r.MemberEpoch)
	}
	return fmt.Sprintf("%s at epoch %d has [%s]", r.MemberID, r.MemberEpoch, printableSet(r.Assignment))
}

func describeChange(c *change) string {
	what := map[int16]string{
		keyConsumerGroup: "epoch", keyConsumerTopics: "topics", keyConsumerMember: "member " + c.member, keyConsumerTarget: "target epoch",
		keyConsumerTargetMember: "target of " + c.member, keyConsumerAssignment: "assignment of " + c.member, keyConsumerRegex: "regex " + c.member,
	}[c.kind]
	if c.gone {
		return what + " deleted"
	}
	switch c.kind {
	case keyConsumerGroup, keyConsumerTarget:
		return fmt.Sprintf("%s %d", what, c.epoch)
	case keyConsumerMember:
		m := c.subscription
		out := what + " subscribes to " + strings.Join(m.topics, ",")
		if m.regex != "" {
			out += " /" + m.regex + "/"
		}
		if m.instanceID != "" {
			out += ", instance " + m.instanceID
		}
		if m.classic != nil {
			out += ", classic"
		}
		return out
	case keyConsumerTargetMember:
		return what + " [" + printableSet(c.target) + "]"
	case keyConsumerAssignment:
		a := c.assignment
		return fmt.Sprintf("%s: epoch %d, before %d, %s [%s] -[%s]", what, a.epoch, a.previous, a.state, printableSet(a.assigned), printableSet(a.revoking))
	case keyConsumerRegex:
		return what + " is " + strings.Join(c.regex.topics, ",")
	}
	return what
}

// sentinelOf unwraps what is told with more words.
func sentinelOf(err error) error {
	for _, sentinel := range []error{ErrInvalidRequest, ErrUnsupportedAssignor, ErrInvalidRegularExpression, ErrGroupIDNotFound, ErrInconsistentGroupProtocol} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return err
}

func compareTimers(a, b timerKey) int { return cmp.Compare(a.String(), b.String()) }
