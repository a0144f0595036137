package kafkatest_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// A cluster from nothing to listening, and to its end.
func BenchmarkStart(b *testing.B) {
	for _, brokers := range []int{1, 3} {
		b.Run(fmt.Sprint("brokers=", brokers), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, err := kafkatest.Start(kafkatest.Brokers(brokers))
				if err != nil {
					b.Fatal(err)
				}
				c.Close()
			}
		})
	}
}

// From nothing to the first record acknowledged by kgo.
func BenchmarkFirstRecord(b *testing.B) {
	for b.Loop() {
		c, err := kafkatest.Start(kafkatest.Topic("orders", 1))
		if err != nil {
			b.Fatal(err)
		}
		k, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("orders"), kgo.ProducerLinger(0))
		if err != nil {
			b.Fatal(err)
		}
		if err := k.ProduceSync(b.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
			b.Fatal(err)
		}
		k.Close()
		c.Close()
	}
}

// Forks of a store with a GiB of records. It takes as much memory, and as much again for the snapshot.
func BenchmarkFork1GiB(b *testing.B) {
	for name, o := range map[string][]kafkatest.Option{"memory": nil, "directory": {kafkatest.Directory(b.TempDir() + "/store")}} {
		b.Run(name, func(b *testing.B) {
			c, err := kafkatest.Start(append(o, kafkatest.Topic("orders", 4))...)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			value := make([]byte, 64<<10)
			var records []kafkatest.Record
			for range 8 {
				records = append(records, kafkatest.Record{Value: value})
			}
			for i := range 1 << 30 / (512 << 10) {
				if _, err := c.Produce(b.Context(), "orders", int32(i%4), records...); err != nil {
					b.Fatal(err)
				}
			}
			snap, err := c.Snapshot(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer snap.Close()
			for b.Loop() {
				f, err := snap.Start()
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				f.Close()
				b.StartTimer()
			}
		})
	}
}
