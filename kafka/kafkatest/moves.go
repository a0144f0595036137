package kafkatest

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// AddBroker adds a broker with the next free id, like those that are there, and returns the id. Topics that are there stay
// where they are.
func (c *Cluster) AddBroker(rack string) (int32, error) {
	c.change.Lock()
	defer c.change.Unlock()
	if c.isClosed() {
		return 0, ErrClosed
	}
	n, err := c.addNode(kafka.BrokerConfig{Rack: rack})
	if err != nil {
		return 0, err
	}
	if err := c.open(n); err != nil {
		for _, p := range n.ports {
			p.close()
		}
		c.mu.Lock()
		c.nodes = slices.DeleteFunc(slices.Clone(c.nodes), func(x *node) bool { return x == n })
		c.mu.Unlock()
		return 0, err
	}
	return n.id, nil
}

// StopBroker ends one broker as if its process had ended, while the others go on: its connections are closed, it leaves the
// in-sync replicas, what it led goes to other replicas, or to nobody if there are none. Its port stays reserved, and closes
// connections. Errors: kafka.ErrUnknownBroker, ErrClosed.
func (c *Cluster) StopBroker(id int32) error {
	return c.withNode(id, func(n *node) error {
		n.stopped = true
		return n.broker.Stop()
	})
}

// StartBroker starts a broker again that was stopped, on its port.
func (c *Cluster) StartBroker(id int32) error {
	return c.withNode(id, func(n *node) error {
		if !n.stopped {
			return nil
		}
		var sockets []net.Listener
		for _, p := range n.ports {
			sockets = append(sockets, p.listen())
		}
		err := n.broker.Start(sockets...)
		n.stopped = err != nil
		return err
	})
}

// RestartBroker stops a broker and starts it again.
func (c *Cluster) RestartBroker(id int32) error {
	if err := c.StopBroker(id); err != nil {
		return err
	}
	return c.StartBroker(id)
}

// withNode finds a broker, with change held.
func (c *Cluster) withNode(id int32, f func(n *node) error) error {
	c.change.Lock()
	defer c.change.Unlock()
	if c.isClosed() {
		return ErrClosed
	}
	for _, n := range c.nodes {
		if n.id == id {
			return f(n)
		}
	}
	return fmt.Errorf("%w: %d", kafka.ErrUnknownBroker, id)
}

// Leader returns the id of the broker that leads a partition, −1 if none does.
func (c *Cluster) Leader(topic string, p int32) (int32, error) {
	return c.Server().Leader(partition.TopicPartition{Topic: topic, Partition: p})
}

// MoveLeader makes a broker the leader of a partition, and a replica if it is none.
func (c *Cluster) MoveLeader(ctx context.Context, topic string, p, broker int32) error {
	return c.Server().MoveLeader(ctx, partition.TopicPartition{Topic: topic, Partition: p}, broker)
}

// MoveGroup makes a broker the coordinator of a group, and of those that share its partition of __consumer_offsets.
func (c *Cluster) MoveGroup(ctx context.Context, group string, broker int32) error {
	return c.Server().MoveCoordinator(ctx, false, group, broker)
}

// MoveTransaction makes a broker the coordinator of a transactional id, and of those that share its partition.
func (c *Cluster) MoveTransaction(ctx context.Context, transactionalID string, broker int32) error {
	return c.Server().MoveCoordinator(ctx, true, transactionalID, broker)
}

// SetISR says which replicas of a partition are in sync: with fewer than min.insync.replicas, acks=all is refused.
func (c *Cluster) SetISR(ctx context.Context, topic string, p int32, brokers ...int32) error {
	return c.Server().SetISR(ctx, partition.TopicPartition{Topic: topic, Partition: p}, brokers...)
}

// coordinator returns the coordinator of a group, in this process.
func (c *Cluster) coordinator(ctx context.Context, id string) (group.Coordinator, error) {
	all, err := group.Start(c.Store(), group.CoordinatorConfig{})
	if err != nil {
		return nil, err
	}
	return all.Find(ctx, id)
}
