package consumer_test

import (
	"io"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
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
