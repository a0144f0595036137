package quorum

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// cluster is members over a network that the test has in its hand. It checks, at every output, that no two lead a term, that
// nobody gets an entry twice or out of order, and that all get the same ones.
type cluster struct {
	t       testing.TB
	rng     *rand.Rand
	peers   []*peer
	wire    []packet
	leaders map[uint64]Member // of each term
	truth   map[uint64]string // what is committed, by index
	cut     map[[2]int32]bool // directed links
	trace   *bytes.Buffer     // nil: none
	hash    uint64            // of everything that has happened
	dice    int               // of what a crash leaves: below 100 the chance in percent that the caller's state survives
	config  func(*Config)

	confirmed []uint64
	installed int // snapshots that were received, not read from the own disk
}

type packet struct {
	from, to int32
	data     []byte
	snapshot bool
}

// peer is a node: a disk, and a Raft while it runs. Its state is every entry it was ever given, as text.
type peer struct {
	c      *cluster
	self   Member
	mem    *vfs.Mem
	fault  *vfs.Fault
	raft   *Raft
	state  []string // state[i] is entry i+1
	out    Output   // the last
	warn   []Event
	handed uint64 // the last entry handed out since the start
	seen   bool   // an output since the start
}

func newCluster(t testing.TB, seed uint64) *cluster {
	return &cluster{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), leaders: map[uint64]Member{}, truth: map[uint64]string{}, cut: map[[2]int32]bool{},
		dice: 50, hash: 14695981039346656037,
	}
}

// bootstrap makes voters 0 to n-1 and starts them.
func (c *cluster) bootstrap(n int) *cluster {
	var voters []Member
	for i := range n {
		voters = append(voters, Member{Node: int32(i)})
	}
	for _, m := range voters {
		p := c.add(m)
		require.NoError(c.t, Bootstrap(p.config(0), m, voters, []byte(first)))
	}
	for _, p := range c.peers {
		p.start(0)
	}
	return c
}

// first is the state that every cluster begins with: what stands for entry 1.
const first = "begin\n"

// add gives a node a disk.
func (c *cluster) add(m Member) *peer {
	p := &peer{c: c, self: m, mem: vfs.NewCrashMem(vfs.Strict)}
	p.fault = vfs.NewFault(p.mem)
	require.NoError(c.t, p.mem.Mkdir("/n", 0o700))
	require.NoError(c.t, p.mem.SyncDir("/"))
	for i, old := range c.peers {
		if old.self.Node == m.Node {
			c.peers[i] = p
			return p
		}
	}
	c.peers = append(c.peers, p)
	return p
}

func (p *peer) config(applied uint64) Config {
	config := Config{FS: p.fault, Dir: "/n/quorum", Applied: applied, KeepEntries: 5, Events: func(e Event) { p.warn = append(p.warn, e) }}
	if p.c.config != nil {
		p.c.config(&config)
	}
	return config
}

// start opens the quorum, with the caller's state as of applied.
func (p *peer) start(applied uint64) {
	p.state = p.state[:min(applied, uint64(len(p.state)))]
	p.handed = applied
	r, _, err := Open(p.config(applied))
	require.NoError(p.c.t, err, "open %s", p.self)
	p.raft, p.out, p.seen = r, Output{Leader: -1}, false
	p.drain()
}

// crash takes the power away from a node, and gives it back with what the disk may then hold.
func (p *peer) crash() {
	p.c.note("crash %s", p.self)
	p.mem = p.mem.CrashClone(p.c.rng)
	p.fault = vfs.NewFault(p.mem)
	p.raft = nil
}

func (p *peer) restart() {
	applied := uint64(0)
	if p.c.rng.IntN(100) < p.c.dice {
		applied = uint64(p.c.rng.IntN(len(p.state) + 1))
	}
	p.c.note("restart %s at %d", p.self, applied)
	p.start(applied)
}

func (p *peer) encode(n uint64) []byte {
	var b bytes.Buffer
	for _, line := range p.state[:n] {
		b.WriteString(line)
	}
	return b.Bytes()
}

func (c *cluster) note(format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%x%s", c.hash, line)
	c.hash = sum.Sum64()
	if c.trace != nil {
		c.trace.WriteString(line + "\n")
	}
}

// drain carries out what the Raft wants.
func (p *peer) drain() {
	c := p.c
	if p.raft == nil {
		return
	}
	for out, ok := p.raft.Ready(); ok; out, ok = p.raft.Ready() {
		if out.Term != p.out.Term || out.Role != p.out.Role || out.Leader != p.out.Leader {
			c.note("%s: term %d %s, leader %d", p.self, out.Term, out.Role, out.Leader)
		}
		require.GreaterOrEqual(c.t, out.Term, p.out.Term, "the term of %s goes back", p.self)
		p.out = out
		if out.Role == Leader {
			other, led := c.leaders[out.Term]
			require.False(c.t, led && other != p.self, "%s and %s lead term %d", p.self, other, out.Term)
			c.leaders[out.Term] = p.self
		}
		if s := out.Snapshot; s != nil {
			c.note("%s: snapshot %d", p.self, s.Index)
			if p.seen {
				c.installed++
			}
			require.Greater(c.t, s.Index, p.handed, "a snapshot of what %s has", p.self)
			p.handed, p.state = s.Index, nil
			for _, line := range bytes.SplitAfter(s.State, []byte("\n")) {
				if len(line) > 0 {
					p.state = append(p.state, string(line))
				}
			}
			require.Len(c.t, p.state, int(s.Index), "the state of snapshot %d", s.Index)
			for i, line := range p.state {
				c.agree(p, uint64(i+1), line)
			}
		}
		p.seen = true
		c.confirmed = append(c.confirmed, out.Confirmed...)
		for _, e := range out.Committed {
			require.Equal(c.t, p.handed+1, e.Index, "entries of %s", p.self)
			p.handed = e.Index
			line := fmt.Sprintf("%d %s\n", e.Term, e.Data)
			if e.Change != nil {
				line = fmt.Sprintf("%d %s\n", e.Term, e.Change)
			}
			p.state = append(p.state, line)
			c.note("%s: %d %s", p.self, e.Index, line[:len(line)-1])
			c.agree(p, e.Index, line)
		}
		for _, m := range out.Messages {
			c.wire = append(c.wire, packet{p.self.Node, m.To, m.Data, m.Snapshot})
		}
		if out.SnapshotWanted {
			if err := p.raft.Compact(p.handed, p.encode(p.handed)); err != nil {
				require.ErrorIs(c.t, err, ErrFailed)
			}
		}
	}
}

// agree compares an entry with what others were given.
func (c *cluster) agree(p *peer, index uint64, line string) {
	known, there := c.truth[index]
	if !there {
		c.truth[index] = line
		return
	}
	require.Equal(c.t, known, line, "entry %d of %s", index, p.self)
}

func (c *cluster) peer(node int32) *peer {
	for _, p := range c.peers {
		if p.self.Node == node {
			return p
		}
	}
	return nil
}

// deliver hands over the packet i of the wire; keep leaves it there, to come again.
func (c *cluster) deliver(i int, keep bool) {
	m := c.wire[i]
	if !keep {
		c.wire = slices.Delete(c.wire, i, i+1)
	}
	p := c.peer(m.to)
	lost := p == nil || p.raft == nil || c.cut[[2]int32{m.from, m.to}]
	if m.snapshot && !keep {
		if from := c.peer(m.from); from != nil && from.raft != nil {
			from.raft.ReportSnapshot(m.to, !lost)
			from.drain()
		}
	}
	if lost {
		return
	}
	c.note("deliver %s", Describe(m.data))
	err := p.raft.Step(m.from, m.data)
	if errors.Is(err, ErrFailed) {
		return
	}
	if !errors.Is(err, ErrOtherQuorum) {
		require.NoError(c.t, err)
	}
	p.drain()
}

// settle delivers everything, in order, until nothing is left.
func (c *cluster) settle() {
	for n := 0; len(c.wire) > 0; n++ {
		require.Less(c.t, n, 100_000, "the network never falls silent")
		c.deliver(0, false)
	}
}

// tick lets time pass for those that run.
func (c *cluster) tick(n int) {
	for range n {
		for _, p := range c.peers {
			if p.raft != nil && p.raft.Err() == nil {
				require.NoError(c.t, p.raft.Tick())
				p.drain()
			}
		}
		c.settle()
	}
}

// leader returns who leads the highest term, if anybody does.
func (c *cluster) leader() *peer {
	var found *peer
	for _, p := range c.peers {
		if p.raft != nil && p.raft.Err() == nil && p.out.Role == Leader && (found == nil || p.out.Term > found.out.Term) {
			found = p
		}
	}
	return found
}

// elect lets time pass until there is a leader that everybody who runs and is reachable knows.
func (c *cluster) elect() *peer {
	for range 200 {
		c.tick(1)
		if l := c.leader(); l != nil {
			known := true
			for _, p := range c.peers {
				known = known && (p.raft == nil || p.out.Leader == l.self.Node)
			}
			if known {
				return l
			}
		}
	}
	require.Fail(c.t, "no leader")
	return nil
}

// propose adds an entry and returns its index.
func (p *peer) propose(text string) uint64 {
	index, term, err := p.raft.Propose([]byte(text))
	require.NoError(p.c.t, err)
	require.Equal(p.c.t, p.out.Term, term)
	p.drain()
	return index
}

// commit proposes and settles, and requires that everybody who runs has it.
func (c *cluster) commit(text string) {
	l := c.leader()
	require.NotNil(c.t, l)
	index := l.propose(text)
	c.tick(3)
	for _, p := range c.peers {
		if p.raft != nil {
			require.GreaterOrEqual(c.t, p.handed, index, "%s has no %q", p.self, text)
		}
	}
	require.Equal(c.t, fmt.Sprintf("%d %s\n", l.out.Term, text), c.truth[index])
}

// change changes the members and waits until it has happened.
func (c *cluster) change(op ChangeOp, m Member) {
	l := c.leader()
	require.NotNil(c.t, l)
	index, _, err := l.raft.ProposeChange(Change{op, m})
	require.NoError(c.t, err)
	l.drain()
	c.tick(3)
	require.GreaterOrEqual(c.t, l.handed, index)
}
