package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The defaults are those of Kafka's consumer, but for those that are told to differ, each in its field's comment.
func TestDefaultsAreKafkasButForThoseThatSayOtherwise(t *testing.T) {
	c := Config{}.withDefaults()
	require.Equal(t, 500, c.MaxPollRecords)
	require.Equal(t, 1, c.MinBytes)
	require.Equal(t, 500*time.Millisecond, c.MaxWait)
	require.Equal(t, 52428800, c.MaxBytes)
	require.Equal(t, 1048576, c.MaxPartitionBytes)
	require.Equal(t, ReadUncommitted, c.Isolation)

	require.Equal(t, ResetEarliest, c.Reset)          // Kafka: latest
	require.Equal(t, CommitFinished, c.Commit)        // Kafka: what was polled
	require.Equal(t, time.Second, c.CommitInterval)   // Kafka: 5 s
	require.Equal(t, 5*time.Second, c.MetadataMaxAge) // Kafka: 5 min
	require.Equal(t, 4<<20, c.PrefetchBytes)          // Kafka: one fetch ahead
}
