package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsCluster is three embedded servers that replicate a stream (R3) over loopback. Its client speaks to the leader of the
// stream through an in-process connection. Unsynced it acknowledges from the page cache, as Kafka does.
type natsCluster struct {
	servers []*server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	stream  jetstream.Stream
}

func startNATSCluster(dir string, sync bool) (_ *natsCluster, err error) {
	c := &natsCluster{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	var ports [3]int
	var routes []*url.URL
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0") // a server without routes to others starts no cluster
		if err != nil {
			return nil, err
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: l.Addr().String()})
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i+1), Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint("nats-", i+1)), SyncAlways: sync,
			Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: port}, Routes: routes, NoLog: true, NoSigs: true,
		})
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
		go s.Start()
	}
	for _, s := range c.servers {
		if !s.ReadyForConnections(time.Minute) {
			return nil, errors.New("nats: not ready")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for made := false; !made; {
		if c.conn, err = nats.Connect("", nats.InProcessServer(c.servers[0])); err == nil {
			c.js, err = jetstream.New(c.conn)
		}
		if err == nil {
			attempt, cancel := context.WithTimeout(ctx, time.Second) // nobody answers before there is a leader
			_, err = c.js.CreateStream(attempt, jetstream.StreamConfig{Name: "records", Subjects: []string{"r"}, Storage: jetstream.FileStorage, Replicas: 3})
			cancel()
		}
		if made = err == nil; !made {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("nats: no quorum: %w", err)
			}
			c.conn.Close()
			time.Sleep(50 * time.Millisecond)
		}
	}
	return c, c.connectToLeader(ctx)
}

// connectToLeader spares the rival a hop from one server to another.
func (c *natsCluster) connectToLeader(ctx context.Context) error {
	for ctx.Err() == nil {
		s, err := c.js.Stream(ctx, "records")
		if err != nil {
			return err
		}
		info := s.CachedInfo()
		for _, srv := range c.servers {
			if info.Cluster == nil || srv.Name() != info.Cluster.Leader {
				continue
			}
			c.conn.Close()
			if c.conn, err = nats.Connect("", nats.InProcessServer(srv)); err != nil {
				return err
			}
			if c.js, err = jetstream.New(c.conn, jetstream.WithPublishAsyncMaxPending(replInFlight)); err != nil {
				return err
			}
			if c.stream, err = c.js.Stream(ctx, "records"); err != nil {
				return err
			}
			for { // the leader may not listen yet
				attempt, cancel := context.WithTimeout(ctx, time.Second)
				_, err = c.js.Publish(attempt, "r", newPayload(replSize))
				cancel()
				if err == nil || ctx.Err() != nil {
					return err
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

func (c *natsCluster) close() {
	if c.conn != nil {
		c.conn.Close()
	}
	for _, s := range c.servers {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// replProduceNATS publishes asynchronously for the given time, and counts what the stream has at the end.
func replProduceNATS(e environment, sync bool) (sample, error) {
	c, err := startNATSCluster(e.dir, sync)
	if err != nil {
		return sample{}, err
	}
	defer c.close()
	var o outcome
	payload := newPayload(replSize)
	pending := make(chan jetstream.PubAckFuture, replInFlight)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for f := range pending {
			select {
			case <-f.Ok():
				o.result(nil)
			case err := <-f.Err():
				o.result(err)
			}
		}
	}()
	got, err := timedSendsOf(replSize, e, &o, func(i uint64) {
		fill(payload, 0, i)
		f, err := c.js.PublishAsync("r", payload)
		if err != nil {
			o.result(err)
			return
		}
		pending <- f
	}, func() error { close(pending); <-ended; return nil })
	if err != nil {
		return sample{}, err
	}
	info, err := c.stream.Info(context.Background())
	if err == nil && int64(info.State.Msgs) < got.records {
		err = errors.New("nats: the stream has fewer messages than were acknowledged")
	}
	return got, err
}

// replEndToEndNATS measures from a publish to the moment when a consumer holds the message.
func replEndToEndNATS(e environment) (sample, error) {
	c, err := startNATSCluster(e.dir, false)
	if err != nil {
		return sample{}, err
	}
	defer c.close()
	ctx := context.Background()
	consumer, err := c.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return sample{}, err
	}
	loop := newClosedLoop()
	consuming, err := consumer.Consume(func(jetstream.Msg) { loop.received() })
	if err != nil {
		return sample{}, err
	}
	defer consuming.Stop()
	value := newPayload(streamSize)
	return loop.closed(e, func() error {
		_, err := c.js.Publish(ctx, "r", value)
		return err
	})
}
