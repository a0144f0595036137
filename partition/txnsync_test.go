package partition

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
)

// countSyncs counts the syncs of partitions' files by directory.
type countSyncs struct {
	mu sync.Mutex
	by map[string]int
}

func (c *countSyncs) op(op vfs.Op) {
	if op.Kind == vfs.OpSync {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.by[filepath.Base(filepath.Dir(op.Path))]++
	}
}

func (c *countSyncs) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.by
	c.by = map[string]int{}
	return by
}

// A transaction whose sends wait for nothing but the page cache costs two syncs in the latency of its commit, one after the other: the data,
// of all partitions at once, and the Prepare record. Then one for each marker. Ongoing and Complete have none of their own.
func TestCommitWaitsForTwoSyncsOneAfterTheOther(t *testing.T) {
	disk := vfs.NewFault(vfs.NewMem())
	still := clock.NewManual(time.UnixMilli(1_700_000_000_000)) // a checkpoint syncs too
	s := openTxnStore(t, disk, Config{Clock: still}, "t")
	defer s.Close()
	c := newTxnClient(t, s, "a")
	t0, t1 := TopicPartition{"t", 0}, TopicPartition{"t", 1}
	for range 2 { // files are prepared by their first appends
		c.send(t0, "x")
		c.send(t1, "x")
		c.end(true)
		settled(t, s)
	}
	syncs := &countSyncs{by: map[string]int{}}
	disk.OnOp(syncs.op)
	c.send(t0, "y1", "y2")
	c.send(t0, "y3")
	require.Empty(t, syncs.take(), "sends wait for no sync")
	c.end(true)
	settled(t, s)
	require.Equal(t, map[string]int{"t-0": 2, "__transaction_state-47": 1}, syncs.take(), "data and marker, Prepare")
	c.send(t0, "z")
	c.send(t1, "z")
	c.end(true)
	settled(t, s)
	require.Equal(t, map[string]int{"t-0": 2, "t-1": 2, "__transaction_state-47": 1}, syncs.take())
	c.send(t0, "w")
	c.end(false)
	settled(t, s)
	require.Equal(t, map[string]int{"t-0": 1, "__transaction_state-47": 1}, syncs.take(), "what is aborted need not be durable before")
}
