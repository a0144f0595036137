// Cluster runs kafka.Connect over several real brokers: records are produced, moved from one topic to another exactly once by a member
// of a group, in transactions, and counted by a reader of what is committed, while each broker in turn is stopped and started, so that
// leaders, coordinators and the controller move. Every record that was acknowledged is to be there exactly once, in the order of its partition.
//
//	go run .ci/cluster/main.go -kafka HOST:PORT,... -stop 'COMMAND %d' -start 'COMMAND %d' -brokers 3
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func main() {
	addr := flag.String("kafka", "", "addresses of the brokers")
	stop := flag.String("stop", "", "command that stops broker %d")
	start := flag.String("start", "", "command that starts broker %d")
	brokers := flag.Int("brokers", 3, "how many there are")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	began := time.Now()
	n, err := run(ctx, *addr, *brokers, func(format string, broker int) error {
		cmd := exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf(format, broker))
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		return cmd.Run()
	}, *stop, *start)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
	fmt.Printf("%d records were moved exactly once while each of %d brokers stopped and started, %.0f s\n", n, *brokers, time.Since(began).Seconds())
}

const partitions = 3

func run(ctx context.Context, addr string, brokers int, do func(string, int) error, stop, start string) (int, error) {
	cluster, err := kafka.Connect(ctx, addr, kafka.ConnectConfig{ClientID: "mover", Rack: "r2"})
	if err != nil {
		return 0, err
	}
	defer cluster.Close()
	for _, name := range []string{"from", "to"} {
		if _, err := cluster.CreateTopic(ctx, name, partition.TopicConfig{Partitions: partitions}); err != nil {
			return 0, err
		}
	}
	var enough atomic.Bool
	var sent atomic.Int64
	done := make(chan error, 1)
	go func() { done <- produce(ctx, cluster, &enough, &sent) }()
	moved := make(chan error, 1)
	go func() { moved <- move(ctx, cluster, &enough, &sent) }()
	for broker := 1; broker <= brokers; broker++ {
		before := sent.Load()
		if err := do(stop, broker); err != nil {
			return 0, fmt.Errorf("stop broker %d: %w", broker, err)
		}
		if err := progress(ctx, &sent, before+100, done, moved); err != nil {
			return 0, fmt.Errorf("without broker %d: %w", broker, err)
		}
		if err := do(start, broker); err != nil {
			return 0, fmt.Errorf("start broker %d: %w", broker, err)
		}
		if err := progress(ctx, &sent, sent.Load()+100, done, moved); err != nil {
			return 0, fmt.Errorf("with broker %d again: %w", broker, err)
		}
	}
	enough.Store(true)
	if err := errors.Join(<-done, <-moved); err != nil {
		return 0, err
	}
	return int(sent.Load()), count(ctx, cluster, int(sent.Load()))
}

// progress waits until so many records have been sent.
func progress(ctx context.Context, sent *atomic.Int64, want int64, done, moved chan error) error {
	for sent.Load() < want {
		select {
		case err := <-done:
			return fmt.Errorf("the producer has ended: %w", err)
		case err := <-moved:
			return fmt.Errorf("the mover has ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// produce sends numbers, each to the partition that it says, until there are enough.
func produce(ctx context.Context, cluster *kafka.Cluster, enough *atomic.Bool, sent *atomic.Int64) error {
	p, err := producer.New(cluster, producer.Config{DeliveryTimeout: 20 * time.Minute})
	if err != nil {
		return err
	}
	for i := 0; !enough.Load(); i++ {
		if _, err := p.Send(ctx, producer.Record{Topic: "from", Partition: producer.To(int32(i % partitions)), Value: fmt.Append(nil, i)}); err != nil {
			return fmt.Errorf("send %d: %w", i, err)
		}
		sent.Store(int64(i + 1))
	}
	return p.Close()
}

// move moves what has been sent, until there is enough and all of it has been moved.
func move(ctx context.Context, cluster *kafka.Cluster, enough *atomic.Bool, sent *atomic.Int64) error {
	g, err := group.Open(cluster, "mover", group.Config{})
	if err != nil {
		return err
	}
	defer g.Close()
	for moved := int64(0); !enough.Load() || moved < sent.Load(); {
		err := func() error {
			c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"from"}, Commit: consumer.CommitManual, Isolation: consumer.ReadCommitted})
			if err != nil {
				return err
			}
			defer c.Close()
			p, err := producer.New(cluster, producer.Config{TransactionalID: "mover"})
			if err != nil {
				return err
			}
			defer p.Close()
			for !enough.Load() || moved < sent.Load() {
				n := 0
				err := p.TransactFrom(ctx, c, func(tx *producer.Tx) error {
					records, err := c.Poll(ctx)
					if err != nil {
						return err
					}
					for _, r := range records {
						tx.SendAsync(ctx, producer.Record{Topic: "to", Partition: producer.To(r.Partition), Value: r.Value}, nil)
					}
					n = len(records)
					return nil
				})
				if err != nil {
					return err
				}
				moved += int64(n)
			}
			return nil
		}()
		if err != nil { // the transaction has been aborted: whoever comes next goes on where the group is
			fmt.Fprintln(os.Stderr, "again:", err)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// count reads what is committed.
func count(ctx context.Context, cluster *kafka.Cluster, sent int) error {
	var all []consumer.Assignment
	for i := range int32(partitions) {
		all = append(all, consumer.Assignment{TopicPartition: partition.TopicPartition{Topic: "to", Partition: i}, Until: consumer.UntilEnd()})
	}
	c, err := consumer.Assign(ctx, cluster, all, consumer.Config{Isolation: consumer.ReadCommitted})
	if err != nil {
		return err
	}
	defer c.Close()
	next := []int{0, 1, 2}
	n := 0
	for r, err := range c.Records(ctx) {
		if err != nil {
			return err
		}
		if want := fmt.Sprint(next[r.Partition]); string(r.Value) != want {
			return fmt.Errorf("partition %d has %s where %s is to be", r.Partition, r.Value, want)
		}
		next[r.Partition] += partitions
		n++
	}
	if n != sent {
		return fmt.Errorf("%d records were sent and %d have been moved", sent, n)
	}
	return nil
}
