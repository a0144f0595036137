package replication

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/producer/txn"
)

// A Node is whatever a store is to those who write, read and coordinate.
var (
	_ producer.Backend      = (*Node)(nil)
	_ txn.Backend           = (*Node)(nil)
	_ consumer.Source       = (*Node)(nil)
	_ group.Backend         = (*Node)(nil)
	_ partitiontest.Backend = (*Node)(nil)
	_ partition.Cluster     = seam{}
	_ group.Coordinators    = (*groups)(nil)
	_ group.Coordinator     = (*coordinator)(nil)
)

// What a leader that is cut off has written goes from its log, and to the next leader, as it was before it was written.
func TestAnAppendWhoseLeaderIsDeposedIsWrittenOnceByTheNext(t *testing.T) {
	l := local(t, LocalConfig{})
	ctx := patient(t)
	old := l.Node(1)
	_, err := old.CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
	require.NoError(t, err)
	id, err := old.InitProducerID(ctx, "", 0, partition.NoProducerID)
	require.NoError(t, err)
	numbered := func(sequence int32) partition.AppendRequest {
		var b batch.Builder
		b.Reset(nil, batch.Options{Idempotent: true, ProducerID: id.ID, Epoch: id.Epoch, BaseSequence: sequence})
		b.Append(1000, nil, fmt.Append(nil, sequence), nil)
		whole, err := b.Finish()
		require.NoError(t, err)
		return partition.AppendRequest{TopicPartition: orders, Batch: whole, Acks: partition.AcksAll}
	}
	eventually(ctx, t, "the first is acknowledged", func() bool {
		_, err := old.Append(ctx, numbered(0))
		return err == nil
	})
	whole(ctx, t, old, orders.Topic)
	if info(ctx, t, old, orders).Leader != 1 {
		t.Skip("a machine this slow has let another node lead already")
	}
	l.CutOff(1)
	done := make(chan error, 1)
	go func() {
		_, err := old.Append(ctx, numbered(1))
		for errors.Is(err, partition.ErrTimeout) { // a slow machine
			_, err = old.Append(ctx, numbered(1))
		}
		done <- err
	}()
	until(ctx, t, l.Node(2), "another leads", func() bool {
		all, err := l.Node(2).PartitionsOf(ctx, orders.Topic)
		return err == nil && len(all) == 1 && all[0].Leader > 1
	})
	l.Heal()
	require.NoError(t, <-done)
	whole(ctx, t, old, orders.Topic)
	for _, n := range l.Nodes() {
		eventually(ctx, t, "a node has each batch once", func() bool { return slices.Equal(copyOf(t, n, orders), []string{"0", "1"}) })
	}
}
