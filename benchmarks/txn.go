package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

const (
	txnRecords = 100
	txnSize    = 100
)

// txnCell measures committed transactions of 100 records of 100 bytes in one partition, one after the other; the latency
// is of a whole transaction, from before its first record to the answer of the commit. What was committed is counted by
// a reader of committed records afterwards.
func txnCell(name string, sync bool) cell {
	return cell{name: name, contenders: []contender{
		{"partlog", levelOf(sync), func(e environment) (sample, error) { return txnPartlog(e, sync) }},
		{"kfake", levelOf(sync), func(e environment) (sample, error) { return txnKfake(e, sync) }},
	}}
}

// transactions runs one transaction after the other.
func transactions(e environment, run func() error) (sample, error) {
	for range 50 { // warm up
		if err := run(); err != nil {
			return sample{}, err
		}
	}
	got := sample{hist: new(histogram)}
	before, started := mallocs(), time.Now()
	for time.Since(started) < e.duration && got.bytes < payloadLimit {
		begin := time.Now()
		if err := run(); err != nil {
			return sample{}, err
		}
		got.hist.add(time.Since(begin))
		got.records += txnRecords
		got.bytes += txnRecords * txnSize
	}
	got.elapsed, got.mallocs = time.Since(started), mallocs()-before
	return got, nil
}

// warm is how many records the warm up commits.
const warm = 50 * txnRecords

func txnPartlog(e environment, sync bool) (_ sample, err error) {
	st, err := newPartlog(e.dir, sync)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	p, err := producer.New(st, producer.Config{TransactionalID: "benchmark"})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	ctx := context.Background()
	rec := producer.Record{Topic: partlogTopic, Value: newPayload(txnSize)}
	fill := func(tx *producer.Tx) error {
		for range txnRecords {
			tx.SendAsync(ctx, rec, nil)
		}
		return nil
	}
	got, err := transactions(e, func() error { return p.Transact(ctx, fill) })
	if err != nil {
		return sample{}, err
	}
	tp := partition.TopicPartition{Topic: partlogTopic}
	end, err := st.ListOffsets(ctx, tp, partition.TimestampLatest)
	if err != nil {
		return sample{}, err
	}
	c, err := consumer.Assign(ctx, st, []consumer.Assignment{{TopicPartition: tp, Until: consumer.UntilOffset(end)}},
		consumer.Config{Isolation: consumer.ReadCommitted})
	if err != nil {
		return sample{}, err
	}
	defer c.Close()
	n := int64(0)
	for _, err := range c.Records(ctx) {
		if err != nil {
			return sample{}, err
		}
		n++
	}
	return got, counted(n, got)
}

func counted(n int64, got sample) error {
	if n != got.records+warm {
		return fmt.Errorf("read back %d committed records, %d were committed", n, got.records+warm)
	}
	return nil
}

func txnKfake(e environment, sync bool) (sample, error) {
	k, err := startKfake(e.dir, sync, kgo.TransactionalID("benchmark"))
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	value := newPayload(txnSize)
	records := make([]*kgo.Record, txnRecords)
	got, err := transactions(e, func() error {
		if err := k.client.BeginTransaction(); err != nil {
			return err
		}
		for i := range records {
			records[i] = &kgo.Record{Value: value}
		}
		if err := k.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		return k.client.EndTransaction(ctx, kgo.TryCommit)
	})
	if err == nil {
		var n int64
		if n, err = readCommittedKfake(ctx, k, got.records+warm); err == nil {
			err = counted(n, got)
		}
	}
	return got, errors.Join(err, k.close())
}

// readCommittedKfake counts committed records until there are enough, or none comes for a second.
func readCommittedKfake(ctx context.Context, k *kfakeStore, enough int64) (n int64, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(k.cluster.ListenAddrs()...), kgo.ConsumeTopics(kfakeTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for n < enough {
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		fetches := c.PollFetches(wait)
		cancel()
		if err := fetches.Err(); err != nil {
			return n, err
		}
		n += int64(fetches.NumRecords())
	}
	return n, nil
}
