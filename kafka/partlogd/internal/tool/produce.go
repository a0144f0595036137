package tool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const produceHelp = `
Usage: partlogd produce --topic TOPIC [flags] < LINES

Sends each line of standard input as a record. It ends when the input does and everything has been acknowledged.

  seq 10 | partlogd produce --topic numbers
  echo 'k:v' | partlogd produce --topic t --property parse.key=true --property key.separator=:
  partlogd consume --topic a --from-beginning --timeout-ms 1000 --json | partlogd produce --topic b --json

Flags:
  --topic TOPIC
  --partition N                     where all go; default by key, or spread
  --json                            each line is an object with value, and perhaps key, headers, partition, timestamp, as
                                    consume --json prints them
  --property KEY=VALUE              parse.key, key.separator (\t), parse.headers, headers.delimiter (\t),
                                    headers.separator (,), headers.key.separator (:), null.marker, ignore.error
  --reader-property KEY=VALUE       the same
  --compression-codec CODEC         none, gzip (also without a CODEC in Kafka's tool), snappy, lz4, zstd
  --request-required-acks ACKS      all (default), 1, 0
  --producer-property KEY=VALUE     properties of a Java producer: linger.ms, batch.size, ...
  --sync                            wait for each record before the next
  --quiet                           no count at the end
` + connectionHelp

func produce(ctx context.Context, args []string, s Streams) (err error) {
	f := newFlags("produce", produceHelp)
	var c connection
	var line lineReader
	c.addTo(f)
	f.StringVar(&line.topic, "topic", "", "")
	partition := f.Int("partition", -1, "")
	f.BoolVar(&line.json, "json", false, "")
	f.Var(&line.props, "property", "")
	f.Var(&line.props, "reader-property", "")
	codec := f.String("compression-codec", "", "")
	acks := f.String("request-required-acks", "", "")
	f.StringVar(acks, "acks", "", "")
	wait := f.Bool("sync", false, "")
	quiet := f.Bool("quiet", false, "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if err := f.noWords(); err != nil {
		return err
	}
	if line.topic == "" {
		return Usagef("--topic is missing: where do the records go?")
	}
	if *codec != "" {
		c.props.Set("compression.type=" + *codec)
	}
	if *acks != "" {
		c.props.Set("acks=" + *acks)
	}
	opts := []kgo.Opt{kgo.AllowAutoTopicCreation()}
	if *partition >= 0 || line.json {
		opts = append(opts, kgo.RecordPartitioner(chosenPartition(int32(*partition))))
	}
	client, err := c.open(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	count, err := sendLines(ctx, client, &line, s, *wait)
	if !*quiet && isTerminal(s.Err) {
		fmt.Fprintf(s.Err, "%d records sent\n", count)
	}
	return err
}

// sendLines sends what is read until the end. It returns how many records were acknowledged.
func sendLines(ctx context.Context, client *kgo.Client, line *lineReader, s Streams, wait bool) (int64, error) {
	var sent atomic.Int64
	var mu sync.Mutex
	var failed error // guarded by mu: the first
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = err
		}
	}
	p := newProgress(s.Err, "records sent")
	in := bufio.NewReaderSize(s.In, 64<<10)
	for number := 1; ; number++ {
		text, err := in.ReadString('\n')
		if err == io.EOF && text == "" {
			break
		}
		if err != nil && err != io.EOF {
			fail(fmt.Errorf("standard input: %w", err))
			break
		}
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
		r, perr := line.record(text)
		if perr != nil {
			fail(fmt.Errorf("line %d: %w", number, perr))
			break
		}
		if r == nil {
			continue
		}
		done := func(_ *kgo.Record, err error) {
			if err != nil {
				fail(fmt.Errorf("line %d: %w", number, err))
				return
			}
			p.set(sent.Add(1))
		}
		if wait {
			done(r, client.ProduceSync(ctx, r).FirstErr())
		} else {
			client.Produce(ctx, r, done)
		}
		mu.Lock()
		stop := failed != nil
		mu.Unlock()
		if stop || err == io.EOF {
			break
		}
	}
	if err := client.Flush(ctx); err != nil {
		fail(err)
	}
	p.end()
	mu.Lock()
	defer mu.Unlock()
	if errors.Is(failed, context.Canceled) {
		return sent.Load(), errors.New("interrupted: what was not acknowledged yet may or may not be there")
	}
	return sent.Load(), failed
}

// chosenPartition sends records where they say, else to fallback, else by key or spread.
func chosenPartition(fallback int32) kgo.Partitioner {
	return partitioner{kgo.StickyKeyPartitioner(nil), fallback}
}

type partitioner struct {
	kgo.Partitioner
	fallback int32
}

// ForTopic implements kgo.Partitioner.
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{p.Partitioner.ForTopic(topic), p.fallback}
}

type topicPartitioner struct {
	kgo.TopicPartitioner
	fallback int32
}

// RequiresConsistency implements kgo.TopicPartitioner.
func (p topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.fallback >= 0 || p.TopicPartitioner.RequiresConsistency(r)
}

// Partition implements kgo.TopicPartitioner.
func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	switch {
	case r.Partition >= 0:
		return int(r.Partition)
	case p.fallback >= 0:
		return int(p.fallback)
	}
	return p.TopicPartitioner.Partition(r, n)
}

// OnNewBatch implements kgo.TopicPartitionerOnNewBatch, by which records without keys are spread.
func (p topicPartitioner) OnNewBatch() {
	if inner, ok := p.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		inner.OnNewBatch()
	}
}
