package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain is the command itself where command starts it.
func TestMain(m *testing.M) {
	if os.Getenv("PARTLOG_COMMAND") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command runs the command as a shell does, and returns its exit status.
func command(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), program, args...)
	c.Env = append(os.Environ(), "PARTLOG_COMMAND=1")
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewBufferString(stdin), &out, &errs
	err = c.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), out.String(), errs.String()
	}
	require.NoError(t, err)
	return 0, out.String(), errs.String()
}

// The exit status is 0 for a sound store, and 1 for damage, with the place, or for a directory that is none.
func TestExitStatusTellsOfDamage(t *testing.T) {
	dir := newStore(t)
	status, stdout, stderr := command(t, "", "-dir", dir)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "no damage")
	file := dir + "/data/t-0/00000000000000000000.log"
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	content[len(content)/2] ^= 4
	require.NoError(t, os.WriteFile(file, content, 0o600))
	for _, flags := range [][]string{{"-dir", dir}, {"-dir", dir, "-json"}} {
		status, stdout, stderr = command(t, "", flags...)
		require.Equal(t, 1, status, stderr)
		require.Contains(t, stdout, "00000000000000000000.log")
	}
	status, _, stderr = command(t, "", "-dir", t.TempDir())
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "not a partlog store")
}
