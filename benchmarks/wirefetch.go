package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/wire"
)

// wireFetchCell asks for the same 256 MB again and again, a megabyte at a time, without looking into the records: how much
// processor time a broker needs to serve bytes. extra cpu_mb_s is megabytes per second of it.
func wireFetchCell(name string) cell {
	c := wireCell(name, func(e environment, b *broker) (sample, error) {
		if _, err := wireProduce(b, 1024, 1, func(sent int64, _ time.Time) bool { return sent < wireConsumed/1024 }); err != nil {
			return sample{}, err
		}
		return wireFetch(e, b)
	}, 1, "partlog", "kfake", "kafka")
	c.smaller = "cpu_ns"
	return c
}

func wireFetch(e environment, b *broker) (sample, error) {
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		return sample{}, err
	}
	client := wire.NewClient(conn, []byte("benchmark"))
	defer client.Close()
	var s sample
	offset, ctx := int64(0), context.Background()
	started, used := time.Now(), b.cpu()
	for time.Since(started) < e.duration {
		batches, err := fetchOnce(ctx, client, offset)
		if err != nil {
			return sample{}, fmt.Errorf("at offset %d: %w", offset, err)
		}
		s.bytes += int64(len(batches))
		for len(batches) > 0 {
			length := int64(12)
			if len(batches) >= 61 {
				length += int64(binary.BigEndian.Uint32(batches[8:]))
			}
			if length > int64(len(batches)) {
				break // an incomplete batch at the end is allowed
			}
			n := int64(binary.BigEndian.Uint32(batches[57:]))
			offset, s.records, batches = int64(binary.BigEndian.Uint64(batches))+n, s.records+n, batches[length:]
		}
		if offset >= wireConsumed/1024 {
			offset = 0
		}
	}
	s.elapsed = time.Since(started)
	cpu := b.cpu() - used
	s.extra = map[string]float64{"cpu_ns": float64(cpu) / float64(max(1, s.records)), "cpu_mb_s": float64(s.bytes) / 1e6 / cpu.Seconds()}
	return s, nil
}

func fetchOnce(ctx context.Context, c *wire.Client, offset int64) ([]byte, error) {
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 1<<20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = wireTopic, append(t.Partitions, p)
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 11, 100, 1, 1<<20
	req.SessionEpoch, req.Topics = -1, append(req.Topics, t)
	resp, err := c.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := resp.(*kmsg.FetchResponse)
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return nil, errors.New("the answer has not the one partition that was asked for")
	}
	got := answer.Topics[0].Partitions[0]
	return got.RecordBatches, kerr.ErrorForCode(got.ErrorCode)
}
