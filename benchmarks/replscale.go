package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	if err := rested(); err != nil { // what a node misses was written a while ago
		return sample{}, err
	}
	// The pages of two copies are dirty: what is written next would wait for the disk that takes them.
	if err := evenStart(e.dir); err != nil {
		return sample{}, err
	}
	used, err := processorTime()
	if err != nil {
		return sample{}, err
	}
	started := time.Now()
	n, err := c.local.Start(victim)
	if err != nil {
		return sample{}, err
	}
	tp := partition.TopicPartition{Topic: partlogTopic}
	var began time.Time // of the first bytes, as the raw copy has it: they are not counted
	var before int64
	for {
		r, err := n.Store().Replica(tp, partition.TopicID{})
		if err == nil && began.IsZero() && r.End() > 0 {
			began, before = time.Now(), int64(r.End())
		}
		if err == nil && int64(r.End()) >= o.acked.Load() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	got := o.acked.Load() - before
	s := sample{records: got, bytes: got * size, elapsed: time.Since(began)}
	for !c.inSync(ctx, victim) {
		time.Sleep(time.Millisecond)
	}
	isr := time.Since(started)
	total, err := processorTime()
	s.extra = map[string]float64{"in_isr_after_ms": float64(isr.Milliseconds()), "cpu_ms": float64((total - used).Milliseconds())}
	if err != nil {
		return sample{}, err
	}
	return s, errors.Join(c.sameEverywhere(o.acked.Load()), c.local.Close())
}

// evenStart gives what is written next a clean disk, and as much page cache as it needs in memory that this machine has: on a virtual one the first use of
// memory that its host has taken back is several times as slow as the write.
func evenStart(dir string) error {
	settle()
	path := filepath.Join(dir, "warm")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	piece := make([]byte, 1<<20)
	for range catchUpBytes / len(piece) {
		if _, err = f.Write(piece); err != nil {
			break
		}
	}
	return errors.Join(err, f.Close(), os.Remove(path))
}

// processorTime is what this process has used so far.
func processorTime() (time.Duration, error) {
	var r unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), err
}

// rested waits until this process does next to nothing: segments that were rolled have their checksums.
func rested() error {
	const step = 250 * time.Millisecond
	for range 60 {
		before, err := processorTime()
		if err != nil {
			return err
		}
		time.Sleep(step)
		after, err := processorTime()
		if err != nil || after-before < step/20 {
			return err
		}
	}
	return nil
}

// inSync reports whether a node is in the ISR of the first partition.
func (c *replCluster) inSync(ctx context.Context, node int32) bool {
	parts, err := c.leader.PartitionsOf(ctx, partlogTopic)
	return err == nil && slices.Contains(parts[0].ISR, node)
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
	if err := evenStart(e.dir); err != nil {
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
	used, clockErr := processorTime()
	started := time.Now()
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{conn}, make([]byte, 1<<20))
	s := sample{records: n / (16 << 10), bytes: n, elapsed: time.Since(started)}
	total, endErr := processorTime()
	s.extra = map[string]float64{"cpu_ms": float64((total - used).Milliseconds())}
	return s, errors.Join(err, clockErr, endErr, <-sent, to.Close())
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
	before, err := processorTime()
	if err != nil {
		return sample{}, err
	}
	const length = 20 * time.Second
	time.Sleep(length)
	after, err := processorTime()
	if err != nil {
		return sample{}, err
	}
	s := sample{records: int64(partitions), elapsed: length, extra: map[string]float64{"cpu_percent": 100 * (after - before).Seconds() / length.Seconds()}}
	return s, c.local.Close()
}

// moveSession is the session timeout of the cell below.
const moveSession = time.Second

// replMoveCell measures how long it takes, from the death of a node, until all partitions that it led have other leaders that serve; the session's end is
// part of it and shown on its own, and so is when the metadata names the last of them.
func replMoveCell(name string, partitions int32) cell {
	c := cell{name: name, contenders: []contender{{"partlog", inProcess, func(e environment) (sample, error) { return replMove(partitions) }}}}
	c.smaller = "move_ms"
	return c
}

func replMove(partitions int32) (sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	started := time.Now()
	local, err := replication.StartLocal(ctx, replication.LocalConfig{Nodes: 3, Change: func(c *replication.Config) {
		c.Store.Sync = partition.SyncNever
		c.SessionTimeout, c.HeartbeatInterval = moveSession, moveSession/5
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
	for following(local) < 2*int(partitions) {
		if time.Sleep(10 * time.Millisecond); ctx.Err() != nil {
			return sample{}, ctx.Err()
		}
	}
	killed := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- local.Kill(victim) }()
	n := local.Node(1)
	var fenced, named time.Duration
	for leading := 0; leading < int(partitions); time.Sleep(time.Millisecond) {
		nodes, err := n.DescribeCluster(ctx)
		if err != nil {
			return sample{}, err
		}
		for _, x := range nodes {
			if x.NodeID == victim && x.Fenced && fenced == 0 {
				fenced = time.Since(killed)
			}
			if x.NodeID == victim && x.Leads == 0 && named == 0 {
				named = time.Since(killed)
			}
		}
		leading = 0
		for _, other := range local.Nodes() {
			if other.NodeID() != victim {
				leading += other.ReplicaStats(false).Leading
			}
		}
	}
	all := time.Since(killed)
	s := sample{records: int64(led), elapsed: time.Since(started), extra: map[string]float64{
		"move_ms": milliseconds(all), "fenced_after_ms": milliseconds(fenced), "named_after_ms": milliseconds(named), "moved_after_fence_ms": milliseconds(all - fenced),
	}}
	return s, errors.Join(<-ended, local.Close())
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// following is how many replicas follow, on all nodes.
func following(local *replication.Local) (sum int) {
	for _, n := range local.Nodes() {
		sum += n.ReplicaStats(false).Following
	}
	return sum
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
