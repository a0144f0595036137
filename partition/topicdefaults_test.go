package partition_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func TestAlteredTopicDefaultsHoldForTopicsThatSetNothing(t *testing.T) {
	ctx := context.Background()
	s, err := partition.OpenMemory(partition.Config{Topics: partition.TopicConfig{RetentionBytes: 1000}})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.CreateTopic(ctx, "plain", partition.TopicConfig{})
	require.NoError(t, err)
	_, err = s.CreateTopic(ctx, "own", partition.TopicConfig{MaxMessageBytes: 500})
	require.NoError(t, err)
	config := func(topic string) map[string]string {
		d, err := s.DescribeTopic(ctx, topic)
		require.NoError(t, err)
		return d.Config
	}
	limit := func(topic string) int {
		m, err := s.Metadata(ctx, []string{topic})
		require.NoError(t, err)
		return m[0].MaxMessageBytes
	}

	require.NoError(t, s.AlterTopicDefaults(ctx, map[string]string{"max.message.bytes": "700", "retention.bytes": "2000"}))
	require.Equal(t, "700", config("plain")["max.message.bytes"])
	require.Equal(t, 700, limit("plain"))
	require.Equal(t, 500, limit("own"), "its own setting is stronger")
	require.Equal(t, "2000", config("own")["retention.bytes"])
	require.Equal(t, "700", s.TopicDefaults()["max.message.bytes"])
	_, err = s.CreateTopic(ctx, "later", partition.TopicConfig{})
	require.NoError(t, err)
	require.Equal(t, 700, limit("later"))

	require.ErrorIs(t, s.AlterTopicDefaults(ctx, map[string]string{"max.message.bytes": "900", "retention.bytes": "x"}), partition.ErrInvalidConfig)
	require.Equal(t, 700, limit("plain"), "all or none")

	require.NoError(t, s.AlterTopicDefaults(ctx, map[string]string{"max.message.bytes": "", "retention.bytes": ""}))
	require.Equal(t, "1048588", config("plain")["max.message.bytes"])
	require.Equal(t, "1000", config("plain")["retention.bytes"], "what the store was opened with")
}

func TestAlteredTopicDefaultsAreRefusedByAClosedStore(t *testing.T) {
	s, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.AlterTopicDefaults(context.Background(), map[string]string{"retention.ms": "1"}), partition.ErrClosed)
}
