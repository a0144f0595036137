package main

import (
	"context"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// endToEndCell measures the time from just before a send to the moment the consuming goroutine holds the record: in a
// closed loop, and, as extra figures, at an offered rate of 10,000 a second counted from when each record was due.
// raw is the hand-off without a log: CRC, pwrite (and fdatasync), a channel.
func endToEndCell(name string, sync bool) cell {
	return latency(cell{name: name, contenders: []contender{
		{"partlog", levelOf(sync), func(e environment) (sample, error) { return endToEndPartlog(e, sync) }},
		{"raw", levelOf(sync), func(e environment) (sample, error) { return endToEndRaw(e, sync) }},
		{"kfake", levelOf(sync), func(e environment) (sample, error) { return endToEndKfake(e, sync) }},
	}})
}

// closedLoop sends one record after the other. A receiver calls received once a record.
type closedLoop struct {
	hist  *histogram
	begin atomic.Int64 // when the record under way was due, nanoseconds since epoch of the run
	start time.Time
	got   chan struct{}
}

func newClosedLoop() *closedLoop {
	return &closedLoop{hist: new(histogram), start: time.Now(), got: make(chan struct{}, 1)}
}

func (l *closedLoop) received() {
	l.hist.add(time.Since(l.start) - time.Duration(l.begin.Load()))
	l.got <- struct{}{}
}

// closed sends one record after the other, each when the one before has arrived.
func (l *closedLoop) closed(e environment, send func() error) (sample, error) {
	for range 2000 { // warm up
		if err := l.once(time.Since(l.start), send); err != nil {
			return sample{}, err
		}
	}
	l.hist = new(histogram)
	before, started := mallocs(), time.Now()
	n := int64(0)
	for time.Since(started) < e.duration {
		if err := l.once(time.Since(l.start), send); err != nil {
			return sample{}, err
		}
		n++
	}
	return sample{records: n, bytes: n * streamSize, elapsed: time.Since(started), hist: l.hist, mallocs: mallocs() - before}, nil
}

// run is closed, and then sends at a rate.
func (l *closedLoop) run(e environment, send func() error) (sample, error) {
	s, err := l.closed(e, send)
	if err != nil {
		return s, err
	}
	l.hist = new(histogram)
	const every = 100 * time.Microsecond
	due := time.Since(l.start)
	for end := due + e.duration/2; due < end; due += every {
		for time.Since(l.start) < due { // a timer is coarser than the interval
		}
		if err := l.once(due, send); err != nil {
			return sample{}, err
		}
	}
	s.extra = map[string]float64{
		"at_10k_p50_us": l.hist.quantile(0.5), "at_10k_p99_us": l.hist.quantile(0.99), "at_10k_p999_us": l.hist.quantile(0.999),
	}
	return s, nil
}

func (l *closedLoop) once(due time.Duration, send func() error) error {
	l.begin.Store(int64(due))
	if err := send(); err != nil {
		return err
	}
	<-l.got
	return nil
}

func endToEndPartlog(e environment, sync bool) (sample, error) {
	st, err := newPartlog(e.dir, sync)
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := consumer.Assign(ctx, st, []consumer.Assignment{
		{TopicPartition: partition.TopicPartition{Topic: partlogTopic}, From: consumer.Earliest()},
	}, consumer.Config{})
	if err != nil {
		return sample{}, err
	}
	p, err := producer.New(st, producer.Config{})
	if err != nil {
		return sample{}, err
	}
	loop := newClosedLoop()
	ended := make(chan error, 1)
	go func() {
		for _, err := range c.Records(ctx) {
			if err != nil {
				ended <- err
				return
			}
			loop.received()
		}
	}()
	rec := producer.Record{Topic: partlogTopic, Value: newPayload(streamSize)}
	s, err := loop.run(e, func() error {
		_, err := p.Send(ctx, rec)
		return err
	})
	cancel()
	if last := <-ended; !errors.Is(last, context.Canceled) {
		err = errors.Join(err, last)
	}
	return s, errors.Join(err, c.Close(), p.Close(), st.Close())
}

func endToEndRaw(e environment, sync bool) (sample, error) {
	f, err := os.Create(filepath.Join(e.dir, "raw"))
	if err != nil {
		return sample{}, err
	}
	defer f.Close()
	lane := rawLane{f: f, step: 64 << 10, ready: newPayload(61 + streamSize + 10)}
	fd := int(f.Fd())
	table := crc32.MakeTable(crc32.Castagnoli)
	loop := newClosedLoop()
	handOff := make(chan uint32)
	defer close(handOff)
	go func() {
		for range handOff {
			loop.received()
		}
	}()
	return loop.run(e, func() error {
		sum := crc32.Checksum(lane.ready[21:], table)
		if sync {
			if err := lane.prepare(); err != nil {
				return err
			}
		}
		if _, err := unix.Pwrite(fd, lane.ready, lane.position); err != nil {
			return err
		}
		lane.position += int64(len(lane.ready))
		if sync {
			if err := unix.Fdatasync(fd); err != nil {
				return err
			}
		}
		handOff <- sum
		return nil
	})
}

func endToEndKfake(e environment, sync bool) (sample, error) {
	k, err := startKfake(e.dir, sync)
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(k.cluster.ListenAddrs()...), kgo.ConsumeTopics(kfakeTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return sample{}, err
	}
	loop := newClosedLoop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			c.PollFetches(ctx).EachRecord(func(*kgo.Record) { loop.received() })
		}
	}()
	value := newPayload(streamSize)
	s, err := loop.run(e, func() error {
		return k.client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
	})
	cancel()
	<-ended
	c.Close()
	return s, errors.Join(err, k.close())
}
