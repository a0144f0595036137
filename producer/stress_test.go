package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// Any number of goroutines send, cancel and flush, over a backend that loses requests and answers, is full for a time,
// and finds batches too large. Then: each record has one result; what was acknowledged is in the log once, at its
// offset; what failed is not in it, unless the result says that it may be; and nothing is in it twice.
func TestEveryRecordHasOneResultWhateverHappens(t *testing.T) {
	for _, inFlight := range []int{1, 5} {
		t.Run(fmt.Sprint(inFlight), func(t *testing.T) { stress(t, inFlight, 8, 400) })
	}
}

func stress(t *testing.T, inFlight, workers, each int) {
	const parts = 3
	c := soon
	c.MaxInFlight, c.BatchBytes, c.BufferMemory, c.Senders = inFlight, 2000, 20_000, 2
	p, s, store := start(t, parts, c)
	var dice sync.Mutex
	rng := rand.New(rand.NewPCG(1, uint64(inFlight)))
	roll := func(n int) int {
		dice.Lock()
		defer dice.Unlock()
		return rng.IntN(n)
	}
	s.before = func(n int, r partition.AppendRequest) error {
		switch x := roll(100); {
		case x < 5:
			return partition.ErrTimeout
		case x < 8:
			return partition.ErrNoSpace
		case len(r.Batch) > 1500:
			return partition.ErrMessageTooLarge
		}
		return nil
	}
	s.after = func(n int, _ partition.AppendRequest, err error) error {
		if err == nil && roll(100) < 5 {
			return partition.ErrTimeout
		}
		return nil
	}
	type outcome struct {
		results atomic.Int32
		result  producer.Result
	}
	outcomes := make([][]outcome, workers)
	var wg sync.WaitGroup
	for w := range workers {
		outcomes[w] = make([]outcome, each)
		wg.Go(func() {
			for i := range each {
				o := &outcomes[w][i]
				tell := func(r producer.Result) {
					o.result = r
					o.results.Add(1)
				}
				rec := value(fmt.Sprintf("%d.%d.%s", w, i, strings.Repeat("x", roll(100))))
				rec.Partition = producer.To(int32(roll(parts)))
				if roll(4) == 0 {
					rec.Acks = producer.Need(partition.AcksLeader)
				}
				switch roll(10) {
				case 0, 1:
					r, _ := p.Send(t.Context(), rec)
					tell(r)
				case 2:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(roll(200))*time.Microsecond)
					r, _ := p.Send(ctx, rec)
					cancel()
					tell(r)
				case 3:
					p.SendAsync(t.Context(), rec, tell)
					require.NoError(t, p.Flush(t.Context()))
					require.EqualValues(t, 1, o.results.Load())
				default:
					p.SendAsync(t.Context(), rec, tell)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, p.Flush(t.Context()))
	require.NoError(t, p.Close())
	s.mu.Lock()
	require.LessOrEqual(t, s.most, inFlight*parts)
	s.mu.Unlock()
	where := map[string]string{}
	for n := range parts {
		for i, v := range values(t, store, n) {
			id := v[:strings.LastIndexByte(v, '.')]
			require.Empty(t, where[id], "%s is there twice", id)
			where[id] = fmt.Sprint(n, i)
		}
	}
	var ok, failed, uncertain int
	for w := range outcomes {
		for i := range outcomes[w] {
			o := &outcomes[w][i]
			require.EqualValues(t, 1, o.results.Load(), "record %d.%d", w, i)
			at, there := where[fmt.Sprintf("%d.%d", w, i)]
			_, maybe := errors.AsType[*producer.UncertainError](o.result.Err)
			switch {
			case o.result.Err == nil:
				require.Equal(t, fmt.Sprint(o.result.Partition, o.result.Offset), at)
				ok++
			case maybe:
				uncertain++
			default:
				require.False(t, there, "%d.%d failed and is there: %v", w, i, o.result.Err)
				failed++
			}
		}
	}
	require.Positive(t, ok)
	require.Positive(t, failed)
	require.Zero(t, p.Stats().Buffer.Used)
	t.Logf("%d acknowledged, %d failed, %d uncertain, %d appends", ok, failed, uncertain, len(s.seen()))
}
