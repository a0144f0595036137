package consumer_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

type source struct {
	tp     partition.TopicPartition
	offset partition.Offset
}

// letter returns the headers as a map, and where the record is from.
func letter(t *testing.T, headers []partition.Header) (map[string]string, source) {
	h := map[string]string{}
	for _, x := range headers {
		h[x.Key] = string(x.Value)
	}
	p, err := strconv.Atoi(h[consumer.HeaderPartition])
	if err != nil {
		t.Error(err)
	}
	o, err := strconv.Atoi(h[consumer.HeaderOffset])
	if err != nil {
		t.Error(err)
	}
	return h, source{at(h[consumer.HeaderTopic], int32(p)), partition.Offset(o)}
}

// toStore forwards into a store, as a producer does.
type toStore struct{ store *partition.Store }

func (f toStore) Forward(ctx context.Context, topic string, key, value []byte, headers []partition.Header) error {
	_, err := f.store.Append(ctx, partition.AppendRequest{TopicPartition: at(topic, 0), Batch: partitiontest.Batch(partitiontest.Record{
		Timestamp: time.Now().UnixMilli(), Key: key, Value: value, Headers: headers,
	})})
	return err
}

func TestDeadLettersNameTheirSourceAndWhy(t *testing.T) {
	m := clock.NewManual(time.UnixMilli(1_800_000_000_000))
	store := newStore(t, "t", 2)
	keyed(t, store, "t", 1, 5, "a", "b")
	c := whole(t, store, "t", 2, consumer.Config{Clock: m})
	var f forwards
	require.NoError(t, consumer.Work(t.Context(), c, consumer.Typed(consumer.String, consumer.Int32, func(context.Context, consumer.TypedRecord[string, int32]) error {
		return nil
	}), consumer.WorkConfig{DeadLetter: "dead", Forwarder: &f, Group: "us", Retry: consumer.Retry{Attempts: 9}}))
	require.Len(t, f.all(), 5, "what cannot be decoded is not tried again")
	for _, r := range f.all() {
		require.Equal(t, "dead", r.Topic)
		h, l := letter(t, r.Headers)
		require.Equal(t, at("t", 1), l.tp)
		require.Equal(t, strconv.Itoa(int(l.offset)), string(r.Value))
		require.Equal(t, []string{"a", "b"}[l.offset%2], string(r.Key))
		require.Equal(t, "1", h[consumer.HeaderAttempts])
		require.Equal(t, "us", h[consumer.HeaderGroup])
		require.Equal(t, "decode", h[consumer.HeaderErrorKind])
		require.Contains(t, h[consumer.HeaderError], "want 4")
		require.Equal(t, "1800000000000", h[consumer.HeaderFailed])
		require.Equal(t, strconv.Itoa(900_000_000_000+int(l.offset)), h[consumer.HeaderTimestamp])
		require.NotContains(t, h, consumer.HeaderRetryTopic)
	}
	s := c.Stats().Work
	require.EqualValues(t, 5, s.DeadLetters)
	require.EqualValues(t, 5, s.DecodeErrors)
	require.Zero(t, s.Retries)
}

// A dead-letter topic that is missing, or full, stops the work: the source is not committed past the record.
func TestWorkStopsWhereDeadLettersCannotBeWritten(t *testing.T) {
	full := errors.New("full")
	store := newStore(t, "t", 1)
	for name, forwarder := range map[string]consumer.Forwarder{"missing": toStore{store}, "full": &forwards{err: full}} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, "t", 1)
			keyed(t, store, "t", 0, 20, "k")
			g := openGroup(t, store, group.Config{})
			c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
			require.NoError(t, err)
			poison := errors.New("poison")
			err = consumer.Work(t.Context(), c, func(_ context.Context, r consumer.Record) error {
				if r.Offset == 7 {
					return poison
				}
				return nil
			}, consumer.WorkConfig{DeadLetter: "dead", Forwarder: forwarder})
			failed, ok := errors.AsType[*consumer.ForwardError](err)
			require.True(t, ok, err)
			require.Equal(t, "dead", failed.To)
			require.Equal(t, partition.Offset(7), failed.Offset)
			require.Equal(t, poison, failed.Cause)
			if name == "full" {
				require.ErrorIs(t, err, full)
			} else {
				require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
			}
			require.Equal(t, partition.Offset(7), committedOf(t, g, 0))
			require.EqualValues(t, 1, c.Stats().Work.ForwardErrors)
			require.NoError(t, c.Close())
			require.Equal(t, partition.Offset(7), committedOf(t, g, 0))
		})
	}
}

func TestDeadLettersAreTriedAgainUntilTheirTopicTakesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		keyed(t, store, "t", 0, 3, "k")
		c := whole(t, store, "t", 1, consumer.Config{})
		f := &forwards{err: errors.New("full")}
		time.AfterFunc(time.Minute, func() {
			f.mu.Lock()
			f.err = nil
			f.mu.Unlock()
		})
		calls := 0
		require.NoError(t, consumer.Work(t.Context(), c, func(_ context.Context, r consumer.Record) error {
			if calls++; r.Offset == 1 {
				return errors.New("poison")
			}
			return nil
		}, consumer.WorkConfig{DeadLetter: "dead", Forwarder: f, OnForwardError: consumer.RetryForward}))
		require.Equal(t, 3, calls, "the handler is not called again")
		require.Len(t, f.all(), 1)
	})
}

func TestDeadLettersAreListedFilteredAndSentBack(t *testing.T) {
	store := newStore(t, "t", 1)
	_, err := store.CreateTopic(t.Context(), "dead", partition.TopicConfig{})
	require.NoError(t, err)
	for i := range 10 {
		writeAt(t, store, "t", 0, time.Now(), strconv.Itoa(i))
	}
	write(t, store, "dead", 0, 99, 1) // no dead letter
	c := whole(t, store, "t", 1, consumer.Config{})
	to := toStore{store}
	require.NoError(t, consumer.Work(t.Context(), c, func(_ context.Context, r consumer.Record) error {
		if r.Offset == 8 {
			panic("boo")
		}
		if r.Offset%3 == 0 {
			return errors.New("by three")
		}
		return nil
	}, consumer.WorkConfig{DeadLetter: "dead", Forwarder: to}))

	kinds := map[partition.Offset]consumer.FailureKind{}
	for l, err := range consumer.ListDeadLetters(t.Context(), store, "dead") {
		require.NoError(t, err)
		kinds[l.Offset] = l.Kind
		require.Equal(t, at("t", 0), l.TopicPartition)
		require.Equal(t, []partition.Header{{Key: "h", Value: l.Value}}, l.Headers, "its own headers")
		require.Equal(t, l.Kind == consumer.HandlerPanicked, l.Stack != "")
	}
	require.Equal(t, map[partition.Offset]consumer.FailureKind{0: 0, 3: 0, 6: 0, 8: consumer.HandlerPanicked, 9: 0}, kinds)

	n, err := consumer.SendBack(t.Context(), consumer.ListDeadLetters(t.Context(), store, "dead"), func(l consumer.DeadLetter) bool {
		return l.Kind == consumer.HandlerPanicked
	}, to)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	back := whole(t, store, "t", 1, consumer.Config{})
	records := []consumer.Record{}
	for r, err := range back.Records(t.Context()) {
		require.NoError(t, err)
		records = append(records, r)
	}
	require.Len(t, records, 11)
	require.Equal(t, "8", string(records[10].Value))
	require.Equal(t, "k", string(records[10].Key))
	require.Len(t, records[10].Headers, 1)

	// A group sends each back once.
	g := openGroup(t, store, group.Config{})
	for _, want := range []int{5, 0} {
		member, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"dead"}, Until: consumer.UntilEnd()})
		require.NoError(t, err)
		n, err := consumer.SendBack(t.Context(), consumer.DeadLetters(t.Context(), member), nil, to)
		require.NoError(t, err)
		require.Equal(t, want, n)
		require.NoError(t, member.Close())
	}
	for _, err := range consumer.ListDeadLetters(t.Context(), store, "nowhere") {
		require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	}
}

// A record goes through the retry topics with their delays, other partitions are read meanwhile, and at last it is buried.
func TestRetryTopicsDelayARecordAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, "t", 1)
		for _, topic := range []string{"t-retry-1", "slow", "dead"} {
			_, err := store.CreateTopic(t.Context(), topic, partition.TopicConfig{})
			require.NoError(t, err)
		}
		g := openGroup(t, store, group.Config{})
		c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t", "t-retry-1", "slow"}})
		require.NoError(t, err)
		begin := time.Now()
		var mu sync.Mutex
		tries := map[partition.Offset][]time.Duration{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- consumer.Work(ctx, c, func(_ context.Context, r consumer.Record) error {
				mu.Lock()
				defer mu.Unlock()
				if r.Topic != "t" {
					t.Errorf("shown as a record of %s", r.Topic)
				}
				tries[r.Offset] = append(tries[r.Offset], time.Since(begin))
				if r.Offset == 1 || r.Offset == 3 && len(tries[3]) < 2 {
					return errors.New("not yet")
				}
				return nil
			}, consumer.WorkConfig{Workers: 1, DeadLetter: "dead", Forwarder: toStore{store}, Retry: consumer.Retry{
				Topics: []consumer.RetryTopic{{Delay: 10 * time.Second}, {Topic: "slow", Delay: time.Minute}},
			}})
		}()
		keyed(t, store, "t", 0, 4, "k")
		time.Sleep(5 * time.Second)
		require.Equal(t, partition.Offset(4), committedOf(t, g, 0), "what has been delayed does not hold up its source")
		keyed(t, store, "t", 0, 2, "k")
		time.Sleep(2 * time.Minute)
		mu.Lock()
		require.Equal(t, map[partition.Offset][]time.Duration{
			0: {0}, 1: {0, 10 * time.Second, 70 * time.Second}, 2: {0}, 3: {0, 10 * time.Second}, 4: {5 * time.Second}, 5: {5 * time.Second},
		}, tries)
		mu.Unlock()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.EqualValues(t, 3, c.Stats().Work.Delayed)
		require.NoError(t, c.Close())
		n := 0
		for l, err := range consumer.ListDeadLetters(t.Context(), store, "dead") {
			require.NoError(t, err)
			require.Equal(t, at("t", 0), l.TopicPartition)
			require.Equal(t, partition.Offset(1), l.Offset)
			require.Equal(t, 3, l.Attempts)
			n++
		}
		require.Equal(t, 1, n)
	})
}

func TestWorkBatchHandlesWhatItIsGiven(t *testing.T) {
	store := newStore(t, "t", 1)
	keyed(t, store, "t", 0, 200, "a", "b", "")
	c := whole(t, store, "t", 1, consumer.Config{})
	records, err := c.Poll(t.Context())
	require.NoError(t, err)
	require.Len(t, records, 200)
	var f forwards
	seen := make([]int, 200)
	handler := func(_ context.Context, r consumer.Record) error {
		if seen[r.Offset]++; r.Offset%50 == 0 {
			return errors.New("x")
		}
		return nil
	}
	require.NoError(t, consumer.WorkBatch(t.Context(), records, handler, consumer.WorkConfig{DeadLetter: "dead", Forwarder: &f}))
	require.Len(t, f.all(), 4)
	for _, n := range seen {
		require.Equal(t, 1, n)
	}
	err = consumer.WorkBatch(t.Context(), records, handler, consumer.WorkConfig{})
	_, ok := errors.AsType[*consumer.HandlerError](err)
	require.True(t, ok, err)
	require.NoError(t, consumer.WorkBatch(t.Context(), nil, handler, consumer.WorkConfig{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, consumer.WorkBatch(ctx, records, func(ctx context.Context, _ consumer.Record) error { return nil }, consumer.WorkConfig{Workers: 1, Grace: consumer.NoGrace}), context.Canceled)
}

func TestWorkConfigOutOfRangeIsRefused(t *testing.T) {
	store := newStore(t, "t", 1)
	c := whole(t, store, "t", 1, consumer.Config{})
	for _, config := range []consumer.WorkConfig{
		{Workers: -1}, {MaxInFlight: -1}, {MaxInFlightBytes: -1}, {Grace: -2}, {DeadLetter: "dead"}, {OnForwardError: 9},
		{Retry: consumer.Retry{Attempts: -1}}, {Retry: consumer.Retry{Backoff: -1}}, {Retry: consumer.Retry{Factor: 0.5}}, {Retry: consumer.Retry{Jitter: 2}},
		{Retry: consumer.Retry{Backoff: 2, MaxBackoff: 1}}, {Retry: consumer.Retry{Topics: []consumer.RetryTopic{{}}}},
		{Forwarder: &forwards{}, Retry: consumer.Retry{Topics: []consumer.RetryTopic{{Delay: -1}}}},
		{Forwarder: &forwards{}, Retry: consumer.Retry{Topics: []consumer.RetryTopic{{Topic: "a"}, {Topic: "a"}}}},
	} {
		err := consumer.Work(t.Context(), c, func(context.Context, consumer.Record) error { return nil }, config)
		_, ok := errors.AsType[*partition.ConfigError](err)
		require.True(t, ok, "%+v: %v", config, err)
	}
}
