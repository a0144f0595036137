package control

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// every has a command of each kind, with all fields.
func every() []Command {
	id, event := topicID("topic"), Event{Expect: 300, Kind: 4, Payload: []byte("event")}
	ps := []PartitionID{{id, 0}, {topicID("other"), 70}}
	return []Command{
		NoOp{},
		Register{ID: 7, Incarnation: [16]byte{1, 2}, DirectoryID: [16]byte{3}, Addr: "host:1", Listeners: []Listener{{"PLAINTEXT", 1, "host", 9092}, {"B", 3, "h", 65535}}, Rack: "a",
			MinFeature: 1, MaxFeature: 2, PreviousEpoch: -1, Replaces: 1 << 40, PreviousIncarnation: [16]byte{9}},
		Register{ID: 8, Addr: "host:2", MinFeature: 1, MaxFeature: 3, PreviousEpoch: -1, Replaces: -1, ControllerOnly: true},
		Unregister{ID: 2147483647},
		Fence{1, 2}, Unfence{3, 4}, BeginShutdown{5, 6},
		AlterPartitions{1, 2, []AlterPartition{{ps[1], 3, 4, []Member{{1, 2}, {3, -1}}, true}, {Partition: ps[0]}}},
		OfflineReplicas{1, 2, ps}, OnlineReplicas{1, 2, ps[:1]},
		CreateTopic{event, id, "topic", TopicConfig{2, Yes}, [][]NodeID{{1, 2}, {3}}},
		DeleteTopic{event, id},
		GrowTopic{Event{}, id, 2, [][]NodeID{{1}}},
		ConfigureTopic{event, id, TopicConfig{0, No}},
		ConfigureCluster{event, ClusterConfig{2, true}},
		Catalogue{event},
		Reassign{[]Reassignment{{ps[0], nil}, {ps[1], []NodeID{}}, {ps[1], []NodeID{4, 5}}}, true},
		Elect{true, nil}, Elect{false, []PartitionID{}}, Elect{false, ps},
		SetFeature{2},
		Resign{1, 2, ps},
		Unknown{Kind: 200, Level: 3, Body: []byte("later")},
	}
}

func TestCommandsComeBackAsTheyWere(t *testing.T) {
	seen := map[uint8]bool{}
	for _, c := range every() {
		b := Encode([]byte("before"), c)
		require.Equal(t, "before", string(b[:6]))
		got, err := Decode(b[6:])
		require.NoError(t, err, "%T", c)
		require.Equal(t, c, got)
		seen[b[6]] = true
	}
	for kind := range kinds {
		require.True(t, seen[kind], "no command of kind %d", kind)
	}
}

// What was written once can be read for ever.
func TestEncodingsStayAsTheyAre(t *testing.T) {
	golden := []string{
		"0002", // NoOp
		"01020e010200000000000000000000000000000300000000000000000000000000000006686f73743a31021209504c41494e544558540204686f73748447080142060168ffff03016102040180808080804009000000000000000000000000000000", // Register
		"010610000000000000000000000000000000000000000000000000000000000000000006686f73743a320000020601010000000000000000000000000000000001",                                                                   // Register of a controller only
		"0202feffffff0f", // Unregister
		"03020204",       // Fence
		"04020608",       // Unfence
		"05020a0c",       // BeginShutdown
		"06020204021c6f7468657200000000000000000000008c010608020202040206010115746f70696300000000000000000000000000000000",                         // AlterPartitions
		"070202040211746f706963000000000000000000000000126f7468657200000000000000000000008c01",                                                     // OfflineReplicas
		"080202040111746f706963000000000000000000000000",                                                                                           // OnlineReplicas
		"090209ac0204056576656e74746f706963000000000000000000000005746f706963020402020202040106",                                                   // CreateTopic
		"0a0209ac0204056576656e74746f7069630000000000000000000000",                                                                                 // DeleteTopic
		"0b0203000000746f706963000000000000000000000004010102",                                                                                     // GrowTopic
		"0c0209ac0204056576656e74746f7069630000000000000000000000020004",                                                                           // ConfigureTopic
		"0d0209ac0204056576656e74020401",                                                                                                           // ConfigureCluster
		"0e0209ac0204056576656e74",                                                                                                                 // Catalogue
		"0f020313746f7069630000000000000000000000000100146f7468657200000000000000000000008c010000166f7468657200000000000000000000008c010002080a01", // Reassign
		"1002010100", // Elect
		"1002000000", // Elect
		"100200000211746f706963000000000000000000000000126f7468657200000000000000000000008c01", // Elect
		"110204", // SetFeature
		"120602040211746f706963000000000000000000000000126f7468657200000000000000000000008c01", // Resign
		"c8066c61746572", // Unknown
	}
	require.Len(t, golden, len(every()))
	for i, want := range golden {
		c := every()[i]
		require.Equal(t, want, hex.EncodeToString(Encode(nil, c)), "%T", c)
	}
}

func TestFieldsOfLaterVersionsArePassedOver(t *testing.T) {
	for _, c := range every() {
		if _, unknown := c.(Unknown); unknown {
			continue
		}
		got, err := Decode(append(Encode(nil, c), "more"...))
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	// Within what has its length before it, too.
	w := &writer{}
	writeList(w, []int{1, 2}, func(v int) { w.int(int64(v)); w.string("later") })
	r := &reader{b: w.b}
	require.Equal(t, []int64{1, 2}, list(r, (*reader).int))
	require.NoError(t, r.err)
}

func TestCommandsOfALaterLevelAreUnknown(t *testing.T) {
	w := &writer{[]byte{kindNoOp}}
	w.int(int64(MaxLevel + 1))
	c, err := Decode(w.b)
	require.NoError(t, err)
	require.Equal(t, Unknown{Kind: kindNoOp, Level: MaxLevel + 1, Body: []byte{}}, c)
}

// No prefix of an encoding is taken for a whole one, and none makes a reader fail otherwise than by its error.
func TestCutEncodingsAreMalformed(t *testing.T) {
	for _, c := range every() {
		if _, unknown := c.(Unknown); unknown {
			continue
		}
		b := Encode(nil, c)
		for n := range b {
			_, err := Decode(b[:n])
			require.ErrorIs(t, err, ErrMalformed, "%T cut to %d of %d", c, n, len(b))
		}
	}
	s := populated(t).Snapshot()
	for n := range s {
		_, err := Restore(s[:n])
		require.ErrorIs(t, err, ErrMalformed, "a snapshot cut to %d of %d", n, len(s))
	}
}

// populated returns a state with something of everything.
func populated(t require.TestingT) *Machine {
	m := New()
	index := uint64(0)
	apply := func(c Command) {
		index++
		require.Equal(t, OK, m.Apply(index, c).Code, "%T", c)
	}
	for id := NodeID(1); id <= 4; id++ {
		apply(Register{ID: id, Incarnation: [16]byte{byte(id)}, Addr: fmt.Sprintf("host-%d:1", id), Listeners: []Listener{{"PLAINTEXT", 0, "host", 9092}}, Rack: "r",
			DirectoryID: [16]byte{byte(id)}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: NoEpoch, Replaces: NoEpoch})
		apply(Unfence{id, int64(index)})
	}
	apply(Register{ID: 9, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: NoEpoch, Replaces: NoEpoch, ControllerOnly: true})
	apply(CreateTopic{Event{Kind: 1}, topicID("t"), "t", TopicConfig{2, Yes}, [][]NodeID{{1, 2, 3}, {2, 3, 1}}})
	apply(CreateTopic{Event{Kind: 1, Expect: index}, topicID("u"), "u", TopicConfig{2, No}, [][]NodeID{{1, 2}}})
	apply(ConfigureCluster{Event{Kind: 1, Expect: index}, ClusterConfig{2, true}})
	apply(Reassign{Partitions: []Reassignment{{PartitionID{topicID("t"), 1}, []NodeID{4, 2, 1}}}})
	apply(OfflineReplicas{3, 5, []PartitionID{{topicID("t"), 0}}})
	apply(BeginShutdown{2, 3})
	apply(Fence{1, 1})
	return m
}

func TestSnapshotsComeBackAsTheyWere(t *testing.T) {
	m := populated(t)
	again, err := Restore(m.Snapshot())
	require.NoError(t, err)
	require.Equal(t, m.String(), again.String())
	require.Equal(t, m.Nodes(), again.Nodes())
	require.Equal(t, m.Config(), again.Config())
	require.Equal(t, m.Snapshot(), again.Snapshot())
	require.Equal(t, m.Leads(4), again.Leads(4))
	require.Equal(t, m.Leaderless(), again.Leaderless())
}

func TestSnapshotOfALaterLevelIsRefusedByName(t *testing.T) {
	m := New()
	m.feature = MaxLevel + 1
	_, err := Restore(m.Snapshot())
	require.EqualError(t, err, "the cluster is at feature level 4, this build knows 1 to 3")
}

func FuzzDecode(f *testing.F) {
	for _, c := range every() {
		f.Add(Encode(nil, c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again, err := Decode(Encode(nil, c))
		require.NoError(t, err)
		require.Equal(t, c, again)
		m := populated(t)
		m.Apply(m.Applied()+1, c) // whatever it says
		checkInvariants(t, m)
	})
}

func FuzzRestore(f *testing.F) {
	f.Add(New().Snapshot())
	f.Add(populated(f).Snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Restore(b)
		if err != nil {
			return
		}
		again, err := Restore(m.Snapshot())
		require.NoError(t, err)
		require.Equal(t, m.Snapshot(), again.Snapshot())
	})
}
