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

// A bad row makes the exit status 1, after everything else has been stored; a mistake in the arguments makes it 2.
func TestExitStatusTellsOfBadRows(t *testing.T) {
	dir := t.TempDir()
	arguments := []string{"-dir", dir, "-topic", "t", "-key", "city", "-partitions", "1"}
	status, stdout, stderr := command(t, "id,city\n1,Oslo\n2,Rome\n", arguments...)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "2 records")
	require.Empty(t, stderr, "no progress line where nobody looks")
	status, stdout, stderr = command(t, "id,city\n3,Oslo\n4\n5,Rome\n", append(arguments, "-")...)
	require.Equal(t, 1, status)
	require.Contains(t, stdout, "2 records")
	require.Contains(t, stderr, "line 3")
	require.Len(t, stored(t, dir, "t"), 4)
	status, _, stderr = command(t, "", "-dir", dir)
	require.Equal(t, 2, status)
	require.Contains(t, stderr, "-topic")
	status, _, stderr = command(t, "", append(arguments, "/no/such/file")...)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "/no/such/file")
	require.NotContains(t, stderr, "goroutine")
}
