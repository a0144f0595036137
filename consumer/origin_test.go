package consumer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// A group that starts at latest skips what was there, once: wherever a partition goes afterwards, with or without a
// record read of it, and whoever commits.
func TestGroupStartsAtLatestOnceAndSkipsNothingAfterwards(t *testing.T) {
	for _, mode := range []consumer.CommitMode{consumer.CommitFinished, consumer.CommitManual} {
		for _, reset := range []consumer.Config{{Reset: consumer.ResetLatest}, {Reset: consumer.ResetByDuration, ResetDuration: time.Second}} {
			store := newStore(t, "t", 2)
			writeAt(t, store, "t", 0, timeZero, texts(0, 5)...)
			writeAt(t, store, "t", 1, timeZero, texts(100, 5)...)
			g := openGroup(t, store, group.Config{})
			reset.Commit = mode
			first := join(t, g, reset)
			require.NoError(t, first.Close()) // has read nothing
			write(t, store, "t", 0, 5, 5)
			write(t, store, "t", 1, 105, 5)
			reset.Until = consumer.UntilEnd()
			second := join(t, g, reset)
			require.ElementsMatch(t, append(texts(5, 5), texts(105, 5)...), all(t, second))
			require.NoError(t, second.Close())
		}
	}
}

// Partitions and topics that come to a group which starts at latest are read from their first record, by a member that was
// there, by one that comes with them, and by one that comes after a restart of the group.
func TestNewPartitionsAreReadFromTheirFirstRecordInAGroupAtLatest(t *testing.T) {
	for name, pattern := range map[string]string{"names": "", "pattern": "t|later"} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, "t", 1)
			write(t, store, "t", 0, 0, 5)
			config := consumer.Config{Reset: consumer.ResetLatest, Until: consumer.Bound{}, Pattern: pattern}
			if pattern == "" {
				config.Topics = []string{"t", "later"}
			} else {
				config.Topics = []string{}
			}
			time := clock.NewManual(timeZero)
			config.Clock = time
			g := openGroup(t, store, group.Config{RebalanceTimeout: 20 * 24 * 3600e9}) // the clock runs
			a := join(t, g, config)
			require.NoError(t, store.CreatePartitions(t.Context(), "t", 2))
			write(t, store, "t", 1, 10, 2)
			_, err := store.CreateTopic(t.Context(), "later", partition.TopicConfig{Partitions: 1})
			require.NoError(t, err)
			write(t, store, "later", 0, 20, 2)

			bounded := config
			bounded.Until = consumer.UntilEnd()
			b := join(t, g, bounded) // before a has noticed
			got := make(chan []string, 2)
			for _, c := range []*consumer.Consumer{a, b} {
				go func() {
					var values []string
					for r, err := range c.Records(context.Background()) {
						if err != nil {
							if !errors.Is(err, consumer.ErrClosed) {
								t.Error(err)
							}
							break
						}
						values = append(values, string(r.Value))
					}
					got <- values
				}()
			}
			passing(t, time, 1e9, func() bool {
				done := committed(t, g)
				return done[at("t", 1)] == 2 && done[at("later", 0)] == 2
			})
			require.NoError(t, a.Close())
			require.NoError(t, b.Close())
			require.ElementsMatch(t, append(texts(10, 2), texts(20, 2)...), append(<-got, <-got...))

			// While nobody is there.
			require.NoError(t, store.CreatePartitions(t.Context(), "t", 3))
			write(t, store, "t", 2, 30, 2)
			want := texts(30, 2)
			if pattern != "" {
				require.NoError(t, store.DeleteTopic(t.Context(), "later"))
				_, err := store.CreateTopic(t.Context(), "later", partition.TopicConfig{Partitions: 1})
				require.NoError(t, err)
				write(t, store, "later", 0, 40, 2)
				want = append(want, texts(40, 2)...)
			}
			c := join(t, g, bounded)
			require.ElementsMatch(t, want, all(t, c))
		})
	}
}

// A topic that the group has never read is started as Reset says, also if the group has read others.
func TestTopicThatIsNewToTheSubscriptionStartsWhereResetSays(t *testing.T) {
	store := newStore(t, "t", 1)
	_, err := store.CreateTopic(t.Context(), "old", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	write(t, store, "old", 0, 0, 5)
	g := openGroup(t, store, group.Config{})
	require.NoError(t, join(t, g, consumer.Config{Reset: consumer.ResetLatest}).Close())
	c := join(t, g, consumer.Config{Reset: consumer.ResetLatest, Topics: []string{"t", "old"}, Until: consumer.UntilEnd()})
	require.Empty(t, all(t, c))
}

func TestResetByDurationStartsAtTheFirstRecordThatIsNotOlder(t *testing.T) {
	store := newStore(t, "t", 1)
	for i := range 10 {
		writeAt(t, store, "t", 0, timeZero.Add(time.Duration(i)*time.Minute), texts(i, 1)...)
	}
	g := openGroup(t, store, group.Config{})
	config := consumer.Config{
		Reset: consumer.ResetByDuration, ResetDuration: 3 * time.Minute, Until: consumer.UntilEnd(),
		Clock: clock.NewManual(timeZero.Add(9 * time.Minute)),
	}
	require.Equal(t, texts(6, 4), all(t, join(t, g, config)))
	config.Until = consumer.Bound{}
	c := assign(t, store, config, consumer.Assignment{TopicPartition: at("t", 0), From: consumer.AtOffset(1000)})
	require.Equal(t, texts(6, 1), poll(t, c)[:1], "out of range")
	_, err := consumer.Assign(t.Context(), store, nil, consumer.Config{Reset: consumer.ResetByDuration})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
}
