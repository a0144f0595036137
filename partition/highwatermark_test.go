package partition

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// A fetch that is told a high watermark above its offset has the records below it. If it had not, it would wait for the next
// append although its records are there: nothing changes any more when they become visible.
func TestWhatIsBelowTheHighWatermarkIsRead(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncNever} {
		s := memory(t, Config{Sync: mode})
		create(t, s, "t", TopicConfig{})
		const n = 20_000
		var appended atomic.Bool
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				var reuse []FetchResult
				for at := Offset(0); at < n; {
					over := appended.Load()
					rs, err := s.Fetch(t.Context(), FetchRequest{Reuse: reuse, Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, Offset: at, LeaderEpoch: -1}}})
					if err != nil || rs[0].Err != nil {
						t.Error(err, rs)
						return
					}
					b := rs[0].Batches
					if len(b) == 0 && (rs[0].HighWatermark > at || over) {
						t.Errorf("%s: nothing at %d, below the high watermark %d", mode, at, rs[0].HighWatermark)
						return
					}
					for len(b) > 0 {
						one, err := batch.Peek(b)
						if err != nil {
							t.Error(err)
							return
						}
						at, b = Offset(one.NextOffset()), b[len(one):]
					}
					releaseAll(rs)
					reuse = rs
				}
			})
		}
		one := records("x")
		for range n {
			batch.Batch(one).SetBaseOffset(0)
			_, err := s.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: one})
			require.NoError(t, err)
		}
		appended.Store(true)
		wg.Wait()
	}
}
