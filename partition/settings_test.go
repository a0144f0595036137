package partition

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
)

// Kafka's LogConfig: what must be compacted by max.compaction.lag.ms must have left the active segment by then.
func TestCompactedTopicRollsAtTheSmallerOfSegmentAgeAndCompactionLag(t *testing.T) {
	s := memory(t, Config{CleanerBackoff: Unlimited})
	for name, x := range map[string]struct {
		config TopicConfig
		want   time.Duration // how old a segment's first record is at most
	}{
		"lag-decides":      {TopicConfig{CleanupPolicy: CleanupCompact, SegmentAge: 2 * time.Hour, MaxCompactionLag: time.Hour}, time.Hour},
		"both":             {TopicConfig{CleanupPolicy: CleanupCompactDelete, SegmentAge: 2 * time.Hour, MaxCompactionLag: time.Hour, RetentionAge: Unlimited}, time.Hour},
		"age-decides":      {TopicConfig{CleanupPolicy: CleanupCompact, SegmentAge: time.Hour, MaxCompactionLag: 2 * time.Hour}, time.Hour},
		"no-lag":           {TopicConfig{CleanupPolicy: CleanupCompact, SegmentAge: 2 * time.Hour}, 2 * time.Hour},
		"no-age":           {TopicConfig{CleanupPolicy: CleanupCompact, SegmentAge: Unlimited, MaxCompactionLag: time.Hour}, time.Hour},
		"neither":          {TopicConfig{CleanupPolicy: CleanupCompact, SegmentAge: Unlimited}, log.Unlimited},
		"default-age":      {TopicConfig{CleanupPolicy: CleanupCompact, MaxCompactionLag: 30 * 24 * time.Hour}, 7 * 24 * time.Hour},
		"not-compacted":    {TopicConfig{SegmentAge: 2 * time.Hour, MaxCompactionLag: time.Hour, RetentionAge: Unlimited}, 2 * time.Hour},
		"of-a-millisecond": {TopicConfig{CleanupPolicy: CleanupCompact, MaxCompactionLag: time.Millisecond}, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			create(t, s, name, x.config)
			segments := func() int { return segmentsOf(t, s, name) }
			const begin = 900_000_000_000
			appendAged(t, s, name, begin)
			if x.want == log.Unlimited {
				appendAged(t, s, name, begin+(10*365*24*time.Hour).Milliseconds())
				require.Equal(t, 1, segments())
				return
			}
			age := x.want.Milliseconds()
			appendAged(t, s, name, begin+age)
			require.Equal(t, 1, segments(), "not before")
			appendAged(t, s, name, begin+age+1)
			require.Equal(t, 2, segments())
			appendAged(t, s, name, begin+2*age+1)
			require.Equal(t, 2, segments(), "the next segment's age begins with its own first record")
			appendAged(t, s, name, begin+2*age+2)
			require.Equal(t, 3, segments())
		})
	}
}

func TestTopicThatIsMadeCompactedRollsAtItsCompactionLagFromThenOn(t *testing.T) {
	s := memory(t, Config{CleanerBackoff: Unlimited})
	create(t, s, "t", TopicConfig{MaxCompactionLag: time.Hour, RetentionAge: Unlimited})
	const begin = 900_000_000_000
	appendAged(t, s, "t", begin)
	appendAged(t, s, "t", begin+(2*time.Hour).Milliseconds())
	require.Equal(t, 1, segmentsOf(t, s, "t"))
	require.NoError(t, s.AlterTopicConfig(t.Context(), "t", map[string]string{keyCleanupPolicy: string(CleanupCompact)}))
	appendAged(t, s, "t", begin+(2*time.Hour).Milliseconds())
	require.Equal(t, 2, segmentsOf(t, s, "t"))
}

// appendAged appends a record of a time, in ms.
func appendAged(t *testing.T, s *Store, topic string, at int64) {
	t.Helper()
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	b.Append(at, []byte("k"), []byte("v"), nil)
	built, err := b.Finish()
	require.NoError(t, err)
	_, err = s.Append(context.Background(), AppendRequest{TopicPartition: TopicPartition{Topic: topic}, Batch: built})
	require.NoError(t, err)
}

func segmentsOf(t *testing.T, s *Store, topic string) int {
	t.Helper()
	for _, p := range s.Stats().ByPartition {
		if p.Topic == topic {
			return p.Segments
		}
	}
	t.Fatalf("topic %q has not been used", topic)
	return 0
}
