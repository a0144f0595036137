package replication

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/producer/txn"
)

// TestATransactionThatHangsAfterAnUncleanElectionIsFoundAndEnded: the marker of a transaction was written by a leader that was alone in the ISR, and is lost with it, as the
// topic allows (unclean.leader.election.enable). In the new leader's log the transaction is open for ever, while its coordinator has it committed: read_committed
// stops there. It is found by what the partition and the coordinator say, and ended by a marker.
func TestATransactionThatHangsAfterAnUncleanElectionIsFoundAndEnded(t *testing.T) {
	var unclean atomic.Int32
	l := local(t, LocalConfig{Change: func(c *Config) {
		c.SessionTimeout, c.HeartbeatInterval = time.Second, 100*time.Millisecond
		c.Events.UncleanElection = func(partition.TopicPartition, int32, partition.LeaderEpoch) { unclean.Add(1) }
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{
		Assignment: [][]int32{{1, 2}}, MinInsyncReplicas: 1, Extra: map[string]string{"unclean.leader.election.enable": "true"},
	})
	require.NoError(t, err)
	p := produce(t, l.Node(3), producer.Config{TransactionalID: "billing"})
	require.NoError(t, p.Transact(ctx, func(tx *producer.Tx) error { // so that the coordinator's topic is there, and led
		_, err := tx.Send(ctx, producer.Record{Topic: orders.Topic, Value: []byte("first")})
		return err
	}))
	var end partition.Offset
	require.NoError(t, p.Transact(ctx, func(tx *producer.Tx) error {
		if _, err := tx.Send(ctx, producer.Record{Topic: orders.Topic, Value: []byte("second")}); err != nil {
			return err
		}
		eventually(ctx, t, "the record is on both", func() bool {
			one, two := copyOf(t, l.Node(1), orders), copyOf(t, l.Node(2), orders)
			return len(one) > 0 && one[len(one)-1] == "second" && len(two) == len(one)
		})
		require.NoError(t, l.Stop(2))
		eventually(ctx, t, "1 leads alone", func() bool {
			p := info(ctx, t, l.Node(3), orders)
			return p.Leader == 1 && len(p.ISR) == 1
		})
		return nil
	}))
	eventually(ctx, t, "the transaction is over", func() bool {
		all, err := l.Node(3).DescribeTransactions(ctx, []string{"billing"})
		if err != nil || all[0].Err != nil || all[0].State != txn.CompleteCommit {
			return false
		}
		results, err := l.Node(1).Store().Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: orders, LeaderEpoch: -1}}})
		if err != nil || results[0].Err != nil {
			return false
		}
		end = results[0].HighWatermark
		results[0].Lease.Release()
		return results[0].LastStable == end && end > 0
	})
	require.NoError(t, l.Stop(1))
	_, err = l.Start(2)
	require.NoError(t, err)
	eventually(ctx, t, "2 is elected, which misses the marker", func() bool { return info(ctx, t, l.Node(3), orders).Leader == 2 })
	three := l.Node(3)
	var found []txn.Hanging
	eventually(ctx, t, "the transaction is found", func() bool {
		found, err = txn.FindHanging(ctx, three, txn.Search{Topics: []string{orders.Topic}, OlderThan: time.Nanosecond})
		return err == nil && len(found) > 0
	})
	require.Len(t, found, 1)
	require.Equal(t, orders, found[0].TopicPartition)
	eventually(ctx, t, "the election is told", func() bool { return unclean.Load() > 0 })
	stable := func() (stable, high partition.Offset) {
		results, err := three.Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: orders, LeaderEpoch: -1}}})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
		results[0].Lease.Release()
		return results[0].LastStable, results[0].HighWatermark
	}
	eventually(ctx, t, "readers wait for it", func() bool {
		at, high := stable()
		return at == found[0].Producer.TxnStart && high > at
	})
	require.NoError(t, three.AbortHanging(ctx, orders, found[0].Producer))
	eventually(ctx, t, "readers go on", func() bool {
		at, high := stable()
		return at == high && high == end // the marker has taken the place of the lost one
	})
	require.ErrorIs(t, three.AbortHanging(ctx, orders, found[0].Producer), partition.ErrInvalidTxnState)
}
