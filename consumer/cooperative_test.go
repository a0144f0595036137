package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// ownerships is the history of who had which partition, as listeners were told, and of what was yielded to whom.
type ownerships struct {
	t  *testing.T
	mu sync.Mutex // guards what follows

	owner map[partition.TopicPartition]string
	next  map[partition.TopicPartition]partition.Offset // behind what the owner has been yielded; -1 if nothing yet
	ended map[partition.TopicPartition]ending           // how the ownership before ended
	// overtaken are members that have lost a partition and were not told yet.
	overtaken map[partition.TopicPartition][]string
	seen      map[partition.TopicPartition]map[partition.Offset]bool
	kept      int // partitions that a member had before and after a rebalance
	moved     int
	lost      int
	stalls    int
}

// ending is where the next owner has to begin.
type ending struct {
	next  partition.Offset // behind the last record that was yielded
	exact bool             // all that was yielded has been finished and committed
}

func (o *ownerships) assigned(member string, tps []partition.TopicPartition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, tp := range tps {
		if other, ok := o.owner[tp]; ok { // removed: it will be told that it has lost the partition
			o.overtaken[tp] = append(o.overtaken[tp], other)
			o.ends(tp, false)
		}
		o.owner[tp], o.next[tp] = member, -1
		o.moved++
	}
	for _, m := range o.owner {
		if m == member {
			o.kept++
		}
	}
	o.kept -= len(tps)
}

func (o *ownerships) revoked(member string, tps []partition.TopicPartition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, tp := range tps {
		if o.owner[tp] != member {
			o.t.Errorf("%s gives up %s, which %q has", member, tp, o.owner[tp])
		}
		o.ends(tp, true)
	}
}

func (o *ownerships) gone(member string, tps []partition.TopicPartition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, tp := range tps {
		o.lost++
		if i := slices.Index(o.overtaken[tp], member); i >= 0 {
			o.overtaken[tp] = slices.Delete(o.overtaken[tp], i, i+1)
			continue
		}
		if o.owner[tp] != member {
			o.t.Errorf("%s has lost %s, which %q has", member, tp, o.owner[tp])
		}
		o.ends(tp, false)
	}
}

// ends is the end of an ownership.
func (o *ownerships) ends(tp partition.TopicPartition, exact bool) {
	delete(o.owner, tp)
	if o.next[tp] >= 0 {
		o.ended[tp] = ending{o.next[tp], exact}
	}
}

func (o *ownerships) yielded(member string, r consumer.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	tp := partition.TopicPartition{Topic: r.Topic, Partition: r.Partition}
	if o.owner[tp] != member {
		o.t.Errorf("%s is yielded a record of %s, which %q has", member, tp, o.owner[tp])
	}
	switch before := o.ended[tp]; {
	case o.next[tp] >= 0:
		if r.Offset != o.next[tp] {
			o.t.Errorf("%s of %s: offset %d is yielded behind %d", member, tp, r.Offset, o.next[tp]-1)
		}
	case before.exact && r.Offset != before.next:
		o.t.Errorf("%s of %s begins at %d, the owner before ended at %d", member, tp, r.Offset, before.next)
	case r.Offset > before.next:
		o.t.Errorf("%s of %s begins at %d: everything from %d on is skipped", member, tp, r.Offset, before.next)
	}
	o.next[tp] = r.Offset + 1
	if o.seen[tp] == nil {
		o.seen[tp] = make(map[partition.Offset]bool)
	}
	o.seen[tp][r.Offset] = true
}

// unfinished notes that a record is not acknowledged. A member that was expelled while it held the record has nothing to say of it.
func (o *ownerships) unfinished(member string, r consumer.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if tp := at(r.Topic, r.Partition); o.owner[tp] == member {
		o.next[tp] = r.Offset
	}
}

func (o *ownerships) saw() (records int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, offsets := range o.seen {
		records += len(offsets)
	}
	return records
}

// Members with different subscriptions join, leave, and stall past max.poll.interval while records are appended and
// topics grow. A partition never has two owners, an owner is yielded its records without gap or repetition through all
// the rebalances in which it keeps the partition, the next owner begins where the one before has ended, and everything is
// read. PARTLOG_SOAK=<duration> goes on for so long.
func TestCooperativeMembersNeverShareAPartitionAndSkipNothing(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 2
	}
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	began := time.Now()
	for seed := uint64(0); seed < seeds || time.Since(began) < soak; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { cooperativeHistory(t, seed) })
		})
	}
}

const (
	historyLength  = time.Minute
	historyTimeout = 5 * time.Second // max.poll.interval
)

func cooperativeHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	topics := map[string]int32{"t1": int32(2 + rng.IntN(6)), "t2": int32(1 + rng.IntN(4)), "t3": 3}
	for topic, n := range topics {
		_, err := store.CreateTopic(t.Context(), topic, partition.TopicConfig{Partitions: n})
		require.NoError(t, err)
	}
	// Every third history is the migration of an eager group: some members still revoke everything.
	strategies := [][]group.Assignor{{group.CooperativeSticky}}
	if seed%3 == 2 {
		strategies = append(strategies, []group.Assignor{group.Range, group.CooperativeSticky}, []group.Assignor{group.CooperativeSticky, group.Sticky})
	}
	var groups []*group.ConsumerGroup
	for _, assignors := range strategies {
		g, err := group.Open(store, "g", group.Config{RebalanceTimeout: historyTimeout, Assignors: assignors})
		require.NoError(t, err)
		groups = append(groups, g)
	}

	h := &ownerships{
		t: t, owner: make(map[partition.TopicPartition]string), next: make(map[partition.TopicPartition]partition.Offset),
		ended: make(map[partition.TopicPartition]ending), overtaken: make(map[partition.TopicPartition][]string), seen: make(map[partition.TopicPartition]map[partition.Offset]bool),
	}
	ctx, cancel := context.WithTimeout(context.Background(), historyLength)
	defer cancel()
	var wg sync.WaitGroup
	equal := seed%2 == 0
	for i := range 2 + rng.IntN(5) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i+1)))
			for life := 0; ctx.Err() == nil; life++ {
				time.Sleep(time.Duration(rng.IntN(6000)) * time.Millisecond)
				cooperativeLife(ctx, t, h, groups[rng.IntN(len(groups))], fmt.Sprintf("member %d.%d", i, life), rng, equal)
			}
		})
	}

	written := 0
	for ctx.Err() == nil {
		topic := []string{"t1", "t2", "t3"}[rng.IntN(3)]
		n := 1 + rng.IntN(20)
		write(t, store, topic, int32(rng.IntN(int(topics[topic]))), written, n)
		written += n
		if rng.IntN(100) == 0 {
			topics[topic]++
			require.NoError(t, store.CreatePartitions(t.Context(), topic, topics[topic]))
		}
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
	}
	wg.Wait()

	// What nobody had time for.
	name := "the last"
	last, err := consumer.Join(t.Context(), groups[0], consumer.Config{Topics: []string{"t1", "t2", "t3"}, Until: consumer.UntilEnd(), Listener: h.listener(name)})
	require.NoError(t, err)
	for r, err := range last.Records(t.Context()) {
		require.NoError(t, err)
		h.yielded(name, r)
	}
	require.NoError(t, last.Close())
	require.Equal(t, written, h.saw())
	require.Empty(t, h.owner)
	for tp, members := range h.overtaken {
		require.Empty(t, members, "%s was lost and they were never told", tp)
	}
	for _, g := range groups {
		require.NoError(t, g.Close())
	}
	require.NoError(t, store.Close())
	t.Logf("%d records; partitions kept %d times, moved %d, lost %d; %d stalls", written, h.kept, h.moved, h.lost, h.stalls)
	require.True(t, h.kept > 0 || len(strategies) > 1)
}

func (o *ownerships) listener(member string) consumer.Listener {
	return consumer.Listener{
		Assigned: func(tps []partition.TopicPartition) { o.assigned(member, tps) },
		Revoked:  func(tps []partition.TopicPartition) { o.revoked(member, tps) },
		Lost:     func(tps []partition.TopicPartition) { o.gone(member, tps) },
	}
}

// cooperativeLife is a member from its Join to its end: it leaves by itself, stalls until it is expelled, or time is up.
func cooperativeLife(ctx context.Context, t *testing.T, h *ownerships, g *group.ConsumerGroup, name string, rng *rand.Rand, equal bool) {
	topics := []string{"t1", "t2", "t3"}
	if !equal {
		topics = slices.Delete(topics, rng.IntN(3), 3)
		if len(topics) == 0 {
			topics = []string{"t2"}
		}
	}
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: topics, Listener: h.listener(name)})
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("join: %v", err)
		}
		return
	}
	stays := rng.IntN(800)
	for r, err := range c.Records(ctx) {
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, consumer.ErrExpelled) {
				t.Errorf("%s: %v", name, err)
			}
			break
		}
		h.yielded(name, r)
		switch rng.IntN(200) {
		case 0:
			h.stall(rng)
		case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
			time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		}
		if stays--; stays <= 0 {
			h.unfinished(name, r)
			break
		}
	}
	if err := c.Close(); err != nil && !errors.Is(err, consumer.ErrExpelled) {
		t.Errorf("close %s: %v", name, err)
	}
}

// stall holds a record, sometimes for longer than is allowed.
func (o *ownerships) stall(rng *rand.Rand) {
	o.mu.Lock()
	o.stalls++
	o.mu.Unlock()
	time.Sleep(time.Duration(rng.IntN(int(2 * historyTimeout))))
}
