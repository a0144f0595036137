package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
)

// The same histories while everything else goes on: segments of a kilobyte, compaction of a table that is written and of
// both internal topics, a disk that is full for a moment or fails to write, topics that come and go with a transaction open in
// them, backups, and administrators who look and abort. PARTLOG_SOAK=<duration> runs histories for so long.
func TestHistoriesInBadWeatherAreExactlyOnce(t *testing.T) {
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	least := 6
	if testing.Short() {
		least = 2
	}
	n, records := 0, 0
	for begin := time.Now(); n < least || time.Since(begin) < soak; n++ {
		h := &history{t: t, rng: rand.New(rand.NewPCG(uint64(n), 19)), seed: n, disk: partitiontest.NewDisk(), synced: n%2 == 0, weather: badWeather}
		h.topics = partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "1024"}}
		records += h.run()
	}
	t.Logf("%d histories, %d records", n, records)
}

// badWeather meddles with a store until ctx ends.
func badWeather(ctx context.Context, h *history, store *partition.Store, rng *rand.Rand) {
	backups := 0
	scratch, err := producer.New(store, producer.Config{TransactionalID: "scratch"})
	if err == nil {
		defer scratch.Close()
	}
	for ctx.Err() == nil {
		switch rng.IntN(9) {
		case 0, 1, 2:
			topic := []string{"table", group.OffsetsTopic, "__transaction_state"}[rng.IntN(3)]
			for n := range int32(50) {
				err := store.Compact(ctx, partition.TopicPartition{Topic: topic, Partition: n})
				if errors.Is(err, partition.ErrUnknownTopicOrPartition) {
					break
				}
				corrupt, _ := errors.AsType[*log.CorruptionError](err)
				require.Nil(h.t, corrupt, "seed %d: compaction of %s-%d", h.seed, topic, n)
			}
		case 3:
			h.disk.SetFree(int64(rng.IntN(3000)))
			pause(rng)
			h.disk.SetFree(-1)
		case 4:
			rule := h.disk.Fail(partitiontest.Rule{Op: partitiontest.OpWrite, Path: "*.log", Nth: rng.IntN(5)})
			pause(rng)
			rule.Lift()
		case 5:
			name := fmt.Sprint("scratch", rng.IntN(2))
			_, _ = store.CreateTopic(ctx, name, partition.TopicConfig{})
			if scratch != nil {
				_ = scratch.Transact(ctx, func(tx *producer.Tx) error {
					_, err := tx.Send(ctx, producer.Record{Topic: name, Value: []byte("x")})
					_ = store.DeleteTopic(ctx, name)
					return err
				})
			}
		case 6:
			if backups++; backups < 3 {
				h.backup(ctx, store, fmt.Sprintf("backup%d.%d", backups, rng.Uint64()))
			}
		case 7:
			all, err := store.ListTransactions(ctx, partition.TransactionFilter{States: []partition.TransactionState{partition.TransactionOngoing}})
			if err == nil && len(all) > 0 && rng.IntN(4) == 0 {
				_ = store.AbortTransaction(ctx, all[rng.IntN(len(all))].TransactionalID)
			}
		case 8:
			pause(rng)
		}
	}
}

func pause(rng *rand.Rand) {
	over := make(chan struct{})
	time.AfterFunc(time.Duration(rng.IntN(2000))*time.Microsecond, func() { close(over) })
	<-over
}

// backup takes a backup and looks whether it is one of a single moment.
func (h *history) backup(ctx context.Context, store *partition.Store, dir string) {
	if err := store.Snapshot(ctx, dir); err != nil {
		return // of the weather
	}
	b, err := partition.Open(dir, partition.Config{FS: h.disk})
	require.NoError(h.t, err, "seed %d", h.seed)
	defer b.Close()
	h.consistent(ctx, b)
}

// consistent looks whether a store is of one moment between transactions: what is in out is what of in lies below the group's
// offsets, each once, and the table says the same.
func (h *history) consistent(ctx context.Context, store *partition.Store) {
	g, err := group.Open(store, "workers", group.Config{})
	require.NoError(h.t, err)
	defer g.Close()
	coordinator, err := g.Coordinator(ctx)
	if ctx.Err() != nil {
		return
	}
	require.NoError(h.t, err)
	var committed map[partition.TopicPartition]group.CommittedOffset
	require.Eventually(h.t, func() bool {
		committed, err = coordinator.Offsets(ctx, group.OffsetsRequest{Group: "workers", RequireStable: true})
		return err == nil || ctx.Err() != nil
	}, 5*time.Minute, time.Millisecond, "seed %d: %v", h.seed, err)
	read := map[string]int{}
	want, table := map[string]string{}, map[string]string{}
	for n := range int32(historyPartitions) {
		in := partition.TopicPartition{Topic: "in", Partition: n}
		until := committed[in].Offset
		h.each(ctx, store, in, func(r consumer.Record) {
			if r.Offset < until {
				read[string(r.Value)]++
				want[strconv.Itoa(int(n))] = strconv.FormatInt(int64(r.Offset), 10)
			}
		})
	}
	for n := range int32(historyPartitions) {
		h.each(ctx, store, partition.TopicPartition{Topic: "out", Partition: n}, func(r consumer.Record) { read[string(r.Value)]-- })
	}
	h.each(ctx, store, partition.TopicPartition{Topic: "table", Partition: 0}, func(r consumer.Record) { table[string(r.Key)] = string(r.Value) })
	if ctx.Err() != nil {
		return
	}
	for v, k := range read {
		require.Zero(h.t, k, "seed %d: record %s was read, and written, and the difference is not 0", h.seed, v)
	}
	require.Equal(h.t, want, table, "seed %d", h.seed)
}

// each calls f for every committed record of a partition, and requires that there is nothing open in it.
func (h *history) each(ctx context.Context, store *partition.Store, tp partition.TopicPartition, f func(consumer.Record)) {
	require.Eventually(h.t, func() bool {
		stable, err1 := store.ListOffsets(ctx, tp, partition.TimestampLastStable)
		end, err2 := store.ListOffsets(ctx, tp, partition.TimestampLatest)
		return ctx.Err() != nil || err1 == nil && err2 == nil && stable == end
	}, 5*time.Minute, time.Millisecond, "seed %d: %s is stuck", h.seed, tp)
	if ctx.Err() != nil {
		return
	}
	c, err := consumer.Assign(ctx, store, []consumer.Assignment{{TopicPartition: tp, Until: consumer.UntilEnd()}}, consumer.Config{Isolation: consumer.ReadCommitted})
	if ctx.Err() != nil {
		return
	}
	require.NoError(h.t, err)
	defer c.Close()
	for r, err := range c.Records(ctx) {
		if err == io.EOF || ctx.Err() != nil {
			return
		}
		require.NoError(h.t, err, "seed %d: %s", h.seed, tp)
		f(r)
	}
}
