package replication

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// Whoever hands a node over while it is closed, once or twice, is not left waiting, and the others lead.
func TestHandOverBesideCloseEnds(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	whole(ctx, t, l.Node(1), "orders")
	n := l.Node(1)
	var all sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		all.Go(func() { errs[i] = n.HandOver(ctx) })
	}
	require.NoError(t, l.Stop(1))
	all.Wait()
	for _, err := range errs {
		require.True(t, err == nil || errors.Is(err, ErrClosed) || errors.Is(err, ErrNoQuorum), "%v", err)
		require.NoError(t, ctx.Err())
	}
	require.ErrorIs(t, n.HandOver(ctx), ErrClosed)
	book := &ledger{t: t, topic: "orders"}
	_, err = book.write(ctx, produce(t, l.Node(2), producer.Config{}), 10)
	require.NoError(t, err)
	book.check(ctx, l.Node(3))
}
