package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// keyed builds a batch whose records all have one key.
func keyed(o batch.Options, key string, values ...string) []byte {
	var b batch.Builder
	b.Reset(nil, o)
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), []byte(key), []byte(v), nil)
	}
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

func appendExpecting(s *Store, topic, key string, last Offset, values ...string) (Offset, error) {
	r, err := s.Append(context.Background(), AppendRequest{
		TopicPartition: TopicPartition{Topic: topic}, Batch: keyed(batch.Options{}, key, values...), Expect: &Expect{Key: []byte(key), Last: last},
	})
	return r.BaseOffset + Offset(len(values)) - 1, err
}

func historyOf(t require.TestingT, s *Store, topic, key string, committed bool) (values []string) {
	for r, err := range s.ReadKey(context.Background(), ReadKeyRequest{TopicPartition: TopicPartition{Topic: topic}, Key: []byte(key), ReadCommitted: committed}) {
		require.NoError(t, err)
		values = append(values, string(r.Value))
	}
	return values
}

func keyStore(t *testing.T) *Store {
	s := memory(t, Config{})
	_, err := s.CreateTopic(t.Context(), "t", TopicConfig{KeyIndex: true})
	require.NoError(t, err)
	return s
}

func TestAppendThatExpectsAnotherLastRecordChangesNothing(t *testing.T) {
	s := keyStore(t)
	last, err := appendExpecting(s, "t", "a", NoRecord, "opened", "paid")
	require.NoError(t, err)
	require.Equal(t, Offset(1), last)
	_, err = appendExpecting(s, "t", "b", NoRecord, "opened")
	require.NoError(t, err)

	_, err = appendExpecting(s, "t", "a", NoRecord, "opened")
	conflict, ok := errors.AsType[*VersionConflictError](err)
	require.True(t, ok, "%v", err)
	require.ErrorIs(t, err, ErrVersionConflict)
	require.False(t, Retriable(err))
	require.Equal(t, VersionConflictError{TopicPartition{Topic: "t"}, []byte("a"), NoRecord, 1}, *conflict)
	_, err = appendExpecting(s, "t", "a", 0, "x")
	require.ErrorIs(t, err, ErrVersionConflict)
	last, err = appendExpecting(s, "t", "a", 1, "closed")
	require.NoError(t, err)
	require.Equal(t, Offset(3), last)
	require.Equal(t, []string{"opened", "paid", "closed"}, historyOf(t, s, "t", "a", false))
	require.Equal(t, []string{"opened"}, historyOf(t, s, "t", "b", false))
	require.Empty(t, historyOf(t, s, "t", "c", false))
}

func TestExpectationsNeedAKeyIndexAndOneKey(t *testing.T) {
	s := keyStore(t)
	_, err := s.CreateTopic(t.Context(), "plain", TopicConfig{})
	require.NoError(t, err)
	_, err = appendExpecting(s, "plain", "a", NoRecord, "x")
	require.ErrorIs(t, err, ErrPolicyViolation)
	for _, err := range s.ReadKey(t.Context(), ReadKeyRequest{TopicPartition: TopicPartition{Topic: "plain"}, Key: []byte("a")}) {
		require.ErrorIs(t, err, ErrPolicyViolation)
	}
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{Topic: "t"}, Batch: keyed(batch.Options{}, "a", "x"), Expect: &Expect{Key: []byte("b"), Last: NoRecord}})
	require.ErrorIs(t, err, ErrInvalidRecord)
	for _, err := range s.ReadKey(t.Context(), ReadKeyRequest{TopicPartition: TopicPartition{Topic: "nothing"}}) {
		require.ErrorIs(t, err, ErrUnknownTopicOrPartition)
	}
}

func TestOfWritersThatExpectTheSameLastRecordOneSucceeds(t *testing.T) {
	s := keyStore(t)
	const writers, rounds = 8, 60
	wins := make([]int, rounds)
	var mu sync.Mutex
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			last := NoRecord
			for i := 0; i < rounds; {
				at, err := appendExpecting(s, "t", "k", last, fmt.Sprint("round ", i, " of ", w))
				if conflict, ok := errors.AsType[*VersionConflictError](err); ok {
					if conflict.Actual == last {
						t.Errorf("a conflict that says what was expected: %v", err)
						return
					}
					last = conflict.Actual
					i = len(historyOf(t, s, "t", "k", false)) // of this key alone
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				wins[i]++
				mu.Unlock()
				last, i = at, i+1
			}
		})
	}
	all.Wait()
	history := historyOf(t, s, "t", "k", false)
	require.GreaterOrEqual(t, len(history), rounds)
	for i, n := range wins {
		require.LessOrEqual(t, n, 1, "round %d", i)
	}
}

func TestExpectationsSurviveRestartCompactionAndTheIndexBeingTurnedOnLater(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Config{})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", TopicConfig{CleanupPolicy: CleanupCompact, Extra: map[string]string{"internal.segment.bytes": "2000"}})
	require.NoError(t, err)
	for i := range 100 {
		_, err := s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{Topic: "t"}, Batch: keyed(batch.Options{}, fmt.Sprint("k", i%10), fmt.Sprint(i))})
		require.NoError(t, err)
	}
	require.NoError(t, s.AlterTopicConfig(t.Context(), "t", map[string]string{"partlog.key.index": "true"}))
	require.Equal(t, []string{"3", "13", "23", "33", "43", "53", "63", "73", "83", "93"}, historyOf(t, s, "t", "k3", false))
	require.NoError(t, s.Compact(t.Context(), TopicPartition{Topic: "t"}))
	require.Equal(t, []string{"93"}, historyOf(t, s, "t", "k3", false))
	require.NoError(t, s.Close())
	s, err = Open(dir, Config{})
	require.NoError(t, err)
	defer s.Close()
	require.Equal(t, []string{"93"}, historyOf(t, s, "t", "k3", false))
	_, err = appendExpecting(s, "t", "k3", 83, "x")
	require.ErrorIs(t, err, ErrVersionConflict)
	_, err = appendExpecting(s, "t", "k3", 93, "next")
	require.NoError(t, err)
	require.Equal(t, []string{"93", "next"}, historyOf(t, s, "t", "k3", false))
}

func TestRecordsOfAbortedTransactionsAreNobodysLastRecord(t *testing.T) {
	s := keyStore(t)
	last, err := appendExpecting(s, "t", "a", NoRecord, "one")
	require.NoError(t, err)
	id, err := s.InitProducerID(t.Context(), "x", time.Minute, NoProducerID)
	require.NoError(t, err)
	b := keyed(batch.Options{Transactional: true, Idempotent: true, ProducerID: id.ID, Epoch: id.Epoch}, "a", "undecided")
	_, err = s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{Topic: "t"}, Batch: b, TransactionalID: "x"})
	require.NoError(t, err)
	_, err = appendExpecting(s, "t", "a", last, "two")
	require.ErrorIs(t, err, ErrVersionConflict, "it may yet be committed")
	require.Equal(t, []string{"one"}, historyOf(t, s, "t", "a", true))
	_, err = s.EndTxn(t.Context(), "x", id, false)
	require.NoError(t, err)
	_, err = s.InitProducerID(t.Context(), "x", time.Minute, NoProducerID) // waits for the marker
	require.NoError(t, err)
	_, err = appendExpecting(s, "t", "a", last, "two")
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, historyOf(t, s, "t", "a", true))
	require.Equal(t, []string{"one", "undecided", "two"}, historyOf(t, s, "t", "a", false))
}
