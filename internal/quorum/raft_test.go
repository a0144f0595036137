package quorum

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func TestMembersAreOneToOneWithRaftIDs(t *testing.T) {
	for _, m := range []Member{{0, 0}, {1, 0}, {1<<31 - 1, 0}, {7, 1}, {1<<31 - 1, 1<<32 - 1}} {
		got, of := memberOf(m.id())
		require.True(t, of)
		require.Equal(t, m, got)
	}
	for _, id := range []uint64{0, 1 << 32, 1<<64 - 1, 1<<64 - 2, 1<<31 + 1} {
		_, of := memberOf(id)
		require.False(t, of, "%x", id)
	}
}

func TestOneVoterAloneCommits(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	c := newCluster(t, 1).bootstrap(1)
	c.elect()
	for i := range 20 {
		c.commit(fmt.Sprint("entry ", i))
	}
	p := c.peers[0]
	require.Equal(t, first, p.state[0])
	require.NoError(t, p.raft.Close())
	p.start(p.handed)
	require.Zero(t, p.raft.Status().Failure)
	c.elect()
	c.commit("after a restart")
}

func TestThreeVotersCommitWhatTheLeaderProposes(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 2)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	for i := range 50 {
		c.commit(fmt.Sprint("entry ", i))
	}
	for _, p := range c.peers {
		if p != l {
			_, _, err := p.raft.Propose([]byte("x"))
			require.ErrorIs(t, err, ErrNotLeader)
			_, _, err = p.raft.ProposeChange(Change{Remove, l.self})
			require.ErrorIs(t, err, ErrNotLeader)
			require.ErrorIs(t, p.raft.TransferLeader(0), ErrNotLeader)
		}
	}
}

// Several proposals before a Ready have the places that Propose said.
func TestProposalsInABatchHaveThePlacesPromised(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 3)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	places := map[uint64]string{}
	for round := range 10 {
		for i := range 7 {
			text := fmt.Sprintf("%d/%d", round, i)
			index, term, err := l.raft.Propose([]byte(text))
			require.NoError(t, err)
			places[index] = fmt.Sprintf("%d %s\n", term, text)
		}
		l.drain()
		if round%2 == 0 {
			c.settle()
		}
	}
	c.tick(2)
	require.Len(t, places, 70)
	for index, line := range places {
		require.Equal(t, line, c.truth[index])
	}
}

func TestEntriesHaveABound(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 4)
	c := newCluster(t, 1)
	c.config = func(c *Config) { c.MaxEntryBytes, c.MaxUncommittedBytes = 1000, 5000 }
	c.bootstrap(3)
	l := c.elect()
	_, _, err := l.raft.Propose(make([]byte, 1001))
	require.ErrorIs(t, err, ErrTooLarge)
	_, _, err = l.raft.Propose(nil)
	require.ErrorIs(t, err, ErrMalformed)
	for {
		_, _, err = l.raft.Propose([]byte(strings.Repeat("x", 1000)))
		if err != nil {
			break
		}
	}
	require.ErrorIs(t, err, ErrBusy)
	l.drain()
	c.tick(3)
	c.commit("there is room again")
}

func TestALeaderThatHearsFromNoMajorityResigns(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 5)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	for _, p := range c.peers {
		c.cut[[2]int32{p.self.Node, l.self.Node}] = true
	}
	lost, _, err := l.raft.Propose([]byte("never committed"))
	require.NoError(t, err)
	l.drain()
	c.wire = nil // not even sent
	for range 25 {
		require.NoError(t, l.raft.Tick())
		l.drain()
	}
	require.NotEqual(t, Leader, l.out.Role)
	require.Less(t, l.handed, lost)
}

func TestVotersWhoKnowThatTheLeaderIsGoneElectAnotherAtOnce(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 8)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	first, second := c.peer((l.self.Node+1)%3), c.peer((l.self.Node+2)%3)
	for _, p := range []*peer{first, second} { // of another node it says nothing
		require.NoError(t, p.raft.Forget(9))
		p.drain()
		require.Equal(t, l.self.Node, p.out.Leader)
	}
	l.crash()
	require.NoError(t, first.raft.Forget(l.self.Node))
	first.drain()
	c.settle()
	require.EqualValues(t, -1, first.out.Leader)
	require.Equal(t, l.self.Node, second.out.Leader, "the other has not noticed, and votes for nobody")
	require.NoError(t, second.raft.Forget(l.self.Node))
	second.drain()
	c.settle()
	require.Equal(t, second, c.leader(), "no tick has passed")
	c.commit("two")
	l.restart()
	c.tick(3)
	require.Equal(t, second, c.leader())
	require.NoError(t, second.raft.Forget(second.self.Node))
	second.drain()
	require.Equal(t, Leader, second.out.Role)
}

func TestAVoterAloneWithItsSuspicionFollowsTheLeaderAgain(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 8)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	p := c.peer((l.self.Node + 1) % 3)
	require.NoError(t, p.raft.Forget(l.self.Node))
	p.drain()
	require.EqualValues(t, -1, p.out.Leader)
	c.settle()
	c.tick(3)
	require.Equal(t, l, c.leader())
	require.Equal(t, l.self.Node, p.out.Leader)
	c.commit("two")
}

func TestLeadershipIsTransferred(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 6)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	next := (l.self.Node + 1) % 3
	require.NoError(t, l.raft.TransferLeader(next))
	l.drain()
	c.settle()
	require.Equal(t, next, c.leader().self.Node)
	c.commit("two")
	require.NoError(t, c.leader().raft.TransferLeader(-1))
	c.leader().drain()
	c.settle()
	require.NotEqual(t, next, c.leader().self.Node)
	require.ErrorIs(t, c.leader().raft.TransferLeader(9), ErrMembership)
}

func TestAFollowerFarBehindGetsASnapshot(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 7)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	slow := c.peer((l.self.Node + 1) % 3)
	require.NoError(t, slow.raft.Close())
	slow.raft = nil
	for i := range 40 {
		c.commit(fmt.Sprint("entry ", i))
	}
	require.NoError(t, l.raft.Compact(l.handed, l.encode(l.handed)))
	require.Equal(t, l.handed, l.raft.Status().Snapshot)
	require.Equal(t, l.handed-5+1, l.raft.Status().First)
	slow.start(uint64(len(slow.state)))
	c.tick(5)
	require.Equal(t, l.handed, slow.handed)
	require.Equal(t, l.handed, slow.raft.Status().Snapshot)
	c.commit("after it")
	// It is a snapshot of the restarted, too.
	require.NoError(t, slow.raft.Close())
	slow.start(0)
	require.GreaterOrEqual(t, slow.handed, uint64(40))
}

func TestStatusSaysWhatDescribeQuorumAsks(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 8)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	dead := c.peer((l.self.Node + 1) % 3)
	require.NoError(t, dead.raft.Close())
	dead.raft = nil
	c.tick(4)
	c.commit("two")
	s := l.raft.Status()
	require.Equal(t, Leader, s.Role)
	require.Equal(t, l.self.Node, s.Leader)
	require.Equal(t, l.self.Node, s.Vote)
	require.Equal(t, l.handed, s.Commit)
	require.Equal(t, l.handed, s.Applied)
	require.Equal(t, l.handed, s.Last)
	require.Len(t, s.Voters, 3)
	require.Empty(t, s.Observers)
	for _, v := range s.Voters {
		if v.Member == dead.self {
			require.Less(t, v.Match, s.Commit)
			require.GreaterOrEqual(t, v.ActiveTicks, int64(4))
			require.GreaterOrEqual(t, v.CaughtUpTicks, v.ActiveTicks)
		} else {
			require.Equal(t, s.Commit, v.Match)
			require.LessOrEqual(t, v.ActiveTicks, int64(1))
			require.LessOrEqual(t, v.CaughtUpTicks, int64(1))
			require.GreaterOrEqual(t, v.CaughtUpTicks, int64(0))
		}
	}
	for _, p := range c.peers {
		if p.raft != nil && p != l {
			s := p.raft.Status()
			require.Equal(t, Follower, s.Role)
			require.Equal(t, l.self.Node, s.Leader)
			require.Len(t, s.Voters, 3)
		}
	}
}

// A write that fails ends the member: what it was about to say is not said, then or later, and the others go on.
func TestAfterAFailedWriteOrSyncAMemberTakesNoPart(t *testing.T) {
	for _, c := range []struct {
		name string
		rule vfs.Rule
		full bool
	}{
		{"write", vfs.Rule{Op: vfs.OpWrite, Path: "entries"}, false},
		{"write, disk full", vfs.Rule{Op: vfs.OpWrite, Path: "entries", Err: syscall.ENOSPC, Short: 20}, true},
		{"sync", vfs.Rule{Op: vfs.OpSync, Path: "entries"}, false},
		{"sync, and the pages are lost", vfs.Rule{Op: vfs.OpSync, Path: "entries", Lose: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 9)
			cl := newCluster(t, 1).bootstrap(3)
			l := cl.elect()
			cl.commit("one")
			bad := cl.peer((l.self.Node + 1) % 3)
			armed := bad.fault.Add(c.rule)
			l.propose("two")
			cl.settle()
			require.Equal(t, 1, armed.Hits())
			err := bad.raft.Err()
			require.ErrorIs(t, err, ErrFailed)
			var storage *StorageError
			require.ErrorAs(t, err, &storage)
			require.Equal(t, c.full, storage.Full())
			require.Error(t, bad.raft.Status().Failure)
			require.Equal(t, EventFailed, bad.warn[len(bad.warn)-1].Kind)
			ops := bad.fault.Ops()
			require.ErrorIs(t, bad.raft.Tick(), ErrFailed)
			require.ErrorIs(t, bad.raft.Step(l.self.Node, nil), ErrFailed)
			require.ErrorIs(t, bad.raft.Campaign(), ErrFailed)
			require.ErrorIs(t, bad.raft.Compact(2, nil), ErrFailed)
			_, ok := bad.raft.Ready()
			require.False(t, ok)
			require.Equal(t, ops, bad.fault.Ops(), "something was tried again")
			require.NoError(t, bad.raft.Close())
			require.ErrorIs(t, bad.raft.Err(), ErrClosed)
			bad.raft = nil
			cl.tick(3)
			require.Equal(t, l.handed, cl.leader().handed)
			// Recovery believes what is on disk, and the member comes back.
			bad.start(0)
			cl.tick(5)
			cl.commit("three")
		})
	}
}

func TestAFailedSnapshotHarmsNothing(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 10)
	c := newCluster(t, 1).bootstrap(1)
	p := c.elect()
	for i := range 20 {
		c.commit(fmt.Sprint(i))
	}
	p.fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: "snapshot-*", Err: syscall.ENOSPC})
	err := p.raft.Compact(p.handed, p.encode(p.handed))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotErrorIs(t, err, ErrFailed)
	require.EqualValues(t, 1, p.raft.Status().Snapshot)
	c.commit("still there")
	require.NoError(t, p.raft.Compact(p.handed, p.encode(p.handed)))
	require.Equal(t, p.handed, p.raft.Status().Snapshot)
	require.ErrorIs(t, p.raft.Compact(p.handed+1, nil), ErrMalformed)
}

// A panic of the library is an error of the quorum.
func TestAPanicOfRaftDoesNotReachTheHost(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 11)
	c := newCluster(t, 1).bootstrap(1)
	p := c.elect()
	err := p.raft.guard("test", func() error { words{p.raft}.Panicf("%d", 7); return nil })
	var panicked *PanicError
	require.ErrorAs(t, err, &panicked)
	require.Equal(t, "test: 7", panicked.Value)
	require.Contains(t, panicked.Stack, "raft_test.go")
	require.ErrorIs(t, p.raft.Err(), ErrFailed)
	require.Equal(t, EventFailed, p.warn[len(p.warn)-1].Kind)
}

// A leader that is cut off is not told that it leads; one that is not, is.
func TestLeadershipIsConfirmedByAMajorityOnly(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 12)
	for _, n := range []int{1, 3} {
		c := newCluster(t, 1).bootstrap(n)
		l := c.elect()
		c.commit("one")
		id, err := l.raft.Confirm()
		require.NoError(t, err)
		l.drain()
		c.tick(2)
		require.Contains(t, c.confirmed, id)
		if n == 1 {
			continue
		}
		for _, p := range c.peers {
			c.cut[[2]int32{p.self.Node, l.self.Node}] = true
		}
		c.wire = nil
		id, err = l.raft.Confirm()
		require.NoError(t, err)
		l.drain()
		c.tick(30)
		require.NotContains(t, c.confirmed, id)
		_, err = l.raft.Confirm()
		require.ErrorIs(t, err, ErrNotLeader)
		clear(c.cut)
		c.tick(30)
		require.NotContains(t, c.confirmed, id)
	}
}
