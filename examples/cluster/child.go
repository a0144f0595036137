package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/replication"
)

// app is what runs in each process: an application with a node of the cluster in it.
type app struct {
	id   int
	node *replication.Node

	mu  sync.Mutex // guards out
	out io.Writer
}

// child is the whole program of a node's process. Its parent speaks to it by words on standard input; it answers in lines.
func child(in io.Reader, out io.Writer) (err error) {
	a := &app{out: out}
	if a.id, err = strconv.Atoi(os.Getenv(nodeVariable)); err != nil {
		return err
	}
	if a.node, err = startNode(a.id); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.node.Close()) }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := a.node.Ready(ctx); err != nil {
		return err
	}
	if a.id == size { // the last to join; before, there are not enough nodes
		_, err = a.node.CreateTopic(ctx, flights, partition.TopicConfig{Partitions: partitions, ReplicationFactor: size})
		if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
			return err
		}
	}
	a.say("ready")
	var sending, handling sync.WaitGroup
	season, end := context.WithCancel(ctx)
	defer end()
	words := bufio.NewScanner(in)
	for words.Scan() {
		switch words.Text() {
		case "begin":
			sending.Go(func() { a.produce(season) })
			handling.Go(func() { a.consume(ctx) })
		case "end":
			end()
			sending.Wait()
			a.say("done")
		case "read":
			if err := a.readBack(ctx); err != nil {
				return err
			}
		}
	}
	cancel()
	sending.Wait()
	handling.Wait()
	return nil
}

// startNode starts the node in its directory: as the first of a new cluster, as one more, or as what it was before.
func startNode(id int) (*replication.Node, error) {
	var book []neighbour
	if err := json.Unmarshal([]byte(os.Getenv("PARTLOG_CLUSTER_BOOK")), &book); err != nil {
		return nil, err
	}
	clusterID := os.Getenv("PARTLOG_CLUSTER_ID")
	certificate, err := replication.DevelopmentCA(os.Getenv("PARTLOG_CLUSTER_CA"), clusterID, int32(id))
	if err != nil {
		return nil, err
	}
	config := replication.Config{
		Dir: os.Getenv("PARTLOG_CLUSTER_DIR"), NodeID: int32(id), ClusterID: clusterID, Listen: os.Getenv("PARTLOG_CLUSTER_LISTEN"),
		Bootstrap: id == 1, Join: id != 1,
		TLS: certificate,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			for _, n := range book {
				if n.Address == address {
					address = n.Dials
				}
			}
			var d net.Dialer
			return d.DialContext(ctx, network, address)
		},
		// A machine that is shared by three nodes and what befalls them; the defaults are Kafka's.
		SessionTimeout: 1500 * time.Millisecond, HeartbeatInterval: 300 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond,
		LagTimeMax: 2 * time.Second, FetchBackoff: 50 * time.Millisecond, RequestTimeout: 5 * time.Second,
		Events: replication.Events{Failed: func(err error) { fmt.Fprintln(os.Stderr, "failed:", err) }},
	}
	for _, n := range book {
		config.Peers = append(config.Peers, replication.Peer{NodeID: n.ID, Address: n.Address})
	}
	return replication.Start(config)
}

// say writes a line.
func (a *app) say(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.out, format+"\n", args...)
}

// produce sends flights until ctx ends, and waits for the outcome of each.
func (a *app) produce(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.produceWith(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "produce:", err)
			pause(ctx)
		}
	}
}

func (a *app) produceWith(ctx context.Context) (err error) {
	p, err := producer.New(a.node, producer.Config{DeliveryTimeout: 20 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	started := time.Now().UnixNano()
	for n := 0; ctx.Err() == nil; n++ {
		flight := fmt.Sprintf("%d-%x-%d", a.id, started, n)
		// What ends with ctx may still arrive: so each send has until its delivery timeout.
		p.SendAsync(context.WithoutCancel(ctx), producer.Record{Topic: flights, Key: []byte(flight), Value: []byte(flight)}, func(r producer.Result) {
			if r.Err != nil {
				fmt.Fprintln(os.Stderr, "send:", r.Err)
				a.say("unknown %s %d %d", flight, 0, 0)
				return
			}
			a.say("acked %s %d %d", flight, r.Partition, r.Offset)
		})
		time.Sleep(time.Millisecond)
	}
	return p.Flush(context.WithoutCancel(ctx))
}

// consume handles flights as a member of a group until ctx ends.
func (a *app) consume(ctx context.Context) {
	for ctx.Err() == nil {
		if err := a.consumeAs(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "consume:", err)
			pause(ctx)
		}
	}
}

func (a *app) consumeAs(ctx context.Context) (err error) {
	g, err := group.Open(a.node, "arrivals", group.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{flights}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		a.say("consumed %s %d %d", rec.Value, rec.Partition, rec.Offset)
	}
	return nil
}

// readBack reads all partitions from their beginnings to their ends.
func (a *app) readBack(ctx context.Context) error {
	var from []consumer.Assignment
	ends := map[int32]partition.Offset{}
	for i := range int32(partitions) {
		tp := partition.TopicPartition{Topic: flights, Partition: i}
		end, err := a.node.ListOffsets(ctx, tp, partition.TimestampLatest)
		if err != nil {
			return err
		}
		if end > 0 {
			ends[i] = end
			from = append(from, consumer.Assignment{TopicPartition: tp, From: consumer.Earliest()})
		}
	}
	c, err := consumer.Assign(ctx, a.node, from, consumer.Config{})
	if err != nil {
		return err
	}
	defer c.Close()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		a.say("record %s %d %d", rec.Value, rec.Partition, rec.Offset)
		if rec.Offset+1 >= ends[rec.Partition] {
			if delete(ends, rec.Partition); len(ends) == 0 {
				break
			}
		}
	}
	a.say("read")
	return nil
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}
