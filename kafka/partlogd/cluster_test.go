package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tool runs a command against the nodes that run.
func (c *trio) tool(args ...string) (code int, out, stderr string) {
	var brokers []string
	for _, p := range c.nodes {
		if p != nil {
			brokers = append(brokers, p.facts["bootstrap.servers"])
		}
	}
	return runProcess(c.t, "", append(args, "--bootstrap-server", strings.Join(brokers, ","))...)
}

// shows repeats a command until its lines, with single blanks between words, are as they should be: on a machine that stalls a node may be fenced for a
// moment, or the controller be another.
func (c *trio) shows(as func(lines []string) bool, args ...string) {
	c.until(strings.Join(args, " "), func() bool {
		code, out, _ := c.tool(args...)
		var lines []string
		for line := range strings.Lines(out) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return code == exitOK && as(lines)
	})
}

// has is as for shows: so many lines, and texts in them.
func has(lines int, texts ...string) func([]string) bool {
	return func(got []string) bool {
		all := strings.Join(got, "\n") + "\n"
		return len(got) == lines && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(all, text) })
	}
}

// until repeats something until it is so.
func (c *trio) until(what string, so func() bool) {
	for !so() {
		require.NoError(c.t, c.ctx.Err(), what)
		time.Sleep(50 * time.Millisecond)
	}
}

func TestAClusterIsShownReassignedAndRecoveredByCommands(t *testing.T) {
	c := newTrio(t, "PLAINTEXT")
	c.format()
	for i := range 3 {
		c.start(i)
	}
	c.createTopic("orders", 2)
	c.partitions("orders", inSync)
	c.produce("orders", 0, 20)

	voters := func(lines []string) bool {
		all := strings.Join(lines, "\n") + "\n"
		return strings.Count(all, " leader\n") == 1 && strings.Count(all, " voter\n") == 2
	}
	c.shows(voters, "cluster", "nodes")
	for i, p := range c.nodes {
		c.shows(has(5, "cluster "+c.id+", controller ", fmt.Sprintf("\n%d %s - active ", i+1, p.facts["bootstrap.servers"])), "cluster", "nodes")
	}
	c.shows(has(5, " Follower ", " Leader "), "quorum", "describe")
	c.shows(has(3, "orders 0 ", "orders 1 "), "cluster", "partitions", "--topic", "orders")
	c.shows(has(1, "TOPIC PARTITION LEADER"), "cluster", "partitions", "--topic", "orders", "--unavailable")

	// Node 1 gives its replicas away, and goes.
	for _, partition := range []string{"0", "1"} {
		c.shows(has(1, "orders-"+partition+": begun"), "cluster", "reassign", "--topic", "orders", "--partition", partition, "--replicas", "2,3")
	}
	c.shows(has(1), "cluster", "reassign", "--list")
	c.partitions("orders", func(all []kmsg.MetadataResponseTopicPartition) bool {
		return !slices.ContainsFunc(all, func(p kmsg.MetadataResponseTopicPartition) bool {
			return !slices.Equal(p.Replicas, []int32{2, 3}) || len(p.ISR) != 2
		})
	})
	c.until("preferred leaders", func() bool {
		c.tool("cluster", "elect", "--all-topic-partitions")
		_, out, _ := c.tool("cluster", "partitions", "--topic", "orders")
		words := strings.Join(strings.Fields(out), " ")
		return strings.Contains(words, "orders 0 2 ") && strings.Contains(words, "orders 1 2 ")
	})
	code, _, stderr := c.tool("cluster", "reassign", "--topic", "orders", "--partition", "0", "--replicas", "2,9")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "orders-0")
	c.kill(0)
	c.until("node 1 is removed", func() bool {
		c.tool("cluster", "remove-node", "1")
		code, out, _ := c.tool("cluster", "nodes")
		return code == exitOK && !strings.Contains(out, "\n1 ")
	})
	c.requireAll("orders", 20)

	// The other two die, and one disk with them: the survivor is made the only voter by who types what is asked for.
	c.kill(1)
	c.kill(2)
	dir := filepath.Join(c.dir, "2")
	code, out, stderr := runProcess(t, "", "quorum", "dump", dir, "--grep", "Unregister")
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, out, "Unregister node 1")
	code, out, _ = runProcess(t, "yes\n", "quorum", "recover", dir)
	require.Equal(t, exitFailed, code)
	_, words, ok := strings.Cut(out, "type: ")
	require.True(t, ok, out)
	code, out, stderr = runProcess(t, words, "quorum", "recover", dir)
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, out, "node 2 is the only voter now")
	c.start(1)
	c.shows(has(3, "2 Leader "), "quorum", "describe")

	// What another voter has of the old quorum goes, and it comes back as a new member.
	require.NoError(t, os.RemoveAll(filepath.Join(c.dir, "3", "quorum")))
	c.start(2, "--cluster-id", c.id)
	c.shows(has(4, "\n2 ", "\n3 ", " Leader ", " Follower "), "quorum", "describe")
}

func TestTheFirstVoterComesBackWithANewDisk(t *testing.T) {
	c := newTrio(t, "PLAINTEXT")
	c.format()
	for i := range 3 {
		c.start(i)
	}
	c.createTopic("orders", 2)
	c.partitions("orders", inSync)
	c.produce("orders", 0, 20)
	c.kill(0)
	require.NoError(t, os.RemoveAll(filepath.Join(c.dir, "1")))
	code, out, stderr := runProcess(t, "", "storage", "format", "-t", c.id, "-c", c.files[0], "--no-initial-controllers")
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, out, "node 1 joins cluster "+c.id)
	c.start(0)
	c.partitions("orders", inSync)
	c.kill(1) // what it has got back counts now
	c.produce("orders", 20, 40)
	c.requireAll("orders", 40)
}

func TestCommandLinesOfClusterThatMakeNoSense(t *testing.T) {
	for says, args := range map[string]string{
		"want one of nodes":                      "cluster",
		"want one of nodes, partitions":          "cluster nodes more",
		"want dump or recover":                   "quorum",
		"is neither dump nor recover":            "quorum eat x",
		"want one of format":                     "storage",
		"want --config FILE":                     "storage info",
		"is none; partlogd storage random-uuid":  "storage format -t short -c x",
		"want --node-id N and --output DIR":      "storage certificate -t oGi8eUpDz4triJ7e59XrjQ",
		"does this node make the cluster, or":    "storage format -s -N",
		"flag provided but not defined: -nobody": "cluster nodes --nobody",
	} {
		code, _, stderr := runProcess(t, "", strings.Fields(args)...)
		require.Equal(t, exitUsage, code, stderr)
		require.Contains(t, stderr, says)
	}
}
