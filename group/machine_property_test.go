package group

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/partition"
)

// Whatever comes in whatever order: the invariants of story.check hold, no call is answered twice, none is forgotten,
// a stable group's assignment is the one that the log has, offsets in memory are those of the log unless marked as
// unwritten, and another process that has only the log sees the same offsets.
func TestMachineKeepsItsPromisesUnderAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &story{t: t, incarnation: 1, now: time.UnixMilli(1_700_000_000_000)}
		c := machineConfig{
			minSession: time.Second, maxSession: time.Hour, newMember: time.Minute, maxMetadata: 10, retry: time.Second,
			initialDelay: rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(t, "delay"),
			maxSize:      rapid.SampledFrom([]int{0, 2}).Draw(t, "max size"),
		}
		s.fresh(c)
		ids := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		parked := make(map[callID]bool)
		membership := func(t *rapid.T) Membership {
			return Membership{Group: "g", MemberID: ids.Draw(t, "id"), Generation: s.m.generation - Generation(rapid.SampledFrom([]int32{0, 0, 0, 1}).Draw(t, "old"))}
		}
		call := func(what string) callID {
			id := s.call(what)
			parked[id] = true
			return id
		}
		join := func(t *rapid.T) {
			id := ids.Draw(t, "id")
			r := JoinRequest{
				Group: "g", Local: rapid.Bool().Draw(t, "local"), RequireKnownMemberID: rapid.Bool().Draw(t, "require id"),
				SessionTimeout: time.Minute, ProtocolType: ProtocolTypeConsumer,
				Protocols: []Protocol{{Name: "range", Metadata: []byte(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "metadata"))}},
			}
			if s.m.byID[id] != nil || s.m.pending[id] {
				r.MemberID = id
			}
			s.step(joinEvent{call("join"), id, r})
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": join, "join again": join,
			"sync": func(t *rapid.T) {
				m := membership(t)
				assignments := make(map[string][]byte)
				for _, member := range s.m.members {
					assignments[member.id] = []byte{byte(m.Generation), member.id[0]}
				}
				s.step(syncEvent{call("sync"), SyncRequest{Membership: m, Assignments: assignments}})
			},
			"heartbeat": func(t *rapid.T) { s.step(heartbeatEvent{call("heartbeat"), membership(t)}) },
			"leave":     func(t *rapid.T) { s.step(leaveEvent{call("leave"), []LeavingMember{{MemberID: ids.Draw(t, "id")}}}) },
			"commit": func(t *rapid.T) {
				o := offsetRecord{partition.TopicPartition{Topic: "t", Partition: rapid.Int32Range(0, 2).Draw(t, "partition")}, storedOffset{CommittedOffset: CommittedOffset{Offset: partition.Offset(rapid.IntRange(0, 99).Draw(t, "offset"))}}}
				s.step(commitEvent{call: call("commit"), Membership: membership(t), offsets: []offsetRecord{o}})
			},
			"withdraw": func(t *rapid.T) {
				waiting := slices.DeleteFunc(slices.Sorted(maps.Keys(parked)), func(id callID) bool { return s.answered[id] })
				if len(waiting) > 0 {
					id := rapid.SampledFrom(waiting).Draw(t, "call")
					s.answered[id] = true
					s.step(withdrawEvent{id})
				}
			},
			"timer": func(t *rapid.T) {
				running := slices.SortedFunc(maps.Keys(s.timers), func(a, b timerKey) int { return cmp.Compare(a.String(), b.String()) })
				if len(running) > 0 {
					k := rapid.SampledFrom(running).Draw(t, "timer")
					delete(s.timers, k)
					s.step(timerEvent{k})
				}
			},
			"log": func(t *rapid.T) {
				if len(s.waiting) == 0 {
					return
				}
				e := appendedEvent{id: s.waiting[0].id}
				switch rapid.SampledFrom([]string{"ok", "ok", "full", "broken"}).Draw(t, "result") {
				case "ok":
					e.base = s.write(s.waiting[0])
				case "full":
					e.err, e.noSpace = partition.ErrNoSpace, true
				case "broken":
					e.err = partition.ErrStorage
				}
				s.waiting = s.waiting[1:]
				s.step(e)
			},
			"": func(t *rapid.T) {
				s.t = t
				s.check()
				restored := newMachine("g", machineConfig{incarnation: "other"})
				s.replay(restored)
				for tp, o := range restored.offsets {
					require.True(t, s.m.unwritten[tp] || s.m.offsets[tp].Offset == o.Offset, "%s is %d in the log and %d in memory", tp, o.Offset, s.m.offsets[tp].Offset)
				}
				for tp := range s.m.offsets {
					_, ok := restored.offsets[tp]
					require.True(t, ok || s.m.unwritten[tp])
				}
				if s.m.state == Stable && !s.m.metadataUnwritten {
					require.Equal(t, s.m.generation, restored.generation)
					for _, member := range restored.members {
						if known := s.m.byID[member.id]; known != nil {
							require.Equal(t, known.assignment, member.assignment)
						}
					}
				}
			},
		})
		s.step(stopEvent{partition.ErrClosed})
		for id := range parked {
			require.True(t, s.answered[id], "call %d (%s) was forgotten", id, s.calls[id-1])
		}
	})
}
