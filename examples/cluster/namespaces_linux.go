package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// namespaces are machines as far as the network is concerned: each node is in a network namespace of its own, with a link to a router, which is
// the namespace of this program. What is cut is dropped by the router without a word.
//
//	node 1  10.77.1.2 ── 10.77.1.1 ┐
//	node 2  10.77.2.2 ── 10.77.2.1 ┼ router: ip rule ... blackhole
//	node 3  10.77.3.2 ── 10.77.3.1 ┘
//
// The router is in a user namespace too, so that nobody needs to be root, and nothing is left behind.
type namespaces struct {
	holders [size]*exec.Cmd // each keeps a namespace while processes of the node come and go
	hold    [size]io.Closer
	shut    [size][2]bool // in, out: the rules that there are
}

// The variable says what this process is in the network: its router, the holder of a namespace, or one that only tries whether there may be any.
const namespaceVariable = "PARTLOG_CLUSTER_NAMESPACE"

const peerPort = "9192"

func address(i int) string  { return fmt.Sprintf("10.77.%d.2", i+1) }
func gateway(i int) string  { return fmt.Sprintf("10.77.%d.1", i+1) }
func linkName(i int) string { return fmt.Sprintf("node%d", i+1) }

// routed starts this program again as the router of namespaces, unless it is that already, and returns the exit status.
func routed(args []string) (status int, again bool) {
	if os.Getenv(namespaceVariable) == "router" {
		return 0, false
	}
	cmd := apart("router", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), true
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "cluster: network namespaces:", err)
		return 1, true
	}
	return 0, true
}

// apart is this program in a user and a network namespace of its own.
func apart(as string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), namespaceVariable+"="+as)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	return cmd
}

// helper is what this process does if it is there only for the network, and its exit status.
func helper() (status int, was bool) {
	switch os.Getenv(namespaceVariable) {
	case "holder":
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0, true
	case "probe":
		n, err := newNamespaces()
		if err != nil {
			fmt.Println(err)
			return 1, true
		}
		n.close()
		return 0, true
	}
	return 0, false
}

func newNamespaces() (_ network, err error) {
	n := &namespaces{}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		return nil, err
	}
	for i := range size {
		if err := n.add(i); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// add makes the namespace of a node, and the link to it.
func (n *namespaces) add(i int) error {
	holder := exec.Command("/proc/self/exe")
	holder.Env = append(os.Environ(), namespaceVariable+"=holder")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	in, err := holder.StdinPipe()
	if err != nil {
		return err
	}
	if err := holder.Start(); err != nil {
		return err
	}
	n.holders[i], n.hold[i] = holder, in
	for _, words := range []string{
		"ip link add " + linkName(i) + " type veth peer name eth0 netns " + strconv.Itoa(holder.Process.Pid),
		"ip address add " + gateway(i) + "/30 dev " + linkName(i),
		"ip link set " + linkName(i) + " up",
		n.within(i) + "ip link set lo up",
		n.within(i) + "ip address add " + address(i) + "/30 dev eth0",
		n.within(i) + "ip link set eth0 up",
		n.within(i) + "ip route add default via " + gateway(i),
	} {
		if err := sh(words); err != nil {
			return err
		}
	}
	return nil
}

// within begins a command that runs in the namespace of a node.
func (n *namespaces) within(i int) string {
	return "nsenter --net=/proc/" + strconv.Itoa(n.holders[i].Process.Pid) + "/ns/net "
}

func sh(words string) error {
	w := strings.Fields(words)
	if out, err := exec.Command(w[0], w[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", words, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (n *namespaces) listen(i int) string { return address(i) + ":" + peerPort }

func (n *namespaces) book(i int) (all []neighbour) {
	for j := range size {
		if j != i {
			all = append(all, neighbour{ID: int32(j + 1), Address: n.listen(j), Dials: n.listen(j)})
		}
	}
	return all
}

// command is one process: nsenter becomes the node.
func (n *namespaces) command(self string, i int) *exec.Cmd {
	w := strings.Fields(n.within(i))
	return exec.Command(w[0], append(w[1:], self)...)
}

func (n *namespaces) cut(i int, in, out bool) error {
	for way, shut := range []bool{in, out} {
		if shut == n.shut[i][way] {
			continue
		}
		action, what := "add", "to "+address(i)
		if !shut {
			action = "delete"
		}
		if way == 1 {
			what = "iif " + linkName(i)
		}
		if err := sh(fmt.Sprintf("ip rule %s %s blackhole pref %d", action, what, 10+2*i+way)); err != nil {
			return err
		}
		n.shut[i][way] = shut
	}
	return nil
}

// close ends the holders; with them go the namespaces and their links.
func (n *namespaces) close() {
	for i, h := range n.holders {
		if h != nil {
			_ = n.hold[i].Close()
			_ = h.Wait()
		}
	}
}

// namespacesAllowed returns why there can be no network namespaces here, or nil.
func namespacesAllowed() error {
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	if out, err := apart("probe").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
