package consumer_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Each bad value is refused by Assign and by Join, and the error names the setting, the value and what is allowed.
func TestBadConfigIsRefusedByNameValueAndRange(t *testing.T) {
	store := newStore(t, "t", 1)
	g := openGroup(t, store, group.Config{})
	const number = " to 2147483647"
	for _, c := range []struct {
		config            consumer.Config
		key, value, allow string
	}{
		{consumer.Config{MaxPollRecords: -1}, "max.poll.records", "-1", "1" + number},
		{consumer.Config{MaxPollRecords: math.MaxInt32 + 1}, "max.poll.records", "2147483648", "1" + number},
		{consumer.Config{MinBytes: -5}, "fetch.min.bytes", "-5", "1" + number},
		{consumer.Config{MaxBytes: -1}, "fetch.max.bytes", "-1", "1" + number},
		{consumer.Config{MaxBytes: math.MaxInt32 + 1}, "fetch.max.bytes", "2147483648", "1" + number},
		{consumer.Config{MaxPartitionBytes: -1}, "max.partition.fetch.bytes", "-1", "1" + number},
		{consumer.Config{PrefetchBytes: -2}, "PrefetchBytes", "-2", "-1" + number},
		{consumer.Config{CommitInterval: -2}, "auto.commit.interval.ms", "-2ns", "more than 0, or NoInterval"},
		{consumer.Config{MaxWait: -time.Second}, "fetch.max.wait.ms", "-1s", "0 or more"},
		{consumer.Config{MetadataMaxAge: -1}, "metadata.max.age.ms", "-1ns", "more than 0"},
		{consumer.Config{Reset: 4}, "auto.offset.reset", "4", "ResetEarliest, ResetLatest, ResetNone or ResetByDuration"},
		{consumer.Config{OnCorruption: 2}, "OnCorruption", "2", "Stop or Skip"},
		{consumer.Config{Interceptors: []func(*consumer.Record){func(*consumer.Record) {}, nil}}, "interceptor.classes", "nil at 1", "functions"},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			refused := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, partition.ErrInvalidConfig)
				bad, ok := errors.AsType[*partition.ConfigError](err)
				require.True(t, ok)
				require.Equal(t, partition.ConfigError{Key: c.key, Value: c.value, Range: c.allow}, *bad)
				for _, part := range []string{c.key, c.value, c.allow} {
					require.ErrorContains(t, err, part)
				}
			}
			_, err := consumer.Assign(t.Context(), store, []consumer.Assignment{{TopicPartition: at("t", 0)}}, c.config)
			refused(err)
			c.config.Topics = []string{"t"}
			_, err = consumer.Join(t.Context(), g, c.config)
			refused(err)
		})
	}
	described(t, g, group.Dead, 0)
}

func TestSettingsOfTheOtherWayToReadAreRefused(t *testing.T) {
	store := newStore(t, "t", 1)
	g := openGroup(t, store, group.Config{})
	for key, c := range map[string]consumer.Config{"Topics": {Topics: []string{"t"}}, "Until": {Until: consumer.UntilEnd()}} {
		_, err := consumer.Assign(t.Context(), store, nil, c)
		bad, ok := errors.AsType[*partition.ConfigError](err)
		require.True(t, ok)
		require.Equal(t, key, bad.Key)
	}
	for value, topics := range map[string][]string{"none": nil, "t": {"t", "t"}} {
		_, err := consumer.Join(t.Context(), g, consumer.Config{Topics: topics})
		bad, ok := errors.AsType[*partition.ConfigError](err)
		require.True(t, ok)
		require.Equal(t, "Topics", bad.Key)
		require.Equal(t, value, bad.Value)
	}
	_, err := consumer.Assign(t.Context(), store, []consumer.Assignment{{TopicPartition: at("t", 0)}, {TopicPartition: at("t", 0)}}, consumer.Config{})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	_, err = consumer.Assign(t.Context(), store, []consumer.Assignment{{TopicPartition: at("t", 0), Until: consumer.UntilOffset(-1)}}, consumer.Config{})
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
}
