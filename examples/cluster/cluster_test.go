package main

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain is the nodes, and what holds their network, too: they are this program, started again.
func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" || os.Getenv(nodeVariable) != "" {
		main()
		os.Exit(0)
	}
	if status, was := helper(); was {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

const programVariable = "PARTLOG_CLUSTER_PROGRAM"

// Every kind of fault once, between network namespaces where there may be some, else over wires that can be cut.
func TestNoFlightIsLostThoughNodesAreKilledPausedAndCutOff(t *testing.T) {
	network := "namespaces"
	if err := namespacesAllowed(); err != nil {
		t.Logf("no network namespaces here, wires instead: %v", err)
		network = "wires"
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-time", "0s", "-network", network, "-dir", t.TempDir())
	cmd.Env = append(os.Environ(), programVariable+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	require.Regexp(t, regexp.MustCompile(`(?m)^lost\s+0\b`), string(out))
	for _, kind := range kinds {
		require.Contains(t, string(out), kind.name)
	}
}
