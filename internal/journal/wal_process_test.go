//go:build unix

package journal

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// Tests that need a process of their own run this binary again, as one of these.
const helperVariable = "PARTLOG_JOURNAL_TEST_HELPER"

// helper starts this test binary as a helper on a directory.
func helper(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
	command.Env = append(os.Environ(), helperVariable+"="+what+":"+dir)
	command.Stderr = os.Stderr
	return command
}

func TestHelperProcess(t *testing.T) {
	what, dir, ok := strings.Cut(os.Getenv(helperVariable), ":")
	if !ok {
		t.Skip("not a helper")
	}
	h := home{vfs.OS, dir}
	j, c, _, err := h.open()
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	switch what {
	case "append": // until killed
		for {
			e := nextEntry(c)
			index, err := j.Append(e.Kind, e.Payload)
			if err != nil {
				fmt.Println("append:", err)
				os.Exit(1)
			}
			_ = c.apply(e)
			fmt.Println(index)
			if index%16 == 0 {
				if err := j.Compact(c.encode()); err != nil {
					fmt.Println("compact:", err)
					os.Exit(1)
				}
			}
		}
	case "full": // files may not grow beyond a limit, which is a disk without room but for the error's number
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 150, Max: math.MaxUint64}
		var before syscall.Rlimit
		_ = syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before)
		limit.Max = before.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println("setrlimit:", err)
			os.Exit(1)
		}
		var failure error
		for failure == nil {
			e := nextEntry(c)
			var index uint64
			if index, failure = j.Append(e.Kind, e.Payload); failure == nil {
				_ = c.apply(e)
				fmt.Println(index)
			}
		}
		fmt.Println("failed:", failure)
		_ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before)
		// There is room again. Bare wal takes the same index once more here, and answers reads with the first attempt.
		_, err := j.Append(1, []byte("retry"))
		fmt.Println("retry:", err)
		known := len(c.lines)
		_, err = j.Reopen(c.apply)
		fmt.Println("reopen:", err, len(c.lines)-known)
		if err == nil {
			e := nextEntry(c)
			_, err = j.Append(e.Kind, e.Payload)
			fmt.Println("again:", err)
		}
		fmt.Println("close:", j.Close())
	}
	os.Exit(0)
}

func TestWalWithoutRoomAcceptsNothingUntilReopened(t *testing.T) {
	h := home{vfs.OS, join(t.TempDir(), "journal")}
	out, err := helper(t, "full", h.dir).Output()
	require.NoError(t, err, string(out))
	text := string(out)
	require.Contains(t, text, "failed: "+ErrFailed.Error())
	require.Contains(t, text, "file too large")
	require.Contains(t, text, "retry: "+ErrFailed.Error())
	require.Contains(t, text, "reopen: <nil> 0")
	require.Contains(t, text, "again: <nil>")
	require.Contains(t, text, "close: <nil>")

	acked := 0
	for line := range strings.Lines(text) {
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			acked = n
		}
	}
	want := &catalogue{}
	for range acked + 1 {
		require.NoError(t, want.apply(nextEntry(want)))
	}
	j, c, _ := h.mustOpen(t)
	require.Equal(t, want.lines, c.lines)
	h.usable(t, j, c)
}

func TestAnotherProcessIsRefusedAndAKilledOneLosesNothing(t *testing.T) {
	h := home{vfs.OS, join(t.TempDir(), "journal")}
	last := uint64(0)
	for round := range 4 {
		command := helper(t, "append", h.dir)
		pipe, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			index, err := strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err, lines.Text())
			if last++; index > last {
				require.Equal(t, last+1, index, "one entry more may have been written when it was killed")
				last = index
			}
			if index%4 == 0 {
				beside(t, h, index)
			}
			if index >= uint64(round+1)*40 {
				break
			}
		}
		_, _, _, err = h.open()
		require.ErrorIs(t, err, vfs.ErrLocked)
		require.NoError(t, command.Process.Kill())
		for lines.Scan() { // acknowledged before the end
			last, err = strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err, lines.Text())
		}
		require.Error(t, command.Wait())
		j, c, _ := h.mustOpen(t)
		require.GreaterOrEqual(t, uint64(len(c.lines)), last)
		require.LessOrEqual(t, uint64(len(c.lines)), last+1)
		requireSequence(t, c)
		last = uint64(len(c.lines))
		require.NoError(t, j.Close())
	}
}

// beside reads the journal while its writer appends, rolls and compacts.
func beside(t *testing.T, h home, atLeast uint64) {
	t.Helper()
	c := &catalogue{}
	o := h.options(c)
	o.ReadOnly = true
	_, _, err := Open(o)
	require.NoError(t, err)
	require.GreaterOrEqual(t, uint64(len(c.lines)), atLeast)
	requireSequence(t, c)
}

func requireSequence(t *testing.T, c *catalogue) {
	t.Helper()
	want := &catalogue{}
	for range c.lines {
		require.NoError(t, want.apply(nextEntry(want)))
	}
	require.Equal(t, want.lines, c.lines)
}
