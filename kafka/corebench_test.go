package kafka

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// benchBatch is a batch of 1,000 records of 100 bytes.
func benchBatch() []byte {
	var w batch.Builder
	w.Reset(nil, batch.Options{})
	value := make([]byte, 100)
	for range 1000 {
		w.Append(rigStart.UnixMilli(), nil, value, nil)
	}
	b, _ := w.Finish()
	return b
}

// roundTrip sends a frame and reads its answer, again and again, over a socket.
func roundTrip(b *testing.B, addr string, frame []byte) {
	c, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	defer c.Close()
	buf := make([]byte, 64<<20)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(frame)
		io.ReadFull(c, buf[:4])
		n := int(buf[0])<<24 | int(buf[1])<<16 | int(buf[2])<<8 | int(buf[3])
		io.ReadFull(c, buf[:n])
	}
}

func BenchmarkProduce1000Records(b *testing.B) {
	store, err := partition.Open(b.TempDir(), partition.Config{Topics: partition.TopicConfig{Sync: partition.SyncNever, RetentionBytes: 1 << 30}})
	require.NoError(b, err)
	defer store.Close()
	addr := serveStore(b, store)
	_, err = store.CreateTopic(b.Context(), "orders", partition.TopicConfig{})
	require.NoError(b, err)
	req := produceOf("orders", 0, -1, benchBatch())
	req.SetVersion(12)
	b.SetBytes(100_000)
	roundTrip(b, addr, kmsg.NewRequestFormatter().AppendRequest(nil, req, 1))
}

func serveStore(b *testing.B, store *partition.Store) string {
	l := listen(b)
	s, err := Serve(l, store, Config{})
	require.NoError(b, err)
	b.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func BenchmarkFetch1MiB(b *testing.B) {
	store, err := partition.Open(b.TempDir(), partition.Config{Topics: partition.TopicConfig{Sync: partition.SyncNever}})
	require.NoError(b, err)
	b.Cleanup(func() { store.Close() })
	addr := serveStore(b, store)
	_, err = store.CreateTopic(b.Context(), "orders", partition.TopicConfig{})
	require.NoError(b, err)
	for range 20 {
		_, err := store.Append(b.Context(), partition.AppendRequest{TopicPartition: tpOf("orders", 0), Batch: benchBatch()})
		require.NoError(b, err)
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes = 1<<20, 1
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rt.Topic, rp.PartitionMaxBytes = "orders", 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	req.SetVersion(12)
	b.SetBytes(1 << 20)
	roundTrip(b, addr, kmsg.NewRequestFormatter().AppendRequest(nil, req, 1))
}
