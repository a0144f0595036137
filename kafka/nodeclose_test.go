package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/partition"
)

// A client may give its acks=all an hour; a server that is closed does not.
func TestCloseDoesNotWaitForReplicasThatDoNotAnswer(t *testing.T) {
	c := newNodes(t, 3)
	c.createTopic("orders", 1, 3)
	c.produce("orders", 0, 1)
	leader := c.topic("orders", -1)[0].Leader
	store, tp := c.local.Node(leader).Store(), partition.TopicPartition{Topic: "orders"}
	before, err := store.Size(c.ctx, tp)
	require.NoError(t, err)
	patient := c.client(kgo.DefaultProduceTopic("orders"), kgo.ProduceRequestTimeout(time.Hour), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	require.NoError(t, patient.Ping(c.ctx))
	c.local.CutOff(leader)
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	patient.Produce(ctx, kgo.StringRecord("late"), nil)
	for size := before; size == before; time.Sleep(10 * time.Millisecond) {
		require.NoError(t, c.ctx.Err(), "nobody has written")
		size, err = store.Size(c.ctx, tp)
		require.NoError(t, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- c.servers[leader].Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-c.ctx.Done():
		t.Fatal("it waits")
	}
}
