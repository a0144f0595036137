package quorum

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// effects counts what a schedule really did.
type effects struct {
	lost, doubled, reordered, crashes, restarts, compactions, snapshots, changes, transfers, cuts, failures, elections, committed int
}

// schedule lets chance drive n members for a number of steps: who ticks, which packet comes next, comes twice or not at all, who
// loses power, whose disk fails, which links are cut, who is added and removed. Then everything is healed, and all must
// agree and go on.
func schedule(t testing.TB, seed uint64, n, steps int) (*cluster, effects) {
	c := newCluster(t, seed)
	c.bootstrap(n)
	e := effects{}
	proposed := 0
	spare := int32(n)
	chance := func(percent int) bool { return c.rng.IntN(100) < percent }
	for range steps {
		p := c.peers[c.rng.IntN(len(c.peers))]
		switch roll := c.rng.IntN(1000); {
		case roll < 300:
			if p.raft != nil && p.raft.Err() == nil {
				require.NoError(t, p.raft.Tick())
				p.drain()
			}
		case roll < 800 && len(c.wire) > 0:
			i := 0
			if chance(30) {
				i = c.rng.IntN(len(c.wire))
				if i > 0 {
					e.reordered++
				}
			}
			switch {
			case chance(5):
				e.lost++
				if m := c.wire[i]; m.snapshot {
					if from := c.peer(m.from); from != nil && from.raft != nil {
						from.raft.ReportSnapshot(m.to, false)
						from.drain()
					}
				}
				c.wire = append(c.wire[:i], c.wire[i+1:]...)
			case chance(5):
				e.doubled++
				c.deliver(i, true)
			default:
				c.deliver(i, false)
			}
		case roll < 920:
			if l := c.leader(); l != nil {
				_, _, err := l.raft.Propose([]byte(fmt.Sprint("entry ", proposed)))
				if err == nil {
					proposed++
				} else if !errors.Is(err, ErrFailed) {
					require.True(t, errors.Is(err, ErrBusy) || errors.Is(err, ErrNotLeader), "%v", err)
				}
				l.drain()
			}
		case roll < 935:
			if p.raft != nil {
				p.crash()
				e.crashes++
			}
		case roll < 960:
			if p.raft == nil {
				p.restart()
				e.restarts++
			}
		case roll < 968:
			if p.raft != nil && p.raft.Err() == nil && p.handed > 0 {
				err := p.raft.Compact(p.handed, p.encode(p.handed))
				require.True(t, err == nil || errors.Is(err, ErrFailed), "%v", err)
				e.compactions++
			}
		case roll < 974:
			c.cut[[2]int32{int32(c.rng.IntN(n)), int32(c.rng.IntN(n))}] = true
			e.cuts++
		case roll < 980:
			clear(c.cut)
		case roll < 984:
			if p.raft != nil {
				ops := []vfs.OpKind{vfs.OpWrite, vfs.OpSync}
				p.fault.Add(vfs.Rule{Op: ops[c.rng.IntN(2)], Path: "entries", Err: []error{syscall.EIO, syscall.ENOSPC}[c.rng.IntN(2)], Lose: chance(50)})
			}
		case roll < 990:
			if l := c.leader(); l != nil {
				if l.raft.TransferLeader(-1) == nil {
					e.transfers++
				}
				l.drain()
			}
		default:
			l := c.leader()
			if l == nil {
				break
			}
			s := l.raft.Status()
			change := Change{AddObserver, Member{Node: spare}}
			if len(s.Observers) > 0 {
				change = Change{Promote, s.Observers[c.rng.IntN(len(s.Observers))].Member}
			}
			if len(s.Voters) > n || len(s.Observers) > 1 || chance(20) {
				list := append(s.Voters, s.Observers...)
				change = Change{Remove, list[c.rng.IntN(len(list))].Member}
			}
			if _, _, err := l.raft.ProposeChange(change); err == nil {
				e.changes++
				if change.Op == AddObserver {
					spare++
					c.join(change.Member)
				}
				c.note("change %s", change)
			}
			if l.raft.Err() == nil {
				l.drain()
			}
		}
		// A member that failed is started anew, by recovery.
		for _, q := range c.peers {
			if q.raft != nil && q.raft.Err() != nil {
				require.NotErrorIs(t, q.raft.Err(), ErrMustRejoin)
				var panicked *PanicError
				require.False(t, errors.As(q.raft.Err(), &panicked), "%v", q.raft.Err())
				e.failures++
				require.NoError(t, q.raft.Close())
				q.fault.Clear()
				q.crash()
			}
		}
	}
	// Heal.
	clear(c.cut)
	for _, p := range c.peers {
		p.fault.Clear()
		if p.raft == nil {
			p.restart()
		}
	}
	var l *peer
	for range 300 {
		c.tick(1)
		if l = c.leader(); l != nil {
			if _, _, err := l.raft.Propose([]byte("the end")); err == nil {
				l.drain()
				c.tick(10)
				if l == c.leader() {
					break
				}
			}
		}
		l = nil
	}
	require.NotNil(t, l, "no leader after everything was healed")
	members := map[int32]bool{}
	s := l.raft.Status()
	for _, m := range append(s.Voters, s.Observers...) {
		members[m.Member.Node] = true
	}
	for _, p := range c.peers {
		if members[p.self.Node] {
			require.Equal(t, l.handed, p.handed, "%s", p.self)
			require.Equal(t, l.state, p.state)
		}
	}
	e.elections, e.committed, e.snapshots = len(c.leaders), len(c.truth), c.installed
	return c, e
}

// seeds is how many random schedules are tried; PARTLOG_SEEDS asks for more.
func seeds(t testing.TB, usual int) int {
	if s := os.Getenv("PARTLOG_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	if testing.Short() {
		return usual / 10
	}
	return usual
}

func TestRandomSchedulesNeverElectTwoNorDiffer(t *testing.T) {
	total := effects{}
	n := seeds(t, 60)
	for seed := range n {
		members := 3 + 2*(seed%2)
		t.Run(fmt.Sprintf("seed %d, %d members", seed, members), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, uint64(seed))
			_, e := schedule(t, uint64(seed), members, 2500)
			for _, f := range []struct{ all, one *int }{
				{&total.lost, &e.lost}, {&total.doubled, &e.doubled}, {&total.reordered, &e.reordered}, {&total.crashes, &e.crashes},
				{&total.restarts, &e.restarts}, {&total.compactions, &e.compactions}, {&total.snapshots, &e.snapshots},
				{&total.changes, &e.changes}, {&total.transfers, &e.transfers}, {&total.cuts, &e.cuts}, {&total.failures, &e.failures},
				{&total.elections, &e.elections}, {&total.committed, &e.committed},
			} {
				*f.all += *f.one
			}
		})
	}
	t.Logf("%d seeds: %+v", n, total)
	for name, count := range map[string]int{
		"lost": total.lost, "doubled": total.doubled, "reordered": total.reordered, "crashes": total.crashes, "compactions": total.compactions,
		"changes": total.changes, "snapshots": total.snapshots, "transfers": total.transfers, "failures": total.failures, "elections": total.elections - n,
		"committed": total.committed - 10*n,
	} {
		require.Positive(t, count, name)
	}
}

// A seed is a whole history: the second run is the same to the last message.
func TestTheSameSeedIsTheSameHistory(t *testing.T) {
	for seed := range uint64(seeds(t, 20)) {
		var hashes [2]uint64
		for i := range hashes {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				cryptotest.SetGlobalRandom(t, seed)
				c, _ := schedule(t, seed, 3, 800)
				hashes[i] = c.hash
			})
		}
		require.Equal(t, hashes[0], hashes[1], "seed %d", seed)
	}
}
