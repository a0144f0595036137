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

// What was counted is committed when the command ends: the next one, another process, prints only what is new.
func TestNextProcessPrintsOnlyWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	arguments := []string{"-dir", dir, "-topic", "t", "-group", "g", "-by", "city", "-members", "2"}
	produce(t, dir, 30)
	status, stdout, stderr := command(t, "", arguments...)
	require.Zero(t, status, stderr)
	require.Equal(t, "city-0 10\ncity-1 10\ncity-2 10\n", stdout)
	status, stdout, stderr = command(t, "", arguments...)
	require.Zero(t, status, stderr)
	require.Empty(t, stdout)
	status, _, stderr = command(t, "", "-dir", dir, "-topic", "nowhere", "-group", "g", "-by", "city")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "nowhere")
}
