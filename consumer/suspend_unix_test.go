//go:build unix

package consumer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

const (
	suspendEnv = "PARTLOG_TEST_SUSPENDED" // the store's directory: this process is the one to be suspended
	pollLimit  = 15 * time.Second         // long enough for an answer of the parent on a busy machine
	suspension = 17 * time.Second
)

// A process that was stopped by a signal, with a record in a loop body's hands, for longer than max.poll.interval, wakes up to members
// that are still members: only the time in which it ran counts.
func TestSuspendedProcessExpelsNoMemberOfItsOwnOnWaking(t *testing.T) {
	if dir := os.Getenv(suspendEnv); dir != "" {
		if err := consumeOnCommand(dir, os.Stdin, os.Stderr); err != nil {
			t.Fatal(err)
		}
		return
	}
	if testing.Short() {
		t.Skip("takes seconds of real time")
	}
	child := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	child.Env = append(os.Environ(), suspendEnv+"="+t.TempDir())
	in, err := child.StdinPipe()
	require.NoError(t, err)
	said, err := child.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer child.Wait()
	defer child.Process.Kill()
	lines := bufio.NewScanner(said)
	for i := range 3 {
		require.True(t, lines.Scan(), "the child ended before record %d", i)
		require.Equal(t, fmt.Sprintf("record %d", i), lines.Text())
		if i == 1 {
			require.NoError(t, child.Process.Signal(syscall.SIGSTOP))
			over := make(chan struct{})
			clock.System.AfterFunc(suspension, func() { close(over) })
			<-over
			require.NoError(t, child.Process.Signal(syscall.SIGCONT))
		}
		_, err := io.WriteString(in, "next\n")
		require.NoError(t, err)
	}
	require.NoError(t, child.Wait())
}

// consumeOnCommand is the child: a member of a group that finishes one record for each line of in.
func consumeOnCommand(dir string, in io.Reader, out io.Writer) error {
	ctx := context.Background()
	store, err := partition.Open(dir, partition.Config{})
	if err != nil {
		return err
	}
	defer store.Close()
	if _, err := store.CreateTopic(ctx, "t", partition.TopicConfig{Partitions: 1}); err != nil {
		return err
	}
	for i := range 3 {
		record := partitiontest.Record{Timestamp: clock.System.Now().UnixMilli(), Value: fmt.Append(nil, i)}
		_, err := store.Append(ctx, partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: "t"}, Batch: partitiontest.Batch(record)})
		if err != nil {
			return err
		}
	}
	g, err := group.Open(store, "g", group.Config{RebalanceTimeout: pollLimit})
	if err != nil {
		return err
	}
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}, Until: consumer.UntilEnd()})
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for r, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "record %s\n", r.Value)
		if !lines.Scan() {
			return io.ErrUnexpectedEOF
		}
	}
	return c.Close()
}
