package consumer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

func TestPatternMatchesWholeNamesOfTopicsThatAreNotInternal(t *testing.T) {
	store := newStore(t, "orders.eu", 1)
	for _, topic := range []string{"orders.us", "all.orders.us", "orders.us.dead"} {
		_, err := store.CreateTopic(t.Context(), topic, partition.TopicConfig{Partitions: 1})
		require.NoError(t, err)
	}
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{Topics: []string{}, Pattern: `orders\.[a-z]+|__.*`})
	require.ElementsMatch(t, []partition.TopicPartition{at("orders.eu", 0), at("orders.us", 0)}, c.Assignment())
	require.NoError(t, c.Close()) // the offsets topic is there by now
	c = join(t, g, consumer.Config{Topics: []string{}, Pattern: "nothing|__.*"})
	require.Empty(t, c.Assignment())
}

func TestTopicsThatComeAndGoChangeAPatternsSubscription(t *testing.T) {
	store := newStore(t, "a", 1)
	time := clock.NewManual(timeZero)
	g := openGroup(t, store, group.Config{RebalanceTimeout: 20 * 24 * 3600e9}) // the clock runs, and nobody reads
	c := join(t, g, consumer.Config{Topics: []string{}, Pattern: "[ab]", Clock: time})
	require.Len(t, c.Assignment(), 1)
	_, err := store.CreateTopic(t.Context(), "b", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	passing(t, time, 5e9, func() bool { return len(c.Assignment()) == 3 })
	require.NoError(t, store.DeleteTopic(t.Context(), "a"))
	passing(t, time, 5e9, func() bool { return len(c.Assignment()) == 2 })
}

func TestPatternThatDoesNotCompileIsRefused(t *testing.T) {
	store := newStore(t, "t", 1)
	g := openGroup(t, store, group.Config{})
	for _, bad := range []string{"(", ")(", "[z-a]"} {
		_, err := consumer.Join(t.Context(), g, consumer.Config{Pattern: bad})
		require.ErrorIs(t, err, partition.ErrInvalidConfig, bad)
	}
	_, err := consumer.Join(t.Context(), g, consumer.Config{Pattern: "t", Topics: []string{"t"}})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	_, err = consumer.Assign(t.Context(), store, nil, consumer.Config{Pattern: "t"})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
}
