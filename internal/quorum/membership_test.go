package quorum

import (
	"bytes"
	"fmt"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// join makes a node with an empty log and starts it.
func (c *cluster) join(m Member) *peer {
	p := c.add(m)
	require.NoError(c.t, Join(p.config(0), m))
	p.start(0)
	return p
}

func TestAQuorumGrowsFromOneToThree(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 20)
	c := newCluster(t, 1).bootstrap(1)
	l := c.elect()
	for i := range 20 {
		c.commit(fmt.Sprint(i))
	}
	for node := int32(1); node < 3; node++ {
		m := Member{Node: node, Directory: 100 + uint32(node)}
		p := c.join(m)
		require.Equal(t, Observer, p.raft.Status().Role)
		require.NoError(t, p.raft.Campaign())
		c.tick(30)
		require.Equal(t, Observer, p.raft.Status().Role, "it begins no election")
		c.change(AddObserver, m)
		c.tick(5)
		require.Equal(t, l.handed, p.handed)
		require.Equal(t, Observer, p.raft.Status().Role)
		require.Equal(t, []Progress{{Member: m, ActiveTicks: -1, CaughtUpTicks: -1}}, p.raft.Status().Observers)
		c.change(Promote, m)
		require.Equal(t, Follower, p.raft.Status().Role)
		require.Len(t, l.raft.Status().Voters, int(node)+1)
	}
	c.commit("by all three")
	// The two that joined elect one of them without the first.
	c.peers[0].raft = nil
	require.NotEqual(t, int32(0), c.elect().self.Node)
	c.commit("without the first")
}

func TestChangesOfMembersThatMakeNoSenseAreRefused(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 21)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	refused := func(want error, op ChangeOp, m Member) {
		t.Helper()
		_, _, err := l.raft.ProposeChange(Change{op, m})
		require.ErrorIs(t, err, want)
	}
	refused(ErrMembership, AddObserver, Member{Node: 1})
	refused(ErrMembership, AddObserver, Member{Node: -1})
	refused(ErrMembership, Promote, Member{Node: 1})
	refused(ErrMembership, Promote, Member{Node: 7})
	refused(ErrMembership, Remove, Member{Node: 7})
	refused(ErrMembership, 9, Member{Node: 1})
	c.change(AddObserver, Member{Node: 7})
	refused(ErrNotCaughtUp, Promote, Member{Node: 7}) // it does not exist
	c.change(Remove, Member{Node: 7})
	// A node votes once, whatever its directories.
	again := Member{Node: 1, Directory: 5}
	c.change(AddObserver, again)
	refused(ErrMembership, Promote, again)
	c.change(Remove, again)
	// One at a time.
	_, _, err := l.raft.ProposeChange(Change{AddObserver, Member{Node: 7}})
	require.NoError(t, err)
	refused(ErrChangePending, AddObserver, Member{Node: 8})
	l.drain()
	c.tick(2)
	c.change(AddObserver, Member{Node: 8})
	// Not one without whom there is no majority of those alive.
	var others []*peer
	for _, p := range c.peers {
		if p != l {
			others = append(others, p)
		}
	}
	require.NoError(t, others[0].raft.Close())
	others[0].raft = nil
	c.tick(30)
	require.Equal(t, l, c.leader())
	refused(ErrMembership, Remove, others[1].self)
	c.change(Remove, others[0].self)
	c.change(Remove, others[1].self)
	refused(ErrMembership, Remove, l.self)
	c.tick(1)
	index := l.propose("alone")
	c.tick(2)
	require.GreaterOrEqual(t, l.handed, index)
}

func TestALeaderThatRemovesItselfIsFollowedByAnother(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 22)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	index, _, err := l.raft.ProposeChange(Change{Remove, l.self})
	require.NoError(t, err)
	l.drain()
	c.tick(3)
	require.GreaterOrEqual(t, l.handed, index)
	require.Equal(t, Observer, l.out.Role)
	for range 100 {
		c.tick(1)
		if next := c.leader(); next != nil && next != l {
			break
		}
	}
	next := c.leader()
	require.NotNil(t, next)
	require.NotEqual(t, l.self, next.self)
	require.Len(t, next.raft.Status().Voters, 2)
	next.propose("two are left")
	c.tick(3)
}

// The members are known again after a restart, whatever the caller's state has behind it, and whether or not the changes are
// in the snapshot.
func TestMembersAreKnownAfterARestart(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 23)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	for node := int32(10); node < 16; node++ {
		c.change(AddObserver, Member{Node: node})
		c.commit(fmt.Sprint(node))
		if node == 12 {
			require.NoError(t, l.raft.Compact(l.handed-1, l.encode(l.handed-1)))
		}
		if node == 14 {
			c.change(Remove, Member{Node: 11})
		}
	}
	want := l.raft.Status().Observers
	require.Len(t, want, 5)
	end := l.handed
	state := append([]string(nil), l.state...)
	for applied := uint64(0); applied <= end; applied++ {
		require.NoError(t, l.raft.Close())
		l.raft = nil
		c.wire = nil
		l.state = append([]string(nil), state...)
		l.start(applied)
		l.handed = max(l.handed, applied)
		c.tick(40)
		require.GreaterOrEqual(t, l.handed, end)
		var observers []Member
		for _, p := range l.raft.Status().Observers {
			observers = append(observers, p.Member)
		}
		require.Equal(t, []Member{{10, 0}, {12, 0}, {13, 0}, {14, 0}, {15, 0}}, observers, "applied %d", applied)
		end, state = l.handed, append([]string(nil), l.state...)
		if applied > 30 {
			break
		}
	}
}

// A node that lost its log comes back as another member, and is never asked for what it forgot.
func TestANodeWithADamagedLogRejoinsAsAnotherMember(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 24)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	for i := range 10 {
		c.commit(fmt.Sprint(i))
	}
	bad := c.peer((l.self.Node + 1) % 3)
	require.NoError(t, bad.raft.Close())
	bad.raft = nil
	flip(t, bad.mem, "/n/quorum/entries", 200)
	_, recovery, err := Open(bad.config(0))
	require.ErrorIs(t, err, ErrMustRejoin)
	require.True(t, recovery.MustRejoin)
	require.NotEmpty(t, recovery.Reason)
	require.Nil(t, func() *Raft { r, _, _ := Open(bad.config(0)); return r }())

	next := Member{Node: bad.self.Node, Directory: 77}
	aside, err := Rejoin(bad.config(0), next)
	require.NoError(t, err)
	_, err = bad.mem.Stat(aside + "/entries")
	require.NoError(t, err)
	old := bad.self
	bad.self, bad.state = next, nil
	bad.start(0)
	c.tick(30)
	require.Zero(t, bad.handed, "it is nobody yet")
	c.change(Remove, old)
	c.change(AddObserver, next)
	c.tick(3)
	c.change(Promote, next)
	c.commit("three again")
	require.Equal(t, l.handed, bad.handed)
	require.Len(t, l.raft.Status().Voters, 3)
	_, err = Rejoin(bad.config(0), next)
	require.ErrorIs(t, err, vfs.ErrLocked, "it is open")
	require.NoError(t, bad.raft.Close())
	bad.raft = nil
	_, err = Rejoin(bad.config(0), next)
	require.ErrorIs(t, err, ErrMembership, "the same again")
}

// A directory put back from an old copy looks whole. The leader knows better.
func TestAnOldCopyOfALogIsNoticedByTheLeader(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 25)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	old := c.peer((l.self.Node + 1) % 3)
	copied := old.mem.KillClone()
	for i := range 10 {
		c.commit(fmt.Sprint(i))
	}
	old.raft = nil
	old.mem = copied
	old.fault = vfs.NewFault(copied)
	old.start(0)
	c.tick(5)
	require.ErrorIs(t, old.raft.Err(), ErrLogLost)
	require.ErrorIs(t, old.raft.Err(), ErrMustRejoin)
	require.ErrorIs(t, old.raft.Err(), ErrFailed)
	c.tick(1)
	require.Equal(t, l, c.leader())
	// It looks whole, and is refused all the same from now on.
	require.NoError(t, old.raft.Close())
	for range 2 {
		_, recovery, err := Open(old.config(0))
		require.ErrorIs(t, err, ErrMustRejoin)
		require.ErrorIs(t, err, ErrLogLost)
		require.True(t, recovery.MustRejoin)
	}
	var b bytes.Buffer
	require.NoError(t, Dump(&b, old.mem, "/n/quorum", DumpOptions{}))
	require.Contains(t, b.String(), "lost")
}

func TestAStateAheadOfTheLogIsDamage(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 26)
	c := newCluster(t, 1).bootstrap(1)
	p := c.elect()
	c.commit("one")
	require.NoError(t, p.raft.Close())
	_, recovery, err := Open(p.config(p.handed + 1))
	require.ErrorIs(t, err, ErrMustRejoin)
	require.True(t, recovery.MustRejoin)
	p.c.config = func(c *Config) { c.Known = p.handed + 1 }
	_, _, err = Open(p.config(0))
	require.ErrorIs(t, err, ErrMustRejoin)
	p.c.config = func(c *Config) { c.Known = p.handed }
	p.start(p.handed)
}

func TestOnlyItsOwnQuorumIsHeeded(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 27)
	a, b := newCluster(t, 1).bootstrap(3), newCluster(t, 2)
	for i := range 3 {
		p := b.add(Member{Node: int32(i)})
		require.NoError(t, Bootstrap(p.config(0), p.self, []Member{{Node: 0}, {Node: 1}, {Node: 2}}, []byte("other\n")))
		p.start(0)
	}
	l := a.elect()
	require.NoError(t, l.raft.Tick())
	out, ok := l.raft.Ready()
	require.True(t, ok)
	require.NotEmpty(t, out.Messages)
	for _, m := range out.Messages {
		err := b.peer(m.To).raft.Step(l.self.Node, m.Data)
		require.ErrorIs(t, err, ErrOtherQuorum)
		require.NoError(t, b.peer(m.To).raft.Err())
		require.ErrorIs(t, a.peer(m.To).raft.Step(5, m.Data), ErrMalformed, "from somebody else")
	}
}

func TestALogIsMadeOnce(t *testing.T) {
	c := newCluster(t, 1)
	p := c.add(Member{Node: 3})
	_, _, err := Open(p.config(0))
	require.ErrorIs(t, err, ErrNotFormatted)
	_, err = p.mem.Stat("/n/quorum")
	require.Error(t, err, "Open makes nothing")
	require.ErrorIs(t, Bootstrap(p.config(0), p.self, []Member{{Node: 1}}, nil), ErrMembership)
	require.ErrorIs(t, Bootstrap(p.config(0), p.self, []Member{p.self, p.self}, nil), ErrMembership)
	require.ErrorIs(t, Join(p.config(0), Member{Node: -1}), ErrMembership)
	require.NoError(t, Bootstrap(p.config(0), p.self, []Member{p.self}, nil))
	require.ErrorIs(t, Bootstrap(p.config(0), p.self, []Member{p.self}, nil), ErrFormatted)
	require.ErrorIs(t, Join(p.config(0), p.self), ErrFormatted)
	p.c.config = func(c *Config) { c.ElectionTicks, c.HeartbeatTicks = 3, 3 }
	_, _, err = Open(p.config(0))
	require.ErrorContains(t, err, "ticks")
}

// flip changes one byte of a file.
func flip(t testing.TB, fs vfs.FS, path string, position int64) {
	file, err := fs.OpenFile(path, 2, 0) // os.O_RDWR
	require.NoError(t, err)
	var b [1]byte
	_, err = file.ReadAt(b[:], position)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = file.WriteAt(b[:], position)
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	require.NoError(t, file.Close())
}

// A voter that an operator demotes goes on as an observer, votes no more, and may be promoted again.
func TestADemotedVoterObservesAndMayVoteAgain(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 27)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	var other *peer
	for _, p := range c.peers {
		if p != l {
			other = p
		}
	}
	c.change(Demote, other.self)
	require.Equal(t, Observer, other.raft.Status().Role)
	require.Len(t, l.raft.Status().Voters, 2)
	require.Equal(t, []Progress{{Member: other.self, ActiveTicks: -1, CaughtUpTicks: -1}}, other.raft.Status().Observers)
	_, _, err := l.raft.ProposeChange(Change{Demote, other.self})
	require.ErrorIs(t, err, ErrMembership)
	c.commit("it is not asked, and told")
	require.Equal(t, l.handed, other.handed)
	require.NoError(t, other.raft.Campaign())
	c.tick(30)
	require.Equal(t, Observer, other.raft.Status().Role, "it begins no election")
	require.Equal(t, l, c.leader())
	c.change(Promote, other.self)
	require.Equal(t, Follower, other.raft.Status().Role)
	c.commit("by all three")
}

func TestALeaderThatDemotesItselfIsFollowedByAnother(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 28)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	_, _, err := l.raft.ProposeChange(Change{Demote, l.self})
	require.NoError(t, err)
	l.drain()
	c.tick(3)
	require.Equal(t, Observer, l.out.Role)
	for range 100 {
		if next := c.leader(); next != nil && next != l {
			break
		}
		c.tick(1)
	}
	next := c.leader()
	require.NotNil(t, next)
	require.NotEqual(t, l.self, next.self)
	require.Len(t, next.raft.Status().Voters, 2)
	c.commit("it hears of it")
	c.tick(3)
	require.Equal(t, next.handed, l.handed)
}
