package consumer_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

func join(t *testing.T, g *group.ConsumerGroup, c consumer.Config) *consumer.Consumer {
	t.Helper()
	if c.Topics == nil {
		c.Topics = []string{"t"}
	}
	got, err := consumer.Join(t.Context(), g, c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, got.Close()) })
	return got
}

func committed(t *testing.T, g *group.ConsumerGroup) map[partition.TopicPartition]partition.Offset {
	t.Helper()
	offsets, err := g.Committed(t.Context())
	require.NoError(t, err)
	got := make(map[partition.TopicPartition]partition.Offset)
	for tp, o := range offsets {
		got[tp] = o.Offset
	}
	return got
}

func TestMembersSplitThePartitionsAndReadEverythingOnce(t *testing.T) {
	store := newStore(t, "t", 4)
	for p := range int32(4) {
		write(t, store, "t", p, int(p)*100, 100)
	}
	g := openGroup(t, store, group.Config{})
	a := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
	b := join(t, g, consumer.Config{Until: consumer.UntilEnd()})

	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	for _, c := range []*consumer.Consumer{a, b} {
		wg.Go(func() {
			for r, err := range c.Records(context.Background()) {
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got = append(got, string(r.Value))
				mu.Unlock()
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, got, 400)
	slices.Sort(got)
	require.Len(t, slices.Compact(got), 400)
	for p := range int32(4) {
		require.EqualValues(t, 100, committed(t, g)[at("t", p)])
	}
}

func TestNextMemberResumesBehindTheCommittedOffset(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{})
	for r, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if string(r.Value) == "6" {
			break // not acknowledged
		}
	}
	require.NoError(t, c.Close())
	require.EqualValues(t, 6, committed(t, g)[at("t", 0)])

	next := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
	require.Equal(t, texts(6, 4), all(t, next))
}

func TestCommitMakesFinishedRecordsDurableAtOnce(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{CommitInterval: consumer.NoInterval})
	n := 0
	for _, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if n++; n == 4 { // three are finished
			require.NoError(t, c.Commit(t.Context()))
			break
		}
	}
	require.EqualValues(t, 3, committed(t, g)[at("t", 0)])
}

func TestFinishedRecordsAreCommittedByInterval(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	g := openGroup(t, store, group.Config{})
	time := clock.NewManual(timeZero)
	told := make(chan map[partition.TopicPartition]group.CommittedOffset, 1)
	c := join(t, g, consumer.Config{Clock: time, Events: consumer.Events{
		Committed: func(o map[partition.TopicPartition]group.CommittedOffset, err error) {
			if err == nil {
				told <- o
			}
		},
	}})
	n := 0
	for _, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if n++; n == 6 {
			time.Advance(1e9)
			require.EqualValues(t, 5, (<-told)[at("t", 0)].Offset)
			break
		}
	}
}

var timeZero = time.UnixMilli(1_700_000_000_000)

// A record of a partition that has gone to another member is never yielded, and the record in hand is waited for.
func TestRebalanceWaitsForTheRecordInHandAndDropsWhatWasReadAhead(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 50)
	write(t, store, "t", 1, 100, 50)
	g := openGroup(t, store, group.Config{Assignors: eager})
	a := join(t, g, consumer.Config{})
	require.Len(t, a.Assignment(), 2)

	inHand, goOn := make(chan struct{}), make(chan struct{})
	var fromA []string
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(ended)
		for r, err := range a.Records(ctx) {
			if err != nil {
				return
			}
			fromA = append(fromA, string(r.Value))
			if !slices.Contains(a.Assignment(), at(r.Topic, r.Partition)) {
				t.Errorf("record of %d while %v is assigned", r.Partition, a.Assignment())
			}
			if len(fromA) == 5 {
				close(inHand)
				<-goOn
			}
		}
	}()
	<-inHand
	joined := make(chan *consumer.Consumer)
	go func() {
		b, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}, Until: consumer.UntilEnd()})
		if err != nil {
			t.Error(err)
		}
		joined <- b
	}()
	for { // until the coordinator waits for the first member
		d, err := g.Describe(t.Context())
		require.NoError(t, err)
		if d.State == group.PreparingRebalance {
			break
		}
		runtime.Gosched()
	}
	select {
	case <-joined:
		t.Fatal("joined while a record was in hand")
	default:
	}
	close(goOn)
	b := <-joined
	fromB := all(t, b)
	require.NoError(t, b.Close())
	cancel()
	<-ended
	require.NoError(t, a.Close())

	rest := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
	everything := slices.Concat(fromA, fromB, all(t, rest))
	slices.Sort(everything)
	require.Len(t, slices.Compact(everything), 100, "nothing is lost")
}

func TestMemberThatKeepsItsRecordTooLongIsExpelledWithATypedLastPair(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	still, time := clock.NewManual(timeZero), clock.NewManual(timeZero) // however late the member notices, the coordinator does not before
	g := openGroup(t, store, group.Config{Coordinator: group.CoordinatorConfig{Clock: still}})
	c := join(t, g, consumer.Config{Clock: time})
	n := 0
	var last error
	for _, err := range c.Records(t.Context()) {
		if last = err; err != nil {
			break
		}
		if n++; n == 3 {
			passing(t, time, 5*60e9/16, func() bool { // each step is one slice of max.poll.interval, until the member has seen enough of them
				d, err := g.Describe(t.Context())
				return err != nil || len(d.Members) == 0
			})
		}
	}
	expelled, ok := errors.AsType[*consumer.ExpelledError](last)
	require.True(t, ok, "%v", last)
	require.Equal(t, "g", expelled.Group)
	require.ErrorIs(t, last, consumer.ErrExpelled)
	require.EqualValues(t, 2, committed(t, g)[at("t", 0)], "what was finished before has been committed")
}

func TestSuspendedProcessExpelsNoMemberOnWaking(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	time := clock.NewManual(timeZero)
	g := openGroup(t, store, group.Config{Coordinator: group.CoordinatorConfig{Clock: time}})
	c := join(t, g, consumer.Config{Clock: time, Until: consumer.UntilEnd()})
	n := 0
	for _, err := range c.Records(t.Context()) {
		require.NoError(t, err)
		if n++; n == 3 {
			time.Advance(24 * 3600e9) // one late tick
		}
	}
	require.Equal(t, 10, n)
}

func TestMemberOfATopicThatComesLaterReadsItFromItsFirstRecord(t *testing.T) {
	store := newStore(t, "other", 1)
	time := clock.NewManual(timeZero)
	g := openGroup(t, store, group.Config{RebalanceTimeout: 20 * 24 * 3600e9, Coordinator: group.CoordinatorConfig{Clock: time}}) // the clock runs
	c := join(t, g, consumer.Config{Topics: []string{"later"}, Clock: time})
	require.Empty(t, c.Assignment())
	_, err := store.CreateTopic(t.Context(), "later", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	write(t, store, "later", 0, 0, 1)
	got := make(chan string, 1)
	go func() {
		records, err := c.Poll(context.Background())
		if err != nil {
			got <- err.Error()
			return
		}
		got <- string(records[0].Value)
	}()
	passing(t, time, 5e9, func() bool { return len(got) > 0 })
	require.Equal(t, "0", <-got)
}

func TestRecreatedTopicDoesNotInheritCommittedOffsets(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
	require.Len(t, all(t, c), 10)
	require.NoError(t, c.Close())
	require.NoError(t, store.DeleteTopic(t.Context(), "t"))
	_, err := store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	write(t, store, "t", 0, 50, 20)
	again := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
	require.Equal(t, texts(50, 20), all(t, again))
}

func TestNoOffsetAndResetNoneRefusesToJoin(t *testing.T) {
	store := newStore(t, "t", 1)
	g := openGroup(t, store, group.Config{})
	_, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, Reset: consumer.ResetNone})
	require.ErrorIs(t, err, consumer.ErrNoOffset)
	_, err = consumer.Join(t.Context(), g, consumer.Config{})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
}

func TestStoreCloseEndsTheLoopOfAMember(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	write(t, store, "t", 0, 0, 1)
	g, err := group.Open(store, "g", group.Config{})
	require.NoError(t, err)
	c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
	require.NoError(t, err)
	first := make(chan struct{}, 1)
	last := make(chan error, 1)
	go func() {
		for _, err := range c.Records(context.Background()) {
			if err != nil {
				last <- err
				return
			}
			first <- struct{}{}
		}
	}()
	<-first
	require.NoError(t, store.Close())
	require.ErrorIs(t, <-last, consumer.ErrClosed)
	_ = c.Close() // the commit at its end has nowhere to go
}
