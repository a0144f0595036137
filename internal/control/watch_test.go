package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hall is a controller with its Watch; commands that the Watch wants are applied at once unless they are held.
type hall struct {
	t     require.TestingT
	m     *Machine
	w     *Watch
	now   time.Duration
	index uint64
}

func newHall(t require.TestingT, cfg WatchConfig) *hall {
	h := &hall{t: t, m: New(), w: NewWatch(cfg), now: time.Hour}
	h.w.Reset(h.now, h.m)
	return h
}

func (h *hall) apply(c Command) Result {
	h.index++
	r := h.m.Apply(h.index, c)
	h.w.Applied(h.now, r)
	return r
}

// join registers and unfences a node's process.
func (h *hall) join(id NodeID, process byte) int64 {
	r := h.register(id, process)
	require.Equal(h.t, OK, r.Code)
	h.beat(id, r.Epoch)
	return r.Epoch
}

func (h *hall) register(id NodeID, process byte) Result {
	c, code := h.w.Admit(h.now, Register{ID: id, Incarnation: [16]byte{process}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: NoEpoch})
	if code != OK {
		return Result{Code: code}
	}
	return h.apply(c)
}

// beat is a heartbeat of a node that has applied everything.
func (h *hall) beat(id NodeID, epoch int64, change ...func(*Heartbeat)) HeartbeatAnswer {
	hb := Heartbeat{Node: id, Epoch: epoch, Applied: h.index}
	for _, f := range change {
		f(&hb)
	}
	a, cs := h.w.Heartbeat(h.now, hb)
	for _, c := range cs {
		require.Equal(h.t, OK, h.apply(c).Code)
	}
	return a
}

func (h *hall) tick() (cs []Command) {
	cs = h.w.Tick(h.now)
	for _, c := range cs {
		require.Equal(h.t, OK, h.apply(c).Code)
	}
	return cs
}

func (h *hall) fenced(id NodeID) bool {
	n, ok := h.m.Node(id)
	require.True(h.t, ok)
	return n.Fenced
}

func leaving(hb *Heartbeat)        { hb.WantShutdown = true }
func unready(hb *Heartbeat)        { hb.WantFence = true }
func behind(hb *Heartbeat)         { hb.Applied = 0 }
func at(i uint64) func(*Heartbeat) { return func(hb *Heartbeat) { hb.Applied = i } }

func TestNodeIsUnfencedWhenItHasSeenItsRegistrationAndIsReady(t *testing.T) {
	h := newHall(t, WatchConfig{})
	epoch := h.register(1, 1).Epoch
	require.Equal(t, HeartbeatAnswer{Fenced: true}, h.beat(1, epoch, behind))
	require.True(t, h.fenced(1))
	require.Equal(t, HeartbeatAnswer{Fenced: true, CaughtUp: true}, h.beat(1, epoch, unready))
	require.True(t, h.fenced(1))
	require.Equal(t, HeartbeatAnswer{Fenced: true, CaughtUp: true}, h.beat(1, epoch))
	require.False(t, h.fenced(1))
	require.Equal(t, HeartbeatAnswer{CaughtUp: true}, h.beat(1, epoch))
	h.beat(1, epoch, unready)
	require.True(t, h.fenced(1))
}

func TestSilentNodeIsFencedWhenItsSessionEnds(t *testing.T) {
	h := newHall(t, WatchConfig{Session: 9 * time.Second})
	epoch := h.join(1, 1)
	h.join(2, 2)
	at, ok := h.w.Deadline(h.now)
	require.True(t, ok)
	require.Equal(t, h.now+9*time.Second, at)
	h.now += 5 * time.Second
	h.beat(1, epoch)
	h.now += 4*time.Second - 1
	require.Empty(t, h.tick())
	h.now++
	require.Equal(t, []Command{Fence{2, h.node(2).Epoch}}, h.tick())
	require.True(t, h.fenced(2))
	require.Empty(t, h.tick())
	at, _ = h.w.Deadline(h.now)
	require.Equal(t, h.now+5*time.Second, at)
}

func (h *hall) node(id NodeID) Node {
	n, ok := h.m.Node(id)
	require.True(h.t, ok)
	return n
}

// A command that is lost on its way to the log is asked for again, but not with each look.
func TestLostCommandIsProposedAgain(t *testing.T) {
	h := newHall(t, WatchConfig{Session: 8 * time.Second})
	epoch := h.register(1, 1).Epoch
	hb := Heartbeat{Node: 1, Epoch: epoch, Applied: h.index}
	for range 2 {
		_, cs := h.w.Heartbeat(h.now, hb)
		require.Equal(t, []Command{Unfence{1, epoch}}, cs)
		_, cs = h.w.Heartbeat(h.now, hb)
		require.Empty(t, cs)
		h.now += 2 * time.Second
	}
}

func TestNewControllerGivesEveryNodeAWholeSession(t *testing.T) {
	h := newHall(t, WatchConfig{Session: 9 * time.Second})
	h.join(1, 1)
	h.now += time.Hour
	h.w.Reset(h.now, h.m)
	require.Empty(t, h.w.Tick(h.now+9*time.Second-1))
	require.Len(t, h.w.Tick(h.now+9*time.Second), 1)
}

// A controller that is held up all the time, and that nobody can replace, still fences who is gone, and nobody else.
func TestAControllerThatIsHeldUpForEverFencesWhoIsSilent(t *testing.T) {
	for _, held := range []time.Duration{3 * time.Second, 8 * time.Second, time.Hour} {
		h := newHall(t, WatchConfig{Session: 9 * time.Second})
		silent, alive := h.join(1, 1), h.join(2, 2)
		var fences []Command
		began := h.now
		for range 14 {
			h.now += held
			h.w.Held(held)
			h.beat(2, alive)
			fences = append(fences, h.w.Tick(h.now)...)
			if len(fences) > 0 {
				break
			}
		}
		require.Equal(t, []Command{Fence{Node: 1, Epoch: silent}}, fences)
		require.Greater(t, h.now-began, 4*9*time.Second-held)
		require.LessOrEqual(t, h.now-began, max(4*9*time.Second, held)+held)
	}
}

// Not the state of a controller that has not yet applied the node's registration, nor of one that is none any more.
func TestWhatHeldTheControllerUpIsNobodysSilence(t *testing.T) {
	h := newHall(t, WatchConfig{Session: 9 * time.Second})
	h.join(1, 1)
	h.now += 20 * time.Second
	h.w.Held(12 * time.Second)
	require.Empty(t, h.w.Tick(h.now))
	h.now += time.Second
	require.Equal(t, []Command{Fence{Node: 1, Epoch: h.node(1).Epoch}}, h.w.Tick(h.now))
	h.w.Stop()
	h.w.Held(time.Second) // nobody has a session
}

func TestHeartbeatIsJudgedByACompleteState(t *testing.T) {
	h := newHall(t, WatchConfig{})
	epoch := h.join(1, 1)
	require.Equal(t, NotController, h.beat(1, int64(h.index)+1).Code)
	require.Equal(t, BrokerIDNotRegistered, h.beat(2, epoch).Code)
	require.Equal(t, StaleBrokerEpoch, h.beat(1, epoch-1).Code)
	h.w.Stop()
	require.Equal(t, NotController, h.beat(1, epoch).Code)
	require.Equal(t, NotController, h.register(3, 3).Code)
	require.Empty(t, h.w.Tick(h.now+time.Hour))
	_, ok := h.w.Deadline(h.now)
	require.False(t, ok)
	h.w.Applied(h.now, Result{Nodes: []NodeID{1}})
}

func TestSecondProcessWaitsForTheSessionOfTheFirst(t *testing.T) {
	h := newHall(t, WatchConfig{Session: 9 * time.Second})
	epoch := h.join(1, 1)
	require.Equal(t, DuplicateBrokerRegistration, h.register(1, 2).Code)
	h.now += 9*time.Second - 1
	require.Equal(t, DuplicateBrokerRegistration, h.register(1, 2).Code)
	require.Equal(t, epoch, h.register(1, 1).Epoch, "the first itself may ask again")
	h.now++
	r := h.register(1, 2)
	require.Equal(t, OK, r.Code)
	require.Greater(t, r.Epoch, epoch)
	require.Equal(t, StaleBrokerEpoch, h.beat(1, epoch).Code)
}

// A node with a copy of another's directory is refused before anything goes into the log, for as long as the other is registered.
func TestACopiedDirectoryIsNotProposed(t *testing.T) {
	h := newHall(t, WatchConfig{Session: 9 * time.Second})
	register := func(id NodeID, directory byte) Code {
		c, code := h.w.Admit(h.now, Register{ID: id, Incarnation: [16]byte{byte(id)}, DirectoryID: [16]byte{directory}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: NoEpoch})
		if code == OK {
			code = h.apply(c).Code
		}
		return code
	}
	require.Equal(t, OK, register(1, 7))
	index := h.index
	require.Equal(t, DuplicateBrokerRegistration, register(2, 7))
	require.Equal(t, index, h.index)
	h.apply(Unregister{ID: 1})
	require.Equal(t, OK, register(2, 7))
}

func TestFirstProcessOfABootstrappedClusterWaitsForNobody(t *testing.T) {
	h := newHall(t, WatchConfig{})
	h.m = Bootstrap(Node{ID: 1}, ClusterConfig{}, nil)
	h.w.Reset(h.now, h.m)
	require.Equal(t, OK, h.register(1, 1).Code)
	require.Equal(t, DuplicateBrokerRegistration, h.register(1, 2).Code)
}

// Two registrations that were admitted at once: the second finds the first.
func TestOneOfTwoProcessesAtOnceIsRegistered(t *testing.T) {
	h := newHall(t, WatchConfig{})
	a, code := h.w.Admit(h.now, Register{ID: 1, Incarnation: [16]byte{1}, MinFeature: MinLevel, MaxFeature: MaxLevel})
	require.Equal(t, OK, code)
	b, code := h.w.Admit(h.now, Register{ID: 1, Incarnation: [16]byte{2}, MinFeature: MinLevel, MaxFeature: MaxLevel})
	require.Equal(t, OK, code)
	require.Equal(t, OK, h.apply(a).Code)
	require.Equal(t, DuplicateBrokerRegistration, h.apply(b).Code)
}

// A controller that starts again waits for no session of the process that it was: that one is gone.
func TestAControllersOwnProcessBeforeHasNoSession(t *testing.T) {
	h := newHall(t, WatchConfig{})
	first := h.join(1, 1)
	again := Register{ID: 1, Incarnation: [16]byte{2}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: first}
	_, code := h.w.Admit(h.now, again)
	require.Equal(t, DuplicateBrokerRegistration, code)
	require.Equal(t, OK, h.apply(h.w.AdmitOwn(again)).Code)
	require.Equal(t, [16]byte{2}, h.node(1).Incarnation)
}

// A controller only is heard and known, and never let in as a broker.
func TestAControllerOnlyStaysFencedAndKeepsItsSession(t *testing.T) {
	h := newHall(t, WatchConfig{Session: time.Second})
	r := h.apply(Register{ID: 1, Incarnation: [16]byte{1}, MinFeature: MinLevel, MaxFeature: MaxLevel, PreviousEpoch: NoEpoch, ControllerOnly: true})
	require.Equal(t, OK, r.Code)
	for range 5 {
		h.now += 600 * time.Millisecond
		require.Equal(t, HeartbeatAnswer{Fenced: true, CaughtUp: true}, h.beat(1, r.Epoch))
		require.Equal(t, DuplicateBrokerRegistration, h.register(1, 2).Code)
	}
	require.True(t, h.beat(1, r.Epoch, leaving).MayShutDown)
	require.Equal(t, OK, h.register(1, 2).Code)
}

func TestControlledShutdownEndsWhenTheOthersKnowTheNewLeaders(t *testing.T) {
	h := newHall(t, WatchConfig{})
	one, two := h.join(1, 1), h.join(2, 2)
	require.Equal(t, OK, h.apply(CreateTopic{ID: topicID("t"), Name: "t", Assignment: [][]NodeID{{1, 2}}}).Code)
	known := h.index
	h.beat(2, two)
	require.Equal(t, HeartbeatAnswer{CaughtUp: true}, h.beat(1, one, leaving))
	require.True(t, h.node(1).ShuttingDown)
	require.Zero(t, h.m.Leads(1))
	require.Equal(t, HeartbeatAnswer{CaughtUp: true}, h.beat(1, one, leaving))
	h.beat(2, two, at(known))
	require.False(t, h.beat(1, one, leaving).MayShutDown)
	require.False(t, h.fenced(1), "2 does not know that it leads")
	h.beat(2, two)
	require.False(t, h.beat(1, one, leaving).MayShutDown)
	require.True(t, h.fenced(1))
	require.True(t, h.beat(1, one, leaving).MayShutDown)
	require.Equal(t, OK, h.register(1, 9).Code, "the next process need not wait")
}

func TestNodeThatLeadsNothingMayGoAtOnce(t *testing.T) {
	h := newHall(t, WatchConfig{})
	one := h.join(1, 1)
	require.False(t, h.beat(1, one, leaving).MayShutDown)
	require.True(t, h.beat(1, one, leaving).MayShutDown)
	require.False(t, h.node(1).ShuttingDown)
	require.Equal(t, OK, h.register(1, 9).Code)
}

func TestPreferredLeadersAreElectedFromTimeToTime(t *testing.T) {
	h := newHall(t, WatchConfig{Session: time.Hour, Rebalance: 5 * time.Minute})
	one := h.join(1, 1)
	h.join(2, 2)
	id := topicID("t")
	require.Equal(t, OK, h.apply(CreateTopic{ID: id, Name: "t", Assignment: [][]NodeID{{1, 2}, {2, 1}}}).Code)
	h.apply(Fence{1, one})
	h.beat(1, one)
	h.now += 5 * time.Minute
	require.Empty(t, h.tick(), "1 is not in sync")
	p, _ := h.m.Partition(id, 0)
	h.apply(AlterPartitions{2, h.node(2).Epoch, []AlterPartition{{PartitionID{id, 0}, p.LeaderEpoch, p.PartitionEpoch, []Member{{2, NoEpoch}, {1, NoEpoch}}, false}}})
	require.Empty(t, h.tick())
	h.now += 5 * time.Minute
	require.Equal(t, []Command{Elect{Partitions: []PartitionID{{id, 0}}}}, h.tick())
	p, _ = h.m.Partition(id, 0)
	require.Equal(t, NodeID(1), p.Leader)
}

// A topic that allows unclean elections has one also if the replica came back while nobody looked.
func TestUncleanElectionsAreTriedFromTimeToTime(t *testing.T) {
	h := newHall(t, WatchConfig{Session: time.Hour, Unclean: 5 * time.Minute, Rebalance: -1})
	one := h.join(1, 1)
	id := topicID("t")
	require.Equal(t, OK, h.apply(CreateTopic{ID: id, Name: "t", Config: TopicConfig{Unclean: Yes}, Assignment: [][]NodeID{{1}}}).Code)
	h.apply(OfflineReplicas{1, one, []PartitionID{{id, 0}}})
	h.now += 5 * time.Minute
	require.Empty(t, h.tick())
	h.m.topic(id).partitions[0].Offline = nil
	h.now += 5 * time.Minute
	require.Equal(t, []Command{Elect{Unclean: true, Partitions: []PartitionID{{id, 0}}}}, h.tick())
	p, _ := h.m.Partition(id, 0)
	require.Equal(t, NodeID(1), p.Leader)
}

func TestManyElectionsAreHeldInPieces(t *testing.T) {
	h := newHall(t, WatchConfig{Session: 8 * time.Second, Rebalance: 5 * time.Minute})
	one := h.join(1, 1)
	h.join(2, 2)
	assignment := make([][]NodeID, mostElections+1)
	for i := range assignment {
		assignment[i] = []NodeID{1, 2}
	}
	id := topicID("t")
	require.Equal(t, OK, h.apply(CreateTopic{ID: id, Name: "t", Assignment: assignment}).Code)
	h.apply(Fence{1, one})
	h.beat(1, one)
	var all []AlterPartition
	for i := range assignment {
		p, _ := h.m.Partition(id, int32(i))
		all = append(all, AlterPartition{PartitionID{id, int32(i)}, p.LeaderEpoch, p.PartitionEpoch, []Member{{2, NoEpoch}, {1, NoEpoch}}, false})
	}
	h.apply(AlterPartitions{2, h.node(2).Epoch, all})
	two := h.node(2).Epoch
	h.now += 5 * time.Minute
	h.beat(1, one)
	h.beat(2, two)
	require.Len(t, h.tick(), 1)
	require.Equal(t, mostElections, h.m.Leads(1))
	h.now += 2 * time.Second
	require.Len(t, h.tick(), 1)
	require.Equal(t, mostElections+1, h.m.Leads(1))
}
