package consumer_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/partition"
)

func assign(t *testing.T, store *partition.Store, c consumer.Config, assignments ...consumer.Assignment) *consumer.Consumer {
	t.Helper()
	got, err := consumer.Assign(t.Context(), store, assignments, c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, got.Close()) })
	return got
}

func TestBoundedIterationFinishesAtTheEndAsItWas(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 10)
	write(t, store, "t", 1, 100, 5)
	c := assign(t, store, consumer.Config{},
		consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()},
		consumer.Assignment{TopicPartition: at("t", 1), Until: consumer.UntilEnd()})
	write(t, store, "t", 0, 10, 10) // after the consumer was made: behind its bound
	require.ElementsMatch(t, append(texts(0, 10), texts(100, 5)...), all(t, c))
	require.Empty(t, all(t, c), "a second loop has nothing left")
}

func TestPositionsAndBounds(t *testing.T) {
	store := newStore(t, "t", 1)
	begin := time.UnixMilli(1_700_000_000_000)
	for i := range 10 {
		writeAt(t, store, "t", 0, begin.Add(time.Duration(i)*time.Second), texts(i*3, 3)...)
	}
	for name, c := range map[string]struct {
		from  consumer.Position
		until consumer.Bound
		want  []string
	}{
		"earliest to end":             {consumer.Earliest(), consumer.UntilEnd(), texts(0, 30)},
		"latest to end":               {consumer.Latest(), consumer.UntilEnd(), nil},
		"offset inside a batch":       {consumer.AtOffset(4), consumer.UntilOffset(8), texts(4, 4)},
		"a time on a record":          {consumer.AtTime(begin.Add(5 * time.Second)), consumer.UntilEnd(), texts(15, 15)},
		"a time between records":      {consumer.AtTime(begin.Add(5*time.Second + 1e6)), consumer.UntilEnd(), texts(18, 12)},
		"a time after all records":    {consumer.AtTime(begin.Add(time.Hour)), consumer.UntilEnd(), nil},
		"until a time":                {consumer.Earliest(), consumer.UntilTime(begin.Add(2 * time.Second)), texts(0, 6)},
		"until a time after the last": {consumer.Earliest(), consumer.UntilTime(begin.Add(time.Hour)), texts(0, 30)},
		"until an offset before from": {consumer.AtOffset(9), consumer.UntilOffset(3), nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), From: c.from, Until: c.until})
			require.Equal(t, c.want, all(t, k))
		})
	}
}

func TestRecordCarriesWhatWasWritten(t *testing.T) {
	store := newStore(t, "t", 1)
	when := time.UnixMilli(1_700_000_000_123)
	for _, codec := range []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		writeBatch(t, store, "t", 0, when, batch.Options{Codec: codec}, "a", "b")
	}
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	var kept []consumer.Record
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		kept = append(kept, r)
	}
	require.Len(t, kept, 10)
	for i, r := range kept { // looked at when all batches have been walked: records are the caller's
		value := []byte{"ab"[i%2]}
		require.Equal(t, "t", r.Topic)
		require.EqualValues(t, i, r.Offset)
		require.Equal(t, []byte("k"), r.Key)
		require.Equal(t, value, r.Value)
		require.Equal(t, []partition.Header{{Key: "h", Value: value}}, r.Headers)
		require.True(t, when.Equal(r.Timestamp))
	}
}

func TestEndlessIterationWaitsForRecordsAndEndsWithItsReason(t *testing.T) {
	store := newStore(t, "t", 1)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan string)
	last := make(chan error, 1)
	go func() {
		for r, err := range c.Records(ctx) {
			if err != nil {
				last <- err
				return
			}
			got <- string(r.Value)
		}
		last <- nil
	}()
	for i := range 3 {
		write(t, store, "t", 0, i, 1)
		require.Equal(t, texts(i, 1)[0], <-got)
	}
	cancel()
	require.ErrorIs(t, <-last, context.Canceled)
}

func TestCloseEndsALoopThatWaits(t *testing.T) {
	store := newStore(t, "t", 1)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	last := make(chan error, 1)
	go func() {
		var err error
		for _, err = range c.Records(context.Background()) {
		}
		last <- err
	}()
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-last, consumer.ErrClosed)
	_, err := c.Poll(t.Context())
	require.ErrorIs(t, err, consumer.ErrClosed)
	require.ErrorIs(t, c.Pause(at("t", 0)), consumer.ErrClosed)
}

func TestCloseInsideTheLoopDoesNotDeadlock(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	n := 0
	var last error
	for _, err := range c.Records(t.Context()) {
		if last = err; err == nil {
			n++
			require.NoError(t, c.Close())
		}
	}
	require.Equal(t, 1, n)
	require.ErrorIs(t, last, consumer.ErrClosed)
}

func TestBreakLeavesTheRecordForTheNextLoop(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if string(r.Value) == "3" {
			break
		}
	}
	position, ok := c.Position(at("t", 0))
	require.True(t, ok)
	require.EqualValues(t, 3, position)
	require.Equal(t, texts(3, 7), all(t, c))
}

func TestSecondLoopAtTheSameTimeIsRefused(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 2)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0)})
	for _, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		_, err = c.Poll(t.Context())
		require.ErrorIs(t, err, consumer.ErrConcurrentUse)
		break
	}
}

func TestPollReturnsAtMostMaxPollRecordsAndEOFAtTheBound(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	c := assign(t, store, consumer.Config{MaxPollRecords: 4}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	var sizes []int
	for {
		records, err := c.Poll(t.Context())
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		sizes = append(sizes, len(records))
	}
	require.Equal(t, []int{4, 4, 2}, sizes)
}

func TestSeekPauseAndResumeActAtTheNextStep(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 10)
	write(t, store, "t", 1, 100, 10)
	c := assign(t, store, consumer.Config{},
		consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()},
		consumer.Assignment{TopicPartition: at("t", 1), Until: consumer.UntilEnd()})
	require.NoError(t, c.Pause(at("t", 1)))
	var got []string
	sought := false
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		got = append(got, string(r.Value))
		switch {
		case string(r.Value) == "4" && !sought:
			sought = true
			require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(8)))
		case string(r.Value) == "9":
			require.NoError(t, c.Resume(at("t", 1)))
		}
	}
	require.Equal(t, append(append(texts(0, 5), texts(8, 2)...), texts(100, 10)...), got)
	require.ErrorIs(t, c.Seek(at("t", 7), consumer.Earliest()), partition.ErrUnknownTopicOrPartition)
}

func TestOutOfRangePositionGoesWhereResetSays(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	topic, err := store.Topic("t")
	require.NoError(t, err)
	p, err := topic.Partition(0)
	require.NoError(t, err)
	_, err = p.DeleteRecords(t.Context(), 6)
	require.NoError(t, err)

	var resets []partition.Offset
	config := consumer.Config{Events: consumer.Events{Reset: func(_ partition.TopicPartition, from, to partition.Offset, _ error) {
		resets = append(resets, from, to)
	}}}
	c := assign(t, store, config, consumer.Assignment{TopicPartition: at("t", 0), From: consumer.AtOffset(2), Until: consumer.UntilEnd()})
	require.Equal(t, texts(6, 4), all(t, c))
	require.Equal(t, []partition.Offset{2, 6}, resets)

	c = assign(t, store, consumer.Config{Reset: consumer.ResetLatest}, consumer.Assignment{TopicPartition: at("t", 0), From: consumer.AtOffset(2), Until: consumer.UntilEnd()})
	require.Empty(t, all(t, c))

	c = assign(t, store, consumer.Config{Reset: consumer.ResetNone}, consumer.Assignment{TopicPartition: at("t", 0), From: consumer.AtOffset(2), Until: consumer.UntilEnd()})
	_, err = c.Poll(t.Context())
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
}

// An answer that a position is out of range means nothing when the position was changed while it was on its way.
func TestOutOfRangeAnswerIsForgottenIfThePositionHasChangedMeanwhile(t *testing.T) {
	for _, reset := range []consumer.Reset{consumer.ResetEarliest, consumer.ResetNone} {
		store := newStore(t, "t", 1)
		write(t, store, "t", 0, 0, 10)
		_, err := store.DeleteRecords(t.Context(), at("t", 0), 6)
		require.NoError(t, err)
		var c *consumer.Consumer
		var answers []error
		backend := &spy{Store: store, fetched: func(r partition.FetchRequest, results []partition.FetchResult) {
			answers = append(answers, results[0].Err)
			if results[0].Err != nil {
				require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(8)))
			}
		}}
		config := consumer.Config{Reset: reset, Events: consumer.Events{Reset: func(partition.TopicPartition, partition.Offset, partition.Offset, error) {
			require.FailNow(t, "it was reset")
		}}}
		c, err = consumer.Assign(t.Context(), backend, []consumer.Assignment{{TopicPartition: at("t", 0), From: consumer.AtOffset(2), Until: consumer.UntilEnd()}}, config)
		require.NoError(t, err)
		require.Equal(t, texts(8, 2), all(t, c))
		require.ErrorIs(t, answers[0], partition.ErrOffsetOutOfRange)
		require.NoError(t, c.Close())
	}
}

func TestTypedIterationTellsDecodeErrorsAndGoesOn(t *testing.T) {
	store := newStore(t, "t", 1)
	writeAt(t, store, "t", 0, time.Now(), `1`, `oops`, `3`)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	var values []int
	var bad []string
	for r, err := range consumer.Records(t.Context(), c, consumer.String, consumer.JSON[int]) {
		if d, ok := errors.AsType[*consumer.DecodeError](err); ok {
			require.Zero(t, r)
			bad = append(bad, string(d.Raw.Value))
			continue
		}
		require.NoError(t, err)
		values = append(values, r.Value)
	}
	require.Equal(t, []int{1, 3}, values)
	require.Equal(t, []string{"oops"}, bad)
	position, _ := c.Position(at("t", 0))
	require.EqualValues(t, 3, position)
}

func TestBorrowedRecordsAreAcknowledgedByRelease(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 4)
	write(t, store, "t", 0, 4, 4)
	c := assign(t, store, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilOffset(7)})
	b, err := c.PollBorrowed(t.Context())
	require.NoError(t, err)
	for r, err := range b.All() {
		require.NoError(t, err)
		if r.Offset == 2 {
			break
		}
	}
	_, err = c.PollBorrowed(t.Context())
	require.Error(t, err, "the run before is still borrowed")
	b.Release()
	b.Release()
	var got []string
	for {
		b, err := c.PollBorrowed(t.Context())
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		for r, err := range b.All() {
			require.NoError(t, err)
			got = append(got, string(r.Value))
		}
		b.Release()
	}
	require.Equal(t, texts(2, 5), got)
}

func TestAssignOfWhatIsNotThereIsRefused(t *testing.T) {
	store := newStore(t, "t", 1)
	for _, a := range []consumer.Assignment{
		{TopicPartition: at("t", 1)}, {TopicPartition: at("no", 0)}, {TopicPartition: at("t", -1)},
	} {
		_, err := consumer.Assign(t.Context(), store, []consumer.Assignment{a}, consumer.Config{})
		require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	}
	_, err := consumer.Assign(t.Context(), store, []consumer.Assignment{{TopicPartition: at("t", 0), From: consumer.AtOffset(-1)}}, consumer.Config{})
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
	_, err = consumer.Assign(t.Context(), store, nil, consumer.Config{MaxPollRecords: -1})
	bad, ok := errors.AsType[*partition.ConfigError](err)
	require.True(t, ok)
	require.Equal(t, "max.poll.records", bad.Key)
}

func TestReadAheadKeepsOrderOverManyFetches(t *testing.T) {
	store := newStore(t, "t", 3)
	const n = 20000
	for i := 0; i < n; i += 500 {
		for p := range int32(3) {
			write(t, store, "t", p, i, 500)
		}
	}
	var assignments []consumer.Assignment
	for p := range int32(3) {
		assignments = append(assignments, consumer.Assignment{TopicPartition: at("t", p), Until: consumer.UntilEnd()})
	}
	c := assign(t, store, consumer.Config{MaxPartitionBytes: 128 << 10}, assignments...)
	next := make([]partition.Offset, 3)
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if next[r.Partition] != r.Offset {
			t.Fatalf("partition %d: offset %d, want %d", r.Partition, r.Offset, next[r.Partition])
		}
		next[r.Partition]++
	}
	require.Equal(t, []partition.Offset{n, n, n}, next)
	stats := c.Stats()
	for _, p := range stats.Partitions {
		require.Zero(t, p.Lag)
		require.EqualValues(t, n, p.Records)
	}
}
