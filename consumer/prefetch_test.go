package consumer_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// reading is one request of a consumer to its source, and the answer.
type reading struct {
	request partition.FetchRequest
	bytes   int
	batches int
	inHand  int // records of earlier answers that the loop had not seen yet
}

// read1MB reads to its end a topic of 2 partitions with 40 batches each of the same size, which it returns.
func read1MB(t *testing.T, c consumer.Config) (all []reading, batchBytes int) {
	t.Helper()
	const batches, each = 40, 16
	s := &spy{Store: newStore(t, "t", 2)}
	filler := strings.Repeat("x", 1000)
	var want, got []string
	for p := range 2 {
		for i := range batches {
			vs := texts(10_000*(p+1)+each*i, each)
			for j := range vs {
				vs[j] += filler
			}
			want = append(want, vs...)
			writeAt(t, s.Store, "t", int32(p), timeZero, vs...)
		}
	}
	var mu sync.Mutex
	fetched := 0
	s.fetched = func(q partition.FetchRequest, results []partition.FetchResult) {
		mu.Lock()
		defer mu.Unlock()
		r := reading{request: q, inHand: fetched - len(got)}
		for _, x := range results {
			for chunk := x.Batches; len(chunk) > 0; r.batches++ {
				b, err := batch.Peek(chunk)
				if err != nil {
					t.Error(err)
					return
				}
				batchBytes = len(b)
				r.bytes, chunk = r.bytes+len(b), chunk[len(b):]
			}
		}
		fetched += r.batches * each
		all = append(all, r)
	}
	a := s.assign(t, c, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()},
		consumer.Assignment{TopicPartition: at("t", 1), Until: consumer.UntilEnd()})
	for r, err := range a.Records(t.Context()) {
		require.NoError(t, err)
		mu.Lock()
		got = append(got, string(r.Value))
		mu.Unlock()
	}
	require.ElementsMatch(t, want, got)
	return all, batchBytes
}

// What the loop asks for and what is read ahead can be told apart by their bounds.
func TestWhatIsReadAheadIsAtMostPrefetchBytes(t *testing.T) {
	const asked = 128 << 10
	for _, ahead := range []int{1, 1000, 20_000, 40_000, 100_000} {
		t.Run(strconv.Itoa(ahead), func(t *testing.T) {
			all, one := read1MB(t, consumer.Config{MaxBytes: asked, PrefetchBytes: ahead})
			n := 0
			for _, r := range all {
				if r.request.MaxBytes != ahead {
					require.Equal(t, asked, r.request.MaxBytes)
					require.LessOrEqual(t, r.bytes, asked)
					continue
				}
				require.LessOrEqual(t, r.bytes, max(ahead, one), "a batch that is larger is read, so that reading goes on")
				require.Zero(t, r.request.MaxWait, "what is not there is not waited for")
				if r.batches > 0 {
					n++
				}
			}
			require.Positive(t, n, "something was read ahead")
		})
	}
}

func TestNoPrefetchReadsNothingAhead(t *testing.T) {
	all, _ := read1MB(t, consumer.Config{MaxBytes: 128 << 10, PrefetchBytes: consumer.NoPrefetch})
	require.Greater(t, len(all), 8)
	for _, r := range all {
		require.Equal(t, 128<<10, r.request.MaxBytes)
		require.Zero(t, r.inHand, "the loop had seen everything before more was asked for")
	}
}
