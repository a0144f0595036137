package tool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
)

// batch prints a batch, and its records if they are wanted. The error is the writer's.
func (d *dumper) batch(b batch.Batch, position int64) error {
	kind := "CreateTime"
	if b.IsLogAppendTime() {
		kind = "LogAppendTime"
	}
	horizon := "OptionalLong.empty"
	if b.HasDeleteHorizon() {
		horizon = fmt.Sprintf("OptionalLong[%d]", b.BaseTimestamp())
	}
	valid := b.CheckCRC() == nil
	if !valid {
		d.broken++
	}
	_, err := fmt.Fprintf(d.out, "baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d"+
		" partitionLeaderEpoch: %d isTransactional: %t isControl: %t deleteHorizonMs: %s position: %d %s: %d size: %d magic: %d"+
		" compresscodec: %s crc: %d isvalid: %t\n",
		b.BaseOffset(), b.LastOffset(), b.Count(), b.BaseSequence(), b.LastSequence(), b.ProducerID(), b.ProducerEpoch(),
		b.LeaderEpoch(), b.IsTransactional(), b.IsControl(), horizon, position, kind, b.MaxTimestamp(), b.Length(), b.Magic(),
		b.Codec(), b.CRC(), valid)
	if err != nil || !d.data && !d.deep || !valid {
		return err
	}
	for b.Iterate(&d.it, batch.DefaultMaxBytes); d.it.Next(); {
		d.record(b, d.it.Record(), kind)
	}
	if err := d.it.Err(); err != nil {
		d.broken++
		fmt.Fprintf(d.out, "| %v\n", err)
	}
	return nil
}

func (d *dumper) record(b batch.Batch, r *batch.Record, kind string) {
	d.out.WriteString("|")
	if !d.bare {
		sequence := int32(batch.None)
		if b.BaseSequence() >= 0 {
			sequence = batch.AddSequence(b.BaseSequence(), int32(r.Offset-b.BaseOffset()))
		}
		var keys []string
		for _, h := range r.Headers {
			keys = append(keys, h.Key)
		}
		fmt.Fprintf(d.out, " offset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [%s]",
			r.Offset, kind, r.Timestamp, sizeOf(r.Key), sizeOf(r.Value), sequence, strings.Join(keys, ","))
	}
	defer d.out.WriteByte('\n')
	if b.IsControl() {
		c, err := batch.ParseControl(r)
		switch {
		case err != nil:
			d.broken++
			fmt.Fprintf(d.out, " %v", err)
		case c.IsMarker():
			fmt.Fprintf(d.out, " endTxnMarker: %s coordinatorEpoch: %d", c.Type, c.CoordinatorEpoch)
		default:
			fmt.Fprintf(d.out, " %s", c.Type)
		}
		return
	}
	if !d.data {
		return
	}
	if d.decode != "" {
		key, payload := decoded(d.decode, r)
		d.out.WriteString(" key: " + key)
		if payload != "" {
			d.out.WriteString(" payload: " + payload)
		}
		return
	}
	if r.Key != nil {
		d.out.WriteString(" key: " + javaText(r.Key))
	}
	if r.Value != nil {
		d.out.WriteString(" payload: " + javaText(r.Value))
	}
}

// sizeOf is -1 for null.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// javaText shows bytes that are not UTF-8 as Java does.
func javaText(b []byte) string { return string([]rune(string(b))) }

// broker dumps what a running broker has of a topic.
func (d *dumper) broker(ctx context.Context, c *connection, topic string, only int32) error {
	client, err := c.open()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	all, err := metadata(ctx, client)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(m kmsg.MetadataResponseTopic) bool { return *m.Topic == topic })
	if i < 0 {
		return fmt.Errorf("topic %q does not exist", topic)
	}
	found := false
	for _, p := range all[i].Partitions {
		if only >= 0 && p.Partition != only {
			continue
		}
		found = true
		fmt.Fprintf(d.out, "Dumping %s-%d\n", topic, p.Partition)
		left := d.most
		err := walk(ctx, client, &all[i], p, func(b batch.Batch, position int64) error {
			if position >= left {
				return errEnough
			}
			return d.batch(b, position)
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	if !found {
		return fmt.Errorf("topic %s has no partition %d", topic, only)
	}
	return nil
}

var errEnough = errors.New("enough")

// walk fetches all batches of a partition up to its high watermark, as the broker has them. position counts the bytes seen.
func walk(ctx context.Context, client *kgo.Client, m *kmsg.MetadataResponseTopic, p kmsg.MetadataResponseTopicPartition, visit func(b batch.Batch, position int64) error) error {
	if p.Leader < 0 {
		return fmt.Errorf("%s-%d has no leader", *m.Topic, p.Partition)
	}
	first, err := listOffsets(ctx, client, map[string][]int32{*m.Topic: {p.Partition}}, -2)
	if err != nil {
		return err
	}
	at, position := first[*m.Topic][p.Partition], int64(0)
	for {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 64<<20, 0, 0
		req.SessionEpoch = -1
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = *m.Topic, m.TopicID
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = p.Partition, at, 4<<20, -1
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		kresp, err := client.Broker(int(p.Leader)).RetriableRequest(ctx, req)
		if err != nil {
			return err
		}
		resp := kresp.(*kmsg.FetchResponse)
		if err := failure(resp.ErrorCode, nil); err != nil {
			return err
		}
		if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
			return fmt.Errorf("%s-%d: the broker answered nothing", *m.Topic, p.Partition)
		}
		got := resp.Topics[0].Partitions[0]
		if err := failure(got.ErrorCode, nil); err != nil {
			return about(fmt.Sprintf("%s-%d", *m.Topic, p.Partition), err)
		}
		rest, before := got.RecordBatches, at
		for len(rest) > 0 {
			b, err := batch.Peek(rest)
			if errors.Is(err, batch.ErrShort) {
				break // cut by the limit of a fetch
			}
			if err != nil {
				return about(fmt.Sprintf("%s-%d from offset %d on", *m.Topic, p.Partition, at), err)
			}
			rest = rest[b.Length():]
			if b.LastOffset() < at {
				continue
			}
			if err := visit(b, position); err != nil {
				return err
			}
			position += int64(b.Length())
			at = b.NextOffset()
		}
		if at == before || at >= got.HighWatermark {
			return nil
		}
	}
}
