package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// perfE2E measures the time from sending a record until it has been consumed, one record at a time.
func perfE2E(ctx context.Context, args []string, s Streams) error {
	f := newFlags("perf", perfHelp)
	var c connection
	c.addTo(f)
	topic := f.String("topic", "", "")
	count := f.Int("num-records", 0, "")
	size := f.Int("record-size", 100, "")
	acks := f.String("producer-acks", "all", "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if err := f.noWords(); err != nil {
		return err
	}
	if *topic == "" || *count < 1 || *size < 1 {
		return Usagef("--topic and --num-records are needed")
	}
	c.props.Set("acks=" + *acks)
	client, err := c.open(kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	if err := ensureTopic(ctx, client, *topic); err != nil {
		return err
	}
	all, err := metadata(ctx, client)
	if err != nil {
		return err
	}
	at := map[string]map[int32]kgo.Offset{*topic: {}}
	for _, m := range all {
		if *m.Topic != *topic {
			continue
		}
		for _, p := range m.Partitions {
			ends, err := listOffsets(ctx, client, map[string][]int32{*topic: {p.Partition}}, -1)
			if err != nil {
				return err
			}
			at[*topic][p.Partition] = kgo.NewOffset().At(ends[*topic][p.Partition])
		}
	}
	reader, err := c.open(kgo.ConsumePartitions(at), kgo.FetchMaxWait(time.Second))
	if err != nil {
		return err
	}
	defer reader.Close()
	var l latencies
	for i := range *count {
		value := bytes.Repeat([]byte{'x'}, *size)
		copy(value, fmt.Sprintf("%020d", i))
		began := elapsed()
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: *topic, Value: value}).FirstErr(); err != nil {
			return unless(ctx, err)
		}
		if err := readOne(ctx, reader, value); err != nil {
			return unless(ctx, err)
		}
		took := elapsed() - began
		l.add(took, len(value))
		if i%1000 == 0 {
			fmt.Fprintf(s.Out, "%d\t%v\n", i, millisOf(took))
		}
	}
	l.total(1) // sorts
	fmt.Fprintf(s.Out, "Avg latency: %.4f ms\n", millisOf(l.sum)/float64(*count))
	_, err = fmt.Fprintf(s.Out, "Percentiles: 50th = %.3f, 99th = %.3f, 99.9th = %.3f\n", millisOf(l.percentile(0.5)), millisOf(l.percentile(0.99)), millisOf(l.percentile(0.999)))
	return err
}

// readOne waits for the record that was just sent.
func readOne(ctx context.Context, reader *kgo.Client, want []byte) error {
	for {
		fetches := reader.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			return e.Err
		}
		for records := fetches.RecordIter(); !records.Done(); {
			if r := records.Next(); !bytes.Equal(r.Value, want) {
				return errors.New("another record came: somebody else writes to this topic; give it one of its own")
			}
			return nil
		}
	}
}

// ensureTopic creates the topic with the broker's defaults unless it is there.
func ensureTopic(ctx context.Context, client *kgo.Client, topic string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 30000
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, r := range resp.Topics {
		const exists = 36
		if r.ErrorCode != exists {
			return about("topic "+topic, failure(r.ErrorCode, r.ErrorMessage))
		}
	}
	return nil
}
