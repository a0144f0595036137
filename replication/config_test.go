package replication

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/internal/wire/memnet"
	"github.com/partlog/partlog/partition"
)

func TestAConfigThatCannotBeIsRefusedByName(t *testing.T) {
	valid := Config{NodeID: 1, Listen: "127.0.0.1:0", Plaintext: true, Bootstrap: true}
	require.NoError(t, valid.withDefaults().validate())
	for key, change := range map[string]func(*Config){
		"NodeID":            func(c *Config) { c.NodeID = -1 },
		"Listen":            func(c *Config) { c.Listen = "" },
		"Join":              func(c *Config) { c.Join = true },
		"Peers":             func(c *Config) { c.Bootstrap, c.Join, c.ClusterID = false, true, "x" },
		"ClusterID":         func(c *Config) { c.Bootstrap, c.Join, c.Peers = false, true, []Peer{{2, "b:1"}} },
		"TLS":               func(c *Config) { c.Plaintext = false },
		"Plaintext":         func(c *Config) { c.TLS = &TLS{} },
		"SessionTimeout":    func(c *Config) { c.SessionTimeout = time.Microsecond },
		"HeartbeatInterval": func(c *Config) { c.SessionTimeout, c.HeartbeatInterval = time.Second, 600*time.Millisecond },
		"FetchBytes":        func(c *Config) { c.FetchBytes = -1 },
	} {
		c := valid
		change(&c)
		_, err := Start(c)
		wrong, ok := errors.AsType[*partition.ConfigError](err)
		require.True(t, ok, "%s: %v", key, err)
		require.Equal(t, key, wrong.Key)
	}
}

// lone starts a node of its own cluster in a file system.
func lone(t *testing.T, fsys vfs.FS, change func(*Config)) (*Node, error) {
	t.Helper()
	l, err := memnet.New().Listen("a:1")
	require.NoError(t, err)
	c := Config{
		Dir: "dir", NodeID: 1, Listener: l, Plaintext: true, Bootstrap: true, SessionTimeout: 2 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
		CloseTimeout: 2 * time.Second,
	}
	c.Store.FS = fsys
	if change != nil {
		change(&c)
	}
	return Start(c)
}

func TestADirectoryIsANodesOnlyByBootstrapOrJoinAndThenForEver(t *testing.T) {
	fsys := vfs.NewMem()
	_, err := lone(t, fsys, func(c *Config) { c.Bootstrap = false })
	require.ErrorIs(t, err, ErrNotFormatted)
	n, err := lone(t, fsys, nil)
	require.NoError(t, err)
	require.NoError(t, n.Ready(patient(t)))
	id := n.ClusterID()
	require.NoError(t, n.Close())

	_, err = lone(t, fsys, func(c *Config) { c.NodeID = 2 })
	require.ErrorIs(t, err, ErrWrongCluster)
	require.ErrorContains(t, err, "is that of node 1, and not of node 2")
	_, err = lone(t, fsys, func(c *Config) { c.ClusterID = "another" })
	require.ErrorIs(t, err, ErrWrongCluster)
	n, err = lone(t, fsys, func(c *Config) { c.Bootstrap = false })
	require.NoError(t, err, "it belongs to its cluster now")
	require.Equal(t, id, n.ClusterID())
	require.NoError(t, n.Ready(patient(t)))
	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	require.ErrorIs(t, n.Ready(patient(t)), ErrClosed)

	f, err := readNodeFile(fsys, mustAbs(t, "dir"))
	require.NoError(t, err)
	require.EqualValues(t, 1, f.NodeID)
	require.Positive(t, f.Epoch)
}

func mustAbs(t *testing.T, dir string) string {
	abs, err := filepath.Abs(dir)
	require.NoError(t, err)
	return abs
}
