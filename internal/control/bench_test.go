package control

import "testing"

// A node that leads 10,000 partitions is fenced.
func BenchmarkFenceOf10000Leaderships(b *testing.B) {
	m := New()
	index := uint64(0)
	apply := func(c Command) Result {
		index++
		return m.Apply(index, c)
	}
	var epochs [4]int64
	for id := NodeID(1); id <= 3; id++ {
		epochs[id] = apply(Register{ID: id, Incarnation: [16]byte{byte(id)}, MinFeature: MinLevel, MaxFeature: MaxLevel}).Epoch
		apply(Unfence{id, epochs[id]})
	}
	for topic := range 100 {
		assignment := make([][]NodeID, 100)
		for i := range assignment {
			assignment[i] = []NodeID{1, 2, 3}
		}
		name := string(rune('a'+topic%26)) + string(rune('a'+topic/26))
		apply(CreateTopic{ID: topicID(name), Name: name, Config: TopicConfig{MinISR: 2}, Assignment: assignment})
	}
	snapshot := m.Snapshot()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m, _ = Restore(snapshot)
		b.StartTimer()
		if r := m.Apply(index+1, Fence{1, epochs[1]}); len(r.Changed) != 10_000 {
			b.Fatal(len(r.Changed))
		}
	}
}

func BenchmarkSnapshotOf10000Partitions(b *testing.B) {
	m := New()
	m.Apply(1, Register{ID: 1, MinFeature: MinLevel, MaxFeature: MaxLevel})
	m.Apply(2, Unfence{1, 1})
	assignment := make([][]NodeID, 10_000)
	for i := range assignment {
		assignment[i] = []NodeID{1}
	}
	m.Apply(3, CreateTopic{ID: topicID("t"), Name: "t", Assignment: assignment})
	b.ReportAllocs()
	for b.Loop() {
		m, _ = Restore(m.Snapshot())
	}
}
