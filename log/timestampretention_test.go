package log

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/vfs"
)

// Retention takes segments from under a look-up by time, which begins with the oldest.
func TestTimesAreLookedUpWhileSegmentsGo(t *testing.T) {
	l, _, err := Open(keyConfig(vfs.NewMem()))
	require.NoError(t, err)
	defer l.Abandon()
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			if _, _, err := l.OffsetForTimestamp(1000); err != nil {
				t.Error(err)
				return
			}
			if _, _, err := l.OffsetForMaxTimestamp(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 3000 {
		_, err := l.Append(makeOfKeys(compress.None, fmt.Sprint("k", i%7)), AppendOptions{})
		require.NoError(t, err)
		if i%20 == 19 {
			_, err := l.DeleteRecords(l.Visible() - 5)
			require.NoError(t, err)
		}
	}
	close(over)
	wg.Wait()
}
