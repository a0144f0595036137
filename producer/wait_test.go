package producer_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// waitFor yields until f holds. The deadline only ends a test that has failed.
func waitFor(t testing.TB, f func() bool) {
	t.Helper()
	for start := time.Now(); !f(); runtime.Gosched() {
		if time.Since(start) > 20*time.Second {
			require.Fail(t, "condition not met")
		}
	}
}

func accepted(p *producer.Producer) uint64 { return producer.Accepted(p) }

const internalTopic = "__consumer_offsets"

func createInternal(t testing.TB, s *fakeStore) { s.create(internalTopic, 1) }

func addPartitions(t testing.TB, s *fakeStore, topic string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.topics[topic].parts) < n {
		s.topics[topic].parts = append(s.topics[topic].parts, &fakePart{state: map[int64]fakeState{}})
	}
}

func setCompression(t testing.TB, s *fakeStore, topic string, c partition.Codec) {
	s.topics[topic].codec = c
}

func recreate(t testing.TB, s *fakeStore, topic string, n int) { s.create(topic, n) }

func remove(t testing.TB, s *fakeStore, topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.topics, topic)
}

func closeStore(t testing.TB, s *fakeStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
