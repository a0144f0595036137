package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
)

// A heartbeat that changes nothing: what a member costs while it consumes.
func BenchmarkConsumerHeartbeatIdle(b *testing.B) {
	m := newMachine("g", consumerMachineConfig())
	topics := newTopicImage([]partition.Metadata{{Topic: "t", ID: partition.TopicID{1}, Partitions: make([]partition.PartitionMetadata, 1000)}}, true)
	now := time.Unix(1.7e9, 0)
	call := callID(0)
	epochs := make([]MemberEpoch, 100)
	step := func(e event) (out *ConsumerHeartbeatResult) {
		pending := []event{e}
		for len(pending) > 0 {
			e, pending = pending[0], pending[1:]
			for _, effect := range m.Step(now, e) {
				switch effect := effect.(type) {
				case appendEffect:
					pending = append(pending, appendedEvent{id: effect.id})
				case answerEffect:
					out = effect.consumer
				}
			}
		}
		return out
	}
	heartbeat := func(i int, join bool) {
		call++
		r := ConsumerHeartbeatRequest{Group: "g", MemberID: fmt.Sprint("m", i), MemberEpoch: epochs[i], Owned: []TopicIDPartitions{}}
		if join {
			r.Topics, r.RebalanceTimeout = []string{"t"}, time.Minute
		}
		epochs[i] = step(consumerHeartbeatEvent{call: call, topics: topics, ConsumerHeartbeatRequest: r}).MemberEpoch
	}
	for i := range epochs {
		heartbeat(i, true)
	}
	for range 4 {
		for i := range epochs {
			heartbeat(i, false)
		}
	}
	e := consumerHeartbeatEvent{ConsumerHeartbeatRequest: ConsumerHeartbeatRequest{Group: "g", MemberID: "m7", MemberEpoch: epochs[7]}}
	b.ReportAllocs()
	for b.Loop() {
		step(e)
	}
}

// A member more, in a group of many: most of the time is the server assignor's.
func BenchmarkServerAssignors(b *testing.B) {
	for _, size := range []struct{ members, partitions int }{{50, 500}, {500, 5000}, {1000, 10000}} {
		for _, a := range []ServerAssignor{Uniform, ServerRange} {
			b.Run(fmt.Sprintf("%s-%dx%d", a.Name(), size.members, size.partitions), func(b *testing.B) {
				g := ServerGroup{Partitions: make(map[partition.TopicID]int32)}
				var topics []partition.TopicID
				for t := range 10 {
					id := numberedTopic(t + 1)
					topics = append(topics, id)
					g.Partitions[id] = int32(size.partitions / 10)
				}
				for i := range size.members {
					g.Members = append(g.Members, ServerMember{MemberID: fmt.Sprintf("m%05d", i), Topics: topics})
				}
				for id, set := range a.Assign(g) {
					for i := range g.Members {
						if g.Members[i].MemberID == id {
							g.Members[i].Target = set
						}
					}
				}
				g.Members = append(g.Members, ServerMember{MemberID: "new", Topics: topics})
				for b.Loop() {
					a.Assign(g)
				}
			})
		}
	}
}
