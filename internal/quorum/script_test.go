package quorum

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// Stories in testdata/*.txt: what happens, and what the members then say. -rewrite writes them anew.
//
//	quorum n          n voters
//	campaign n        n begins an election
//	tick k            k ticks pass for all, with everything delivered
//	propose n text    n is asked to add an entry
//	add|promote|remove n m[/dir]
//	                  the leader n is asked to change the members
//	join m[/dir]      a node with an empty log
//	stop|start n      n is closed, opened
//	crash n           n loses power, and comes back
//	cut|heal a b      nothing comes through from a to b, and back
//	compact n         n takes a snapshot
//	transfer n m      n hands leadership to m
//	lose n            what n acknowledged is damaged on its disk
//	rejoin n dir      n comes back as another member
//	recover n         n alone
//	status            what everybody says
//	dump n            what is on n's disk
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		cryptotest.SetGlobalRandom(t, 1)
		var c *cluster
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if c == nil {
				c = newCluster(t, 1)
				c.dice = 0
			}
			c.t, c.trace = t, &bytes.Buffer{}
			for _, line := range append([]string{strings.TrimSpace(d.Cmd + " " + argsOf(d))}, lines(d.Input)...) {
				words := strings.Fields(line)
				if err := c.do(words[0], words[1:]); err != nil {
					fmt.Fprintf(c.trace, "%s: %v\n", line, err)
				}
			}
			shown := ""
			for _, line := range strings.SplitAfter(c.trace.String(), "\n") {
				if !strings.HasPrefix(line, "deliver") {
					shown += line
				}
			}
			if shown == "" {
				return "ok\n"
			}
			return shown
		})
	})
}

func argsOf(d *datadriven.TestData) string {
	var list []string
	for _, a := range d.CmdArgs {
		list = append(list, a.Key)
	}
	return strings.Join(list, " ")
}

func lines(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == '\n' }) }

func parseMember(s string) (m Member) {
	node, dir, _ := strings.Cut(s, "/")
	_, _ = fmt.Sscan(node, &m.Node)
	if dir != "" {
		_, _ = fmt.Sscan(dir, &m.Directory)
	}
	return m
}

func (c *cluster) do(command string, args []string) error {
	node := func(i int) *peer {
		if i >= len(args) {
			return nil
		}
		return c.peer(parseMember(args[i]).Node)
	}
	p := node(0)
	after := func(err error) error {
		if err == nil {
			p.drain()
			c.settle()
		}
		return err
	}
	switch command {
	case "quorum":
		c.bootstrap(int(parseMember(args[0]).Node))
	case "campaign":
		return after(p.raft.Campaign())
	case "tick":
		c.tick(int(parseMember(args[0]).Node))
	case "propose":
		_, _, err := p.raft.Propose([]byte(args[1]))
		return after(err)
	case "add", "promote", "remove":
		op := map[string]ChangeOp{"add": AddObserver, "promote": Promote, "remove": Remove}[command]
		_, _, err := p.raft.ProposeChange(Change{op, parseMember(args[1])})
		return after(err)
	case "join":
		c.join(parseMember(args[0]))
	case "stop":
		err := p.raft.Close()
		p.raft = nil
		return err
	case "start":
		p.start(0)
	case "crash":
		p.crash()
		p.restart()
	case "cut", "heal":
		a, b := p.self.Node, node(1).self.Node
		c.cut[[2]int32{a, b}], c.cut[[2]int32{b, a}] = command == "cut", command == "cut"
	case "compact":
		return p.raft.Compact(p.handed, p.encode(p.handed))
	case "transfer":
		return after(p.raft.TransferLeader(parseMember(args[1]).Node))
	case "lose":
		if err := p.raft.Close(); err != nil {
			return err
		}
		p.raft = nil
		flip(c.t, p.mem, "/n/quorum/entries", 120)
		_, recovery, err := Open(p.config(0))
		fmt.Fprintf(c.trace, "must rejoin: %v\n", recovery.MustRejoin)
		return err
	case "rejoin":
		p.self = Member{Node: p.self.Node, Directory: uint32(parseMember(args[1]).Node)}
		p.state = nil
		aside, err := Rejoin(p.config(0), p.self)
		if err == nil {
			fmt.Fprintf(c.trace, "set aside: %s\n", aside)
			p.start(0)
		}
		return err
	case "recover":
		plan, err := PlanRecover(p.config(0))
		if err != nil {
			return err
		}
		fmt.Fprintf(c.trace, "lost %v, doubtful %d, type: %s\n", plan.Lost, plan.Doubtful, plan.Confirmation)
		_, err = Recover(p.config(0), plan.Confirmation)
		return err
	case "status":
		for _, p := range c.peers {
			if p.raft == nil {
				fmt.Fprintf(c.trace, "%s: down\n", p.self)
				continue
			}
			s := p.raft.Status()
			var voters, observers []Member
			for _, m := range s.Voters {
				voters = append(voters, m.Member)
			}
			for _, m := range s.Observers {
				observers = append(observers, m.Member)
			}
			fmt.Fprintf(c.trace, "%s: %s of term %d, leader %d, commit %d, log %d-%d, snapshot %d, voters %v, observers %v\n",
				p.self, s.Role, s.Term, s.Leader, s.Commit, s.First, s.Last, s.Snapshot, voters, observers)
		}
	case "dump":
		words := func(_ uint64, data []byte) (string, bool) { return fmt.Sprintf("%q", data), true }
		return Dump(c.trace, p.mem, "/n/quorum", DumpOptions{Entry: words})
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

// On a real directory the journal is another one. The same things hold.
func TestARealDirectoryKeepsTheLog(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 60)
	c := newCluster(t, 1)
	dir := t.TempDir()
	c.config = func(config *Config) { config.FS, config.Dir, config.SegmentBytes = vfs.OS, dir+"/quorum", 2000 }
	m := Member{Node: 5}
	p := c.add(m)
	require.NoError(t, Bootstrap(p.config(0), m, []Member{m}, []byte(first)))
	p.start(0)
	c.elect()
	for i := range 30 {
		c.commit(fmt.Sprint("entry ", i))
		if i%10 == 9 {
			require.NoError(t, p.raft.Compact(p.handed, p.encode(p.handed)))
		}
	}
	status := p.raft.Status()
	want := append([]string(nil), p.state...)
	var b bytes.Buffer
	require.NoError(t, Dump(&b, vfs.OS, dir+"/quorum", DumpOptions{}))
	require.Contains(t, b.String(), "snapshot "+fmt.Sprint(status.Snapshot))
	// Killed, not closed: what was handed out is there. (The lock is the process's, so a close it is, after the files were read.)
	require.NoError(t, p.raft.Close())
	p.start(0)
	require.GreaterOrEqual(t, p.raft.Status().Term, status.Term)
	c.elect()
	require.Equal(t, want, p.state[:len(want)])
	c.commit("again")
	require.NoError(t, p.raft.Close())
	aside, err := Rejoin(p.config(0), Member{Node: 5, Directory: 1})
	require.NoError(t, err)
	require.Equal(t, dir+"/quorum.lost-1", aside)
}
