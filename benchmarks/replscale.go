package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
	"github.com/partlog/partlog/replication"
)

// catchUpBytes is what a node has missed.
const catchUpBytes = 1 << 30

// replCatchUpCell measures how fast a node comes back to what it has missed, against a copy of as much through one TCP connection into a file.
func replCatchUpCell(name string) cell {
	return cell{name: name, contenders: []contender{
		{"partlog", pageCache, replCatchUp},
		{"raw", pageCache, copyOverTCP},
	}}
}

func replCatchUp(e environment) (sample, error) {
	c, err := startReplCluster(e.dir, false, 1)
	if err != nil {
		return sample{}, err
	}
	victim := c.leader.NodeID()%3 + 1
	if err := c.local.Stop(victim); err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	p, err := producer.New(c.leader, producer.Config{})
	if err != nil {
		return sample{}, err
	}
	const size = 16 << 10
	payload := newPayload(size)
	var o outcome
	for range catchUpBytes / size {
		p.SendAsync(ctx, producer.Record{Topic: partlogTopic, Value: payload}, func(r producer.Result) { o.result(r.Err) })
	}
	if err := errors.Join(p.Flush(ctx), o.err, p.Close()); err != nil {
		return sample{}, err
	}
	n, err := c.local.Start(victim)
	if err != nil {
		return sample{}, err
	}
	if err := n.Ready(ctx); err != nil {
		return sample{}, err
	}
	tp := partition.TopicPartition{Topic: partlogTopic}
	var began time.Time // of the first byte, as the raw copy has it
	for {
		r, err := n.Store().Replica(tp, partition.TopicID{})
		if err == nil && began.IsZero() && r.End() > 0 {
			began = time.Now()
		}
		if err == nil && int64(r.End()) >= o.acked.Load() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s := sample{records: o.acked.Load(), bytes: catchUpBytes, elapsed: time.Since(began)}
	return s, c.local.Close()
}

// copyOverTCP is the physical limit: a stream through loopback, written to a file in pieces of a mebibyte.
func copyOverTCP(e environment) (sample, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return sample{}, err
	}
	defer l.Close()
	from := filepath.Join(e.dir, "from")
	if err := os.WriteFile(from, make([]byte, catchUpBytes), 0o600); err != nil {
		return sample{}, err
	}
	sent := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			sent <- err
			return
		}
		f, err := os.Open(from)
		if err == nil {
			_, err = io.Copy(conn, f)
			err = errors.Join(err, f.Close())
		}
		sent <- errors.Join(err, conn.Close())
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return sample{}, err
	}
	defer conn.Close()
	to, err := os.Create(filepath.Join(e.dir, "to"))
	if err != nil {
		return sample{}, err
	}
	started := time.Now()
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{conn}, make([]byte, 1<<20))
	s := sample{records: n / (16 << 10), bytes: n, elapsed: time.Since(started)}
	return s, errors.Join(err, <-sent, to.Close())
}

// replIdleCell shows what a cluster costs that nobody uses: processor time of all three nodes, in percent of one core.
func replIdleCell(name string, partitions int32) cell {
	c := cell{name: name, contenders: []contender{{"partlog", pageCache, func(e environment) (sample, error) { return replIdle(e, partitions) }}}}
	c.smaller = "cpu_percent"
	return c
}

func replIdle(e environment, partitions int32) (sample, error) {
	c, err := startReplCluster(e.dir, false, partitions)
	if err != nil {
		return sample{}, err
	}
	time.Sleep(10 * time.Second) // indexes, checkpoints, the collector's last rounds
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		return sample{}, err
	}
	const length = 20 * time.Second
	time.Sleep(length)
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		return sample{}, err
	}
	used := time.Duration(after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano())
	s := sample{records: int64(partitions), elapsed: length, extra: map[string]float64{"cpu_percent": 100 * used.Seconds() / length.Seconds()}}
	return s, c.local.Close()
}

// replMoveCell measures how long it takes, from the death of a node, until all partitions that it led have other leaders; the session's end is
// part of it and shown on its own.
func replMoveCell(name string, partitions int32) cell {
	c := cell{name: name, contenders: []contender{{"partlog", inProcess, func(e environment) (sample, error) { return replMove(partitions) }}}}
	c.smaller = "move_ms"
	return c
}

func replMove(partitions int32) (sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var fenced atomic.Int64
	started := time.Now()
	local, err := replication.StartLocal(ctx, replication.LocalConfig{Nodes: 3, Change: func(c *replication.Config) {
		c.Store.Sync = partition.SyncNever
	}})
	if err != nil {
		return sample{}, err
	}
	if _, err := local.Node(1).CreateTopic(ctx, partlogTopic, partition.TopicConfig{Partitions: partitions, ReplicationFactor: 3, MinInsyncReplicas: 2}); err != nil {
		return sample{}, err
	}
	victim := int32(3)
	led, err := ledBy(ctx, local.Node(1), victim)
	if err != nil || led == 0 {
		return sample{}, fmt.Errorf("node %d leads %d partitions: %w", victim, led, err)
	}
	killed := time.Now()
	go func() { _ = local.Kill(victim) }()
	n := local.Node(1)
	for {
		nodes, err := n.DescribeCluster(ctx)
		if err != nil {
			return sample{}, err
		}
		for _, x := range nodes {
			if x.NodeID == victim && x.Fenced && fenced.Load() == 0 {
				fenced.Store(int64(time.Since(killed)))
			}
		}
		if led, err := ledBy(ctx, n, victim); err != nil {
			return sample{}, err
		} else if led == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	all := time.Since(killed)
	s := sample{records: int64(led), elapsed: time.Since(started), extra: map[string]float64{
		"move_ms": float64(all.Microseconds()) / 1000, "fenced_after_ms": float64(time.Duration(fenced.Load()).Microseconds()) / 1000,
	}}
	return s, local.Close()
}

func ledBy(ctx context.Context, n *replication.Node, node int32) (led int, err error) {
	parts, err := n.PartitionsOf(ctx, partlogTopic)
	for _, p := range parts {
		if p.Leader == node {
			led++
		}
	}
	return led, err
}
