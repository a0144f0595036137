package replication

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// disks gives each node of a Local a disk that can fail.
type disks struct {
	mu  sync.Mutex
	all map[int32]*vfs.Fault
}

func (d *disks) change(c *Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[int32]*vfs.Fault{}
	}
	if d.all[c.NodeID] == nil {
		d.all[c.NodeID] = vfs.NewFault(c.Store.FS)
	}
	c.Store.FS = d.all[c.NodeID]
}

func (d *disks) of(id int32) *vfs.Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[id]
}

// ordersLog is the file of a node's copy.
func ordersLog(l *Local, node int32) string {
	return filepath.Join(l.Node(node).dir, "data", "orders-0", "00000000000000000000.log")
}

// insync waits until all replicas are in sync.
func insync(t *testing.T, l *Local, n int) PartitionInfo {
	t.Helper()
	ctx := patient(t)
	var p PartitionInfo
	eventually(ctx, t, "all are in sync", func() bool {
		p = info(ctx, t, l.Nodes()[0], orders)
		return len(p.ISR) == n && p.Leader >= 0
	})
	return p
}

// equal waits until all copies are the leader's.
func equal(t *testing.T, l *Local, atLeast []string) {
	t.Helper()
	ctx := patient(t)
	insync(t, l, 3)
	for _, n := range l.Nodes() {
		has(ctx, t, n, atLeast)
	}
	eventually(ctx, t, "the copies are equal", func() bool {
		want := copyOf(t, l.Node(1), orders)
		return slices.Equal(want, copyOf(t, l.Node(2), orders)) && slices.Equal(want, copyOf(t, l.Node(3), orders))
	})
}

// has waits until a node has these, each at least once, and nothing else.
func has(ctx context.Context, t *testing.T, n *Node, want []string) {
	t.Helper()
	for {
		have := distinct(copyOf(t, n, orders))
		if slices.Equal(want, have) {
			return
		}
		require.NoError(t, ctx.Err(), "node %d has %q and not %q", n.NodeID(), have, want)
		pause(ctx)
	}
}

// TestAFailedSyncCostsTheReplicaNotTheRecords: a sync that fails, at a follower and at the leader, takes that replica out of the ISR. It is copied
// again, and everything that was acknowledged is everywhere.
func TestAFailedSyncCostsTheReplicaNotTheRecords(t *testing.T) {
	for _, who := range []string{"follower", "leader"} {
		t.Run(who, func(t *testing.T) {
			var d disks
			l := local(t, LocalConfig{Change: func(c *Config) { d.change(c); calm(c) }})
			ctx := patient(t)
			topic(t, l, 1)
			var acked []string
			more := func(n int) {
				for range n {
					value := fmt.Sprint("v", len(acked))
					send(ctx, t, l.Nodes()[len(acked)%3], orders, value)
					acked = append(acked, value)
				}
			}
			more(5)
			p := insync(t, l, 3)
			victim := p.Leader
			if who == "follower" {
				victim = p.Replicas[1]
			}
			armed := d.of(victim).Add(vfs.Rule{Op: vfs.OpSync, Path: ordersLog(l, victim)})
			more(10)
			eventually(ctx, t, "a sync fails", func() bool { return armed.Hits() == 1 })
			n := l.Node(victim)
			eventually(ctx, t, "the replica is made anew", func() bool {
				s := n.ReplicaStats(false)
				return s.Failures > 0 && s.Failed == 0
			})
			more(5)
			equal(t, l, acked)
		})
	}
}

// TestAFullDiskCostsTheReplicaNotTheCluster: a follower whose disk is full leaves the ISR by its lag, the others go on, and it comes back when there
// is room.
func TestAFullDiskCostsTheReplicaNotTheCluster(t *testing.T) {
	var d disks
	l := local(t, LocalConfig{Change: func(c *Config) {
		d.change(c)
		calm(c)
		c.LagTimeMax = time.Second
	}})
	ctx := patient(t)
	topic(t, l, 1)
	acked := []string{"first"}
	send(ctx, t, l.Node(1), orders, "first")
	p := insync(t, l, 3)
	victim := p.Replicas[2]
	d.of(victim).Add(vfs.Rule{Op: vfs.OpWrite, Path: ordersLog(l, victim), Err: syscall.ENOSPC, Forever: true})
	for i := range 10 {
		value := fmt.Sprint("v", i)
		send(ctx, t, l.Nodes()[i%3], orders, value)
		acked = append(acked, value)
	}
	leader := l.Node(p.Leader)
	eventually(ctx, t, "the follower has left the ISR", func() bool {
		s := leader.ReplicaStats(true)
		behind := slices.ContainsFunc(s.Lags, func(lag ReplicaLag) bool { return lag.Node == victim && !lag.InSync && lag.Records > 0 })
		return s.UnderReplicated == 1 && s.ISRShrinks > 0 && behind && !slices.Contains(info(ctx, t, leader, orders).ISR, victim)
	})
	require.Positive(t, l.Node(victim).ReplicaStats(false).FetchErrors)
	d.of(victim).Clear()
	equal(t, l, acked)
	eventually(ctx, t, "the leader has heard of it", func() bool { return leader.ReplicaStats(false).ISRExpands > 0 })
}

// TestALeaderWithAFullDiskLetsAnotherLead: there is no room for what is appended. Another replica takes over, so that writers go on; the full one leaves the ISR, and comes back
// when there is room. At a feature level at which it cannot resign it is so, too.
func TestALeaderWithAFullDiskLetsAnotherLead(t *testing.T) {
	for name, level := range map[string]int16{"resigns": control.MaxLevel, "is an older one": control.LevelELR} {
		t.Run(name, func(t *testing.T) { t.Parallel(); leavesItsLeadership(t, level) })
	}
}

func leavesItsLeadership(t *testing.T, level int16) {
	var d disks
	var told repairs
	l := local(t, LocalConfig{Change: func(c *Config) {
		d.change(c)
		calm(c)
		c.LagTimeMax, c.FeatureLevel = time.Second, level
		told.listen(c)
	}})
	ctx := patient(t)
	topic(t, l, 1)
	acked := []string{"first"}
	send(ctx, t, l.Node(1), orders, "first")
	p := insync(t, l, 3)
	victim := p.Leader
	d.of(victim).Add(vfs.Rule{Op: vfs.OpWrite, Path: ordersLog(l, victim), Err: syscall.ENOSPC, Forever: true})
	for i := range 10 {
		value := fmt.Sprint("v", i)
		send(ctx, t, l.Nodes()[i%3], orders, value)
		acked = append(acked, value)
	}
	now := info(ctx, t, l.Node(victim%3+1), orders)
	require.NotEqual(t, victim, now.Leader)
	require.Greater(t, now.LeaderEpoch, p.LeaderEpoch)
	told.mu.Lock()
	require.ErrorIs(t, told.failed[victim], partition.ErrNoSpace)
	told.mu.Unlock()
	d.of(victim).Clear()
	equal(t, l, acked)
	require.Empty(t, told.rebuilt)
}

// TestALeaderWithAFullDiskStaysEligible: its copy is whole. When the only other that was in sync goes as well, it leads again, and nothing that was acknowledged is missing.
func TestALeaderWithAFullDiskStaysEligible(t *testing.T) {
	var d disks
	l := local(t, LocalConfig{Change: func(c *Config) { d.change(c); calm(c); c.LagTimeMax = time.Second }})
	ctx := patient(t)
	_, err := l.Node(3).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{1, 2}}, MinInsyncReplicas: 2})
	require.NoError(t, err)
	send(ctx, t, l.Node(3), orders, "first")
	require.EqualValues(t, 1, insync(t, l, 2).Leader)
	d.of(1).Add(vfs.Rule{Op: vfs.OpWrite, Path: ordersLog(l, 1), Err: syscall.ENOSPC, Forever: true})
	eventually(ctx, t, "another leads, and writers go on", func() bool {
		_, err := l.Node(3).Append(ctx, partition.AppendRequest{TopicPartition: orders, Batch: one(t, "second"), Acks: partition.AcksLeader, Foreign: true})
		return err == nil && info(ctx, t, l.Node(3), orders).Leader == 2
	})
	eventually(ctx, t, "the full one is behind", func() bool { return !slices.Contains(info(ctx, t, l.Node(3), orders).ISR, int32(1)) })
	require.NoError(t, l.Stop(2))
	eventually(ctx, t, "the full one leads again", func() bool { return info(ctx, t, l.Node(3), orders).Leader == 1 })
	require.Equal(t, "first", copyOf(t, l.Node(1), orders)[0])
	d.of(1).Clear()
}

// TestBadBytesOfALeaderAreNotServed: the disk of a node changes a byte while the node is down. It leads again, a follower reads the byte, and
// the copy is thrown away, for the others have the records.
func TestBadBytesOfALeaderAreNotServed(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, orders.Topic, partition.TopicConfig{Assignment: [][]int32{{2, 1, 3}}})
	require.NoError(t, err)
	var acked []string
	for i := range 20 {
		acked = append(acked, fmt.Sprint("value", i))
		send(ctx, t, l.Node(1), orders, acked[i])
	}
	insync(t, l, 3)
	file := ordersLog(l, 2)
	require.NoError(t, l.Stop(2))
	corrupt(t, l.places[2].fs, file, 300)
	require.NoError(t, l.Stop(3))
	require.NoError(t, l.Wipe(3))
	two, err := l.Start(2)
	require.NoError(t, err)
	require.NoError(t, two.Ready(ctx))
	eventually(ctx, t, "2 leads again", func() bool {
		if info(ctx, t, l.Node(1), orders).Leader == 2 {
			return true
		}
		_, err := l.Node(1).Elect(ctx, false, orders)
		require.NoError(t, err)
		return false
	})
	three, err := l.Start(3)
	require.NoError(t, err)
	require.NoError(t, three.Ready(ctx))
	eventually(ctx, t, "the bad copy is made anew", func() bool {
		s := two.ReplicaStats(false)
		return s.Failures > 0 && s.Failed == 0
	})
	equal(t, l, acked)
}

func corrupt(t *testing.T, fs vfs.FS, name string, at int64) {
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] ^= 0xff
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestAFailureThatIsToldLateIsTakenBack: that a replica has failed reaches the controller when it is long repaired. The node sees it, and says that
// the replica is good.
func TestAFailureThatIsToldLateIsTakenBack(t *testing.T) {
	l := local(t, LocalConfig{Change: calm})
	ctx := patient(t)
	topic(t, l, 1)
	send(ctx, t, l.Node(1), orders, "first")
	insync(t, l, 3)
	n := l.Node(2)
	id := n.replicas.named(orders).id
	result, err := n.control.propose(ctx, control.OfflineReplicas{Node: 2, Epoch: n.control.epoch(), Partitions: []control.PartitionID{id}})
	require.NoError(t, err)
	require.Equal(t, control.OK, result.Code)
	require.Len(t, result.Changed, 1)
	insync(t, l, 3)
	send(ctx, t, l.Node(1), orders, "second")
	equal(t, l, []string{"first", "second"})
}
