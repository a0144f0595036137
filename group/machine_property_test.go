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
		ids := rapid.SampledFrom([]string{"a", "b", "c", "d", "c2", "d2"})
		instance := func(id string) string { // c and d are static, and so are those that take their place
			if id[0] >= 'c' {
				return id[:1]
			}
			return ""
		}
		producers := rapid.Int64Range(1, 2)
		parked := make(map[callID]bool)
		membership := func(t *rapid.T) Membership {
			id := ids.Draw(t, "id")
			return Membership{Group: "g", MemberID: id, InstanceID: instance(id), Generation: s.m.generation - Generation(rapid.SampledFrom([]int32{0, 0, 0, 1}).Draw(t, "old"))}
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
			r.InstanceID = instance(id)
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
			"leave": func(t *rapid.T) {
				id := ids.Draw(t, "id")
				s.step(leaveEvent{call("leave"), []LeavingMember{{MemberID: id, InstanceID: instance(id), Temporary: rapid.Bool().Draw(t, "temporary")}}})
			},
			"commit": func(t *rapid.T) {
				o := offsetRecord{partition.TopicPartition{Topic: "t", Partition: rapid.Int32Range(0, 2).Draw(t, "partition")}, storedOffset{CommittedOffset: CommittedOffset{Offset: partition.Offset(rapid.IntRange(0, 99).Draw(t, "offset"))}}}
				e := commitEvent{call: call("commit"), Membership: membership(t), offsets: []offsetRecord{o}}
				if rapid.Bool().Draw(t, "outside") {
					e.Membership = Membership{Group: "g", Generation: NoGeneration}
				}
				if rapid.Bool().Draw(t, "transactional") {
					e.txn = &TxnCommit{TransactionalID: "tx", Producer: partition.ProducerID{ID: producers.Draw(t, "producer")}}
				}
				s.step(e)
			},
			"marker": func(t *rapid.T) {
				m := markerEvent{producer: producers.Draw(t, "producer"), at: s.end, commit: rapid.Bool().Draw(t, "commit")}
				if slices.ContainsFunc(s.waiting, func(e appendEffect) bool { return e.txn != nil && e.txn.Producer.ID == m.producer }) {
					return // it has not been told yet that its offsets are written
				}
				s.log = append(s.log, entry{at: s.end, marker: &m})
				s.end++
				s.step(m)
				s.step(m) // it may be read twice
			},
			"delete group": func(t *rapid.T) { s.step(deleteGroupEvent{call("delete group")}) },
			"delete offsets": func(t *rapid.T) {
				tp := partition.TopicPartition{Topic: "t", Partition: rapid.Int32Range(0, 2).Draw(t, "partition")}
				s.step(deleteOffsetsEvent{call("delete offsets"), []partition.TopicPartition{tp}})
			},
			"expire":  func(t *rapid.T) { s.now = s.now.Add(time.Minute); s.step(expireEvent{3 * time.Minute}) },
			"compact": func(t *rapid.T) { s.compact() },
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
					require.True(t, ok || s.m.unwritten[tp], "%s is not in the log", tp)
				}
				for producer, offsets := range restored.awaited {
					for tp, o := range offsets {
						require.Equal(t, o.Offset, s.m.awaited[producer][tp].Offset, "%s in the transaction of %d", tp, producer)
					}
				}
				for producer, offsets := range s.m.awaited {
					require.Len(t, restored.awaited[producer], len(offsets))
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
