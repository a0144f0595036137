package partitiontest_test

import (
	"context"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

var tp = partition.TopicPartition{Topic: "t"}

func rec(v string) partitiontest.Record {
	return partitiontest.Record{Timestamp: 900_000_000_000, Key: []byte("k"), Value: []byte(v), Headers: []partition.Header{{Key: "h"}, {Key: "e", Value: []byte{}}}}
}

// A model that says yes to everything proves nothing: it has to notice each kind of lie.
func TestModelNoticesEveryKindOfDifference(t *testing.T) {
	s, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer s.Close()
	topic, err := s.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	truth := partitiontest.NewModel()
	truth.Created("t", topic.ID(), 2)
	for _, v := range []string{"a", "b"} {
		b := partitiontest.Batch(rec(v))
		sent := append([]byte(nil), b...)
		r, err := s.Append(t.Context(), partition.AppendRequest{TopicPartition: tp, Batch: b})
		require.NoError(t, err)
		require.NoError(t, truth.Appended(tp, sent, r.BaseOffset, true))
	}
	require.NoError(t, truth.Check(s))
	require.NoError(t, truth.CheckAfterCrash(s))
	require.Equal(t, partition.Offset(2), truth.End(tp))

	for what, lie := range map[string]func(m *partitiontest.Model){
		"lost":          func(m *partitiontest.Model) { m.Appended(tp, partitiontest.Batch(rec("c")), 2, true) },
		"topic lost":    func(m *partitiontest.Model) { m.Created("u", partition.TopicID{}, 1) },
		"topic came":    func(m *partitiontest.Model) { m.Deleted("t") },
		"partition":     func(m *partitiontest.Model) { m.Created("t", topic.ID(), 3) },
		"log start":     func(m *partitiontest.Model) { m.RecordsDeleted(tp, 1) },
		"another topic": func(m *partitiontest.Model) { m.Deleted("t"); m.Created("t", partition.TopicID{1}, 2) },
	} {
		m := truth.Clone()
		lie(m)
		require.Error(t, m.Check(s), what)
		require.Error(t, m.CheckAfterCrash(s), what)
		require.NoError(t, truth.Check(s), "a clone changes on its own")
	}
	// A record that nobody acknowledged is a lie, unless there was a crash; and then it must be one that was sent.
	b := partitiontest.Batch(rec("unknown"))
	sent := append([]byte(nil), b...)
	_, err = s.Append(t.Context(), partition.AppendRequest{TopicPartition: tp, Batch: b})
	require.NoError(t, err)
	require.Error(t, truth.Check(s))
	require.Error(t, truth.CheckAfterCrash(s))
	require.NoError(t, truth.Failed(tp, sent))
	require.Error(t, truth.Check(s))
	require.NoError(t, truth.CheckAfterCrash(s))
	require.NoError(t, truth.Settle(s))
	require.NoError(t, truth.Check(s))
	require.Error(t, truth.Appended(partition.TopicPartition{Topic: "t", Partition: 9}, sent, 0, true))
	require.Error(t, truth.Appended(tp, sent, 0, true), "an offset given twice")
	truth.Doubtful("t")
	require.NoError(t, truth.Check(s))
}

func TestDiskFailsAndCrashesOnCommand(t *testing.T) {
	disk := partitiontest.NewExt4()
	clock := partitiontest.NewClock(time.UnixMilli(900_000_000_000))
	s, err := partition.Open("s", partition.Config{FS: disk, Clock: clock})
	require.NoError(t, err)
	_, err = s.CreateTopic(t.Context(), "t", partition.TopicConfig{})
	require.NoError(t, err)
	rule := disk.Fail(partitiontest.Rule{Op: partitiontest.OpWrite, Path: "*.log", Forever: true})
	_, err = s.Append(context.Background(), partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(rec("a"))})
	require.Error(t, err)
	require.Positive(t, rule.Hits())
	rule.Lift()
	_, err = s.Append(context.Background(), partition.AppendRequest{TopicPartition: tp, Batch: partitiontest.Batch(rec("b"))})
	require.NoError(t, err)
	states := 0
	disk.EachCrash(8, func(after *partitiontest.Disk, label string) bool {
		states++
		got, err := partition.Open("s", partition.Config{FS: after, Clock: clock})
		require.NoError(t, err, label)
		all, _, err := partitiontest.ReadAll(t.Context(), got, tp)
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, rec("b").Value, all[0].Value)
		require.NoError(t, got.Close())
		return true
	})
	require.Positive(t, states)
	require.NoError(t, s.Close())
}
