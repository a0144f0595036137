package consumer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
)

// A transaction is given the offset behind what has been yielded, however it was.
func TestTransactionGetsTheOffsetsBehindWhatWasYielded(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 20)
	for name, read := range map[string]func(*testing.T, *consumer.Consumer, func()){
		"in a loop body": func(t *testing.T, c *consumer.Consumer, f func()) {
			for r, err := range c.Records(t.Context()) {
				require.NoError(t, err)
				if r.Offset == 4 {
					f()
					break
				}
			}
		},
		"after a poll": func(t *testing.T, c *consumer.Consumer, f func()) {
			require.Len(t, poll(t, c), 5)
			f()
		},
		"of a borrowed run": func(t *testing.T, c *consumer.Consumer, f func()) {
			run, err := c.PollBorrowed(t.Context())
			require.NoError(t, err)
			for r, err := range run.All() {
				require.NoError(t, err)
				if r.Offset == 5 { // 4 is behind
					break
				}
			}
			f()
			run.Release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := group.Open(store, name, group.Config{})
			require.NoError(t, err)
			c := join(t, g, consumer.Config{Commit: consumer.CommitManual, MaxPollRecords: 5})
			read(t, c, func() {
				of, membership, offsets, err := c.TxnOffsets()
				require.NoError(t, err)
				require.Equal(t, g, of)
				require.Equal(t, name, membership.Group)
				require.NotEmpty(t, membership.MemberID)
				require.EqualValues(t, 5, offsets[at("t", 0)].Offset)
				require.False(t, offsets[at("t", 0)].TopicID.IsZero())
				c.TxnEnded(true)
			})
			_, _, offsets, err := c.TxnOffsets()
			require.NoError(t, err)
			if name != "of a borrowed run" {
				require.Empty(t, offsets, "they are committed")
			}
		})
	}
}

// After an abort everything since the last commit is yielded again, and after a Seek everything since that.
func TestAbortedTransactionGoesBackToWhatWasCommitted(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 20)
	for _, how := range []string{"poll", "records"} {
		g, err := group.Open(store, how, group.Config{})
		require.NoError(t, err)
		c := join(t, g, consumer.Config{Commit: consumer.CommitManual, MaxPollRecords: 5})
		next := func() (got []string) {
			if how == "poll" {
				return poll(t, c)
			}
			for r, err := range c.Records(t.Context()) {
				require.NoError(t, err)
				if got = append(got, string(r.Value)); len(got) == 5 {
					_, _, _, err := c.TxnOffsets()
					require.NoError(t, err)
					c.TxnEnded(false)
					break
				}
			}
			return got
		}
		if how == "records" {
			require.Equal(t, texts(0, 5), next())
			require.Equal(t, texts(0, 5), next())
			continue
		}
		require.Equal(t, texts(0, 5), next())
		_, _, _, err = c.TxnOffsets()
		require.NoError(t, err)
		c.TxnEnded(true)
		require.Equal(t, texts(5, 5), next())
		require.Equal(t, texts(10, 5), next())
		_, _, offsets, err := c.TxnOffsets()
		require.NoError(t, err)
		require.EqualValues(t, 15, offsets[at("t", 0)].Offset)
		c.TxnEnded(false)
		require.Equal(t, texts(5, 5), next())
		require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(2)))
		require.Equal(t, texts(2, 5), next())
		c.TxnEnded(false)
		require.Equal(t, texts(2, 5), next())
	}
}

// Records of a partition that was revoked before they were committed must not be half of a transaction.
func TestTransactionOfARevokedPartitionIsRefused(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 20)
	write(t, store, "t", 1, 0, 20)
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{Commit: consumer.CommitManual, MaxPollRecords: 30})
	for range 2 {
		poll(t, c)
	}
	b := join(t, g, consumer.Config{Commit: consumer.CommitManual, Until: consumer.UntilEnd()})
	write(t, store, "t", 0, 20, 20)
	write(t, store, "t", 1, 20, 20)
	until(t, c.Wanted)
	poll(t, c)
	until(t, func() bool { return len(c.Assignment()) == 1 })
	_, _, _, err := c.TxnOffsets()
	require.ErrorIs(t, err, group.ErrIllegalGeneration)
	c.TxnEnded(false)
	require.NotEmpty(t, poll(t, c))
	_, _, offsets, err := c.TxnOffsets()
	require.NoError(t, err)
	require.Len(t, offsets, 1)
	require.NoError(t, b.Close())
}

// A member that commits by itself would commit records of a transaction that may be aborted.
func TestConsumerThatCommitsItselfHasNoOffsetsForATransaction(t *testing.T) {
	store := newStore(t, "t", 1)
	c := join(t, openGroup(t, store, group.Config{}), consumer.Config{})
	_, _, _, err := c.TxnOffsets()
	require.ErrorContains(t, err, "CommitManual")
}
