package group

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/internal/simulate/groups"
	"github.com/partlog/partlog/partition"
)

// Simulated clusters run the very machine, in a shell of their own.
func init() {
	groups.New = func(id string, c groups.Config) groups.Machine { return newSimulated(id, c) }
	groups.GroupOf = func(key []byte) (string, bool) {
		r, ok, err := decodeRecord(key, nil)
		return r.group, ok && err == nil
	}
}

// simulated is a machine for whom package simulate/groups is the shell.
type simulated struct {
	m      *machine
	topics func() []groups.Topic
}

func newSimulated(id string, c groups.Config) *simulated {
	d := CoordinatorConfig{ConsumerGroups: ConsumerGroupConfig{SessionTimeout: c.Session}}.withDefaults()
	return &simulated{topics: c.Topics, m: newMachine(id, machineConfig{
		initialDelay: d.InitialRebalanceDelay, minSession: time.Millisecond, maxSession: d.MaxSessionTimeout,
		newMember: d.NewMemberTimeout, maxMetadata: d.MaxMetadataBytes, retry: d.RetryInterval, consumer: d.ConsumerGroups, incarnation: "simulated",
	})}
}

// image is what the shell would have seen of topics now.
func (s *simulated) image() *topicImage {
	var list []partition.Metadata
	for _, t := range s.topics() {
		list = append(list, partition.Metadata{Topic: t.Name, ID: t.ID, Partitions: make([]partition.PartitionMetadata, t.Partitions)})
	}
	return newTopicImage(list, true)
}

func (s *simulated) Replay(key, value []byte, at int64) error {
	r, ok, err := decodeRecord(key, value)
	if err != nil || !ok {
		return cmp.Or(err, fmt.Errorf("a record that is not known: %w", ErrCorruptRecord))
	}
	s.m.replay(&r, partition.Offset(at))
	return nil
}

func (s *simulated) Loaded(now time.Time) []groups.Effect { return s.step(now, loadedEvent{}) }

func (s *simulated) Request(now time.Time, call int64, request any, newID string) (out []groups.Effect) {
	id := callID(call)
	if s.m.next != nil {
		switch request.(type) {
		case JoinRequest, SyncRequest, Membership:
			out = s.step(now, topicsEvent{s.image()})
		}
	}
	return append(out, s.request(now, id, request, newID)...)
}

func (s *simulated) request(now time.Time, id callID, request any, newID string) []groups.Effect {
	switch r := request.(type) {
	case JoinRequest:
		return s.step(now, joinEvent{id, newID, r})
	case SyncRequest:
		return s.step(now, syncEvent{id, r})
	case Membership:
		return s.step(now, heartbeatEvent{id, r})
	case LeavingMember:
		return s.step(now, leaveEvent{id, []LeavingMember{r}})
	case CommitRequest:
		return s.step(now, s.commit(id, r))
	case ConsumerHeartbeatRequest:
		return s.step(now, consumerHeartbeatEvent{id, newID, s.image(), r})
	}
	panic(fmt.Sprintf("BUG: request %T", request))
}

func (s *simulated) commit(id callID, r CommitRequest) commitEvent {
	e := commitEvent{call: id, Membership: r.Membership}
	for tp, o := range r.Offsets {
		e.offsets = append(e.offsets, offsetRecord{tp, storedOffset{CommittedOffset: o}})
	}
	slices.SortFunc(e.offsets, func(a, b offsetRecord) int { return compareTopicPartitions(a.TopicPartition, b.TopicPartition) })
	return e
}

func (s *simulated) Fired(now time.Time, t groups.Timer) []groups.Effect {
	return s.step(now, timerEvent{timerKey{timerKind(t.Kind), t.Member}})
}

func (s *simulated) Written(now time.Time, id uint64, base int64, err error) []groups.Effect {
	return s.step(now, appendedEvent{id: appendID(id), base: partition.Offset(base), err: moved(err)})
}

func (s *simulated) Committed(topic string, index int32, member string, epoch int32) (int64, error) {
	if s.m.next != nil && member != "" {
		if err := s.m.next.checkEpochOf(member, MemberEpoch(epoch)); err != nil {
			return -1, err
		}
	}
	if o, ok := s.m.offsets[partition.TopicPartition{Topic: topic, Partition: index}]; ok {
		return int64(o.Offset), nil
	}
	return -1, nil
}

func (s *simulated) Owners() (out []groups.Owner) {
	if s.m.next == nil {
		return nil
	}
	for _, member := range s.m.next.live.sorted() {
		for _, set := range []partitionSet{member.assigned, member.revoking} {
			for _, p := range eachPartition(set) {
				out = append(out, groups.Owner{Member: member.id, Epoch: int32(member.epoch), Partition: p})
			}
		}
	}
	return out
}

func (s *simulated) Members() int {
	if s.m.next != nil {
		return len(s.m.next.live.members)
	}
	return len(s.m.members)
}

func (s *simulated) Generation(member string) (generation int32, ok bool) {
	if s.m.next != nil {
		if known := s.m.next.live.members[member]; known != nil {
			return int32(known.epoch), true
		}
		return 0, false
	}
	return int32(s.m.generation), s.m.byID[member] != nil
}

// step steps, and leaves out the effects that only a shell with threads, listeners and transactions has to do with.
func (s *simulated) step(now time.Time, e event) (out []groups.Effect) {
	for _, e := range s.m.Step(now, e) {
		switch e := e.(type) {
		case answerEffect:
			a := groups.Answer{Call: int64(e.call), Err: e.err}
			switch {
			case e.join != nil:
				a.Value = *e.join
			case e.sync != nil:
				a.Value = *e.sync
			case e.consumer != nil:
				a.Value = *e.consumer
			}
			out = append(out, a)
		case setTimerEffect:
			out = append(out, groups.SetTimer{Timer: groups.Timer{Kind: uint8(e.kind), Member: e.memberID}, After: e.after})
		case stopTimerEffect:
			out = append(out, groups.StopTimer{Timer: groups.Timer{Kind: uint8(e.kind), Member: e.memberID}})
		case appendEffect:
			a := groups.Append{ID: uint64(e.id)}
			for _, r := range e.records {
				a.Records = append(a.Records, groups.Record{Key: r.key, Value: r.value})
			}
			out = append(out, a)
		}
	}
	return out
}
