package quorum

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/partlog/partlog/internal/vfs"
)

// promised is what a member has told others: it must know it for ever.
type promised struct {
	term  uint64
	votes map[uint64]uint64 // term → for whom
	last  uint64            // the last entry acknowledged to the leader of term lead
	lead  uint64
}

func (p *promised) sent(t testing.TB, self uint64, data []byte) {
	_, m, err := decodeMessage(data)
	require.NoError(t, err)
	if m.GetType() != raftpb.MsgPreVote && m.GetType() != raftpb.MsgPreVoteResp {
		p.term = max(p.term, m.GetTerm())
	}
	switch m.GetType() {
	case raftpb.MsgVoteResp:
		if !m.GetReject() {
			p.votes[m.GetTerm()] = m.GetTo()
		}
	case raftpb.MsgVote:
		p.votes[m.GetTerm()] = self
	case raftpb.MsgAppResp:
		if !m.GetReject() {
			if m.GetTerm() > p.lead {
				p.lead, p.last = m.GetTerm(), 0
			}
			p.last = max(p.last, m.GetIndex())
		}
	}
}

// At every operation that changes a file, with every sample of what the disk may hold after a loss of power then: the
// member opens, and knows every vote it gave and every entry it acknowledged. It is driven through elections, appends that
// overwrite others, snapshots made and received, and changes of members.
func TestACrashAtAnyMomentForgetsNoVoteAndNoAcknowledgedEntry(t *testing.T) {
	for _, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		t.Run(fmt.Sprint(profile), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 40)
			const limit = 40
			c := newCluster(t, 1)
			watched := Member{Node: 1}
			voters := []Member{{Node: 0}, watched, {Node: 2}}
			for _, m := range voters {
				p := c.add(m)
				if m == watched {
					p.mem = vfs.NewCrashMem(profile)
					p.fault = vfs.NewFault(p.mem)
					require.NoError(t, p.mem.Mkdir("/n", 0o700))
					require.NoError(t, p.mem.SyncDir("/"))
				}
				require.NoError(t, Bootstrap(p.config(0), m, voters, []byte(first)))
				p.start(0)
			}
			p := c.peer(1)
			said := &promised{votes: map[uint64]uint64{}}
			heard := 0 // of c.wire that said has
			images := 0
			check := func(after *vfs.Mem, label string) bool {
				images++
				log, _, err := readLog(Config{FS: after, Dir: "/n/quorum"}.withDefaults(), false)
				require.NoError(t, err, label)
				require.GreaterOrEqual(t, log.hard.term, said.term, label)
				if vote, voted := said.votes[log.hard.term]; voted {
					require.Equal(t, vote, log.hard.vote, label)
				}
				require.GreaterOrEqual(t, log.last(), said.last, label)
				for index, line := range c.truth { // what is committed and acknowledged here
					if index > said.last || index < log.first() {
						continue
					}
					term, err := log.Term(index)
					require.NoError(t, err)
					require.Regexp(t, fmt.Sprintf(`^%d `, term), line, "%s: entry %d", label, index)
				}
				require.NoError(t, log.close())
				return true
			}
			listen := func() {
				for ; heard < len(c.wire); heard++ {
					if m := c.wire[heard]; m.from == watched.Node {
						said.sent(t, watched.id(), m.data)
					}
				}
			}
			p.fault.OnOp(func(vfs.Op) { p.mem.EachCrash(limit, check) })
			// settle, but with everything that the watched one says noted before it goes on.
			run := func(ticks int) {
				for range ticks {
					for _, q := range c.peers {
						if q.raft == nil {
							continue
						}
						require.NoError(t, q.raft.Tick())
						q.drain()
						listen()
					}
					for len(c.wire) > 0 {
						c.deliver(0, false)
						heard = max(heard-1, 0)
						listen()
					}
				}
			}
			for round := range 4 {
				// Somebody else, or the watched one, leads.
				target := c.peer(int32(round % 3))
				require.NoError(t, target.raft.Campaign())
				target.drain()
				listen()
				run(3)
				for c.leader() == nil {
					run(1)
				}
				l := c.leader()
				for i := range 3 {
					_, _, err := l.raft.Propose([]byte(fmt.Sprintf("%d/%d", round, i)))
					require.NoError(t, err)
					l.drain()
					run(1)
				}
				switch round {
				case 0:
					require.NoError(t, p.raft.Compact(p.handed, p.encode(p.handed)))
				case 1:
					// Cut off, it misses so much that it is sent a snapshot; what it appended alone is overwritten.
					c.cut[[2]int32{0, 1}], c.cut[[2]int32{2, 1}] = true, true
					if l == p {
						_, _, err := p.raft.Propose([]byte("overwritten"))
						require.NoError(t, err)
						p.drain()
					}
					run(25)
					for c.leader() == nil || c.leader() == p {
						run(1)
					}
					l = c.leader()
					for i := range 12 {
						_, _, err := l.raft.Propose([]byte(fmt.Sprint("missed ", i)))
						require.NoError(t, err)
						l.drain()
						run(1)
					}
					for _, q := range c.peers {
						if q != p {
							require.NoError(t, q.raft.Compact(q.handed, q.encode(q.handed)))
						}
					}
					clear(c.cut)
					run(30)
					require.Equal(t, c.leader().handed, p.handed)
					require.GreaterOrEqual(t, p.raft.Status().Snapshot, uint64(12))
				case 2:
					l = c.leader()
					_, _, err := l.raft.ProposeChange(Change{AddObserver, Member{Node: 9}})
					require.NoError(t, err)
					l.drain()
					run(2)
				}
			}
			p.fault.OnOp(nil)
			t.Logf("%d crash images", images)
			require.Greater(t, images, 100)
			require.NotEmpty(t, said.votes)
			require.Greater(t, said.last, uint64(20))
		})
	}
}

// Bootstrap, Join and Rejoin are there or not after a crash; what is half made is made again.
func TestMakingALogSurvivesACrashAtAnyMoment(t *testing.T) {
	self := Member{Node: 2}
	for _, c := range []struct {
		name string
		make func(Config) error
	}{
		{"bootstrap", func(c Config) error { return Bootstrap(c, self, []Member{self}, []byte(first)) }},
		{"join", func(c Config) error { return Join(c, self) }},
		{"rejoin", func(c Config) error {
			if err := Join(c, Member{Node: 2, Directory: 9}); err != nil {
				return err
			}
			_, err := Rejoin(c, self)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := vfs.NewCrashMem(vfs.Strict)
			fault := vfs.NewFault(mem)
			require.NoError(t, mem.Mkdir("/n", 0o700))
			require.NoError(t, mem.SyncDir("/"))
			made, missing := 0, 0
			fault.OnOp(func(vfs.Op) {
				mem.EachCrash(50, func(after *vfs.Mem, label string) bool {
					config := Config{FS: after, Dir: "/n/quorum"}.withDefaults()
					log, _, err := readLog(config, true)
					if err == nil {
						made++
						require.EqualValues(t, 2, log.self.Node)
						return true
					}
					missing++
					require.ErrorIs(t, err, ErrNotFormatted, label)
					require.NoError(t, Join(config, self), label)
					_, _, err = readLog(config, true)
					require.NoError(t, err, label)
					return true
				})
			})
			require.NoError(t, c.make(Config{FS: fault, Dir: "/n/quorum"}))
			require.Positive(t, made)
			require.Positive(t, missing)
		})
	}
}

// Whatever byte of a closed log is wrong, Open says so, or knows everything all the same. It never knows less.
func TestDamageAnywhereIsNoticedOrHarmless(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 41)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	for i := range 12 {
		c.commit(fmt.Sprint("entry ", i))
		if i == 4 || i == 8 {
			require.NoError(t, l.raft.Compact(l.handed, l.encode(l.handed)))
		}
	}
	require.NoError(t, l.raft.Close())
	whole, _, err := readLog(l.config(0).withDefaults(), true)
	require.NoError(t, err)
	refused, harmless := 0, 0
	files, err := l.mem.ReadDir("/n/quorum")
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	require.True(t, slices.Contains(names, "entries") && slices.Contains(names, "mark"), "%v", names)
	check := func(damaged *vfs.Mem, what string) {
		r, recovery, err := Open(Config{FS: damaged, Dir: "/n/quorum"})
		if err != nil {
			refused++
			require.True(t, recovery != nil && recovery.MustRejoin || errors.Is(err, ErrNewerVersion), "%s: %v", what, err)
			// Nor does it open the second time.
			_, _, err = Open(Config{FS: damaged, Dir: "/n/quorum"})
			require.Error(t, err, what)
			return
		}
		harmless++
		require.Equal(t, whole.hard.term, r.log.hard.term, what)
		require.Equal(t, whole.hard.vote, r.log.hard.vote, what)
		require.Equal(t, whole.last(), r.log.last(), what)
		require.NoError(t, r.Close())
	}
	for _, name := range names {
		if name == "lock" {
			continue
		}
		path := "/n/quorum/" + name
		info, err := l.mem.Stat(path)
		require.NoError(t, err)
		for at := range info.Size() {
			damaged := l.mem.KillClone()
			flip(t, damaged, path, at)
			check(damaged, fmt.Sprintf("%s byte %d", name, at))
		}
		for at := int64(0); at < info.Size(); at += 1 + info.Size()/40 {
			damaged := l.mem.KillClone()
			file, err := damaged.OpenFile(path, 2, 0)
			require.NoError(t, err)
			require.NoError(t, file.Truncate(at))
			require.NoError(t, file.Sync())
			require.NoError(t, file.Close())
			check(damaged, fmt.Sprintf("%s cut at %d", name, at))
		}
		damaged := l.mem.KillClone()
		require.NoError(t, damaged.Remove(path))
		check(damaged, name+" removed")
	}
	t.Logf("%d refused, %d harmless", refused, harmless)
	require.Positive(t, refused)
	require.Positive(t, harmless)
}
