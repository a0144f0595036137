package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/replication"
)

// replCluster is three nodes in this process, on directories of their own and loopback sockets, and the one that leads the partition.
type replCluster struct {
	local  *replication.Local
	leader *replication.Node
}

func startReplCluster(dir string, sync bool, partitions int32, changes ...func(*replication.Config)) (_ *replCluster, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := &replCluster{}
	c.local, err = replication.StartLocal(ctx, replication.LocalConfig{Nodes: 3, Dir: filepath.Join(dir, "nodes"), Change: func(n *replication.Config) {
		n.Store.Sync = partlogConfig(sync).Sync
		for _, change := range changes {
			change(n)
		}
	}})
	if err != nil {
		return nil, err
	}
	if _, err := c.local.Node(1).CreateTopic(ctx, partlogTopic, partition.TopicConfig{Partitions: partitions, ReplicationFactor: 3, MinInsyncReplicas: 2}); err != nil {
		return nil, errors.Join(err, c.local.Close())
	}
	return c, c.findLeader(ctx)
}

// findLeader waits for a leader of the first partition with all replicas in sync.
func (c *replCluster) findLeader(ctx context.Context) error {
	for ctx.Err() == nil {
		for _, n := range c.local.Nodes() {
			parts, err := n.PartitionsOf(ctx, partlogTopic)
			if err == nil && parts[0].Leader == n.NodeID() && len(parts[0].ISR) == len(c.local.Nodes()) {
				c.leader = n
				return nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

func replProducePartlog(e environment) (sample, error) {
	c, err := startReplCluster(e.dir, false, 1)
	if err != nil {
		return sample{}, err
	}
	p, err := producer.New(c.leader, producer.Config{})
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	payload := newPayload(replSize)
	if _, err := p.Send(ctx, producer.Record{Topic: partlogTopic, Value: payload}); err != nil {
		return sample{}, err
	}
	var o outcome
	pending := make(chan struct{}, replInFlight)
	got, err := timedSendsOf(replSize, e, &o, func(i uint64) {
		fill(payload, 0, i)
		pending <- struct{}{}
		p.SendAsync(ctx, producer.Record{Topic: partlogTopic, Value: payload}, func(r producer.Result) { o.result(r.Err); <-pending })
	}, func() error { return p.Flush(ctx) })
	if err != nil {
		return sample{}, err
	}
	return got, errors.Join(c.sameEverywhere(got.records+1), p.Close(), c.local.Close())
}

// sameEverywhere compares how many records the three copies have.
func (c *replCluster) sameEverywhere(records int64) error {
	tp := partition.TopicPartition{Topic: partlogTopic}
	for _, n := range c.local.Nodes() {
		r, err := n.Store().Replica(tp, partition.TopicID{})
		if err != nil {
			return err
		}
		for begin := time.Now(); int64(r.End()) < records; time.Sleep(time.Millisecond) {
			if time.Since(begin) > time.Minute {
				return fmt.Errorf("node %d has %d records of %d", n.NodeID(), r.End(), records)
			}
		}
	}
	return nil
}

// replSynced has 256 writers send one record after the other, each acknowledged by three synced copies. With three it is one
// producer for each of three stores that are alone, at once; with one, one store.
func replSynced(e environment, open func(dir string) (backends []producer.Backend, end func() error, err error)) (sample, error) {
	backends, end, err := open(e.dir)
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	const writers = 256
	var all sync.WaitGroup
	var o outcome
	hist := new(histogram)
	var producers []*producer.Producer
	for _, b := range backends {
		p, err := producer.New(b, producer.Config{})
		if err != nil {
			return sample{}, err
		}
		producers = append(producers, p)
		if _, err := p.Send(ctx, producer.Record{Topic: partlogTopic, Value: newPayload(replSize)}); err != nil {
			return sample{}, err
		}
	}
	started := time.Now()
	for i, p := range producers {
		for w := range writers {
			all.Go(func() {
				payload := newPayload(replSize)
				for n := uint64(0); time.Since(started) < e.duration; n++ {
					fill(payload, uint64(i*writers+w), n)
					begin := time.Now()
					_, err := p.Send(ctx, producer.Record{Topic: partlogTopic, Value: payload})
					hist.add(time.Since(begin))
					if o.result(err); err != nil {
						return
					}
				}
			})
		}
	}
	all.Wait()
	got := sample{records: o.acked.Load() / int64(len(backends)), elapsed: time.Since(started), hist: hist}
	got.bytes = got.records * replSize
	for _, p := range producers {
		err = errors.Join(err, p.Close())
	}
	return got, errors.Join(o.err, err, end())
}

func replSyncedPartlog(e environment) (sample, error) {
	return replSynced(e, func(dir string) ([]producer.Backend, func() error, error) {
		c, err := startReplCluster(dir, true, 1)
		if err != nil {
			return nil, nil, err
		}
		return []producer.Backend{c.leader}, c.local.Close, nil
	})
}

// replSyncedAlone is the measure of replSyncedPartlog: stores that are alone.
func replSyncedAlone(e environment, stores int) (sample, error) {
	return replSynced(e, func(dir string) (all []producer.Backend, end func() error, err error) {
		var open []*partition.Store
		for i := range stores {
			s, err := newPartlog(filepath.Join(dir, fmt.Sprint("alone-", i)), true)
			if err != nil {
				return nil, nil, err
			}
			open, all = append(open, s), append(all, s)
		}
		return all, func() (err error) {
			for _, s := range open {
				err = errors.Join(err, s.Close())
			}
			return err
		}, nil
	})
}

func replEndToEndPartlog(e environment) (sample, error) {
	c, err := startReplCluster(e.dir, false, 1)
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := consumer.Assign(ctx, c.leader, []consumer.Assignment{
		{TopicPartition: partition.TopicPartition{Topic: partlogTopic}, From: consumer.Earliest()},
	}, consumer.Config{})
	if err != nil {
		return sample{}, err
	}
	p, err := producer.New(c.leader, producer.Config{})
	if err != nil {
		return sample{}, err
	}
	loop := newClosedLoop()
	ended := make(chan error, 1)
	go func() {
		for _, err := range r.Records(ctx) {
			if err != nil {
				ended <- err
				return
			}
			loop.received()
		}
	}()
	rec := producer.Record{Topic: partlogTopic, Value: newPayload(streamSize)}
	s, err := loop.closed(e, func() error {
		_, err := p.Send(ctx, rec)
		return err
	})
	cancel()
	if last := <-ended; !errors.Is(last, context.Canceled) {
		err = errors.Join(err, last)
	}
	return s, errors.Join(err, r.Close(), p.Close(), c.local.Close())
}

// failoverSession is the session timeout of the failover cell.
const failoverSession = 150 * time.Millisecond

// replFailover kills the leader again and again, and measures until a send that another node is asked for is acknowledged.
func replFailover(e environment) (sample, error) {
	c, err := startReplCluster(e.dir, false, 1, func(n *replication.Config) {
		n.SessionTimeout, n.HeartbeatInterval, n.ElectionTimeout = failoverSession, failoverSession/5, failoverSession
	})
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	hist := new(histogram)
	started, n := time.Now(), int64(0)
	for ; n < 20; n++ {
		victim := c.leader.NodeID()
		other := c.local.Nodes()[0]
		if other.NodeID() == victim {
			other = c.local.Nodes()[1]
		}
		p, err := producer.New(other, producer.Config{})
		if err != nil {
			return sample{}, err
		}
		record := producer.Record{Topic: partlogTopic, Value: newPayload(replSize)}
		if _, err := p.Send(ctx, record); err != nil {
			return sample{}, err
		}
		killed := make(chan error, 1)
		begin := time.Now()
		go func() { killed <- c.local.Kill(victim) }()
		time.Sleep(time.Millisecond) // else it may be acknowledged by the one that dies
		if _, err := p.Send(ctx, record); err != nil {
			return sample{}, err
		}
		hist.add(time.Since(begin))
		if err := errors.Join(<-killed, p.Close()); err != nil {
			return sample{}, err
		}
		if _, err := c.local.Start(victim); err != nil {
			return sample{}, err
		}
		if err := c.findLeader(ctx); err != nil {
			return sample{}, err
		}
	}
	return sample{records: n, elapsed: time.Since(started), hist: hist, extra: map[string]float64{"max_ms": hist.quantile(1) / 1000}}, c.local.Close()
}
