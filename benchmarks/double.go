package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

// doubleStartCell measures from a double's making to the first record that is acknowledged to kgo; extra made_us is the
// making alone.
func doubleStartCell(name string) cell {
	return latency(cell{name: name, contenders: []contender{
		{"partlog", inProcess, func(e environment) (sample, error) { return doubleStart(e, startDouble) }},
		{"kfake", inProcess, func(e environment) (sample, error) { return doubleStart(e, startFake) }},
	}})
}

// double is a test double that runs.
type double struct {
	addresses []string
	close     func() error
}

func doubleStart(e environment, start func() (double, error)) (sample, error) {
	s := sample{hist: new(histogram)}
	var made time.Duration
	began, before := time.Now(), mallocs()
	for time.Since(began) < e.duration {
		at := time.Now()
		d, err := start()
		if err != nil {
			return sample{}, err
		}
		made += time.Since(at)
		if err := firstRecord(d.addresses); err != nil {
			return sample{}, err
		}
		s.hist.add(time.Since(at))
		s.records++
		if err := d.close(); err != nil {
			return sample{}, err
		}
	}
	s.elapsed, s.mallocs = time.Since(began), mallocs()-before
	s.extra = map[string]float64{"made_us": float64(made.Microseconds()) / float64(s.records)}
	return s, nil
}

func startDouble() (double, error) {
	c, err := kafkatest.Start(kafkatest.Topic(wireTopic, 1))
	if err != nil {
		return double{}, err
	}
	return double{c.Addrs(), c.Close}, nil
}

func startFake() (double, error) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, wireTopic))
	if err != nil {
		return double{}, err
	}
	return double{c.ListenAddrs(), func() error { c.Close(); return nil }}, nil
}

func firstRecord(addresses []string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.DefaultProduceTopic(wireTopic), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.ProduceSync(context.Background(), &kgo.Record{Value: []byte("first")}).FirstErr()
}

// forkCell measures how long a copy of a prepared cluster of 1 GB takes to be made and served. There is no rival: no other
// double has it. in-memory is partlog too, with the store in memory.
func forkCell(name string) cell {
	return latency(cell{name: name, contenders: []contender{
		{"partlog", pageCache, func(e environment) (sample, error) { return fork(e, kafkatest.Directory(e.dir)) }},
		{"in-memory", inProcess, func(e environment) (sample, error) { return fork(e) }},
	}})
}

func fork(e environment, options ...kafkatest.Option) (_ sample, err error) {
	c, err := kafkatest.Start(append(options, kafkatest.Topic(wireTopic, 1, "segment.bytes", "134217728"), kafkatest.Store(partition.Config{Sync: partition.SyncNever}))...)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	b := &broker{address: c.Bootstrap()}
	if _, err := wireProduce(b, 10<<10, 1, func(sent int64, _ time.Time) bool { return sent < 1<<30/(10<<10) }); err != nil {
		return sample{}, err
	}
	began := time.Now()
	snapshot, err := c.Snapshot(context.Background())
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	s := sample{hist: new(histogram), extra: map[string]float64{"snapshot_ms": float64(time.Since(began).Microseconds()) / 1000}}
	began = time.Now()
	for time.Since(began) < e.duration {
		at := time.Now()
		copied, err := snapshot.Start()
		if err != nil {
			return sample{}, err
		}
		s.hist.add(time.Since(at))
		s.records++
		if err := copied.Close(); err != nil {
			return sample{}, err
		}
	}
	s.elapsed = time.Since(began)
	return s, nil
}
