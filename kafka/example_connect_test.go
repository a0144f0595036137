package kafka_test

import (
	"context"
	"fmt"
	"net"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// The same code produces to and consumes from a cluster as from a store in this process: Connect's line is all that differs.
func ExampleConnect() {
	if err := connectAndRead(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: customer-42 pays 1999
}

func connectAndRead(ctx context.Context) error {
	bootstrap, stop, err := someCluster()
	if err != nil {
		return err
	}
	defer stop()

	cluster, err := kafka.Connect(ctx, bootstrap, kafka.ConnectConfig{ClientID: "billing"})
	if err != nil {
		return err
	}
	defer cluster.Close()
	if _, err := cluster.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 8}); err != nil {
		return err
	}

	p, err := producer.New(cluster, producer.Config{}) // idempotent, acks=all
	if err != nil {
		return err
	}
	defer p.Close()
	if _, err := p.Send(ctx, producer.Record{Topic: "orders", Key: []byte("customer-42"), Value: []byte("1999")}); err != nil {
		return err
	}

	billing, err := group.Open(cluster, "billing", group.Config{})
	if err != nil {
		return err
	}
	defer billing.Close()
	c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}, Until: consumer.UntilEnd()})
	if err != nil {
		return err
	}
	defer c.Close()
	for rec, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("%s pays %s\n", rec.Key, rec.Value)
	}
	return nil
}

// someCluster is a listener of this process, which stands for a cluster.
func someCluster() (bootstrap string, stop func(), err error) {
	store, err := partition.OpenMemory(partition.Config{})
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server, err := kafka.Serve(l, store, kafka.Config{Properties: map[string]string{"group.initial.rebalance.delay.ms": "0"}})
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func() { server.Close(); store.Close() }, nil
}
