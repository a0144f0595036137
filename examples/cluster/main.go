// Cluster starts three peers as processes of their own, each an application that embeds a node: it produces flights and consumes them as a
// member of a group. Then it kills, pauses and cuts off one after the other at random, and at the end counts what has become of
// every flight that was acknowledged.
//
//	go run ./examples/cluster [-time 25s] [-seed N] [-dir DIR] [-network wires|namespaces]
//
// The nodes' network is wires of this program, which it can cut, or (Linux, with the commands ip and nsenter; nobody needs to be root) one network
// namespace for each node.
//
// The exit status is 1 if an acknowledged flight was lost, or one is there twice.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// The parent's address book, by environment: the child is this program, started again.
const (
	nodeVariable  = "PARTLOG_CLUSTER_NODE"
	size          = 3
	flights       = "flights"
	partitions    = 6
	settle        = 2 * time.Minute // the longest that anything is waited for
	quiet, active = 500 * time.Millisecond, 2500 * time.Millisecond
)

func main() {
	if status, was := helper(); was {
		os.Exit(status)
	}
	if os.Getenv(nodeVariable) != "" {
		if err := child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "node", os.Getenv(nodeVariable)+":", err)
			os.Exit(1)
		}
		return
	}
	length := flag.Duration("time", 25*time.Second, "how long nodes are killed, paused and cut off")
	seed := flag.Uint64("seed", mathrand.Uint64(), "of the faults' kinds and victims")
	dir := flag.String("dir", "", "where the nodes' directories are made; empty: a temporary directory")
	kind := flag.String("network", "wires", "what the nodes reach each other by: wires, namespaces")
	flag.Parse()
	if *kind == "namespaces" {
		if status, again := routed(os.Args[1:]); again {
			os.Exit(status)
		}
	}
	good, err := run(*length, *seed, *dir, *kind, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

// run is the whole program of the parent. It reports whether nothing was lost or duplicated.
func run(length time.Duration, seed uint64, dir, network string, out io.Writer) (good bool, err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "partlog-cluster-"); err != nil {
			return false, err
		}
		defer os.RemoveAll(dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	c, err := newCluster(dir, network)
	if err != nil {
		return false, err
	}
	defer c.close()
	fmt.Fprintf(out, "three nodes in %s, network: %s; seed %d\n", dir, network, seed)
	if err := c.startAll(); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "all take part after %v; faults for %v\n", c.ledger.age().Round(time.Millisecond), length)
	if err := c.misfortunes(length, mathrand.New(mathrand.NewPCG(seed, 0))); err != nil {
		return false, err
	}
	if err := c.settled(); err != nil {
		return false, err
	}
	all, err := c.readBack()
	if err != nil {
		return false, err
	}
	r := c.ledger.check(all)
	r.print(out, c.faults)
	return r.lost == 0 && r.duplicated == 0, nil
}

// cluster is the parent's side: the processes, and the wires between them.
type cluster struct {
	dir     string
	id      string // the cluster's
	ledger  *ledger
	network network
	nodes   [size]*process
	faults  map[string]int // that took effect
}

// process is a node's, or was.
type process struct {
	id    int
	cmd   *exec.Cmd
	in    io.WriteCloser
	ready chan struct{}
	ended chan error
}

func newCluster(dir, network string) (*cluster, error) {
	var id [16]byte
	rand.Read(id[:]) // never fails
	c := &cluster{dir: dir, id: base64.RawURLEncoding.EncodeToString(id[:]), ledger: newLedger(), faults: map[string]int{}}
	for i := range size {
		c.nodes[i] = &process{id: i + 1}
	}
	var err error
	c.network, err = newNetwork(network)
	return c, err
}

// startAll starts the first node, which makes the cluster, and then the others, which join it.
func (c *cluster) startAll() error {
	for i := range c.nodes {
		if err := c.start(i); err != nil {
			return err
		}
		if err := c.await(i); err != nil {
			return err
		}
	}
	return c.tell("begin")
}

// start starts a node's process, in the directory where it was before.
func (c *cluster) start(i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := c.nodes[i]
	p.ready, p.ended = make(chan struct{}), nil
	book, err := json.Marshal(c.network.book(i))
	if err != nil {
		return err
	}
	p.cmd = c.network.command(self, i)
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", nodeVariable, p.id), "PARTLOG_CLUSTER_DIR="+filepath.Join(c.dir, fmt.Sprint("node-", p.id)),
		"PARTLOG_CLUSTER_LISTEN="+c.network.listen(i), "PARTLOG_CLUSTER_BOOK="+string(book), "PARTLOG_CLUSTER_ID="+c.id,
		"PARTLOG_CLUSTER_CA="+filepath.Join(c.dir, "ca"))
	log, err := os.OpenFile(filepath.Join(c.dir, fmt.Sprintf("node-%d.log", p.id)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Stderr = log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ended = make(chan error, 1)
	cmd, ready, ended := p.cmd, p.ready, p.ended
	go func() {
		c.ledger.listen(out, ready) // to the end: what the node had been told is acknowledged
		ended <- cmd.Wait()
	}()
	return nil
}

// await waits until a node takes part.
func (c *cluster) await(i int) error {
	p := c.nodes[i]
	select {
	case <-p.ready:
		return nil
	case err := <-p.ended:
		p.ended <- err
		text, _ := os.ReadFile(filepath.Join(c.dir, fmt.Sprintf("node-%d.log", p.id)))
		return fmt.Errorf("node %d ended: %w\n%s", p.id, err, text)
	case <-time.After(settle):
		return fmt.Errorf("node %d does not take part after %v", p.id, settle)
	}
}

// tell sends a word to all nodes.
func (c *cluster) tell(word string) error {
	for _, p := range c.nodes {
		if _, err := fmt.Fprintln(p.in, word); err != nil {
			return fmt.Errorf("node %d: %w", p.id, err)
		}
	}
	return nil
}

// misfortunes are one at a time: what a cluster of three lives through. Each kind comes before one comes again, and at least once.
func (c *cluster) misfortunes(length time.Duration, rng *mathrand.Rand) error {
	order := rng.Perm(len(kinds))
	for began, n := time.Now(), 0; n < len(kinds) || time.Since(began) < length; n++ {
		if n%len(kinds) == 0 {
			order = rng.Perm(len(kinds))
		}
		i, kind := rng.IntN(size), kinds[order[n%len(kinds)]]
		for_ := quiet + time.Duration(rng.Int64N(int64(active-quiet)))
		if err := kind.do(c, i, for_); err != nil {
			return fmt.Errorf("%s node %d: %w", kind.name, i+1, err)
		}
		c.faults[kind.name]++
		time.Sleep(quiet)
	}
	return nil
}

// A kind of misfortune that befalls one node for some time.
type kind struct {
	name string
	do   func(c *cluster, i int, length time.Duration) error
}

var kinds = slices.Concat([]kind{
	{"killed", func(c *cluster, i int, length time.Duration) error {
		p := c.nodes[i]
		if err := p.cmd.Process.Kill(); err != nil {
			return err
		}
		<-p.ended
		time.Sleep(length)
		if err := c.start(i); err != nil {
			return err
		}
		if err := c.await(i); err != nil {
			return err
		}
		_, err := fmt.Fprintln(p.in, "begin")
		return err
	}},
	{"cut off", func(c *cluster, i int, length time.Duration) error { return c.cutFor(i, true, true, length) }},
	{"deaf", func(c *cluster, i int, length time.Duration) error { return c.cutFor(i, true, false, length) }},
	{"mute", func(c *cluster, i int, length time.Duration) error { return c.cutFor(i, false, true, length) }},
}, pauses)

// cutFor cuts a node off for some time.
func (c *cluster) cutFor(i int, in, out bool, length time.Duration) error {
	if err := c.network.cut(i, in, out); err != nil {
		return err
	}
	time.Sleep(length)
	return c.network.cut(i, false, false)
}

// settled has all nodes stop sending, and waits until they have, and the group has handled all that was acknowledged.
func (c *cluster) settled() error {
	if err := c.tell("end"); err != nil {
		return err
	}
	if err := c.ledger.await(func(l *ledger) bool { return l.done == size }, "the nodes stop"); err != nil {
		return err
	}
	return c.ledger.await(func(l *ledger) bool { return l.open == 0 }, "the group handles every flight")
}

// readBack has the first node read everything, from the beginning.
func (c *cluster) readBack() ([]record, error) {
	if _, err := fmt.Fprintln(c.nodes[0].in, "read"); err != nil {
		return nil, err
	}
	err := c.ledger.await(func(l *ledger) bool { return l.all != nil }, "everything is read back")
	return c.ledger.all, err
}

// close ends all processes: the tables are printed, and the directories go.
func (c *cluster) close() {
	for _, p := range c.nodes {
		if p.ended != nil {
			p.in.Close() // asks it to close its node
		}
	}
	for _, p := range c.nodes {
		if p.ended == nil {
			continue
		}
		select {
		case <-p.ended:
		case <-time.After(settle / 4):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
	c.network.close()
}
