package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The wire cells compare brokers under the same client, kgo, which takes most of the time on two cores. So a row also has
// the processor time of the broker's own process per record, and ours how much less that is than the best rival's.
// raw is the null broker, which does nothing: no broker can be faster.

// wireCell has the contenders of a wire cell.
func wireCell(name string, run func(environment, *broker) (sample, error), partitions int, systems ...string) cell {
	c := cell{name: name, cpu: true}
	for _, system := range systems {
		if system == "kafka" && noJava() != "" {
			continue
		}
		c.contenders = append(c.contenders, contender{system, pageCache, func(e environment) (sample, error) {
			return withBroker(system, e.dir, partitions, func(b *broker) (sample, error) { return run(e, b) })
		}})
	}
	return c
}

func wireProduceCell(name string, size, partitions int) cell {
	return wireCell(name, func(e environment, b *broker) (sample, error) {
		return wireProduce(b, size, partitions, func(n int64, since time.Time) bool { return time.Since(since) < e.duration })
	}, partitions, "partlog", "raw", "kfake", "kafka")
}

// wireProduce sends records round the partitions for as long as more says so, and counts the acknowledged ones.
func wireProduce(b *broker, size, partitions int, more func(sent int64, since time.Time) bool) (sample, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.DefaultProduceTopic(wireTopic), kgo.AllowAutoTopicCreation(),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return sample{}, err
	}
	defer client.Close()
	ctx := context.Background()
	value := newPayload(size)
	var o outcome
	send := func(i int64) {
		client.Produce(ctx, &kgo.Record{Value: value, Partition: int32(i % int64(partitions))}, func(_ *kgo.Record, err error) { o.result(err) })
	}
	for i := range int64(partitions) { // connections, metadata, the producer id
		send(i)
	}
	if err := client.Flush(ctx); err != nil {
		return sample{}, err
	}
	warm := o.acked.Load()
	started, used, sent := time.Now(), b.cpu(), int64(0)
	for ; sent&255 != 0 || more(sent, started); sent++ {
		send(sent)
	}
	err = client.Flush(ctx)
	s := sample{records: o.acked.Load() - warm, elapsed: time.Since(started)}
	s.bytes = s.records * int64(size)
	s.extra = map[string]float64{"cpu_ns": float64(b.cpu()-used) / float64(max(1, s.records))}
	return s, errors.Join(err, o.err)
}

// wireConsumed is how many bytes a consume cell reads.
const wireConsumed = 256 << 20

func wireConsumeCell(name string, size, partitions int) cell {
	return wireCell(name, func(e environment, b *broker) (sample, error) {
		records := int64(wireConsumed / size)
		if _, err := wireProduce(b, size, partitions, func(sent int64, _ time.Time) bool { return sent < records }); err != nil {
			return sample{}, err
		}
		return wireConsume(b, size, records)
	}, partitions, "partlog", "raw", "kfake", "kafka")
}

func wireConsume(b *broker, size int, records int64) (sample, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.ConsumeTopics(wireTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return sample{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var got int64
	started, used := time.Now(), b.cpu()
	for got < records {
		f := client.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return sample{}, fmt.Errorf("after %d records: %w", got, err)
		}
		f.EachRecord(func(r *kgo.Record) {
			if len(r.Value) == 0 {
				err = errors.New("an empty record")
			}
			got++
		})
	}
	s := sample{records: got, bytes: got * int64(size), elapsed: time.Since(started)}
	s.extra = map[string]float64{"cpu_ns": float64(b.cpu()-used) / float64(got)}
	return s, err
}

// wireEndToEndCell measures from before a record is produced to when a consumer holds it, one after the other.
func wireEndToEndCell(name string) cell {
	return latency(wireCell(name, func(e environment, b *broker) (sample, error) { return wireEndToEnd(e, b) }, 1, "partlog", "kfake", "kafka"))
}

func wireEndToEnd(e environment, b *broker) (sample, error) {
	p, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.DefaultProduceTopic(wireTopic), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return sample{}, err
	}
	defer p.Close()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.ConsumeTopics(wireTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	loop := newClosedLoop()
	value := newPayload(streamSize)
	fill(value, uint64(time.Now().UnixNano()), 0) // the topic may have records of a run before
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				if bytes.Equal(r.Value, value) {
					loop.received()
				}
			})
		}
	}()
	used := b.cpu()
	var sent atomic.Int64
	s, err := loop.run(e, func() error {
		sent.Add(1)
		return p.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
	})
	if err == nil {
		s.extra["cpu_ns"] = float64(b.cpu()-used) / float64(sent.Load())
	}
	cancel()
	<-ended
	c.Close()
	return s, err
}
