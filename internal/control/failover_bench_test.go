package control_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
)

// The controller's part of a failover: a node that leads 10,000 partitions is fenced, and all of them have other leaders on every node. The
// quorum's log is in memory; the session timeout comes before it.
func BenchmarkFenceOf10000Leaders(b *testing.B) {
	const partitions = 10_000
	machines := []*control.Machine{control.New(), control.New(), control.New()}
	apply := func(index uint64, c control.Command) (r control.Result) {
		for _, m := range machines {
			r = m.Apply(index, c)
			require.Equal(b, control.OK, r.Code, r.Detail)
		}
		return r
	}
	index := uint64(0)
	next := func(c control.Command) control.Result { index++; return apply(index, c) }
	epochs := map[control.NodeID]int64{}
	for id := range control.NodeID(3) {
		r := next(control.Register{ID: id, Incarnation: [16]byte{byte(id + 1)}, MinFeature: 1, MaxFeature: control.MaxLevel, PreviousEpoch: control.NoEpoch, Replaces: control.NoEpoch})
		epochs[id] = r.Epoch
		next(control.Unfence{Node: id, Epoch: r.Epoch})
	}
	assignment := make([][]control.NodeID, partitions)
	for i := range assignment {
		assignment[i] = []control.NodeID{0, 1, 2}
	}
	next(control.CreateTopic{ID: control.TopicID{1}, Name: "flights", Config: control.TopicConfig{MinISR: 1}, Assignment: assignment})
	for b.Loop() {
		command, err := control.Decode(control.Encode(nil, control.Fence{Node: 0, Epoch: epochs[0]}))
		require.NoError(b, err)
		r := next(command)
		require.Len(b, r.Changed, partitions)
		b.StopTimer()
		next(control.Unfence{Node: 0, Epoch: epochs[0]})
		var back []control.AlterPartition
		p, _ := machines[0].Partition(control.TopicID{1}, 0)
		for i := range int32(partitions) {
			back = append(back, control.AlterPartition{
				Partition: control.PartitionID{Topic: control.TopicID{1}, Index: i}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
				ISR: []control.Member{{Node: 1, Epoch: epochs[1]}, {Node: 2, Epoch: epochs[2]}, {Node: 0, Epoch: epochs[0]}},
			})
		}
		next(control.AlterPartitions{Node: 1, Epoch: epochs[1], Partitions: back})
		var all []control.PartitionID
		for i := range int32(partitions) {
			all = append(all, control.PartitionID{Topic: control.TopicID{1}, Index: i})
		}
		next(control.Elect{Partitions: all})
		b.StartTimer()
	}
}
