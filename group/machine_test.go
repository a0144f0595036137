package group

import (
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

// TestMachine replays the stories in testdata/machine: one rule of the coordinator each. go test -rewrite writes down
// what happens; the diff is then to be read.
//
//	group [delay=3s] [max-size=2]             a new group
//	join A [new] [local] [require-id] [instance=I] [reason=R] [protocols=(range,sticky)] [meta=M] [topics=(t,u)] [session=D] [rebalance=D]
//	withdraw join A                           whoever waits for that answer gives up
//	sync A gen=1 [instance=I] [type=consumer] [protocol=range] [assign=(A:t-0,B:t-1)]
//	heartbeat A gen=1 [instance=I]
//	leave A B :I C:J [temporary] [reason=R]   by member id, by instance id, by both
//	commit A gen=1 [instance=I] t-0=5 t-1=7   commit - is from outside the group
//	commit A gen=1 t-0=5 txn=7 [retention=D]  in a transaction of producer 7
//	marker 7 commit | abort                   the transaction has ended, and the log was read to there
//	delete-group
//	delete-offsets t-0 t-1
//	expire retention=D
//	wait D                                    time passes
//	compact                                   only the last record of each key stays in the log
//	timer join | sync | retry | session A     the timer fires; it must be running
//	log ok | full | broken                    the oldest unanswered append is answered
//	forget t-0                                its topic was deleted
//	restart                                   another process reads what is in the log
//	stop
//	offsets
//
// Printed are effects, then the state. Timers that were not running are not said to stop.
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		s := &story{t: t, incarnation: 1}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.t = t
			s.run(t, d)
			s.check()
			return s.out.String()
		})
	})
}

type story struct {
	t           require.TestingT
	out         strings.Builder
	m           *machine
	incarnation int
	calls       []string // by call, from 1
	answered    map[callID]bool
	timers      map[timerKey]bool
	waiting     []appendEffect
	log         []entry
	end         partition.Offset
	now         time.Time
}

func (s *story) call(what string) callID {
	s.calls = append(s.calls, what)
	return callID(len(s.calls))
}

func (s *story) fresh(c machineConfig) {
	c.incarnation = strconv.Itoa(s.incarnation)
	s.m = newMachine("g", c)
	s.timers, s.answered, s.waiting = make(map[timerKey]bool), make(map[callID]bool), nil
}

func (s *story) run(t *testing.T, d *datadriven.TestData) {
	s.now = s.now.Add(time.Second)
	gen := func() Generation {
		var g int
		if !d.HasArg("gen") {
			return NoGeneration
		}
		d.ScanArgs(t, "gen", &g)
		return Generation(g)
	}
	name := func(i int) string { return d.CmdArgs[i].Key }
	instance := func() (id string) {
		if d.HasArg("instance") {
			d.ScanArgs(t, "instance", &id)
		}
		return id
	}
	duration := func(key, def string) time.Duration {
		if d.HasArg(key) {
			d.ScanArgs(t, key, &def)
		}
		v, err := time.ParseDuration(def)
		require.NoError(t, err)
		return v
	}
	switch d.Cmd {
	case "group":
		c := machineConfig{minSession: 6 * time.Second, maxSession: 30 * time.Minute, newMember: 5 * time.Minute, maxMetadata: 10, retry: time.Second}
		c.initialDelay = duration("delay", "0s")
		if d.HasArg("max-size") {
			d.ScanArgs(t, "max-size", &c.maxSize)
		}
		s.log, s.end, s.now = nil, 0, time.UnixMilli(1_700_000_000_000)
		s.fresh(c)
	case "join":
		r := JoinRequest{Group: "g", MemberID: name(0), ClientID: "client", ClientHost: "/host", ProtocolType: ProtocolTypeConsumer}
		r.Local, r.RequireKnownMemberID = d.HasArg("local"), d.HasArg("require-id")
		if d.HasArg("new") {
			r.MemberID = ""
		}
		r.SessionTimeout, r.RebalanceTimeout = duration("session", "45s"), duration("rebalance", "60s")
		meta, protocols := "", []string{"range"}
		if d.HasArg("meta") {
			d.ScanArgs(t, "meta", &meta)
		}
		if arg, ok := d.Arg("protocols"); ok {
			protocols = arg.Vals
		}
		if d.HasArg("type") {
			d.ScanArgs(t, "type", &r.ProtocolType)
		}
		if d.HasArg("reason") {
			d.ScanArgs(t, "reason", &r.Reason)
		}
		r.InstanceID = instance()
		if arg, ok := d.Arg("topics"); ok {
			subscription := Subscription{Topics: arg.Vals}
			meta = string(subscription.Append(nil))
		}
		for _, p := range protocols {
			r.Protocols = append(r.Protocols, Protocol{Name: p, Metadata: []byte(meta)})
		}
		s.step(joinEvent{call: s.call("join " + name(0)), newMemberID: name(0), JoinRequest: r})
	case "withdraw":
		label := name(0) + " " + name(1)
		for i, c := range s.calls {
			if id := callID(i + 1); c == label && !s.answered[id] {
				s.answered[id] = true
				s.step(withdrawEvent{id})
			}
		}
	case "sync":
		r := SyncRequest{Membership: Membership{Group: "g", MemberID: name(0), Generation: gen(), InstanceID: instance()}}
		if d.HasArg("type") {
			d.ScanArgs(t, "type", &r.ProtocolType)
		}
		if d.HasArg("protocol") {
			d.ScanArgs(t, "protocol", &r.Protocol)
		}
		if arg, ok := d.Arg("assign"); ok {
			r.Assignments = make(map[string][]byte)
			for _, v := range arg.Vals {
				id, what, _ := strings.Cut(v, ":")
				r.Assignments[id] = []byte(what)
			}
		}
		s.step(syncEvent{call: s.call("sync " + name(0)), SyncRequest: r})
	case "heartbeat":
		s.step(heartbeatEvent{call: s.call("heartbeat " + name(0)), Membership: Membership{Group: "g", MemberID: name(0), Generation: gen(), InstanceID: instance()}})
	case "leave":
		e := leaveEvent{call: s.call("leave")}
		reason := ""
		if d.HasArg("reason") {
			d.ScanArgs(t, "reason", &reason)
		}
		for i, arg := range d.CmdArgs {
			if arg.Key == "temporary" || arg.Key == "reason" {
				continue
			}
			id, instance, _ := strings.Cut(name(i), ":")
			e.members = append(e.members, LeavingMember{MemberID: id, InstanceID: instance, Temporary: d.HasArg("temporary"), Reason: reason})
		}
		s.step(e)
	case "commit":
		e := commitEvent{call: s.call("commit " + name(0)), Membership: Membership{Group: "g", MemberID: strings.Trim(name(0), "-"), Generation: gen(), InstanceID: instance()}}
		if d.HasArg("txn") {
			var producer int
			d.ScanArgs(t, "txn", &producer)
			e.txn = &TxnCommit{TransactionalID: "tx", Producer: partition.ProducerID{ID: int64(producer)}}
		}
		e.retention = duration("retention", "0s")
		for _, arg := range d.CmdArgs[1:] {
			if slices.Contains([]string{"gen", "metadata", "txn", "instance", "retention"}, arg.Key) {
				continue
			}
			offset, err := strconv.Atoi(arg.Vals[0])
			require.NoError(t, err)
			o := offsetRecord{parseTP(t, arg.Key), storedOffset{CommittedOffset: CommittedOffset{Offset: partition.Offset(offset), LeaderEpoch: -1}}}
			if d.HasArg("metadata") {
				d.ScanArgs(t, "metadata", &o.Metadata)
			}
			e.offsets = append(e.offsets, o)
		}
		s.step(e)
	case "timer":
		k := timerKey{kind: map[string]timerKind{"join": timerJoin, "sync": timerSync, "session": timerSession, "pending": timerPending, "retry": timerRetry}[name(0)]}
		if len(d.CmdArgs) > 1 {
			k.memberID = name(1)
		}
		require.True(t, s.timers[k], "%s: timer is not running", d.Pos)
		delete(s.timers, k)
		s.step(timerEvent{k})
	case "log":
		require.NotEmpty(t, s.waiting, "%s: nothing on its way to the log", d.Pos)
		e := appendedEvent{id: s.waiting[0].id}
		switch name(0) {
		case "ok":
			e.base = s.write(s.waiting[0])
		case "full":
			e.err, e.noSpace = partition.ErrNoSpace, true
		case "broken":
			e.err = partition.ErrStorage
		}
		s.waiting = s.waiting[1:]
		s.step(e)
	case "marker":
		var producer int64
		_, err := fmt.Sscan(name(0), &producer)
		require.NoError(t, err)
		m := markerEvent{producer: producer, at: s.end, commit: name(1) == "commit"}
		s.log = append(s.log, entry{at: s.end, marker: &m})
		s.end++
		s.step(m)
	case "delete-group":
		s.step(deleteGroupEvent{s.call("delete-group")})
	case "delete-offsets":
		e := deleteOffsetsEvent{call: s.call("delete-offsets")}
		for i := range d.CmdArgs {
			e.partitions = append(e.partitions, parseTP(t, name(i)))
		}
		s.step(e)
	case "expire":
		s.step(expireEvent{duration("retention", "0s")})
	case "wait":
		passed, err := time.ParseDuration(name(0))
		require.NoError(t, err)
		s.now = s.now.Add(passed)
		return
	case "compact":
		s.compact()
		return
	case "forget":
		s.step(forgetEvent{[]partition.TopicPartition{parseTP(t, name(0))}})
	case "restart":
		s.incarnation++
		s.fresh(s.m.config)
		s.replay(s.m)
		s.step(loadedEvent{})
	case "stop":
		s.step(stopEvent{partition.ErrClosed})
	case "offsets":
		for _, tp := range slices.SortedFunc(maps.Keys(s.m.offsets), compareTopicPartitions) {
			fmt.Fprintf(&s.out, "%s=%d%s\n", tp, s.m.offsets[tp].Offset, map[bool]string{true: " (only in memory)"}[s.m.unwritten[tp]])
		}
		for _, producer := range slices.Sorted(maps.Keys(s.m.awaited)) {
			for _, tp := range sortedKeys(s.m.awaited[producer]) {
				fmt.Fprintf(&s.out, "%s=%d when producer %d commits\n", tp, s.m.awaited[producer][tp].Offset, producer)
			}
		}
		return
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
	s.state()
}

func parseTP(t *testing.T, v string) partition.TopicPartition {
	i := strings.LastIndexByte(v, '-')
	p, err := strconv.Atoi(v[i+1:])
	require.NoError(t, err)
	return partition.TopicPartition{Topic: v[:i], Partition: int32(p)}
}

func (s *story) state() {
	var ids []string
	for _, m := range s.m.members {
		id := m.id
		if m.id == s.m.leader {
			id += "*"
		}
		if m.instanceID != "" {
			id += "(" + m.instanceID + ")"
		}
		ids = append(ids, id)
	}
	fmt.Fprintf(&s.out, "= %s, generation %d, members [%s]", s.m.state, s.m.generation, strings.Join(ids, " "))
	if len(s.m.pending) > 0 {
		fmt.Fprintf(&s.out, ", pending %v", slices.Sorted(maps.Keys(s.m.pending)))
	}
	s.out.WriteString("\n")
}

func (s *story) step(e event) {
	for _, e := range s.m.Step(s.now, e) {
		switch e := e.(type) {
		case answerEffect:
			require.False(s.t, s.answered[e.call], "%s was answered twice", s.calls[e.call-1])
			s.answered[e.call] = true
			fmt.Fprintf(&s.out, "%s: %s\n", s.calls[e.call-1], s.answer(e))
		case setTimerEffect:
			s.timers[e.timerKey] = true
			fmt.Fprintf(&s.out, "timer %s in %s\n", e.timerKey, e.after)
		case stopTimerEffect:
			if s.timers[e.timerKey] {
				fmt.Fprintf(&s.out, "timer %s stopped\n", e.timerKey)
			}
			delete(s.timers, e.timerKey)
		case appendEffect:
			s.waiting = append(s.waiting, e)
			where := "to the log"
			if e.txn != nil {
				where = fmt.Sprintf("to the log, of producer %d", e.txn.Producer.ID)
			}
			for _, r := range e.records {
				fmt.Fprintf(&s.out, "%s: %s\n", where, describe(s.t, r))
			}
		case watchEffect:
			fmt.Fprintf(&s.out, "waits for the marker of producer %d\n", e.producer)
		case endedEffect:
			fmt.Fprintf(&s.out, "%s is told that its generation has ended\n", e.memberID)
		case infoEffect:
			switch i := e.info.(type) {
			case RebalanceInfo:
				fmt.Fprintf(&s.out, "rebalance: %s\n", i.Reason)
			case MemberReplacedInfo:
				fmt.Fprintf(&s.out, "%s is %s now\n", i.OldMemberID, i.NewMemberID)
			case OffsetsDeletedInfo:
				fmt.Fprintf(&s.out, "deleted: %d offsets, the group: %t, expired: %t\n", i.Partitions, i.WholeGroup, i.Expired)
			case MemberRemovedInfo:
				fmt.Fprintf(&s.out, "%s removed: %s\n", i.MemberID, i.Reason)
			}
		}
	}
}

// check holds the machine to its invariants after every step.
func (s *story) check() {
	m := s.m
	require.Len(s.t, m.byID, len(m.members))
	for _, member := range m.members {
		require.Same(s.t, member, m.byID[member.id])
		require.False(s.t, member.join != 0 && member.sync != 0, "%s is parked twice", member.id)
		require.True(s.t, member.join == 0 || m.state == PreparingRebalance, "%s waits for a join in %s", member.id, m.state)
		require.True(s.t, member.sync == 0 || m.state == CompletingRebalance, "%s waits for a sync in %s", member.id, m.state)
	}
	for id, member := range m.instances {
		require.Equal(s.t, id, member.instanceID)
		require.Same(s.t, member, m.byID[member.id])
	}
	require.True(s.t, len(m.members) == 0 || m.byID[m.leader] != nil, "leader %q is no member", m.leader)
	require.True(s.t, m.state != Empty || len(m.members) == 0)
	require.True(s.t, m.state != PreparingRebalance || s.timers[timerKey{kind: timerJoin}], "nothing ends the wait for joins")
	unsynced := slices.ContainsFunc(m.members, func(m *member) bool { return !m.synced })
	require.True(s.t, m.state != CompletingRebalance || !unsynced || s.timers[timerKey{kind: timerSync}], "nothing ends the wait for syncs")
	retrying := false
	for _, a := range m.appends {
		retrying = retrying || a.retry
	}
	require.True(s.t, len(m.unwritten) == 0 && !m.metadataUnwritten || retrying || s.timers[timerKey{kind: timerRetry}], "nothing writes what is only in memory")
}
