package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A controller that knows of another by controller.quorum.bootstrap.servers, two brokers, and one more controller that waits for a word: voters
// come and go by commands; then the brokers go one after the other, and the one that lacks records is elected by command.
func TestControllersAndBrokersAreNodesOfTheirOwn(t *testing.T) {
	m := newMembers(t, 4)
	quorum := "controller.quorum.bootstrap.servers=" + m.peers[0] + "," + m.peers[3]
	replicated := "default.replication.factor=2\nmin.insync.replicas=1\noffsets.topic.replication.factor=2\ntransaction.state.log.replication.factor=2"
	files := []string{
		m.file(1, "controller", quorum),
		m.file(2, "broker", quorum, replicated),
		m.file(3, "broker", quorum, replicated),
		m.file(4, "controller", quorum, "controller.quorum.auto.join.enable=false"),
	}
	code, out := m.says("storage", "format", "-t", m.id, "-c", files[0])
	require.Equal(t, exitUsage, code)
	require.Contains(t, out, "want one of --standalone, --initial-controllers and --no-initial-controllers")
	code, out = m.says("storage", "format", "-t", m.id, "-c", files[1], "--standalone")
	require.Equal(t, exitUsage, code)
	require.Contains(t, out, "a broker joins")
	m.format(files[0], "--standalone")
	m.format(files[1])
	m.format(files[2])
	m.format(files[3], "--no-initial-controllers")
	m.begin(1, files[0])()
	var ready []func()
	for i := 1; i < 4; i++ {
		ready = append(ready, m.begin(i+1, files[i]))
	}
	for _, await := range ready {
		await()
	}
	require.Empty(t, m.all[1].facts["bootstrap.servers"])
	require.Contains(t, m.all[1].err.String(), "a controller only")

	cl := m.client()
	code, out = m.tool("topics", "--create", "--topic", "orders", "--partitions", "1")
	require.Equal(t, exitOK, code, out)
	m.produce(cl, "orders", 0, 20)
	code, out = m.tool("cluster", "nodes")
	require.Equal(t, exitOK, code, out)
	require.Equal(t, 4, strings.Count(out, "\n"), "clients are told of brokers: %s", out)

	has := func(texts ...string) func(string) bool {
		return func(words string) bool {
			for _, text := range texts {
				if !strings.Contains(words, text) {
					return false
				}
			}
			return true
		}
	}
	m.shows(has("1 Leader ", "2 Observer ", "3 Observer ", "4 Observer "), "quorum", "describe")
	code, out = m.tool("quorum", "add-controller", "--controller-id", "4")
	require.Equal(t, exitOK, code, out)
	m.shows(has("1 Leader ", "4 Follower "), "quorum", "describe")
	code, out = m.tool("quorum", "add-controller", "--command-config", files[3])
	require.Equal(t, exitFailed, code, out)
	require.Contains(t, out, "a voter of the quorum already")
	code, out = m.tool("quorum", "remove-controller", "--controller-id", "4", "--controller-directory-id", randomUUID())
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "the directory id is not the node's")
	code, out = m.tool("quorum", "remove-controller", "--controller-id", "2")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "no voter")
	code, out = m.tool("quorum", "remove-controller")
	require.Equal(t, exitUsage, code, out)
	code, out = m.tool("quorum", "remove-controller", "--controller-id", "1")
	require.Equal(t, exitOK, code, out)
	m.shows(has("4 Leader ", "1 Observer "), "quorum", "describe")
	m.stop(1)

	// It does not vote again by itself, though its file would have it join: it is asked.
	m.begin(1, files[0])()
	m.shows(has("4 Leader ", "1 Observer "), "quorum", "describe")
	code, out = m.tool("quorum", "add-controller", "--controller-id", "1")
	require.Equal(t, exitOK, code, out)
	m.shows(has("4 Leader ", "1 Follower "), "quorum", "describe")
	code, out = m.tool("quorum", "remove-controller", "--controller-id", "1")
	require.Equal(t, exitOK, code, out)
	m.shows(has("4 Leader ", "1 Observer "), "quorum", "describe")
	m.stop(1)
	m.produce(cl, "orders", 20, 40)

	// Node 2 misses records, and then is the only one that is there.
	m.stop(2)
	m.produce(m.client(), "orders", 40, 50)
	m.stop(3)
	m.begin(2, files[1])()
	m.shows(has("orders 0 none "), "cluster", "partitions", "--topic", "orders")
	code, out = m.tool("cluster", "elect", "--topic", "orders", "--partition", "0")
	require.Equal(t, exitFailed, code, out)
	code, out = m.tool("cluster", "elect", "--election-type", "unclean", "--topic", "orders", "--partition", "0")
	require.Equal(t, exitOK, code, out)
	m.produce(m.client(), "orders", 50, 60)
	m.begin(3, files[2])() // it gives up what it alone had
	m.shows(func(words string) bool {
		return strings.HasSuffix(words, " 2,3 2,3") || strings.HasSuffix(words, " 3,2 2,3") || strings.HasSuffix(words, " 3,2")
	}, "cluster", "partitions", "--topic", "orders")
	seen := m.read("orders", 50)
	require.Len(t, seen, 50)
	for value, times := range seen {
		require.Equal(t, 1, times, value)
		require.False(t, len(value) == 2 && value[0] == '4', "record %s was only on node 3", value)
	}
	require.Contains(t, m.all[4].err.String()+m.all[2].err.String(), "unclean election of node 2")
}

func TestTheFirstOfTheInitialControllersMakesTheCluster(t *testing.T) {
	m := newMembers(t, 3)
	quorum := "controller.quorum.bootstrap.servers=" + strings.Join(m.peers, ",")
	list := "2@" + m.peers[1] + ":" + randomUUID() + ",3@" + m.peers[2]
	makes := func(id int, what string, more ...string) {
		t.Helper()
		file := m.file(id, "broker,controller", quorum)
		code, out := m.says(append([]string{"storage", "format", "-t", m.id, "-c", file}, more...)...)
		require.Equal(t, exitOK, code, out)
		require.Contains(t, out, what)
	}
	makes(2, "node 2 makes cluster "+m.id, "--initial-controllers", list)
	makes(3, "node 3 joins cluster "+m.id, "-I", list)
	for says, args := range map[string]string{
		"which is none of them":        "-I " + list,
		"want ID@HOST:PORT:DIRECTORY":  "-I 1@nowhere",
		"one can be":                   "-I " + list + " -s",
		"want one of --standalone, --": "",
		"this one joins it":            "-N --feature partlog.version=1",
		"want partlog.version=LEVEL":   "-s --feature metadata.version=7",
	} {
		file := m.file(1, "broker,controller", quorum)
		code, out := m.says(append([]string{"storage", "format", "-t", m.id, "-c", file}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, code, out)
		require.Contains(t, out, says)
	}
	_, err := os.Stat(filepath.Join(m.dir, "1"))
	require.ErrorIs(t, err, os.ErrNotExist, "nothing was made")
}

func TestAControllerOnlyServesNoClientsOnTheCommandLine(t *testing.T) {
	m := newMembers(t, 1)
	file := m.file(1, "controller", "controller.quorum.voters=1@"+m.peers[0])
	for says, args := range map[string]string{
		"with process.roles=controller there is no client": "--topics orders:1",
		"clients connect to brokers":                       "--override listeners=CONTROLLER://" + m.peers[0] + ",PLAINTEXT://127.0.0.1:0",
	} {
		code, out := m.says(append([]string{file}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, code, out)
		require.Contains(t, out, says)
	}
}
