package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
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
		n.Dial = nil // not through the faults that a Local puts between its nodes: a Node's own
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

// findLeader waits until all nodes that run take part, and agree on a leader of the first partition with all replicas in sync. One that has just been
// started has old news.
func (c *replCluster) findLeader(ctx context.Context) error {
	nodes := c.local.Nodes()
	for _, n := range nodes {
		if err := n.Ready(ctx); err != nil {
			return err
		}
	}
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		var first partition.LeaderEpoch
		agree := true
		for i, n := range nodes {
			parts, err := n.PartitionsOf(ctx, partlogTopic)
			if agree = agree && err == nil && parts[0].Leader >= 0 && len(parts[0].ISR) == len(nodes); !agree {
				break
			}
			if i == 0 {
				first = parts[0].LeaderEpoch
			}
			if agree = parts[0].LeaderEpoch == first; n.NodeID() == parts[0].Leader {
				c.leader = n
			}
		}
		if agree {
			return nil
		}
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

const (
	// failoverSession is the session timeout of the failover cell.
	failoverSession = 150 * time.Millisecond
	// failoverKills is how often its leader is killed.
	failoverKills = 40
)

// replFailover kills the leader again and again, and measures until another leader has acknowledged a send that a third node was asked for. About a third of those who are
// killed are the controller as well: the longest of both kinds are shown.
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
	extra := map[string]float64{"max_ms": 0, "max_with_controller_ms": 0, "controllers": 0}
	started := time.Now()
	for range failoverKills {
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
		worst := "max_ms"
		if nodes, err := other.DescribeCluster(ctx); err != nil {
			return sample{}, err
		} else if slices.ContainsFunc(nodes, func(n replication.NodeInfo) bool { return n.Controller && n.NodeID == victim }) {
			worst = "max_with_controller_ms"
			extra["controllers"]++
		}
		killed := make(chan error, 1)
		begin := time.Now()
		go func() { killed <- c.local.Kill(victim) }()
		for by := victim; by == victim; { // what the one that dies has acknowledged yet does not count
			if _, err := p.Send(ctx, record); err != nil {
				return sample{}, err
			}
			parts, err := other.PartitionsOf(ctx, partlogTopic)
			if err != nil {
				return sample{}, err
			}
			by = parts[0].Leader
		}
		took := time.Since(begin)
		hist.add(took)
		extra[worst] = max(extra[worst], float64(took.Microseconds())/1000)
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
	return sample{records: failoverKills, elapsed: time.Since(started), hist: hist, extra: extra}, c.local.Close()
}
