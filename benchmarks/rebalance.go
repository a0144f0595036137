package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// rebalanceCell has a group of members that all read. One more joins, until every partition has its owner again and the
// newcomer its share; then it leaves, until every partition has its owner again. Each of the two is one record.
func rebalanceCell(name string, members, partitions int) cell {
	return cell{name: name, latency: true, contenders: []contender{
		{"partlog", pageCache, func(e environment) (sample, error) { return rebalancePartlog(e, members, partitions) }},
		{"kfake", pageCache, func(e environment) (sample, error) { return rebalanceKfake(e, members, partitions) }},
	}, note: "kgo heartbeats every 50 ms here, its default is 3 s; partlog's members are told"}
}

// owners counts partitions as listeners are told.
type owners struct {
	all, newcomer atomic.Int64
	moved         chan struct{}
}

func (o *owners) change(n int, newcomer bool) {
	o.all.Add(int64(n))
	if newcomer {
		o.newcomer.Add(int64(n))
	}
	select {
	case o.moved <- struct{}{}:
	default:
	}
}

// await waits until all have an owner and the newcomer has as many.
func (o *owners) await(all, newcomer int) error {
	deadline := time.After(time.Minute)
	for o.all.Load() != int64(all) || o.newcomer.Load() < int64(newcomer) {
		select {
		case <-o.moved:
		case <-deadline:
			return fmt.Errorf("%d of %d partitions have an owner, the newcomer has %d", o.all.Load(), all, o.newcomer.Load())
		}
	}
	return nil
}

// timedRebalances lets a member come and go for as long as the run is. join returns what leaves again.
func timedRebalances(e environment, o *owners, members, partitions int, join func(newcomer bool) (leave func() error, err error)) (sample, error) {
	var leaves []func() error
	defer func() {
		var wg sync.WaitGroup
		for _, leave := range leaves {
			wg.Go(func() { _ = leave() })
		}
		wg.Wait()
	}()
	for range members - 1 {
		leave, err := join(false)
		if err != nil {
			return sample{}, err
		}
		leaves = append(leaves, leave)
	}
	if err := o.await(partitions, 0); err != nil {
		return sample{}, err
	}
	s := sample{hist: new(histogram)}
	before, begin := mallocs(), time.Now()
	for time.Since(begin) < e.duration || s.records < 4 {
		at := time.Now()
		leave, err := join(true)
		if err != nil {
			return sample{}, err
		}
		if err := o.await(partitions, partitions/members); err != nil {
			return sample{}, err
		}
		s.hist.add(time.Since(at))
		at = time.Now()
		if err := leave(); err != nil {
			return sample{}, err
		}
		if err := o.await(partitions, 0); err != nil {
			return sample{}, err
		}
		s.hist.add(time.Since(at))
		o.newcomer.Store(0)
		s.records += 2
	}
	s.elapsed, s.mallocs = time.Since(begin), mallocs()-before
	return s, nil
}

func rebalancePartlog(e environment, members, partitions int) (sample, error) {
	store, err := partition.Open(filepath.Join(e.dir, "store"), partlogConfig(false))
	if err != nil {
		return sample{}, err
	}
	defer store.Close()
	ctx := context.Background()
	if _, err := store.CreateTopic(ctx, partlogTopic, partition.TopicConfig{Partitions: int32(partitions)}); err != nil {
		return sample{}, err
	}
	g, err := group.Open(store, "g", group.Config{Assignors: []group.Assignor{group.CooperativeSticky}})
	if err != nil {
		return sample{}, err
	}
	o := &owners{moved: make(chan struct{}, 1)}
	return timedRebalances(e, o, members, partitions, func(newcomer bool) (func() error, error) {
		lost := func(tps []partition.TopicPartition) { o.change(-len(tps), newcomer) }
		c, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{partlogTopic}, Listener: consumer.Listener{
			Assigned: func(tps []partition.TopicPartition) { o.change(len(tps), newcomer) }, Revoked: lost, Lost: lost,
		}})
		if err != nil {
			return nil, err
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for range c.Records(ctx) {
			}
		}()
		return func() error {
			err := c.Close()
			<-ended
			return err
		}, nil
	})
}

func rebalanceKfake(e environment, members, partitions int) (sample, error) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(filepath.Join(e.dir, "kfake")), kfake.SeedTopics(int32(partitions), kfakeTopic))
	if err != nil {
		return sample{}, err
	}
	defer c.Close()
	o := &owners{moved: make(chan struct{}, 1)}
	count := func(tps map[string][]int32) (n int) {
		for _, p := range tps {
			n += len(p)
		}
		return n
	}
	return timedRebalances(e, o, members, partitions, func(newcomer bool) (func() error, error) {
		lost := func(_ context.Context, _ *kgo.Client, tps map[string][]int32) { o.change(-count(tps), newcomer) }
		client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics(kfakeTopic),
			kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.HeartbeatInterval(50*time.Millisecond),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, tps map[string][]int32) { o.change(count(tps), newcomer) }),
			kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost))
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ctx.Err() == nil {
				client.PollFetches(ctx)
			}
		}()
		return func() error {
			cancel()
			<-ended
			client.Close()
			return nil
		}, nil
	})
}
