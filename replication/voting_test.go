package replication

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestANodeKnowsWhetherItVotes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	l, err := StartLocal(ctx, LocalConfig{Nodes: 1})
	require.NoError(t, err)
	defer l.Close()
	votes, err := l.Node(1).Voting(ctx)
	require.NoError(t, err)
	require.True(t, votes)

	l.mu.Lock()
	l.config.Change = func(c *Config) { c.Observer = true }
	l.places[2] = &place{fs: l.places[1].fs, dir: "observer", address: "node-2:9192"}
	l.mu.Unlock()
	observer, err := l.Start(2)
	require.NoError(t, err)
	require.NoError(t, observer.Ready(ctx))
	votes, err = observer.Voting(ctx)
	require.NoError(t, err)
	require.False(t, votes)
	require.NoError(t, l.Close())
	_, err = observer.Voting(ctx)
	require.ErrorIs(t, err, ErrClosed)
}
