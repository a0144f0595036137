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
		k, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("orders"))
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
