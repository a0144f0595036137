package quorum

import (
	"bytes"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func TestRecoverMakesASurvivorTheOnlyVoter(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 30)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	c.change(AddObserver, Member{Node: 9, Directory: 9})
	survivor := c.peer((l.self.Node + 1) % 3)
	before := survivor.raft.Lineage()
	plan, err := PlanRecover(survivor.config(0))
	require.NoError(t, err)
	_, err = Recover(survivor.config(0), plan.Confirmation)
	require.ErrorIs(t, err, vfs.ErrLocked, "it is open")
	require.NoError(t, survivor.raft.Close())

	plan, err = PlanRecover(survivor.config(0))
	require.NoError(t, err)
	require.Equal(t, survivor.self, plan.Self)
	require.Len(t, plan.Lost, 2)
	require.NotContains(t, plan.Lost, survivor.self)
	require.Equal(t, []Member{{9, 9}}, plan.Observers)
	for _, words := range []string{"", "yes", plan.Confirmation + " "} {
		_, err = Recover(survivor.config(0), words)
		require.ErrorIs(t, err, ErrConfirmation)
	}
	_, err = Recover(survivor.config(0), plan.Confirmation)
	require.NoError(t, err)
	c.wire = nil
	others := c.peers
	c.peers = []*peer{survivor}
	survivor.start(0)
	require.NotEqual(t, before, survivor.raft.Lineage())
	c.elect()
	c.commit("alone")
	s := survivor.raft.Status()
	require.Len(t, s.Voters, 1)
	require.Empty(t, s.Observers)

	// The others are alive after all. Nobody listens to them, nor they to the one that was recovered.
	c.peers = others
	lost := c.peer(plan.Lost[0].Node)
	require.NoError(t, survivor.raft.Tick())
	survivor.drain()
	require.Empty(t, c.wire, "it has nobody to write to")
	require.NoError(t, lost.raft.Tick())
	for out, ok := lost.raft.Ready(); ok; out, ok = lost.raft.Ready() {
		for _, m := range out.Messages {
			if m.To == survivor.self.Node {
				require.ErrorIs(t, survivor.raft.Step(lost.self.Node, m.Data), ErrOtherQuorum)
			}
		}
	}
	// They come back as new members.
	require.NoError(t, lost.raft.Close())
	next := Member{Node: lost.self.Node, Directory: 2}
	_, err = Rejoin(lost.config(0), next)
	require.NoError(t, err)
	c.peers, c.wire = []*peer{survivor, lost}, nil
	lost.self, lost.state = next, nil
	lost.start(0)
	c.change(AddObserver, next)
	c.tick(3)
	c.change(Promote, next)
	c.commit("two")
}

func TestAnObserverIsNoSurvivor(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 31)
	c := newCluster(t, 1).bootstrap(1)
	c.elect()
	m := Member{Node: 4}
	p := c.join(m)
	c.change(AddObserver, m)
	c.tick(3)
	require.NoError(t, p.raft.Close())
	_, err := PlanRecover(p.config(0))
	require.ErrorIs(t, err, ErrMembership)
}

// At every crash while it is at it, the log is the old one or the recovered one.
func TestRecoverIsAllOrNothing(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 32)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	p := c.peer((l.self.Node + 1) % 3)
	require.NoError(t, p.raft.Close())
	plan, err := PlanRecover(p.config(0))
	require.NoError(t, err)
	images, recovered := 0, 0
	p.fault.OnOp(func(vfs.Op) {
		p.mem.EachCrash(20, func(after *vfs.Mem, label string) bool {
			images++
			again, err := PlanRecover(Config{FS: after, Dir: "/n/quorum"})
			require.NoError(t, err, label)
			switch {
			case len(again.Lost) == 0:
				recovered++
			default:
				require.Equal(t, plan.Confirmation, again.Confirmation, label)
			}
			return true
		})
	})
	_, err = Recover(p.config(0), plan.Confirmation)
	require.NoError(t, err)
	p.fault.OnOp(nil)
	require.Greater(t, images, 20)
	require.Positive(t, recovered)
}

func TestDumpShowsWhatTheLogHolds(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 33)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("flights")
	c.change(AddObserver, Member{Node: 8, Directory: 255})
	require.NoError(t, l.raft.Compact(l.handed, l.encode(l.handed)))
	c.commit("gates")
	var all, some bytes.Buffer
	words := func(_ uint64, data []byte) (string, bool) { return string(data), true }
	require.NoError(t, Dump(&all, l.mem, "/n/quorum", DumpOptions{Entry: words})) // it is open
	for _, want := range []string{"add observer 8/000000ff", "flights", "gates", "voters [0 1 2] observers [8/000000ff]", "generation 1", "commit"} {
		require.Contains(t, all.String(), want)
	}
	require.NoError(t, l.raft.Close())
	require.NoError(t, Dump(&some, l.mem, "/n/quorum", DumpOptions{
		First: l.handed, Entry: func(i uint64, data []byte) (string, bool) { return string(data), len(data) > 0 },
		State: func(state []byte) []string { return []string{string(bytes.Fields(state)[0])} },
	}))
	require.NotContains(t, some.String(), "flights")
	require.Contains(t, some.String(), "gates")
	require.Contains(t, some.String(), "  state begin")
	info, err := l.mem.Stat("/n/quorum/entries")
	require.NoError(t, err)
	flip(t, l.mem, "/n/quorum/entries", info.Size()-10)
	some.Reset()
	require.Error(t, Dump(&some, l.mem, "/n/quorum", DumpOptions{}))
	require.Contains(t, some.String(), "error")
}
