package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
)

// Histories of workers that read, process and write in transactions, with aborts, members that come and go, instances
// that fence each other, and a store that is killed or loses power: every record that was read is written once.
// PARTLOG_SOAK=<duration> runs histories for so long.
func TestHistoriesOfReadProcessWriteAreExactlyOnce(t *testing.T) {
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	least := 10
	if testing.Short() {
		least = 3
	}
	n, records := 0, 0
	for begin := time.Now(); n < least || time.Since(begin) < soak; n++ {
		records += (&history{t: t, rng: rand.New(rand.NewPCG(uint64(n), 5)), seed: n, disk: partitiontest.NewDisk(), synced: n%2 == 0}).run()
	}
	t.Logf("%d histories, %d records", n, records)
}

const historyPartitions = 4

type history struct {
	t      *testing.T
	rng    *rand.Rand
	seed   int
	synced bool
	disk   *partitiontest.Disk
	// weather, if set, runs beside the workers until ctx ends. They have to live with whatever it causes.
	weather func(ctx context.Context, h *history, store *partition.Store, rng *rand.Rand)
	topics  partition.TopicConfig
}

func (h *history) open() *partition.Store {
	c := partition.Config{FS: h.disk}
	if !h.synced {
		c.Sync = partition.SyncNever
	}
	store, err := partition.Open("s", c)
	require.NoError(h.t, err, "seed %d", h.seed)
	return store
}

func (h *history) run() (records int) {
	records = 200 + h.rng.IntN(400)
	store := h.open()
	for _, topic := range []string{"in", "out"} {
		config := h.topics
		config.Partitions = historyPartitions
		_, err := store.CreateTopic(h.t.Context(), topic, config)
		require.NoError(h.t, err)
	}
	if h.weather != nil {
		_, err := store.CreateTopic(h.t.Context(), "table", partition.TopicConfig{CleanupPolicy: partition.CleanupCompact, MinCleanableDirtyRatio: partition.Zero,
			DeleteRetention: partition.Zero, Extra: map[string]string{"internal.segment.bytes": "1024"}})
		require.NoError(h.t, err)
	}
	p, err := producer.New(store, producer.Config{})
	require.NoError(h.t, err)
	for i := range records {
		p.SendAsync(h.t.Context(), producer.Record{Topic: "in", Key: []byte(strconv.Itoa(i)), Value: []byte(strconv.Itoa(i))}, nil)
	}
	require.NoError(h.t, p.Close())
	for range h.rng.IntN(4) {
		h.work(store, h.rng.IntN(records))
		store = h.open()
	}
	h.work(store, -1)
	store = h.open()
	defer store.Close()
	h.check(store, records)
	if h.weather != nil {
		h.consistent(h.t.Context(), store)
	}
	return records
}

// work lets workers process until they have written so many records, and then kills the store; with -1 until all is done.
func (h *history) work(store *partition.Store, enough int) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	g, err := group.Open(store, "workers", group.Config{})
	require.NoError(h.t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	written := 0
	reached := make(chan struct{})
	done := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		before := written
		if written += n; before < enough && written >= enough {
			close(reached)
		}
	}
	if enough == 0 {
		close(reached)
	}
	calm := func() {}
	if h.weather != nil {
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), 17))
		sky, end := context.WithCancel(ctx)
		var bad sync.WaitGroup
		bad.Go(func() { h.weather(sky, h, store, rng) })
		calm = func() { end(); bad.Wait() }
	}
	for i := range 3 {
		rng := rand.New(rand.NewPCG(h.rng.Uint64(), uint64(i)))
		wg.Go(func() {
			for ctx.Err() == nil && !h.worker(ctx, store, g, i, rng, done) {
			}
		})
	}
	if enough >= 0 {
		finished := make(chan struct{})
		go func() { wg.Wait(); close(finished) }()
		select {
		case <-reached:
		case <-finished:
		}
		if h.weather != nil && h.rng.IntN(3) == 0 { // closed in the middle of it all instead
			_ = store.Close()
			stop()
			calm()
			wg.Wait()
			_ = g.Close()
			h.disk.SetFree(-1)
			return
		}
		after := h.disk.Kill()
		if h.synced && h.rng.IntN(2) == 0 {
			after = h.disk.Crash(h.rng.Uint64())
		}
		stop()
		calm()
		wg.Wait()
		_ = g.Close()
		_ = store.Close()
		h.disk = after
		h.disk.SetFree(-1)
		return
	}
	wg.Wait()
	calm()
	require.NoError(h.t, g.Close())
	require.NoError(h.t, store.Close())
}

// worker processes as one member with one instance of its transactional id, and reports whether there is nothing left.
func (h *history) worker(ctx context.Context, store *partition.Store, g *group.ConsumerGroup, id int, rng *rand.Rand, done func(int)) (finished bool) {
	fails := func(err error) bool {
		if err != nil && ctx.Err() == nil && h.weather == nil {
			require.ErrorIs(h.t, err, producer.ErrProducerFenced, "seed %d", h.seed)
		}
		return err != nil
	}
	p, err := producer.New(store, producer.Config{TransactionalID: fmt.Sprint("worker", id)})
	if fails(err) {
		return false
	}
	defer p.Close()
	c, err := consumer.Join(ctx, g, consumer.Config{
		Topics: []string{"in"}, Until: consumer.UntilEnd(), MaxPollRecords: 1 + rng.IntN(20), Commit: consumer.CommitManual, Isolation: consumer.ReadCommitted,
	})
	if fails(err) {
		return false
	}
	defer c.Close()
	errAgain := errors.New("another time")
	for lives := rng.IntN(30); ; lives-- {
		records, err := c.Poll(ctx)
		if err == io.EOF {
			return true
		}
		if fails(err) {
			return false
		}
		err = p.TransactFrom(ctx, c, func(tx *producer.Tx) error {
			for _, r := range records {
				tx.SendAsync(ctx, producer.Record{Topic: "out", Key: r.Key, Value: r.Value}, nil)
			}
			if h.weather != nil { // how far each partition has come, in a table
				for _, r := range records {
					tx.SendAsync(ctx, producer.Record{Topic: "table", Key: strconv.AppendInt(nil, int64(r.Partition), 10), Value: strconv.AppendInt(nil, int64(r.Offset), 10)}, nil)
				}
			}
			if rng.IntN(4) == 0 {
				return errAgain
			}
			return nil
		})
		switch {
		case err == nil:
			done(len(records))
		case errors.Is(err, errAgain), errors.Is(err, group.ErrIllegalGeneration), errors.Is(err, group.ErrRebalanceInProgress), errors.Is(err, group.ErrUnknownMemberID):
		case errors.Is(err, producer.ErrProducerFenced):
			return false
		case errors.Is(err, partition.ErrInvalidProducerEpoch): // a newer instance is about to fence this one
		default:
			if ctx.Err() == nil && h.weather == nil {
				require.NoError(h.t, err, "seed %d", h.seed)
			}
			return false
		}
		if lives == 0 {
			return false // and comes again as another member
		}
	}
}

func (h *history) check(store *partition.Store, records int) {
	var from []consumer.Assignment
	for n := range int32(historyPartitions) {
		tp := partition.TopicPartition{Topic: "out", Partition: n}
		end, err := store.ListOffsets(h.t.Context(), tp, partition.TimestampLatest)
		require.NoError(h.t, err)
		from = append(from, consumer.Assignment{TopicPartition: tp, Until: consumer.UntilOffset(end)})
	}
	c, err := consumer.Assign(h.t.Context(), store, from, consumer.Config{Isolation: consumer.ReadCommitted})
	require.NoError(h.t, err)
	defer c.Close()
	there := map[string]int{}
	for r, err := range c.Records(h.t.Context()) {
		if err == io.EOF {
			break
		}
		require.NoError(h.t, err)
		there[string(r.Value)]++
	}
	for i := range records {
		require.Equal(h.t, 1, there[strconv.Itoa(i)], "seed %d: record %d", h.seed, i)
	}
	require.Len(h.t, there, records)
}
