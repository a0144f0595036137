package consumer_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// drain polls until io.EOF and returns how many records came.
func drain(t *testing.T, c *consumer.Consumer) (n int) {
	t.Helper()
	for {
		records, err := c.Poll(t.Context())
		if err == io.EOF {
			return n
		}
		require.NoError(t, err)
		n += len(records)
	}
}

// records counts the records of a borrowed run and releases it.
func records(t *testing.T, run *consumer.Borrowed) (n int) {
	t.Helper()
	for _, err := range run.All() {
		require.NoError(t, err)
		n++
	}
	run.Release()
	return n
}

// A member that was told that it has read everything may not have closed yet when another leaves before its own end. Were it given
// that one's partitions, whoever comes next would see them in good hands, and nobody would read them.
func TestWhatALeaverHasNotReadIsLeftToWhoHasNotFinished(t *testing.T) {
	for name, config := range map[string]group.Config{
		"cooperative": {},
		"eager":       {Assignors: []group.Assignor{group.Range}},
		"static":      {InstanceID: "first"},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			store := newStore(t, "t", 2)
			write(t, store, "t", 0, 0, 10)
			write(t, store, "t", 1, 10, 10)
			bounded := consumer.Config{Until: consumer.UntilEnd(), MaxPollRecords: 4, Commit: consumer.CommitManual}
			first := join(t, openGroup(t, store, config), bounded)
			config.InstanceID = ""
			g := openGroup(t, store, config)
			second := join(t, g, bounded)
			synctest.Wait()
			require.Len(t, first.Assignment(), 1)
			require.Len(t, second.Assignment(), 1)
			require.Len(t, poll(t, second), 4)
			require.Equal(t, 10, drain(t, first))
			require.NoError(t, first.Commit(t.Context()))
			require.NoError(t, second.Close())
			synctest.Wait()
			third := join(t, g, bounded)
			require.Equal(t, 10, drain(t, third), "what the second member had")
			require.Zero(t, drain(t, first), "finished is finished")
			require.Empty(t, first.Assignment())
		})
	}
}

func TestWhatIsCommittedBehindTheEndCounts(t *testing.T) {
	for name, config := range map[string]group.Config{
		"cooperative": {},
		"eager":       {Assignors: []group.Assignor{group.Range}},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			store := newStore(t, "t", 2)
			write(t, store, "t", 0, 0, 10)
			write(t, store, "t", 1, 10, 10)
			bounded := consumer.Config{Until: consumer.UntilEnd(), Commit: consumer.CommitManual}
			first := join(t, openGroup(t, store, config), bounded)
			g := openGroup(t, store, config)
			second := join(t, g, bounded)
			synctest.Wait()
			require.Equal(t, 20, drain(t, first)+drain(t, second))
			require.NoError(t, second.Commit(t.Context()))
			require.NoError(t, second.Close())
			synctest.Wait() // the first makes something of what it has read
			require.Len(t, first.Assignment(), 1)
			require.Zero(t, drain(t, first), "finished is finished")
			require.NoError(t, first.Commit(t.Context()))
			require.Equal(t, map[partition.TopicPartition]partition.Offset{at("t", 0): 10, at("t", 1): 10}, committed(t, g))
			synctest.Wait()
			require.Empty(t, first.Assignment())
			require.Zero(t, drain(t, first))
		})
	}
}

func TestWhoReadsOnBehindTheEndHasNotFinished(t *testing.T) {
	for name, read := range map[string]func(*testing.T, *consumer.Consumer) int{
		"Poll": drain,
		"PollBorrowed": func(t *testing.T, c *consumer.Consumer) (n int) {
			for {
				run, err := c.PollBorrowed(t.Context())
				if err == io.EOF {
					return n
				}
				require.NoError(t, err)
				n += records(t, run)
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name)
			store := newStore(t, "t", 2)
			write(t, store, "t", 0, 0, 10)
			write(t, store, "t", 1, 10, 10)
			g := openGroup(t, store, group.Config{})
			c := join(t, g, consumer.Config{Until: consumer.UntilEnd(), MaxPollRecords: 10})
			require.Equal(t, 20, read(t, c))
			require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(0)))
			require.NoError(t, c.Seek(at("t", 1), consumer.AtOffset(0)))
			n := 0
			if name == "Poll" {
				n = len(poll(t, c))
			} else {
				run, err := c.PollBorrowed(t.Context())
				require.NoError(t, err)
				n = records(t, run)
			}
			require.Positive(t, n)
			other := join(t, openGroup(t, store, group.Config{}), consumer.Config{Until: consumer.UntilEnd()})
			defer other.Close()
			synctest.Wait()
			got := make(chan int)
			go func() { got <- drain(t, other) }()
			n += read(t, c)
			require.Equal(t, 20, n+<-got)
		})
	}
}

func TestAMemberThatCannotComeBackIsToldWhyAndNotThatItHasReadAll(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			store := newStore(t, "t", 2)
			write(t, store, "t", 0, 0, 10)
			write(t, store, "t", 1, 10, 10)
			broken := errors.New("the host's table is not there")
			asked := 0
			start := func(_ context.Context, _ group.Membership, _ []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
				if asked++; asked > 1 {
					return nil, broken
				}
				return nil, nil
			}
			eager := group.Config{Assignors: []group.Assignor{group.Range}}
			c, err := consumer.Join(t.Context(), openGroup(t, store, eager), consumer.Config{Topics: []string{"t"}, Until: consumer.UntilEnd(), Start: start, MaxPollRecords: 2})
			require.NoError(t, err)
			require.Len(t, poll(t, c), 2)
			g := openGroup(t, store, eager)
			var other sync.WaitGroup
			other.Go(func() {
				c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
				if assert.NoError(t, err) {
					assert.NoError(t, c.Close())
				}
			})
			synctest.Wait() // it waits for what has been polled
			for err == nil {
				_, err = c.Poll(t.Context())
			}
			require.ErrorIs(t, err, broken)
			require.NoError(t, c.Close())
			other.Wait()
		})
	}
}
