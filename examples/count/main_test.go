package main

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func produce(t *testing.T, dir string, rows int) {
	t.Helper()
	store, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 4})
	if err != nil {
		require.ErrorIs(t, err, partition.ErrTopicAlreadyExists)
	}
	p, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	for i := range rows {
		value := fmt.Appendf(nil, `{"city":"city-%d","n":%d}`, i%3, i)
		p.SendAsync(t.Context(), producer.Record{Topic: "t", Key: fmt.Append(nil, i), Value: value}, func(r producer.Result) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	require.NoError(t, p.Close())
	require.NoError(t, store.Close())
}

func counted(t *testing.T, dir string, members int) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), options{dir: dir, topic: "t", group: "g", by: "city", members: members}, &out))
	return out.String()
}

func TestCountPrintsOnlyWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	produce(t, dir, 300)
	require.Equal(t, "city-0 100\ncity-1 100\ncity-2 100\n", counted(t, dir, 3))
	require.Empty(t, counted(t, dir, 1))
	produce(t, dir, 30)
	require.Equal(t, "city-0 10\ncity-1 10\ncity-2 10\n", counted(t, dir, 2))
}

func TestCountOfAnUnknownTopicIsRefused(t *testing.T) {
	err := run(t.Context(), options{dir: t.TempDir(), topic: "t", group: "g", by: "city", members: 1}, &bytes.Buffer{})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
}
