package replication

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// repairs keeps what the nodes tell of repaired and of new copies.
type repairs struct {
	mu       sync.Mutex
	repaired map[int32]int64 // records put back, by node
	rebuilt  []int32
	failed   map[int32]error
	led      map[int32]partition.LeaderEpoch // in which the node led, when its replica failed
	leads    map[int32]partition.LeaderEpoch // as it has been told last
}

func (r *repairs) listen(c *Config) {
	id := c.NodeID
	c.Events.Repaired = func(_ partition.TopicPartition, records int64, _ error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.repaired == nil {
			r.repaired = map[int32]int64{}
		}
		r.repaired[id] += records
	}
	c.Events.Rebuilding = func(_ partition.TopicPartition, _ partition.Offset, reason string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.rebuilt = append(r.rebuilt, id)
	}
	c.Events.Leader = func(tp partition.TopicPartition, leader int32, epoch partition.LeaderEpoch) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.leads == nil {
			r.leads, r.led, r.failed = map[int32]partition.LeaderEpoch{}, map[int32]partition.LeaderEpoch{}, map[int32]error{}
		}
		if delete(r.leads, id); tp == orders && leader == id {
			r.leads[id] = epoch
		}
	}
	c.Events.ReplicaFailed = func(_ partition.TopicPartition, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed[id] = err
		if epoch, leads := r.leads[id]; leads {
			r.led[id] = epoch
		}
	}
}

func (r *repairs) of(id int32) (records int64, repaired bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	records, repaired = r.repaired[id]
	return records, repaired
}

// TestALeaderWithBadBytesGivesUpItsPartitionAndIsRepaired: a byte of the leader's disk is wrong below the high watermark. A consumer meets it; the leader tells the
// controller that its replica has failed, another one leads, and the range comes back from it: only what was damaged, not a whole copy.
func TestALeaderWithBadBytesGivesUpItsPartitionAndIsRepaired(t *testing.T) {
	var told repairs
	l := local(t, LocalConfig{Change: func(c *Config) { calm(c); told.listen(c) }})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{2, 1, 3}}, Extra: map[string]string{"internal.segment.bytes": "1024"}}) // nobody looks at a sealed segment that nobody reads
	require.NoError(t, err)
	var acked []string
	for i := range 20 {
		acked = append(acked, fmt.Sprint("value", i))
		send(ctx, t, l.Node(1), orders, acked[i])
	}
	insync(t, l, 3)
	file := ordersLog(l, 2)
	require.NoError(t, l.Stop(2)) // so that what is on its disk is read again
	corrupt(t, l.places[2].fs, file, 300)
	two, err := l.Start(2)
	require.NoError(t, err)
	require.NoError(t, two.Ready(ctx))
	eventually(ctx, t, "2 leads again", func() bool {
		if info(ctx, t, l.Node(1), orders).Leader == 2 {
			return true
		}
		_, err := l.Node(1).Elect(ctx, false, orders)
		require.NoError(t, err)
		return false
	})
	eventually(ctx, t, "a consumer has met the damage, and the replica is repaired", func() bool {
		results, err := two.Store().Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: orders, LeaderEpoch: -1}}})
		require.NoError(t, err)
		for i := range results {
			if results[i].Err != nil && !errors.Is(results[i].Err, partition.ErrNotLeaderOrFollower) {
				require.ErrorIs(t, results[i].Err, log.ErrCorrupt)
			}
			results[i].Lease.Release()
		}
		_, repaired := told.of(2)
		return repaired
	})
	equal(t, l, acked)
	records, _ := told.of(2)
	require.Positive(t, records)
	require.Less(t, records, int64(3), "the batch that was damaged, and no other")
	told.mu.Lock()
	defer told.mu.Unlock()
	require.ErrorIs(t, told.failed[2], log.ErrCorrupt)
	if epoch, led := told.led[2]; led { // else it was noticed before it led
		require.Greater(t, info(ctx, t, l.Node(1), orders).LeaderEpoch, epoch, "leadership has moved")
	}
	require.NotContains(t, told.rebuilt, int32(2))
	require.EqualValues(t, records, two.ReplicaStats(false).RecordsRepaired)
}

// TestAFollowerIsRepairedWhenACheckFindsDamage: nobody reads the records of a follower; Store.Verify does.
func TestAFollowerIsRepairedWhenACheckFindsDamage(t *testing.T) {
	var told repairs
	l := local(t, LocalConfig{Change: func(c *Config) { calm(c); told.listen(c) }})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
	require.NoError(t, err)
	var acked []string
	for i := range 20 {
		acked = append(acked, fmt.Sprint("value", i))
		send(ctx, t, l.Node(1), orders, acked[i])
	}
	insync(t, l, 3)
	corrupt(t, l.places[3].fs, ordersLog(l, 3), 300)
	_, err = l.Node(3).Store().Verify(ctx)
	require.NoError(t, err)
	eventually(ctx, t, "the replica is repaired", func() bool {
		records, repaired := told.of(3)
		return repaired && records > 0 && l.Node(3).ReplicaStats(false).Failed == 0
	})
	equal(t, l, acked)
	told.mu.Lock()
	defer told.mu.Unlock()
	require.Empty(t, told.rebuilt)
}

// TestTheOnlyCopyGoesOnWithWhatIsGood: without another replica a damaged one is not given up; consumers get the rest, and the operator is told once.
func TestTheOnlyCopyGoesOnWithWhatIsGood(t *testing.T) {
	var told repairs
	l := local(t, LocalConfig{Nodes: 1, Change: func(c *Config) { calm(c); told.listen(c) }})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1}}})
	require.NoError(t, err)
	for i := range 20 {
		send(ctx, t, l.Node(1), orders, fmt.Sprint("value", i))
	}
	file := ordersLog(l, 1)
	require.NoError(t, l.Stop(1))
	corrupt(t, l.places[1].fs, file, 300)
	one, err := l.Start(1)
	require.NoError(t, err)
	require.NoError(t, one.Ready(ctx))
	next := partition.Offset(0)
	var bad int
	for next < 20 {
		results, err := one.Fetch(ctx, partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: orders, Offset: next, LeaderEpoch: -1}}})
		require.NoError(t, err)
		if results[0].Err != nil {
			require.ErrorIs(t, results[0].Err, log.ErrCorrupt)
			require.Greater(t, results[0].CorruptNext, next)
			next, bad = results[0].CorruptNext, bad+1
			continue
		}
		next = lastOf(t, results[0].Batches, next)
		results[0].Lease.Release()
	}
	require.Equal(t, 1, bad)
	eventually(ctx, t, "the operator is told", func() bool {
		told.mu.Lock()
		defer told.mu.Unlock()
		return errors.Is(told.failed[1], log.ErrCorrupt)
	})
	require.Zero(t, one.ReplicaStats(false).Failed)
	send(ctx, t, one, orders, "more")
}

// lastOf is the offset behind batches, at least from.
func lastOf(t *testing.T, batches []byte, from partition.Offset) partition.Offset {
	for len(batches) > 0 {
		b, err := batch.Peek(batches)
		require.NoError(t, err)
		from = max(from, partition.Offset(b.NextOffset()))
		batches = batches[len(b):]
	}
	return from
}
