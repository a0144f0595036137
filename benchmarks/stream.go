package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

const streamSize = 100

func levelOf(sync bool) string {
	if sync {
		return onDisk
	}
	return pageCache
}

// sendAsyncCell drives each system's whole producer from one goroutine: every record's result is awaited.
func sendAsyncCell(name string, sync bool) cell {
	return cell{name: name, contenders: []contender{
		{"partlog", levelOf(sync), func(e environment) (sample, error) { return sendAsyncPartlog(e, sync) }},
		{"kfake", levelOf(sync), func(e environment) (sample, error) { return sendAsyncKfake(e, sync) }},
	}}
}

func newPartlog(dir string, sync bool) (*partition.Store, error) {
	st, err := partition.Open(filepath.Join(dir, "store"), partlogConfig(sync))
	if err != nil {
		return nil, err
	}
	_, err = st.CreateTopic(context.Background(), partlogTopic, partition.TopicConfig{Partitions: 1})
	return st, err
}

// outcome collects the results of asynchronous sends.
type outcome struct {
	acked atomic.Int64
	mu    sync.Mutex
	err   error
}

func (o *outcome) result(err error) {
	if err == nil {
		o.acked.Add(1)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = errors.Join(o.err, err)
}

func sendAsyncPartlog(e environment, sync bool) (sample, error) {
	st, err := newPartlog(e.dir, sync)
	if err != nil {
		return sample{}, err
	}
	p, err := producer.New(st, producer.Config{})
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	var o outcome
	done := func(r producer.Result) { o.result(r.Err) }
	payload := newPayload(streamSize)
	got, err := timedSends(e, &o, func(i uint64) {
		fill(payload, 0, i)
		p.SendAsync(ctx, producer.Record{Topic: partlogTopic, Value: payload}, done)
	}, func() error { return p.Flush(ctx) })
	if err != nil {
		return sample{}, err
	}
	c := newChecker(streamSize)
	if err := fetchAll(st, 0, func(r *batch.Record) error { return c.record(r.Value) }); err != nil {
		return sample{}, err
	}
	if c.seen != got.records {
		return sample{}, fmt.Errorf("read back %d records, %d were acknowledged", c.seen, got.records)
	}
	return got, errors.Join(p.Close(), st.Close())
}

func sendAsyncKfake(e environment, sync bool) (sample, error) {
	k, err := startKfake(e.dir, sync)
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	var o outcome
	done := func(_ *kgo.Record, err error) { o.result(err) }
	pattern := newPayload(streamSize)
	var slab []byte
	var records []kgo.Record
	got, err := timedSends(e, &o, func(i uint64) {
		if len(records) == 0 { // the client keeps the record and its bytes: allocate many at once, its best case
			slab, records = make([]byte, 4096*streamSize), make([]kgo.Record, 4096)
		}
		v := slab[:streamSize:streamSize]
		copy(v, pattern)
		fill(v, 0, i)
		records[0].Value = v
		k.client.Produce(ctx, &records[0], done)
		slab, records = slab[streamSize:], records[1:]
	}, func() error { return k.client.Flush(ctx) })
	if err != nil {
		return sample{}, err
	}
	c := newChecker(streamSize)
	if err := k.consume(got.records, c.record); err != nil {
		return sample{}, err
	}
	return got, k.close()
}

func timedSends(e environment, o *outcome, send func(uint64), flush func() error) (sample, error) {
	return timedSendsOf(streamSize, e, o, send, flush)
}

func timedSendsOf(size int, e environment, o *outcome, send func(uint64), flush func() error) (sample, error) {
	limit := uint64(payloadLimit / size)
	before, started := mallocs(), time.Now()
	deadline := started.Add(e.duration)
	sent := uint64(0)
	for sent < limit && (sent%256 != 0 || time.Now().Before(deadline)) {
		send(sent)
		sent++
	}
	if err := flush(); err != nil {
		return sample{}, err
	}
	got := sample{elapsed: time.Since(started), mallocs: mallocs() - before, records: o.acked.Load()}
	got.bytes = got.records * int64(size)
	if o.err != nil || got.records != int64(sent) {
		return sample{}, fmt.Errorf("%d of %d sends acknowledged: %w", got.records, sent, o.err)
	}
	return got, nil
}

// consume reads n records with the Kafka client.
func (k *kfakeStore) consume(n int64, visit func([]byte) error) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(k.cluster.ListenAddrs()...), kgo.ConsumeTopics(kfakeTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer c.Close()
	for n > 0 {
		fetches := c.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); n-- {
			if err := visit(it.Next().Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func scanKfake(dir string, s shape, visit func([]byte) error) error {
	k, err := startKfake(dir, s.sync)
	if err != nil {
		return err
	}
	defer k.close()
	end, err := k.endOffset()
	if err != nil {
		return err
	}
	return k.consume(end, visit)
}

const consumeRecords = 3_000_000

// consumeCell reads what a producer wrote before, by each system's ordinary consumer loop.
func consumeCell(name string) cell {
	return cell{name: name, contenders: []contender{
		{"partlog", pageCache, consumePartlog},
		{"kfake", pageCache, consumeKfake},
	}}
}

func consumePartlog(e environment) (sample, error) {
	st, err := newPartlog(e.dir, false)
	if err != nil {
		return sample{}, err
	}
	p, err := producer.New(st, producer.Config{})
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	var o outcome
	payload := newPayload(streamSize)
	for i := range uint64(consumeRecords) {
		fill(payload, 0, i)
		p.SendAsync(ctx, producer.Record{Topic: partlogTopic, Value: payload}, func(r producer.Result) { o.result(r.Err) })
	}
	if err := p.Close(); err != nil {
		return sample{}, err
	}
	before, started := mallocs(), time.Now()
	tp := partition.TopicPartition{Topic: partlogTopic}
	c, err := consumer.Assign(ctx, st, []consumer.Assignment{{TopicPartition: tp, From: consumer.Earliest(), Until: consumer.UntilEnd()}}, consumer.Config{})
	if err != nil {
		return sample{}, err
	}
	check := newChecker(streamSize)
	for r, err := range c.Records(ctx) {
		if err != nil {
			return sample{}, err
		}
		if err := check.record(r.Value); err != nil {
			return sample{}, err
		}
	}
	return consumed(check, before, started), errors.Join(c.Close(), st.Close())
}

func consumed(check *checker, before uint64, started time.Time) sample {
	return sample{elapsed: time.Since(started), mallocs: mallocs() - before, records: check.seen, bytes: check.seen * streamSize}
}

func consumeKfake(e environment) (sample, error) {
	k, err := startKfake(e.dir, false)
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	var o outcome
	for i := range uint64(consumeRecords) {
		v := newPayload(streamSize)
		fill(v, 0, i)
		k.client.Produce(ctx, &kgo.Record{Value: v}, func(_ *kgo.Record, err error) { o.result(err) })
	}
	if err := k.client.Flush(ctx); err != nil {
		return sample{}, err
	}
	before, started := mallocs(), time.Now()
	check := newChecker(streamSize)
	if err := k.consume(consumeRecords, check.record); err != nil {
		return sample{}, err
	}
	return consumed(check, before, started), k.close()
}
