package replication_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/replication"
)

// Order is what the example's application writes.
type Order struct {
	Cents int `json:"cents"`
}

// Three applications, here in one process, form a cluster. What produces and consumes is as with a store: only the first line differs.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	first, err := replication.Start(replication.Config{
		Dir: filepath.Join(dir, "1"), NodeID: 1, Listen: "127.0.0.1:0", Plaintext: true, Bootstrap: true,
	})
	if err != nil {
		panic(err)
	}
	defer first.Close()
	for id := int32(2); id <= 3; id++ {
		node, err := replication.Start(replication.Config{
			Dir: filepath.Join(dir, fmt.Sprint(id)), NodeID: id, Listen: "127.0.0.1:0", Plaintext: true,
			Join: true, ClusterID: first.ClusterID(), Peers: []replication.Peer{{NodeID: 1, Address: first.Addr().String()}},
		})
		if err != nil {
			panic(err)
		}
		defer node.Close()
		if err := node.Ready(ctx); err != nil {
			panic(err)
		}
	}
	if err := run(ctx, first); err != nil {
		panic(err)
	}
	// Output: customer-42 pays 1999, on 3 replicas
}

func run(ctx context.Context, store *replication.Node) error {
	_, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 8})
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return err
	}
	p, err := producer.New(store, producer.Config{}) // idempotent, acks=all
	if err != nil {
		return err
	}
	defer p.Close() // flushes
	orders := producer.For(p, "orders", producer.String, producer.JSON[Order])
	if _, err := orders.Send(ctx, "customer-42", Order{Cents: 1999}); err != nil {
		return err
	}
	billing, err := group.Open(store, "billing", group.Config{})
	if err != nil {
		return err
	}
	defer billing.Close()
	c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}})
	if err != nil {
		return err
	}
	defer c.Close()
	for rec, err := range consumer.Records(ctx, c, consumer.String, consumer.JSON[Order]) {
		if err != nil {
			return err
		}
		partitions, err := store.PartitionsOf(ctx, "orders")
		if err != nil {
			return err
		}
		fmt.Printf("%s pays %d, on %d replicas\n", rec.Key, rec.Value.Cents, len(partitions[0].Replicas))
		return nil
	}
	return nil
}
