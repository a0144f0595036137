package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

const (
	workersRecords = 1 << 20
	workersKeys    = 16
)

// workersCell handles a million records of 100 bytes of 16 keys, which go round, in one partition, with 16 workers and a
// handler that checks the order of its key: against the same work where order is not kept, and not checked.
func workersCell(name string) cell {
	c := cell{name: name}
	add := func(system string, unordered bool) {
		c.contenders = append(c.contenders, contender{system, pageCache, func(e environment) (sample, error) { return workersRun(e, unordered) }})
	}
	add("partlog", false)
	add("unordered", true)
	return c
}

func workersRun(e environment, unordered bool) (_ sample, err error) {
	st, err := newPartlog(e.dir, false)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ctx := context.Background()
	p, err := producer.New(st, producer.Config{})
	if err != nil {
		return sample{}, err
	}
	value := newPayload(100)
	for i := range workersRecords {
		p.SendAsync(ctx, producer.Record{Topic: partlogTopic, Key: []byte{byte(i % workersKeys)}, Value: value}, nil)
	}
	if err := p.Close(); err != nil {
		return sample{}, err
	}
	c, err := consumer.Assign(ctx, st, []consumer.Assignment{
		{TopicPartition: partition.TopicPartition{Topic: partlogTopic}, Until: consumer.UntilEnd()},
	}, consumer.Config{})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var handled atomic.Int64
	var last [workersKeys]struct {
		offset atomic.Int64
		_      [56]byte // keys share no cache line
	}
	handler := func(_ context.Context, r consumer.Record) error {
		handled.Add(1)
		before := last[r.Key[0]].offset.Swap(int64(r.Offset) + 1)
		if before > int64(r.Offset) && !unordered {
			return fmt.Errorf("offset %d of key %d behind %d", r.Offset, r.Key[0], before-1)
		}
		return nil
	}
	before, started := mallocs(), time.Now()
	if err := consumer.Work(ctx, c, handler, consumer.WorkConfig{Unordered: unordered}); err != nil {
		return sample{}, err
	}
	got := sample{records: handled.Load(), bytes: handled.Load() * 100, elapsed: time.Since(started), mallocs: mallocs() - before}
	if got.records != workersRecords {
		return sample{}, fmt.Errorf("%d records handled of %d", got.records, workersRecords)
	}
	return got, nil
}
