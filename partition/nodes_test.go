package partition_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// Three nodes change the catalogue at the same time: each change is made on all or refused, in one order, and a producer id is given once.
func TestNodesHaveOneCatalogue(t *testing.T) {
	nodes := partitiontest.StartNodes(t, 3, partition.Config{Sync: partition.SyncNever})
	ctx := t.Context()
	_, err := nodes.Store(1).CreateTopic(ctx, "shared", partition.TopicConfig{})
	require.NoError(t, err)
	var created, grown atomic.Int32
	var ids sync.Map
	var work sync.WaitGroup
	for id := range int32(3) {
		s := nodes.Store(id)
		work.Go(func() {
			for i := range 8 {
				switch _, err := s.CreateTopic(ctx, fmt.Sprint("topic", i), partition.TopicConfig{}); {
				case err == nil:
					created.Add(1)
				case !errors.Is(err, partition.ErrTopicAlreadyExists):
					t.Errorf("create: %v", err)
				}
				key := []string{"retention.ms", "segment.ms", "retention.bytes"}[id]
				if err := s.AlterTopicConfig(ctx, "shared", map[string]string{key: fmt.Sprint(1 << 20)}); err != nil {
					t.Errorf("alter: %v", err)
				}
				switch err := s.CreatePartitions(ctx, "shared", int32(i+2)); {
				case err == nil:
					grown.Add(1)
				case !errors.Is(err, partition.ErrInvalidPartitions):
					t.Errorf("grow: %v", err)
				}
				if err := s.PutSettings(ctx, partition.Setting{Key: fmt.Sprint("a/b/", id, i), Value: []byte("v")}); err != nil {
					t.Errorf("put: %v", err)
				}
				p, err := s.InitProducerID(ctx, "", 0, partition.NoProducerID)
				if err != nil {
					t.Errorf("producer id: %v", err)
				} else if _, twice := ids.LoadOrStore(p.ID, id); twice {
					t.Errorf("producer id %d is given twice", p.ID)
				}
			}
		})
	}
	work.Wait()
	require.Equal(t, int32(8), created.Load())
	require.LessOrEqual(t, grown.Load(), int32(8))
	want := nodes.Store(0).ExportShared()
	for id := range int32(3) {
		s := nodes.Store(id)
		require.Equal(t, nodes.Store(0).AppliedShared(), s.AppliedShared())
		require.Equal(t, nodes.Store(0).ClusterID(), s.ClusterID())
		require.Equal(t, want, s.ExportShared())
		d, err := s.DescribeTopic(ctx, "shared")
		require.NoError(t, err)
		require.Equal(t, int32(9), d.Partitions)
		require.Len(t, d.Overrides, 3, "changes of different keys are all kept")
		require.Len(t, s.Settings("a/"), 24)
	}
	require.NoError(t, nodes.Store(2).DeleteTopic(ctx, "shared"))
	for id := range int32(3) {
		_, err := nodes.Store(id).Topic("shared")
		require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	}
}

// torturedNodes are three nodes on disks of their own.
type torturedNodes struct {
	*partitiontest.Nodes
	t     *testing.T
	mode  partition.SyncMode
	disks [3]*partitiontest.Disk
}

func (n *torturedNodes) open(id int32) *partition.Store {
	s, err := partition.Open("/store", partition.Config{FS: n.disks[id], Sync: n.mode, Cluster: n.Cluster(id), LowSpaceBytes: partition.Unlimited})
	require.NoError(n.t, err)
	return s
}

func startTorturedNodes(t *testing.T, mode partition.SyncMode) *torturedNodes {
	n := &torturedNodes{Nodes: &partitiontest.Nodes{}, t: t, mode: mode}
	for i := range n.disks {
		n.disks[i] = partitiontest.NewDisk()
		n.Add(t, n.open(int32(i)))
	}
	_, err := n.Store(0).CreateTopic(t.Context(), "orders", partition.TopicConfig{MinInsyncReplicas: 2, SegmentBytes: 1 << 20})
	require.NoError(t, err)
	return n
}

// What is acknowledged with acks=all and min.insync.replicas=2 is at its offset in the end, once, whichever of three nodes is taken out, is
// elected or loses its power, one at a time; and then all nodes have the same records.
func TestAcknowledgedRecordsSurviveLeadersThatComeAndGo(t *testing.T) {
	for _, mode := range []partition.SyncMode{partition.SyncAlways, partition.SyncNever} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(mode, seed), func(t *testing.T) { tortureLeaders(t, mode, seed) })
		}
	}
}

func tortureLeaders(t *testing.T, mode partition.SyncMode, seed uint64) {
	n := startTorturedNodes(t, mode)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var acked sync.Map // of values, their offsets
	var count, attempts atomic.Int64
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			patience := 5 * time.Millisecond
			for i := 0; ctx.Err() == nil; i++ {
				attempts.Add(1)
				id := n.Leader(handTP)
				if id < 0 {
					runtime.Gosched()
					continue
				}
				value := fmt.Sprint("writer ", w, " record ", i)
				r, err := n.Store(id).Append(ctx, partition.AppendRequest{TopicPartition: handTP, Batch: handBatch(value), Timeout: patience})
				switch {
				case errors.Is(err, partition.ErrTimeout): // a leader that is cut off; or the machine is slow
					patience *= 2
				case err == nil:
					patience = max(patience/2, 5*time.Millisecond)
					acked.Store(value, r.BaseOffset)
					count.Add(1)
				case errors.Is(err, partition.ErrClosed): // the node has lost its power
				case !partition.Retriable(err) && !errors.Is(err, context.Canceled):
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	// more waits for records to be acknowledged.
	more := func() {
		for goal := count.Load() + 20; count.Load() < goal && !t.Failed(); {
			runtime.Gosched()
		}
	}
	elect := func(rng *rand.Rand) {
		in := n.InSync(handTP)
		n.Lead(t, handTP, in[rng.IntN(len(in))])
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	for range 12 {
		more()
		switch rng.IntN(4) {
		case 0:
			elect(rng)
		case 1: // cut off, and back
			id := int32(rng.IntN(3))
			n.Down(t, id)
			if n.Leader(handTP) == id {
				elect(rng)
			}
			more()
			n.Up(t, id)
		case 2: // power is lost
			id := int32(rng.IntN(3))
			n.Down(t, id)
			if n.Leader(handTP) == id {
				elect(rng)
			}
			n.disks[id] = n.disks[id].Crash(rng.Uint64())
			_ = n.Store(id).Close() // on the old disk, so that nobody waits for it
			n.Replace(t, id, n.open(id))
			more()
			n.Up(t, id)
		case 3: // closed, and opened again
			id := int32(rng.IntN(3))
			n.Down(t, id)
			if n.Leader(handTP) == id {
				elect(rng)
			}
			require.NoError(t, n.Store(id).Close())
			n.Replace(t, id, n.open(id))
			n.Up(t, id)
		}
	}
	cancel()
	writers.Wait()
	elect(rng)
	n.Up(t, 0) // copies the rest to all
	var want []partitiontest.Record
	for id := range int32(3) {
		r, err := n.Store(id).Replica(handTP, partition.TopicID{})
		require.NoError(t, err)
		var got []partitiontest.Record
		var res partition.FetchResult
		for at := r.Start(); at < r.End(); at = partition.Offset(len(got)) {
			require.NoError(t, r.Read(at, 1<<20, &res))
			records, err := partitiontest.Records(res.Batches)
			require.NoError(t, err)
			got = append(got, records...)
			res.Lease.Release()
		}
		if id == 0 {
			want = got
		}
		require.Len(t, got, len(want), "node %d", id)
		for i := range got {
			require.Equal(t, string(want[i].Value), string(got[i].Value), "node %d, offset %d", id, i)
		}
		require.Equal(t, r.End(), r.HighWatermark(), "node %d", id)
	}
	found := map[string]bool{}
	for i, r := range want {
		require.Equal(t, partition.Offset(i), r.Offset)
		require.False(t, found[string(r.Value)], "%s is there twice", r.Value)
		found[string(r.Value)] = true
	}
	acked.Range(func(value, offset any) bool {
		o := int(offset.(partition.Offset))
		require.Less(t, o, len(want), "%s is lost", value)
		require.Equal(t, value, string(want[o].Value), "offset %d", o)
		return true
	})
	t.Logf("%d acknowledged, %d attempts, %d records, 0 lost", count.Load(), attempts.Load(), len(want))
	for id := range int32(3) {
		require.NoError(t, n.Store(id).Close())
	}
}
