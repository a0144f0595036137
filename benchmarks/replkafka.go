package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaCluster is three nodes of a real Apache Kafka, broker and controller each, as three processes on this machine.
type kafkaCluster struct {
	addresses []string
	stops     []func() error
}

const kafkaThreeNodes = `process.roles=broker,controller
node.id=%[1]d
listeners=PLAINTEXT://127.0.0.1:%[2]d,CONTROLLER://127.0.0.1:%[3]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[2]d
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
controller.quorum.voters=%[4]s
log.dirs=%[5]s
default.replication.factor=3
min.insync.replicas=2
offsets.topic.num.partitions=1
offsets.topic.replication.factor=3
log.cleaner.dedupe.buffer.size=2097152
%[6]s`

// startKafkaCluster starts three nodes with a topic of three replicas; flush is what every node's log is told about syncing.
func startKafkaCluster(dir, flush string) (_ *kafkaCluster, err error) {
	c := &kafkaCluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	tool := filepath.FromSlash(kafkaTool)
	var ports [3]int
	var voters []string
	for i := range ports {
		out, err := exec.Command(tool, "port").Output()
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Sscan(string(out), &ports[i]); err != nil {
			return nil, err
		}
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, ports[i]+1))
		c.addresses = append(c.addresses, fmt.Sprintf("127.0.0.1:%d", ports[i]))
	}
	for i, port := range ports {
		data := filepath.Join(dir, fmt.Sprint("kafka-", i+1))
		if err := os.Mkdir(data, 0o700); err != nil {
			return nil, err
		}
		properties := fmt.Sprintf(kafkaThreeNodes, i+1, port, port+1, strings.Join(voters, ","), data, flush)
		if err := os.WriteFile(data+".properties", []byte(properties), 0o600); err != nil {
			return nil, err
		}
		if out, err := exec.Command(tool, "tool", "kafka.tools.StorageTool", "format", "-t", "cGFydGxvZy1iZW5jaG1hcg", "-c", data+".properties").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("format: %w\n%s", err, out)
		}
	}
	started := make(chan error)
	for i := range ports {
		data := filepath.Join(dir, fmt.Sprint("kafka-", i+1))
		c.stops = append(c.stops, func() error { return exec.Command(tool, "stop", data).Run() })
		go func() {
			out, err := exec.Command(tool, "start", data).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("start: %w\n%s", err, out)
			}
			started <- err
		}()
	}
	for range ports {
		err = errors.Join(err, <-started)
	}
	if err != nil {
		return nil, err
	}
	return c, c.createTopic()
}

func (c *kafkaCluster) createTopic() error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.addresses...))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = wireTopic, 1, 3
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		}
		if !errors.Is(err, kerr.InvalidReplicationFactor) { // not all have registered yet
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// close stops the nodes at once: one alone would wait for a quorum.
func (c *kafkaCluster) close() error {
	ended := make(chan error)
	for _, stop := range c.stops {
		go func() { ended <- stop() }()
	}
	var err error
	for range c.stops {
		err = errors.Join(err, <-ended)
	}
	return err
}

func replProduceKafka(e environment, flush string) (_ sample, err error) {
	c, err := startKafkaCluster(e.dir, flush)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.addresses...), kgo.DefaultProduceTopic(wireTopic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(replInFlight))
	if err != nil {
		return sample{}, err
	}
	defer client.Close()
	ctx := context.Background()
	value := newPayload(replSize)
	if err := client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil { // connections, metadata, the producer id
		return sample{}, err
	}
	for warm := time.Now(); time.Since(warm) < replWarm; { // of the virtual machines
		client.Produce(ctx, &kgo.Record{Value: value}, nil)
	}
	if err := client.Flush(ctx); err != nil {
		return sample{}, err
	}
	var o outcome
	return timedSendsOf(replSize, e, &o, func(i uint64) {
		client.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) { o.result(err) })
	}, func() error { return client.Flush(ctx) })
}

func replEndToEndKafka(e environment) (_ sample, err error) {
	c, err := startKafkaCluster(e.dir, "")
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	p, err := kgo.NewClient(kgo.SeedBrokers(c.addresses...), kgo.DefaultProduceTopic(wireTopic), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return sample{}, err
	}
	defer p.Close()
	r, err := kgo.NewClient(kgo.SeedBrokers(c.addresses...), kgo.ConsumeTopics(wireTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	loop := newClosedLoop()
	value := newPayload(streamSize)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			r.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
				if bytes.Equal(rec.Value, value) {
					loop.received()
				}
			})
		}
	}()
	s, err := loop.closed(e, func() error { return p.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr() })
	cancel()
	<-ended
	r.Close()
	return s, err
}
