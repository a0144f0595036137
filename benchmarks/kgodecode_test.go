package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// What a producer writes into segment files, with every codec, franz-go's client decodes as it would a broker's answer to a fetch.
func TestFranzGoDecodesOurSegments(t *testing.T) {
	ctx := context.Background()
	for _, codec := range []partition.Codec{partition.CodecNone, partition.CodecGzip, partition.CodecSnappy, partition.CodecLZ4, partition.CodecZstd} {
		t.Run(codec.String(), func(t *testing.T) {
			dir := t.TempDir()
			store, err := partition.Open(dir, partition.Config{})
			must(t, err)
			_, err = store.CreateTopic(ctx, "t", partition.TopicConfig{Partitions: 1})
			must(t, err)
			p, err := producer.New(store, producer.Config{Compression: codec})
			must(t, err)
			var want []producer.Record
			for i := range 500 {
				r := producer.Record{Topic: "t", Value: fmt.Appendf(nil, "value %d of a record that compresses, of a record that compresses", i)}
				switch i % 4 {
				case 0:
					r.Key = fmt.Append(nil, i)
				case 1:
					r.Key, r.Value = []byte{}, nil
				case 2:
					r.Headers = []partition.Header{{Key: "h", Value: []byte("v")}, {Key: "null"}, {Key: "", Value: []byte{}}}
				}
				want = append(want, r)
				p.SendAsync(ctx, r, nil)
				if i%100 == 99 {
					must(t, p.Flush(ctx))
				}
			}
			must(t, p.Close())
			must(t, store.Close())

			raw, err := os.ReadFile(filepath.Join(dir, "data", "t-0", "00000000000000000000.log"))
			must(t, err)
			part := kmsg.NewFetchResponseTopicPartition()
			part.HighWatermark, part.RecordBatches = int64(len(want)), raw
			got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &part, kgo.DefaultDecompressor(), nil)
			must(t, got.Err)
			if next != int64(len(want)) || len(got.Records) != len(want) {
				t.Fatalf("%d records up to %d, want %d", len(got.Records), next, len(want))
			}
			for i, r := range got.Records {
				w := want[i]
				same := r.Offset == int64(i) && equal(r.Key, w.Key) && equal(r.Value, w.Value) && len(r.Headers) == len(w.Headers)
				for j := range w.Headers {
					same = same && r.Headers[j].Key == w.Headers[j].Key && equal(r.Headers[j].Value, w.Headers[j].Value)
				}
				if !same {
					t.Fatalf("record %d is %+v, want %+v", i, r, w)
				}
			}
		})
	}
}

// equal compares, and tells null from empty.
func equal(a, b []byte) bool { return string(a) == string(b) && (a == nil) == (b == nil) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
