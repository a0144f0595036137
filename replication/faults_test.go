package replication

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// told keeps what Events tell.
type told struct {
	mu      sync.Mutex
	refused []error
	fenced  []bool
	failed  []error
}

func (d *told) listen(e *Events) {
	e.Refused = func(_ int32, _ string, err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.refused = append(d.refused, err)
	}
	e.Fenced = func(fenced bool, _ string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.fenced = append(d.fenced, fenced)
	}
	e.ReplicaFailed = func(_ partition.TopicPartition, err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.failed = append(d.failed, err)
	}
}

func (d *told) refusal(of error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, err := range d.refused {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

func TestANodeOfAnotherClusterIsRefusedByName(t *testing.T) {
	var here told
	l := local(t, LocalConfig{Nodes: 1, Change: func(c *Config) { calm(c); here.listen(&c.Events) }})
	ctx := patient(t)
	listener, err := l.network.Listen("stranger:1")
	require.NoError(t, err)
	var there told
	c := Config{
		NodeID: 2, ClusterID: "another", Listener: listener, Dial: l.network.DialContext, Plaintext: true, Join: true, Peers: []Peer{{1, "node-1:9192"}},
		CloseTimeout: time.Millisecond, Events: Events{},
	}
	there.listen(&c.Events)
	n, err := Start(c)
	require.NoError(t, err)
	until(ctx, t, l.Node(1), "both are told", func() bool { return here.refusal(ErrWrongCluster) && there.refusal(ErrWrongCluster) })
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, n.Ready(short), context.DeadlineExceeded)
	_, err = n.CreateTopic(short, "t", partition.TopicConfig{})
	require.Error(t, err)
	require.NoError(t, n.Close())
}

func TestOfTwoNodesWithOneIDTheFirstStays(t *testing.T) {
	var here told
	l := local(t, LocalConfig{Nodes: 2, Change: func(c *Config) {
		calm(c) // who is fenced may be replaced
		if c.NodeID == 1 {
			here.listen(&c.Events)
		}
	}})
	ctx := patient(t)
	listener, err := l.network.Listen("impostor:1")
	require.NoError(t, err)
	var there told
	c := Config{
		NodeID: 2, ClusterID: l.Node(1).ClusterID(), Listener: listener, Dial: l.network.DialContext, Plaintext: true, Join: true,
		Peers: []Peer{{1, "node-1:9192"}}, CloseTimeout: time.Millisecond,
	}
	there.listen(&c.Events)
	n, err := Start(c)
	require.NoError(t, err)
	until(ctx, t, l.Node(1), "both are told", func() bool { return here.refusal(ErrDuplicateNode) && there.refusal(ErrDuplicateNode) })
	require.NoError(t, n.Close())
	_, err = l.Node(2).CreateTopic(ctx, "t", partition.TopicConfig{})
	require.NoError(t, err)
	until(ctx, t, l.Node(2), "both take part", func() bool { // a slow one may be fenced for a moment
		nodes, err := l.Node(2).DescribeCluster(ctx)
		require.NoError(t, err)
		require.Len(t, nodes, 2)
		return !nodes[0].Fenced && !nodes[1].Fenced
	})
}

// aDayAhead is a clock that somebody has set wrong; what has elapsed it tells as others do.
type aDayAhead struct{ partition.Clock }

func (c aDayAhead) Now() time.Time { return c.Clock.Now().Add(24 * time.Hour) }

// TestAClockThatIsADayOffCostsNothing: sessions, lags and elections go by what elapses, not by what clocks say, so a node with a wrong one leads, follows and acknowledges.
func TestAClockThatIsADayOffCostsNothing(t *testing.T) {
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		if c.NodeID == 2 {
			c.Store.Clock = aDayAhead{clock.System}
		}
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}, {2, 3, 1}, {3, 1, 2}}})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	for _, n := range l.Nodes() {
		_, err = book.write(ctx, produce(t, n, producer.Config{}), 9)
		require.NoError(t, err)
	}
	whole(ctx, t, l.Node(1), "orders")
	until(ctx, t, l.Node(1), "each leads one", func() bool {
		nodes, err := l.Node(1).DescribeCluster(ctx)
		return err == nil && len(nodes) == 3 && !nodes[1].Fenced && nodes[1].Leads > 0
	})
	for _, n := range l.Nodes() {
		book.check(ctx, n)
	}
}

func TestWithoutAMajorityNothingIsAcknowledgedThatCouldBeLost(t *testing.T) {
	events := map[int32]*told{1: {}, 2: {}, 3: {}}
	l := local(t, LocalConfig{Change: func(c *Config) {
		events[c.NodeID].listen(&c.Events)
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 3})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	_, err = book.write(ctx, produce(t, l.Node(1), producer.Config{}), 10)
	require.NoError(t, err)
	whole(ctx, t, l.Node(1), "orders")
	alone := produce(t, l.Node(1), producer.Config{})
	_, err = book.write(ctx, alone, 10) // it knows all that it has to know
	require.NoError(t, err)
	l.CutOff(1)
	until(ctx, t, l.Node(1), "node 1 fences itself", func() bool {
		events[1].mu.Lock()
		defer events[1].mu.Unlock()
		return len(events[1].fenced) > 0 && events[1].fenced[len(events[1].fenced)-1]
	})
	refused, cancelRefused := context.WithTimeout(ctx, 3*time.Second)
	defer cancelRefused()
	failed, err := book.write(refused, alone, 3)
	require.Equal(t, 3, failed, "%v", err)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = l.Node(1).CreateTopic(short, "another", partition.TopicConfig{})
	require.True(t, errors.Is(err, ErrNoQuorum) || errors.Is(err, context.DeadlineExceeded), "%v", err)
	_, err = book.write(ctx, produce(t, l.Node(2), producer.Config{}), 10) // the others go on
	require.NoError(t, err)
	l.Heal()
	require.NoError(t, l.Node(1).barrier(ctx)) // until then it does not know that its time as a leader is over
	whole(ctx, t, l.Node(1), "orders")
	book.check(ctx, l.Node(1))
	book.check(ctx, l.Node(3))
}

func TestAFollowerWithAFullDiskLeavesTheISRAndComesBack(t *testing.T) {
	full := vfs.NewFault(vfs.NewMem())
	l := local(t, LocalConfig{Change: func(c *Config) {
		calm(c)
		c.LagTimeMax = time.Second
		if c.NodeID == 3 {
			c.Store.FS = full
		}
	}})
	ctx := patient(t)
	_, err := l.Node(1).CreateTopic(ctx, "orders", partition.TopicConfig{Assignment: [][]int32{{1, 2, 3}}})
	require.NoError(t, err)
	book := &ledger{t: t, topic: "orders"}
	p := produce(t, l.Node(1), producer.Config{})
	_, err = book.write(ctx, p, 10)
	require.NoError(t, err)
	whole(ctx, t, l.Node(1), "orders")
	rule := full.Add(vfs.Rule{Op: vfs.OpWrite, Path: "*.log", Forever: true, Err: syscall.ENOSPC})
	_, err = book.write(ctx, p, 5)
	require.NoError(t, err, "two of three go on once the third has left")
	until(ctx, t, l.Node(1), "node 3 leaves the ISR", func() bool {
		all, err := l.Node(1).PartitionsOf(ctx, "orders")
		return err == nil && len(all[0].ISR) == 2
	})
	rule.Lift()
	whole(ctx, t, l.Node(1), "orders")
	book.check(ctx, l.Node(3))
}
