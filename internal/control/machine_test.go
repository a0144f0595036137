package control

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestMachine replays the stories in testdata/machine: one rule of the controller each. go test -rewrite writes down what happens; the diff is
// then to be read.
//
//	level 1 · cluster min=2 [unclean]             before anything else: feature level; defaults
//	nodes 1 2 3                                    these register and are unfenced
//	register 1 [unclean] [unheard] [again] [live] [dir=9] [levels=1-2]   another process, after a clean shutdown; after one whose
//	                                               process never heard of its epoch; the same process; while the other lives
//	fence 1 · unfence 1 · shutdown 1 · unregister 1 [stale]
//	create t 1,2,3 2,3,1 [min=2] [unclean|clean] [expect=n] · grow t 1,2 · delete t · configure t [min=1] [unclean|clean]
//	alter t-0 from=1 isr=1,2 [leader-epoch=n] [partition-epoch=n] [stale=2] [recovering] [stale-sender]
//	reassign t-0 4,5 [keep] · cancel t-0 · elect preferred|unclean [t-0 ...]
//	offline 1 t-0 · online 1 t-0 · feature 2 · unknown level=3 · catalogue [expect=n]
//
// Commands go through the codec, and the state through a snapshot. The answer is the code if it is not NONE, then what changed.
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		s := &story{m: New()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			s.out.Reset()
			s.run(d)
			checkInvariants(t, s.m)
			return s.out.String()
		})
	})
}

type story struct {
	t     *testing.T
	m     *Machine
	out   strings.Builder
	index uint64
	fresh byte // of incarnations
}

func topicID(name string) (id TopicID) {
	copy(id[:], name)
	return id
}

func parsePartition(t require.TestingT, text string) PartitionID {
	name, index, ok := strings.Cut(text, "-")
	require.True(t, ok, "%q", text)
	i, err := strconv.Atoi(index)
	require.NoError(t, err)
	return PartitionID{topicID(name), int32(i)}
}

func parseNodes(t require.TestingT, text string) (ids []NodeID) {
	for _, part := range strings.Split(text, ",") {
		id, err := strconv.Atoi(part)
		require.NoError(t, err)
		ids = append(ids, NodeID(id))
	}
	return ids
}

func (s *story) run(d *datadriven.TestData) {
	t := s.t
	str := func(key, otherwise string) string {
		if d.HasArg(key) {
			d.ScanArgs(t, key, &otherwise)
		}
		return otherwise
	}
	num := func(key string, otherwise int) int {
		v, err := strconv.Atoi(str(key, strconv.Itoa(otherwise)))
		require.NoError(t, err)
		return v
	}
	word := func(i int) string { return d.CmdArgs[i].Key }
	words := func(from int) (all []string) {
		for _, a := range d.CmdArgs[from:] {
			if len(a.Vals) == 0 {
				all = append(all, a.Key)
			}
		}
		return all
	}
	node := func(i int) NodeID { return parseNodes(t, word(i))[0] }
	epoch := func(id NodeID) int64 {
		n, _ := s.m.Node(id)
		if d.HasArg("stale") {
			return n.Epoch - 1
		}
		return n.Epoch
	}
	partitions := func(from int) (ids []PartitionID) {
		for _, w := range words(from) {
			if w == "stale" {
				continue
			}
			ids = append(ids, parsePartition(t, w))
		}
		return ids
	}
	event := func() Event {
		return Event{Kind: 1, Payload: []byte(d.Input), Expect: uint64(num("expect", int(s.m.CatalogueIndex())))}
	}
	config := func() (c TopicConfig) {
		c.MinISR = int32(num("min", 0))
		if d.HasArg("unclean") {
			c.Unclean = Yes
		} else if d.HasArg("clean") {
			c.Unclean = No
		}
		return c
	}
	assignment := func() (a [][]NodeID) {
		for _, arg := range d.CmdArgs[1:] {
			if len(arg.Vals) == 0 && arg.Key[0] >= '0' && arg.Key[0] <= '9' {
				a = append(a, parseNodes(t, arg.Key))
			}
		}
		return a
	}
	switch d.Cmd {
	case "level":
		require.Empty(t, s.m.nodes)
		s.m.feature = int16(node(0))
	case "cluster":
		s.apply(ConfigureCluster{event(), ClusterConfig{MinISR: int32(num("min", 1)), Unclean: d.HasArg("unclean")}})
	case "nodes":
		for i := range d.CmdArgs {
			r := s.apply(s.process(node(i)))
			s.apply(Unfence{node(i), r.Epoch})
		}
	case "register":
		c := s.process(node(0))
		before, known := s.m.Node(c.ID)
		if known && !d.HasArg("live") {
			c.Replaces = before.Epoch
		}
		if known && !d.HasArg("unclean") {
			c.PreviousEpoch = before.Epoch
		}
		if d.HasArg("unheard") {
			c.PreviousEpoch, c.PreviousIncarnation = before.Epoch-1, before.Incarnation
		}
		if d.HasArg("again") {
			c.Incarnation = before.Incarnation
		}
		c.DirectoryID[0] = byte(num("dir", int(c.DirectoryID[0])))
		c.ControllerOnly = d.HasArg("controller")
		if d.HasArg("levels") {
			_, err := fmt.Sscanf(str("levels", ""), "%d-%d", &c.MinFeature, &c.MaxFeature)
			require.NoError(t, err)
		}
		s.apply(c)
	case "unregister":
		s.apply(Unregister{node(0)})
	case "fence":
		s.apply(Fence{node(0), epoch(node(0))})
	case "unfence":
		s.apply(Unfence{node(0), epoch(node(0))})
	case "shutdown":
		s.apply(BeginShutdown{node(0), epoch(node(0))})
	case "create":
		id := topicID(word(0))
		copy(id[:], str("id", word(0)))
		s.apply(CreateTopic{event(), id, word(0), config(), assignment()})
	case "grow":
		_, n, _ := s.m.TopicID(word(0))
		s.apply(GrowTopic{event(), topicID(word(0)), int32(num("from", int(n))), assignment()})
	case "delete":
		s.apply(DeleteTopic{event(), topicID(word(0))})
	case "configure":
		s.apply(ConfigureTopic{event(), topicID(word(0)), config()})
	case "catalogue":
		s.apply(Catalogue{event()})
	case "alter":
		p := parsePartition(t, word(0))
		st, _ := s.m.Partition(p.Topic, p.Index)
		from, _ := s.m.Node(NodeID(num("from", int(st.Leader))))
		c := AlterPartition{Partition: p, LeaderEpoch: int32(num("leader-epoch", int(st.LeaderEpoch))), PartitionEpoch: int32(num("partition-epoch", int(st.PartitionEpoch))),
			Recovering: d.HasArg("recovering")}
		for _, id := range parseNodes(t, str("isr", "")) {
			n, known := s.m.Node(id)
			if !known {
				n.Epoch = NoEpoch
			}
			if num("stale", -1) == int(id) {
				n.Epoch--
			}
			c.ISR = append(c.ISR, Member{id, n.Epoch})
		}
		if d.HasArg("stale-sender") {
			from.Epoch--
		}
		s.apply(AlterPartitions{from.ID, from.Epoch, []AlterPartition{c}})
	case "offline":
		s.apply(OfflineReplicas{node(0), epoch(node(0)), partitions(1)})
	case "resign":
		s.apply(Resign{node(0), epoch(node(0)), partitions(1)})
	case "online":
		s.apply(OnlineReplicas{node(0), epoch(node(0)), partitions(1)})
	case "reassign":
		target := []NodeID{}
		if word(1) != "none" {
			target = parseNodes(t, word(1))
		}
		s.apply(Reassign{[]Reassignment{{parsePartition(t, word(0)), target}}, d.HasArg("keep")})
	case "cancel":
		s.apply(Reassign{Partitions: []Reassignment{{Partition: parsePartition(t, word(0))}}})
	case "elect":
		s.apply(Elect{word(0) == "unclean", partitions(1)})
	case "feature":
		s.apply(SetFeature{int16(node(0))})
	case "unknown":
		s.apply(Unknown{Kind: 200, Level: int16(num("level", 0))})
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
}

// process returns the registration of a new process.
func (s *story) process(id NodeID) Register {
	s.fresh++
	return Register{ID: id, Incarnation: [16]byte{s.fresh}, DirectoryID: [16]byte{byte(id)}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: NoEpoch, Replaces: NoEpoch}
}

func (s *story) apply(c Command) Result {
	decoded, err := Decode(Encode(nil, c))
	require.NoError(s.t, err)
	s.index++
	r := s.m.Apply(s.index, decoded)
	s.m, err = Restore(s.m.Snapshot())
	require.NoError(s.t, err)
	s.tell(r)
	return r
}

func (s *story) tell(r Result) {
	say := func(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }
	if r.Code != OK {
		say("%s: %s", r.Code, r.Detail)
	}
	if r.Halt {
		say("the node must stop")
	}
	switch answers := r.Answer.(type) {
	case []AlterAnswer:
		for _, a := range answers {
			if a.Code != OK {
				say("%s, %s", a.Code, a.State)
			}
		}
	case []PartitionAnswer:
		for _, a := range answers {
			if a.Code != OK || len(answers) > 1 {
				say("%s-%d: %s %s", strings.TrimRight(string(a.Partition.Topic[:]), "\x00"), a.Partition.Index, a.Code, a.Detail)
			}
		}
	}
	if r.Feature != 0 {
		say("feature level %d", r.Feature)
	}
	for _, id := range r.Nodes {
		if n, ok := s.m.Node(id); ok {
			say("%s", n)
		} else {
			say("node %d is gone", id)
		}
	}
	for _, c := range r.Changed {
		what := c.After.String()
		if c.Unclean {
			what += " UNCLEAN"
		}
		if c.Before.Equal(c.After) {
			what = fmt.Sprintf("min ISR %d", c.MinISR)
		}
		say("%s-%d %s", c.Name, c.Partition.Index, what)
	}
	if r.Catalogue != nil && len(r.Catalogue.Payload) > 0 {
		say("catalogue %d: %s", r.Catalogue.Index, r.Catalogue.Payload)
	}
}

// checkInvariants checks what holds of every state.
func checkInvariants(t require.TestingT, m *Machine) {
	leads, leaderless := map[NodeID]int{}, 0
	m.each(func(topic *Topic, index int32) {
		p := topic.partitions[index]
		at := fmt.Sprintf("%s-%d %s", topic.Name, index, p)
		subset := func(ids []NodeID) {
			for i, id := range ids {
				require.Contains(t, p.Replicas, id, at)
				require.NotContains(t, ids[:i], id, at)
			}
		}
		for _, ids := range [][]NodeID{p.Replicas, p.ISR, p.ELR, p.LastKnownELR, p.Adding, p.Removing, p.Offline} {
			subset(ids)
		}
		for _, ids := range [][]NodeID{p.ELR, p.Adding, p.Removing, p.Offline} {
			require.True(t, slices.IsSorted(ids), at)
		}
		for _, id := range p.ELR {
			require.NotContains(t, p.ISR, id, at)
			require.NotContains(t, p.Offline, id, at)
		}
		require.LessOrEqual(t, len(p.LastKnownELR), 1, at)
		for _, id := range p.Adding {
			require.NotContains(t, p.Removing, id, at)
		}
		min := m.minISR(topic, p)
		require.True(t, len(p.ELR) == 0 || len(p.ISR) < int(min), "%s: an ELR with an ISR of %d", at, min)
		if p.Leader == NoNode {
			leaderless++
			require.True(t, len(p.ISR) == 0 || m.feature < LevelELR && len(p.ISR) == 1, at)
		} else {
			leads[p.Leader]++
			require.Contains(t, p.ISR, p.Leader, at)
			require.Empty(t, p.LastKnownELR, at)
			for _, id := range p.ISR {
				require.True(t, m.Active(id), "%s: %d is not active", at, id)
				require.NotContains(t, p.Offline, id, at)
			}
		}
		require.True(t, !p.Recovering || len(p.ISR) <= 1, at)
		require.True(t, m.feature >= LevelELR || len(p.ELR)+len(p.LastKnownELR) == 0, at)
	})
	require.Equal(t, leads, m.leads)
	require.Equal(t, leaderless, m.leaderless)
}
