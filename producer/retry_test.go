package producer_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

var soon = producer.Config{RetryBackoff: time.Microsecond, RetryBackoffMax: time.Microsecond}

// Every kind of trouble: an append that did not arrive, and one whose answer did not.
func TestRetriesKeepTheOrderAndAppendOnce(t *testing.T) {
	const n = 2000
	for _, inFlight := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(inFlight), func(t *testing.T) {
			c := soon
			c.BatchBytes, c.MaxInFlight = 200, inFlight
			p, s, store := start(t, 1, c)
			s.before = func(n int, _ partition.AppendRequest) error {
				if n%7 == 3 {
					return fmt.Errorf("did not arrive: %w", partition.ErrTimeout)
				}
				return nil
			}
			s.after = func(n int, _ partition.AppendRequest, err error) error {
				if err == nil && n%5 == 2 {
					return fmt.Errorf("answer lost: %w", partition.ErrTimeout)
				}
				return nil
			}
			got := results{}
			for i := range n {
				p.SendAsync(t.Context(), value(fmt.Sprint(i)), got.add)
			}
			require.NoError(t, p.Flush(t.Context()))
			for i, r := range got.list() {
				require.NoError(t, r.Err)
				require.EqualValues(t, i, r.Offset)
			}
			for i, v := range values(t, store, 0) {
				require.Equal(t, fmt.Sprint(i), v)
			}
			require.Len(t, values(t, store, 0), n)
			require.Positive(t, p.Stats().Retries)
			require.LessOrEqual(t, s.most, inFlight)
		})
	}
}

func TestMaxInFlightAppendsRunAtTheSameTime(t *testing.T) {
	p, s, _ := start(t, 1, producer.Config{BatchBytes: 1, MaxInFlight: 3})
	_, err := p.Send(t.Context(), value("first")) // until then it is one, whatever MaxInFlight says
	require.NoError(t, err)
	g := newGate()
	s.before = func(int, partition.AppendRequest) error { g.hold(); return nil }
	for i := range 10 {
		p.SendAsync(t.Context(), value(fmt.Sprint(i)), nil)
	}
	for range 3 {
		<-g.come
	}
	require.Len(t, s.seen(), 4)
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, 3, s.most)
}

func TestFinalErrorsAreNotRetried(t *testing.T) {
	for _, fatal := range []error{partition.ErrNoSpace, partition.ErrStorage, partition.ErrReadOnly, errors.New("anything")} {
		p, s, _ := start(t, 1, producer.Config{})
		s.before = func(n int, _ partition.AppendRequest) error {
			if n == 1 {
				return fatal
			}
			return nil
		}
		_, err := p.Send(t.Context(), value("x"))
		require.ErrorIs(t, err, fatal)
		_, uncertain := errors.AsType[*producer.UncertainError](err)
		require.Equal(t, fatal != partition.ErrNoSpace && fatal != partition.ErrReadOnly, uncertain, "%v", err)
		require.Len(t, s.seen(), 1)
		_, err = p.Send(t.Context(), value("y"))
		require.NoError(t, err)
	}
}

func TestFailedBatchBumpsTheEpochSoThatLaterSendsWork(t *testing.T) {
	var bumps []producer.EpochBump
	p, s, store := start(t, 1, producer.Config{Events: producer.Events{EpochBump: func(b producer.EpochBump) { bumps = append(bumps, b) }}})
	_, err := p.Send(t.Context(), value("a"))
	require.NoError(t, err)
	s.before = func(int, partition.AppendRequest) error { return partition.ErrNoSpace }
	for range 3 {
		_, err = p.Send(t.Context(), value("lost"))
		require.ErrorIs(t, err, partition.ErrNoSpace)
	}
	s.before = nil
	for i := range 3 {
		r, err := p.Send(t.Context(), value("b"))
		require.NoError(t, err)
		require.EqualValues(t, 1+i, r.Offset)
	}
	seen := s.seen()
	first := seen[0].id
	require.Equal(t, partition.ProducerID{ID: first.ID, Epoch: first.Epoch + 1}, seen[len(seen)-1].id)
	require.EqualValues(t, 2, seen[len(seen)-1].seq)
	require.Equal(t, []string{"a", "b", "b", "b"}, values(t, store, 0))
	require.Len(t, bumps, 1, "a disk that stays full uses one epoch, not one for each batch")
	require.ErrorIs(t, bumps[0].Err, partition.ErrNoSpace)
}

func TestWithoutEpochsLeftAnotherProducerIDIsUsed(t *testing.T) {
	var bumps []producer.EpochBump
	p, s, _ := start(t, 2, producer.Config{Events: producer.Events{EpochBump: func(b producer.EpochBump) { bumps = append(bumps, b) }}})
	_, err := p.Send(t.Context(), value("a"))
	require.NoError(t, err)
	producer.SetEpoch(p, math.MaxInt16)
	_, err = p.Send(t.Context(), value("b"))
	require.NoError(t, err)
	s.before = func(n int, _ partition.AppendRequest) error { return partition.ErrNoSpace }
	_, err = p.Send(t.Context(), value("lost"))
	require.Error(t, err)
	s.before = nil
	_, err = p.Send(t.Context(), value("c"))
	require.NoError(t, err)
	seen := s.seen()
	require.NotEqual(t, seen[0].id.ID, seen[3].id.ID)
	require.Zero(t, seen[3].id.Epoch)
	require.Zero(t, seen[3].seq)
	require.Equal(t, bumps[0].After, seen[3].id)
}

// The leader may forget a producer (retention, expiry) or know a newer epoch of it.
func TestUnexpectedSequenceErrorGoesOnWithANewEpoch(t *testing.T) {
	for _, cause := range []error{partition.ErrOutOfOrderSequence, partition.ErrInvalidProducerEpoch} {
		p, s, store := start(t, 1, soon)
		_, err := p.Send(t.Context(), value("a"))
		require.NoError(t, err)
		s.before = func(n int, _ partition.AppendRequest) error {
			if n == 2 {
				return cause
			}
			return nil
		}
		_, err = p.Send(t.Context(), value("b"))
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, values(t, store, 0))
		require.EqualValues(t, 1, s.seen()[2].id.Epoch)
	}
}

// A backend that has tried twice by itself, and whose first attempt may have written the batch, is not believed that it is not there.
func TestARefusalAfterAnUncertainAttemptIsNotSentAgainWithANewEpoch(t *testing.T) {
	p, s, store := start(t, 1, soon)
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 1 {
			return fmt.Errorf("%w; an attempt before: %w", partition.ErrOutOfOrderSequence, partition.ErrWritten)
		}
		return nil
	}
	_, err := p.Send(t.Context(), value("a"))
	require.ErrorIs(t, err, partition.ErrOutOfOrderSequence)
	_, uncertain := errors.AsType[*producer.UncertainError](err)
	require.True(t, uncertain, "%v", err)
	_, err = p.Send(t.Context(), value("b"))
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, values(t, store, 0))
}

func TestBatchesInFlightBehindAFailedOneAreSentWithTheNewEpoch(t *testing.T) {
	c := soon
	c.BatchBytes, c.MaxInFlight = 1, 5
	p, s, store := start(t, 1, c)
	_, err := p.Send(t.Context(), value("first"))
	require.NoError(t, err)
	g := newGate()
	s.before = func(n int, r partition.AppendRequest) error {
		if n <= 6 {
			g.hold()
		}
		if strings.Contains(string(r.Batch), "bad") {
			return partition.ErrNoSpace
		}
		return nil
	}
	got := results{}
	for _, v := range []string{"bad", "b", "c", "d", "e", "f", "g"} {
		p.SendAsync(t.Context(), value(v), got.add)
	}
	for range 5 {
		<-g.come
	}
	close(g.open)
	require.NoError(t, p.Flush(t.Context()))
	require.Equal(t, []string{"first", "b", "c", "d", "e", "f", "g"}, values(t, store, 0))
	for i, r := range got.list() {
		require.Equal(t, i == 0, r.Err != nil, "%v", r.Err)
	}
}

func TestTooLargeBatchIsSplitAndOnlyTheRecordThatIsTooLargeFails(t *testing.T) {
	var splits int
	c := soon
	c.Linger = time.Minute
	c.Events.Split = func(partition.TopicPartition, int, int) { splits++ }
	p, s, store := start(t, 1, c)
	s.before = func(_ int, r partition.AppendRequest) error { // a limit that the metadata did not tell
		if len(r.Batch) > 500 {
			return partition.ErrMessageTooLarge
		}
		return nil
	}
	got := results{}
	for i := range 20 {
		v := strings.Repeat(string(rune('a'+i)), 100)
		if i == 7 {
			v = strings.Repeat("!", 600)
		}
		p.SendAsync(t.Context(), value(v), got.add)
	}
	require.NoError(t, p.Flush(t.Context()))
	require.Len(t, values(t, store, 0), 19)
	next := partition.Offset(0)
	for i, r := range got.list() {
		if i == 7 {
			require.ErrorIs(t, r.Err, partition.ErrMessageTooLarge)
			continue
		}
		require.NoError(t, r.Err)
		require.Equal(t, next, r.Offset)
		next++
	}
	require.Positive(t, splits)
	require.Zero(t, p.Stats().Buffer.Used)
}

func TestBackoffDoublesVariesAndEnds(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	retries := make(chan producer.Retry, 100)
	p, s, _ := start(t, 1, producer.Config{Clock: c, Events: producer.Events{Retry: func(r producer.Retry) { retries <- r }}})
	s.before = func(n int, _ partition.AppendRequest) error {
		if n <= 7 {
			return partition.ErrTimeout
		}
		return nil
	}
	done := make(chan producer.Result, 1)
	p.SendAsync(t.Context(), value("x"), func(r producer.Result) { done <- r })
	for i, ms := range []int64{100, 200, 400, 800, 1000, 1000, 1000} {
		r := <-retries
		require.Equal(t, i+1, r.Attempt)
		d := time.Duration(ms) * time.Millisecond
		require.InDelta(t, d.Seconds(), r.Backoff.Seconds(), d.Seconds()/5+1e-9)
		c.Advance(r.Backoff)
	}
	require.NoError(t, (<-done).Err)
}

func TestDeliveryTimeoutEndsRetries(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	retries := make(chan producer.Retry, 100)
	p, s, _ := start(t, 1, producer.Config{Clock: c, DeliveryTimeout: 10 * time.Second, Events: producer.Events{Retry: func(r producer.Retry) { retries <- r }}})
	var arrives bool
	var mu sync.Mutex
	s.before = func(int, partition.AppendRequest) error {
		mu.Lock()
		defer mu.Unlock()
		if arrives {
			return nil
		}
		return fmt.Errorf("no leader: %w", partition.ErrUnknownLeaderEpoch)
	}
	done := make(chan producer.Result, 1)
	p.SendAsync(t.Context(), value("x"), func(r producer.Result) { done <- r })
	var r producer.Result
	for r.Err == nil {
		select {
		case x := <-retries:
			c.Advance(x.Backoff)
		case r = <-done:
		}
	}
	timeout, ok := errors.AsType[*producer.DeliveryTimeoutError](r.Err)
	require.True(t, ok, "%v", r.Err)
	require.ErrorIs(t, r.Err, partition.ErrTimeout)
	require.ErrorIs(t, r.Err, partition.ErrUnknownLeaderEpoch)
	require.Greater(t, timeout.Attempts, 5)
	require.GreaterOrEqual(t, timeout.Age, 10*time.Second)
	_, uncertain := errors.AsType[*producer.UncertainError](r.Err)
	require.False(t, uncertain, "every attempt was refused")
	mu.Lock()
	arrives = true
	mu.Unlock()
	_, err := p.Send(t.Context(), value("y"))
	require.NoError(t, err)
}

// An append that hangs is answered all the same; what may still come of it is fenced by the next epoch.
func TestHangingAppendIsGivenUpAndItsEpochLeft(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	p, s, store := start(t, 1, producer.Config{Clock: c})
	g := newGate()
	s.before = func(n int, _ partition.AppendRequest) error {
		if n == 2 {
			g.hold()
		}
		return nil
	}
	_, err := p.Send(t.Context(), value("a"))
	require.NoError(t, err)
	done := make(chan producer.Result, 1)
	p.SendAsync(t.Context(), value("hangs"), func(r producer.Result) { done <- r })
	<-g.come
	c.Advance(2 * time.Minute)
	r := <-done
	_, uncertain := errors.AsType[*producer.UncertainError](r.Err)
	require.True(t, uncertain, "%v", r.Err)
	_, timeout := errors.AsType[*producer.DeliveryTimeoutError](r.Err)
	require.True(t, timeout, "%v", r.Err)
	_, err = p.Send(t.Context(), value("b"))
	require.NoError(t, err)
	require.Positive(t, p.Stats().Buffer.Used, "its bytes are not given to anybody while the append can see them")
	close(g.open)
	waitFor(t, func() bool { return p.Stats().Buffer.Used == 0 })
	require.Equal(t, []string{"a", "b"}, values(t, store, 0))
}

func TestClosedStoreFailsRecordsWithErrClosed(t *testing.T) {
	p, _, store := start(t, 1, producer.Config{})
	_, err := p.Send(t.Context(), value("x"))
	require.NoError(t, err)
	require.NoError(t, store.Close())
	_, err = p.Send(t.Context(), value("x"))
	require.ErrorIs(t, err, producer.ErrClosed)
	require.NoError(t, p.Close())
}

func TestSequencesGoFromTheLargestToZero(t *testing.T) {
	p, s, store := start(t, 1, producer.Config{Linger: time.Minute})
	producer.Continue(p, "t", 0, partition.ProducerID{ID: 12345}, math.MaxInt32-4)
	for range 4 {
		for range 3 {
			p.SendAsync(t.Context(), value("x"), func(r producer.Result) { require.NoError(t, r.Err) })
		}
		require.NoError(t, p.Flush(t.Context()))
	}
	var sequences []int32
	for _, a := range s.seen() {
		sequences = append(sequences, a.seq)
	}
	require.Equal(t, []int32{math.MaxInt32 - 4, math.MaxInt32 - 1, 1, 4}, sequences)
	require.Len(t, values(t, store, 0), 12)
}
