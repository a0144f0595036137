package producer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func TestRecreatedTopicGetsWhatIsOnItsWay(t *testing.T) {
	var changed int
	p, s, store := start(t, 1, producer.Config{Events: producer.Events{TopicChanged: func(string, partition.TopicID, partition.TopicID) { changed++ }}})
	for range 3 {
		_, err := p.Send(t.Context(), value("old"))
		require.NoError(t, err)
	}
	recreate(t, store, "t", 2)
	r, err := p.Send(t.Context(), value("new"))
	require.NoError(t, err)
	require.Zero(t, r.Offset)
	require.Equal(t, []string{"new"}, values(t, store, 0))
	last := s.seen()[len(s.seen())-1]
	require.Zero(t, last.seq)
	require.Equal(t, 1, changed)
}

func TestDeletedTopicFailsItsRecordsAtOnce(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{})
	_, err := p.Send(t.Context(), value("old"))
	require.NoError(t, err)
	require.NoError(t, store.DeleteTopic(t.Context(), "t"))
	for range 2 {
		_, err = p.Send(t.Context(), value("new"))
		require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	}
	require.Len(t, s.seen(), 3)
	recreate(t, store, "t", 1)
	_, err = p.Send(t.Context(), value("newer"))
	require.NoError(t, err)
}

func TestTopicRecreatedWithFewerPartitionsFailsThoseThatAreGone(t *testing.T) {
	p, _, store := start(t, 3, producer.Config{})
	rec := value("x")
	rec.Partition = producer.To(2)
	_, err := p.Send(t.Context(), rec)
	require.NoError(t, err)
	recreate(t, store, "t", 1)
	_, err = p.Send(t.Context(), rec)
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	_, err = p.Send(t.Context(), value("y"))
	require.NoError(t, err)
}

// New partitions are used without anybody naming them, once the metadata is old.
func TestMetadataIsAskedForAgainWhenItIsOld(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	p, _, store := start(t, 1, producer.Config{Clock: c, MetadataMaxAge: time.Minute, Partitioner: partition.RoundRobin()})
	last := func() int32 {
		var most int32
		for range 8 {
			r, err := p.Send(t.Context(), producer.Record{Topic: "t"})
			require.NoError(t, err)
			most = max(most, r.Partition)
		}
		return most
	}
	require.Zero(t, last())
	require.NoError(t, store.CreatePartitions(t.Context(), "t", 4))
	require.Zero(t, last())
	c.Advance(time.Minute)
	waitFor(t, func() bool { return last() == 3 })
}
