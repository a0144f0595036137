package control

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Any commands in any order, of which many do not hold, leave two machines in equal states, though one of them goes through snapshots; and what is promised
// of partitions holds at every step.
func TestMachinesAgreeAndKeepWhatIsPromised(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, a: New(), b: New(), holders: map[PartitionID]map[NodeID]bool{}, leaders: map[PartitionID]map[int32]NodeID{}}
		w.a.feature = rapid.SampledFrom([]int16{LevelBase, LevelELR, LevelRoles}).Draw(rt, "level")
		w.b.feature = w.a.feature
		w.b.config.MinISR = int32(rapid.IntRange(1, 3).Draw(rt, "min"))
		w.a.config = w.b.config
		for i, seed := range rapid.SliceOfN(rapid.Uint64(), 100, 200).Draw(rt, "commands") {
			w.rand = rand.New(rand.NewPCG(seed, uint64(i)))
			if i < 10 { // nodes 1 to 5, for a beginning
				id := NodeID(i/2 + 1)
				n, _ := w.a.Node(id)
				w.apply([]Command{w.register(id, NoEpoch, NoEpoch), Unfence{id, n.Epoch}}[i%2])
			} else {
				w.apply(w.draw())
			}
			w.commit()
			if w.chance(10) {
				var err error
				w.b, err = Restore(w.b.Snapshot())
				require.NoError(rt, err)
			}
		}
	})
}

// world is two machines, and what the cluster may have committed.
type world struct {
	t     *rapid.T
	rand  *rand.Rand // of one command; rapid's own draws prefer small numbers, and most commands would be the first few
	a, b  *Machine
	index uint64
	fresh byte

	// holders are, for each partition, those who have all that may have been committed. A leader commits while its ISR has the minimum: then exactly the
	// ISR's members have it for sure.
	holders map[PartitionID]map[NodeID]bool
	leaders map[PartitionID]map[int32]NodeID // by leader epoch
}

func (w *world) apply(c Command) {
	w.index++
	encoded := Encode(nil, c)
	first, err := Decode(encoded)
	require.NoError(w.t, err)
	second, err := Decode(slices.Clone(encoded))
	require.NoError(w.t, err)
	require.Equal(w.t, encoded, Encode(nil, second))
	before := w.a.Snapshot()
	ra, rb := w.a.Apply(w.index, first), w.b.Apply(w.index, second)
	require.Equal(w.t, ra, rb)
	require.Equal(w.t, w.a.Snapshot(), w.b.Snapshot())
	require.Equal(w.t, Result{Index: w.index}, w.a.Apply(w.index, first), "applied twice")
	checkInvariants(w.t, w.a)
	if ra.Code != OK {
		require.Empty(w.t, ra.Changed)
		require.Empty(w.t, ra.Nodes)
		require.Nil(w.t, ra.Catalogue)
		m, err := Restore(before)
		require.NoError(w.t, err)
		m.applied = w.index
		require.Equal(w.t, m.Snapshot(), w.a.Snapshot(), "refused, and changed something")
	}
	w.check(c, ra)
}

// check follows the partitions that a command changed.
func (w *world) check(c Command, r Result) {
	if reg, ok := c.(Register); ok && r.Epoch == int64(r.Index) && w.a.feature >= LevelELR && reg.PreviousEpoch == NoEpoch {
		for _, holders := range w.holders {
			delete(holders, reg.ID)
		}
	}
	if off, ok := c.(OfflineReplicas); ok && r.Code == OK && w.a.feature >= LevelELR {
		for _, id := range off.Partitions {
			delete(w.holders[id], off.Node)
		}
	}
	for i, ch := range r.Changed {
		at := fmt.Sprintf("%T %v: %s-%d %s ─▶ %s", c, c, ch.Name, ch.Partition.Index, ch.Before, ch.After)
		require.True(w.t, i == 0 || comparePartitions(r.Changed[i-1].Partition, ch.Partition) < 0, "%s: not in order", at)
		if !ch.After.Exists() {
			delete(w.holders, ch.Partition)
			delete(w.leaders, ch.Partition)
			continue
		}
		require.Equal(w.t, w.a.MinISR(ch.Partition.Topic, ch.Partition.Index), ch.MinISR)
		if !ch.Before.Exists() {
			w.holders[ch.Partition], w.leaders[ch.Partition] = map[NodeID]bool{}, map[int32]NodeID{}
			for _, id := range ch.After.Replicas { // nothing has been committed
				w.holders[ch.Partition][id] = true
			}
		} else {
			require.GreaterOrEqual(w.t, ch.After.LeaderEpoch, ch.Before.LeaderEpoch, at)
			if !ch.Before.Equal(ch.After) {
				require.Greater(w.t, ch.After.PartitionEpoch, ch.Before.PartitionEpoch, at)
			}
			require.True(w.t, ch.Before.Leader == ch.After.Leader || ch.After.LeaderEpoch > ch.Before.LeaderEpoch, at)
			require.True(w.t, len(without(ch.Before.Replicas, ch.After.Replicas...)) == 0 || ch.After.LeaderEpoch > ch.Before.LeaderEpoch, at)
		}
		if known, ok := w.leaders[ch.Partition][ch.After.LeaderEpoch]; ok {
			require.Equal(w.t, known, ch.After.Leader, "%s: two leaders of one epoch", at)
		}
		w.leaders[ch.Partition][ch.After.LeaderEpoch] = ch.After.Leader
		holders := w.holders[ch.Partition]
		if ch.Unclean { // what the new leader has is what counts from now on
			require.True(w.t, ch.After.Recovering, at)
			clear(holders)
			holders[ch.After.Leader] = true
			continue
		}
		// A replica that a leader takes into its ISR has caught up with the high watermark.
		if ch.Before.Exists() && ch.Before.Leader != NoNode {
			if _, altered := c.(AlterPartitions); altered {
				for _, id := range without(ch.After.ISR, ch.Before.ISR...) {
					holders[id] = true
				}
			}
		}
		for id := range holders {
			if !slices.Contains(ch.After.Replicas, id) {
				delete(holders, id)
			}
		}
		// The rule of rules: who is in sync or eligible has all that is committed.
		for _, ids := range [][]NodeID{ch.After.ISR, ch.After.ELR} {
			for _, id := range ids {
				require.True(w.t, holders[id], "%s: %d does not have all that is committed, %v do", at, id, holders)
			}
		}
		// Who resigns though it has it all stays eligible, unless it leaves it to two others.
		if r, resigned := c.(Resign); resigned {
			able := slices.DeleteFunc(slices.Clone(ch.After.ISR), func(id NodeID) bool { return id == r.Node || !w.a.Active(id) })
			require.True(w.t, len(able) > 1 || slices.Contains(ch.After.ISR, r.Node) || slices.Contains(ch.After.ELR, r.Node) || !slices.Contains(ch.After.Replicas, r.Node), at)
			require.NotEqual(w.t, NoNode, ch.After.Leader, at)
			require.False(w.t, ch.Unclean, at)
		}
		// And nobody who has it leaves unless others stay: all at once are lost only by unclean shutdowns and failed replicas, and without ELR by nothing.
		had, has := len(ch.Before.ISR)+len(ch.Before.ELR), len(ch.After.ISR)+len(ch.After.ELR)
		switch c.(type) {
		case Register, OfflineReplicas, SetFeature:
		default:
			require.True(w.t, had == 0 || has > 0, "%s: nobody left", at)
		}
	}
}

// commit lets leaders commit, where they may: then only members of the ISR have it all.
func (w *world) commit() {
	w.a.each(func(t *Topic, index int32) {
		p := t.partitions[index]
		if p.Leader == NoNode || int32(len(p.ISR)) < w.a.minISR(t, p) {
			return
		}
		holders := w.holders[PartitionID{t.ID, index}]
		clear(holders)
		for _, id := range p.ISR {
			holders[id] = true
		}
	})
}

func (w *world) node() NodeID { return NodeID(1 + w.rand.IntN(5)) }

// some draws nodes, which may be the same.
func (w *world) some(least, most int) (ids []NodeID) {
	for range least + w.rand.IntN(most-least+1) {
		ids = append(ids, w.node())
	}
	return ids
}

// different draws different nodes.
func (w *world) different(n int) (ids []NodeID) {
	for _, i := range w.rand.Perm(5)[:n] {
		ids = append(ids, NodeID(i+1))
	}
	return ids
}

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rand.IntN(n) == 0 }

func (w *world) epoch(id NodeID) int64 {
	n, _ := w.a.Node(id)
	if w.chance(12) {
		return n.Epoch - 1
	}
	return n.Epoch
}

func (w *world) topic() TopicID { return topicID([]string{"t", "u", "v"}[w.rand.IntN(3)]) }

func (w *world) partition() (PartitionID, PartitionState) {
	id := PartitionID{w.topic(), int32(w.rand.IntN(3))}
	p, _ := w.a.Partition(id.Topic, id.Index)
	return id, p
}

func (w *world) event() Event {
	if w.chance(6) {
		return Event{Kind: 1}
	}
	return Event{Kind: 1, Expect: w.a.CatalogueIndex(), Payload: []byte("event")}
}

func (w *world) config() TopicConfig {
	return TopicConfig{MinISR: int32(w.rand.IntN(6) - 1), Unclean: []Choice{No, No, No, ClusterDefault, Yes}[w.rand.IntN(5)]}
}

func (w *world) assignment() (all [][]NodeID) {
	factor := 1 + w.rand.IntN(3)
	for range 1 + w.rand.IntN(2) {
		if w.chance(8) {
			all = append(all, w.some(0, 3))
		} else {
			all = append(all, w.different(factor))
		}
	}
	return all
}

func (w *world) register(id NodeID, previous, replaces int64) Register {
	w.fresh++
	return Register{ID: id, Incarnation: [16]byte{w.fresh}, DirectoryID: [16]byte{byte(id)}, Rack: "r", Listeners: []Listener{{"PLAINTEXT", 0, "host", 9092}},
		MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: previous, Replaces: replaces}
}

func (w *world) draw() Command {
	switch what := w.rand.IntN(37); {
	case what < 4:
		id := w.node()
		n, known := w.a.Node(id)
		c := w.register(id, n.Epoch, n.Epoch)
		if w.chance(3) {
			c.PreviousEpoch = NoEpoch
		}
		if w.chance(8) {
			c.Replaces = NoEpoch
		}
		if known && w.chance(6) {
			c.Incarnation = n.Incarnation
		}
		if w.chance(8) {
			c.DirectoryID[1] = w.fresh
		}
		if w.chance(8) {
			c.MaxFeature = LevelBase
		}
		c.ControllerOnly = w.chance(8)
		return c
	case what < 12:
		id := w.node()
		return Unfence{id, w.epoch(id)}
	case what < 14:
		id := w.node()
		return Fence{id, w.epoch(id)}
	case what < 15:
		id := w.node()
		return BeginShutdown{id, w.epoch(id)}
	case what < 18:
		id := w.topic()
		return CreateTopic{w.event(), id, string(id[:1]), w.config(), w.assignment()}
	case what < 26:
		id, p := w.partition()
		n, _ := w.a.Node(p.Leader)
		c := AlterPartition{Partition: id, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Recovering: p.Recovering && w.chance(3)}
		ids := w.some(1, 4)
		if !w.chance(8) { // the leader, and others
			ids = []NodeID{p.Leader}
			for _, id := range p.Replicas {
				if id != p.Leader && w.a.Active(id) && !w.chance(3) {
					ids = append(ids, id)
				}
			}
		}
		for _, id := range ids {
			c.ISR = append(c.ISR, Member{id, w.epoch(id)})
		}
		if w.chance(12) {
			c.PartitionEpoch--
		}
		return AlterPartitions{p.Leader, n.Epoch, []AlterPartition{c, c}[:1+w.rand.IntN(2)]}
	case what < 27:
		id := w.node()
		p, _ := w.partition()
		return OfflineReplicas{id, w.epoch(id), []PartitionID{p, p}}
	case what < 28:
		id := w.node()
		p, _ := w.partition()
		return OnlineReplicas{id, w.epoch(id), []PartitionID{p, p}}
	case what < 31:
		id, _ := w.partition()
		r := Reassignment{Partition: id}
		if !w.chance(3) {
			r.Target = w.different(1 + w.rand.IntN(3))
		}
		return Reassign{[]Reassignment{r}, w.chance(2)}
	case what < 32:
		id, _ := w.partition()
		c := Elect{Unclean: w.chance(4), Partitions: []PartitionID{id, id}}
		if w.chance(2) {
			c.Partitions = nil
		}
		return c
	case what < 33:
		id := w.topic()
		_, n, _ := w.a.TopicID(string(id[:1]))
		return GrowTopic{w.event(), id, n, w.assignment()}
	case what < 34:
		if w.chance(3) {
			return ConfigureCluster{w.event(), ClusterConfig{MinISR: int32(w.rand.IntN(4))}}
		}
		return ConfigureTopic{w.event(), w.topic(), w.config()}
	case what < 35:
		others := []Command{NoOp{}, SetFeature{LevelELR}, SetFeature{LevelRoles}, SetFeature{MaxLevel + 1}, DeleteTopic{w.event(), w.topic()}, Catalogue{w.event()}, Unknown{Kind: 99, Level: 5}}
		return others[w.rand.IntN(len(others))]
	case what < 36:
		id, p := w.partition()
		from := p.Leader
		if w.chance(8) {
			from = w.node()
		}
		return Resign{from, w.epoch(from), []PartitionID{id, id}}
	}
	return Unregister{w.node()}
}
