package producer_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// waitFor yields until f holds. The deadline only ends a test that has failed.
func waitFor(t testing.TB, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); runtime.Gosched() {
		if time.Since(start) > 5*time.Minute {
			require.Fail(t, "condition not met")
		}
	}
}

func accepted(p *producer.Producer) uint64 { return producer.Accepted(p) }

const internalTopic = "__consumer_offsets"

// createInternal makes the store create its own topic, as the first commit of a group does.
func createInternal(t testing.TB, s *partition.Store) {
	t.Helper()
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	b.Append(1, []byte("k"), nil, nil)
	data, err := b.Finish()
	require.NoError(t, err)
	_, err = s.Append(t.Context(), partition.AppendRequest{TopicPartition: partition.TopicPartition{Topic: internalTopic}, Batch: data, Internal: true})
	require.NoError(t, err)
}

func recreate(t testing.TB, s *partition.Store, topic string, n int) {
	t.Helper()
	if err := s.DeleteTopic(t.Context(), topic); err != nil {
		require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	}
	create(t, s, topic, n)
}
