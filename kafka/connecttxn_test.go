package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/producer/txn"
)

// useTransactionVersion finalizes a level of transaction.version in the cluster.
func useTransactionVersion(t testing.TB, c *Cluster, level int16) {
	t.Helper()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.TimeoutMillis = 30_000
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel, u.UpgradeType = "transaction.version", level, 1
	if level < c.txnVersion {
		u.UpgradeType = 2 // a safe downgrade
	}
	req.FeatureUpdates = append(req.FeatureUpdates, u)
	resp, err := request[*kmsg.UpdateFeaturesResponse](eventually(t), c, req)
	require.NoError(t, err)
	require.Zero(t, resp.ErrorCode, text(resp.ErrorMessage))
	for _, r := range resp.Results {
		require.Zero(t, r.ErrorCode, text(r.ErrorMessage))
	}
}

// Every record is moved from one topic to another exactly once, although transactions are aborted in between and every
// consumer and producer lasts for a few only. With transaction.version 2, and with 1, where partitions are added by the client.
func TestExactlyOnceOverACluster(t *testing.T) {
	for _, version := range []int16{1, 2} {
		t.Run(fmt.Sprintf("transaction.version %d", version), func(t *testing.T) {
			addr := somewhere(t, 3)
			setup := connect(t, addr, ConnectConfig{})
			if setup.txnVersion != version {
				useTransactionVersion(t, setup, version)
			}
			ctx := eventually(t)
			var cluster *Cluster
			for cluster == nil || cluster.txnVersion != version { // brokers hear of it a moment later
				cluster = connect(t, addr, ConnectConfig{})
			}
			fresh(t, cluster, "from", 3)
			fresh(t, cluster, "to", 2)
			const records = 60
			p, err := producer.New(cluster, producer.Config{})
			require.NoError(t, err)
			for i := range records {
				_, err := p.Send(ctx, producer.Record{Topic: "from", Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
				require.NoError(t, err)
			}
			require.NoError(t, p.Close())
			g, err := group.Open(cluster, fmt.Sprintf("mover-%d", version), group.Config{})
			require.NoError(t, err)
			moved := 0
			for round := 0; moved < records; round++ {
				moved += move(ctx, t, cluster, g, round, records-moved)
			}
			require.Equal(t, records, moved)
			for ended := false; !ended; { // which is answered before the markers are written
				d, err := txn.Describe(ctx, cluster, "mover")
				require.NoError(t, err)
				ended = d.State == txn.CompleteCommit || d.State == txn.CompleteAbort
			}
			seen := make(map[string]int)
			c, err := consumer.Assign(ctx, cluster, []consumer.Assignment{
				{TopicPartition: partition.TopicPartition{Topic: "to", Partition: 0}, Until: consumer.UntilEnd()},
				{TopicPartition: partition.TopicPartition{Topic: "to", Partition: 1}, Until: consumer.UntilEnd()},
			}, consumer.Config{Isolation: consumer.ReadCommitted})
			require.NoError(t, err)
			for r, err := range c.Records(ctx) {
				require.NoError(t, err)
				seen[string(r.Value)]++
			}
			require.NoError(t, c.Close())
			require.Len(t, seen, records)
			for v, n := range seen {
				require.Equal(t, 1, n, v)
			}
			listed, err := txn.List(ctx, cluster, txn.Filter{})
			require.NoError(t, err)
			require.Contains(t, fmt.Sprint(listed), "mover")
		})
	}
}

var errChanged = errors.New("changed my mind")

// move moves some of the records that are left, and aborts one transaction.
func move(ctx context.Context, t testing.TB, cluster *Cluster, g *group.ConsumerGroup, round, left int) (moved int) {
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"from"}, Commit: consumer.CommitManual, Isolation: consumer.ReadCommitted})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	p, err := producer.New(cluster, producer.Config{TransactionalID: "mover"}) // fences the one before
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	for i := range 4 {
		n := 0
		err := p.TransactFrom(ctx, c, func(tx *producer.Tx) error {
			records, err := c.Poll(ctx)
			if err != nil {
				return err
			}
			for _, r := range records[:min(len(records), 10)] {
				if _, err := tx.Send(ctx, producer.Record{Topic: "to", Key: r.Key, Value: r.Value}); err != nil {
					return err
				}
			}
			n = len(records)
			for _, r := range records[min(len(records), 10):] {
				tx.SendAsync(ctx, producer.Record{Topic: "to", Key: r.Key, Value: r.Value}, nil)
			}
			if i == round%4 {
				return errChanged
			}
			return nil
		})
		if i == round%4 {
			require.ErrorIs(t, err, errChanged)
			continue
		}
		require.NoError(t, err)
		if moved += n; moved >= left {
			break
		}
	}
	return moved
}

func TestOlderTransactionalProducerIsFencedOverACluster(t *testing.T) {
	cluster := connect(t, somewhere(t, 1), ConnectConfig{})
	ctx := eventually(t)
	fresh(t, cluster, "fence", 1)
	older, err := producer.New(cluster, producer.Config{TransactionalID: "fence"})
	require.NoError(t, err)
	send := func(p *producer.Producer, v string) error {
		return p.Transact(ctx, func(tx *producer.Tx) error {
			_, err := tx.Send(ctx, producer.Record{Topic: "fence", Value: []byte(v)})
			return err
		})
	}
	require.NoError(t, send(older, "a"))
	newer, err := producer.New(cluster, producer.Config{TransactionalID: "fence"})
	require.NoError(t, err)
	require.NoError(t, send(newer, "b"))
	require.ErrorIs(t, send(older, "c"), producer.ErrProducerFenced)
	require.NoError(t, older.Close())
	require.NoError(t, send(newer, "d"))
	require.NoError(t, newer.Close())
	producers, err := txn.Producers(ctx, cluster, partition.TopicPartition{Topic: "fence"})
	require.NoError(t, err)
	require.Len(t, producers, 1)
	require.ErrorIs(t, txn.Abort(ctx, cluster, "fence"), partition.ErrInvalidTxnState)
	_, err = txn.Describe(ctx, cluster, "nobody")
	require.ErrorIs(t, err, partition.ErrTransactionalIDNotFound)
}
