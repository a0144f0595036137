package partition

import (
	"fmt"
	"testing"
)

// BenchmarkTransaction is one transaction after another of the same producer: 100 records of 100 bytes in one batch.
func BenchmarkTransaction(b *testing.B) {
	for name, mode := range map[string]SyncMode{"nosync": SyncNever, "sync": SyncAlways} {
		for _, parts := range []int32{1, 3} {
			b.Run(fmt.Sprintf("%s/partitions=%d", name, parts), func(b *testing.B) {
				s, err := Open(b.TempDir(), Config{Sync: mode})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				if _, err := s.CreateTopic(b.Context(), "t", TopicConfig{Partitions: parts}); err != nil {
					b.Fatal(err)
				}
				c := newTxnClient(b, s, "a")
				values := make([]string, 100)
				for i := range values {
					values[i] = fmt.Sprintf("%0100d", i)
				}
				b.SetBytes(int64(parts) * 10_000)
				b.ReportAllocs()
				for b.Loop() {
					for i := range parts {
						c.send(TopicPartition{"t", i}, values...)
					}
					c.end(true)
				}
			})
		}
	}
}
