package replication

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/partition"
)

// A cluster that began at an older level works at that one, is raised when all that are registered know the level, without a pause and for good, and remembers it.
func TestTheFeatureLevelIsRaisedWhenAllNodesKnowIt(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		c.FeatureLevel = control.LevelBase
	}})
	ctx := patient(t)
	topic(t, l, 3)
	whole(ctx, t, l.Node(1), orders.Topic)
	send(ctx, t, l.Node(2), orders, "at the old level")
	n := l.Node(3)
	levels := n.FeatureLevels()
	require.Positive(t, levels.Epoch)
	require.Equal(t, FeatureLevels{Level: control.LevelBase, Min: control.MinLevel, Max: control.MaxLevel, Epoch: levels.Epoch}, levels)

	// A node of an older program is registered, if it does not run now.
	result, err := n.propose(ctx, control.Register{
		ID: 9, Incarnation: [16]byte{9}, Addr: "old:1", MinFeature: control.LevelBase, MaxFeature: control.LevelELR, PreviousEpoch: control.NoEpoch, Replaces: control.NoEpoch,
	})
	require.NoError(t, err)
	require.Equal(t, control.OK, result.Code)
	require.Equal(t, control.LevelELR, n.FeatureLevels().Max)
	for _, set := range []func() error{
		func() error { return n.CheckFeatureLevel(ctx, control.LevelRoles) },
		func() error { return n.SetFeatureLevel(ctx, control.LevelRoles) },
		func() error {
			result, err := n.propose(ctx, control.SetFeature{Level: control.LevelRoles})
			require.NoError(t, err)
			return codeError(result.Code, result.Detail)
		},
	} {
		err := set()
		require.ErrorIs(t, err, ErrInvalidUpdateVersion)
		require.ErrorContains(t, err, "node 9 ")
	}
	require.NoError(t, n.CheckFeatureLevel(ctx, control.LevelELR))
	require.Equal(t, control.LevelBase, n.FeatureLevels().Level, "a check changes nothing")
	require.NoError(t, n.SetFeatureLevel(ctx, control.LevelELR))
	require.Equal(t, control.LevelELR, n.FeatureLevels().Level)
	require.NoError(t, n.SetFeatureLevel(ctx, control.LevelELR), "it is there already")
	require.ErrorIs(t, n.SetFeatureLevel(ctx, control.LevelBase), ErrInvalidUpdateVersion)

	require.NoError(t, n.RemoveNode(ctx, 9))
	require.ErrorIs(t, n.SetFeatureLevel(ctx, control.MaxLevel+1), ErrInvalidUpdateVersion)
	require.NoError(t, n.SetFeatureLevel(ctx, control.MaxLevel))
	for _, n := range l.Nodes() {
		until(ctx, t, n, "every node knows", func() bool {
			return n.FeatureLevels().Level == control.MaxLevel && n.Stats().Feature == control.MaxLevel
		})
	}
	send(ctx, t, l.Node(2), orders, "at the new level")
	whole(ctx, t, l.Node(1), orders.Topic)
	require.NoError(t, l.Stop(1))
	back, err := l.Start(1) // its Config says another level: that was of the new cluster
	require.NoError(t, err)
	require.NoError(t, back.Ready(ctx))
	require.Equal(t, control.MaxLevel, back.FeatureLevels().Level)
}

func TestALevelThatNobodyKnowsIsNotBegunWith(t *testing.T) {
	for level, only := range map[int16]bool{control.MaxLevel + 1: false, -1: false, control.LevelELR: true} {
		_, err := Start(Config{NodeID: 1, Listen: "127.0.0.1:0", Plaintext: true, Bootstrap: true, FeatureLevel: level, ControllerOnly: only})
		var wrong *partition.ConfigError
		require.ErrorAs(t, err, &wrong, "level %d", level)
		require.Equal(t, "FeatureLevel", wrong.Key)
	}
}
