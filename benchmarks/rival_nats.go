package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsStore is an embedded server reached through an in-process connection. Synced means SyncAlways; else it
// acknowledges from the page cache and syncs every two minutes.
type natsStore struct {
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

func openNATS(dir string, s shape) (store, error) {
	n, err := startNATS(dir, s.sync)
	if err != nil {
		return nil, err
	}
	_, err = n.js.CreateStream(context.Background(), jetstream.StreamConfig{
		Name: "records", Subjects: []string{"r"}, Storage: jetstream.FileStorage, Replicas: 1,
	})
	return n, err
}

func startNATS(dir string, sync bool) (*natsStore, error) {
	srv, err := server.NewServer(&server.Options{
		DontListen: true, JetStream: true, StoreDir: filepath.Join(dir, "nats"), SyncAlways: sync, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, err
	}
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("nats: not ready")
	}
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4096))
	return &natsStore{server: srv, conn: conn, js: js}, err
}

func (n *natsStore) append(_ int, records [][]byte) error {
	ctx := context.Background()
	if len(records) == 1 {
		_, err := n.js.Publish(ctx, "r", records[0])
		return err
	}
	futures := make([]jetstream.PubAckFuture, 0, len(records))
	for _, r := range records {
		f, err := n.js.PublishAsync("r", r)
		if err != nil {
			return err
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		}
	}
	return nil
}

func (n *natsStore) close() error {
	n.conn.Close()
	n.server.Shutdown()
	n.server.WaitForShutdown()
	return nil
}

func scanNATS(dir string, s shape, visit func([]byte) error) error {
	n, err := startNATS(dir, s.sync)
	if err != nil {
		return err
	}
	defer n.close()
	ctx := context.Background()
	stream, err := n.js.Stream(ctx, "records")
	if err != nil {
		return err
	}
	left := stream.CachedInfo().State.Msgs
	c, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	for left > 0 {
		batch, err := c.Fetch(int(min(left, 5000)), jetstream.FetchMaxWait(10*time.Second))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			if err := visit(m.Data()); err != nil {
				return err
			}
			left--
		}
		if batch.Error() != nil {
			return batch.Error()
		}
	}
	return nil
}
