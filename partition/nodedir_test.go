package partition_test

import (
	"fmt"
	"testing"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// A store that was alone becomes a node as it is, and a node's directory is a store again: the same records at the same offsets, with leader
// epochs that only grow; what was on other nodes only is empty there.
func TestAStoreBecomesANodeAndAStoreAgain(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			disk := partitiontest.NewDisk()
			config := partition.Config{FS: disk, LowSpaceBytes: partition.Unlimited}
			// leave ends the store; not cleanly, as a loss of power does.
			leave := func(s *partition.Store) {
				after := disk.Crash(1)
				require.NoError(t, s.Close())
				if !clean {
					disk = after
				}
				config.FS = disk
			}
			alone, err := partition.Open("/store", config)
			require.NoError(t, err)
			_, err = alone.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 2})
			require.NoError(t, err)
			require.NoError(t, alone.PutSettings(t.Context(), partition.Setting{Key: "a/b/c", Value: []byte("v")}))
			id := alone.ClusterID()
			var values []string
			add := func(s *partition.Store, value string) partition.AppendResult {
				r, err := appendTo(t.Context(), s, partition.AcksAll, value)
				require.NoError(t, err)
				require.Equal(t, partition.Offset(len(values)), r.BaseOffset)
				values = append(values, value)
				return r
			}
			for i := range 5 {
				add(alone, fmt.Sprint("alone ", i))
			}
			leave(alone)

			h := &byHand{}
			config.Cluster = h
			node, err := partition.Open("/store", config)
			require.NoError(t, err)
			h.store = node
			require.Zero(t, node.AppliedShared())
			h.index = 3
			require.NoError(t, node.ImportShared(3, node.ExportShared()), "the first state of the cluster is what it has")
			require.Equal(t, uint64(3), node.AppliedShared())
			require.Equal(t, id, node.ClusterID())
			topic, err := node.Topic("orders")
			require.NoError(t, err)
			before := topic.LeaderEpoch(0)
			require.NoError(t, node.SetReplica(handTP, topic.ID(), partition.ReplicaState{Role: partition.RoleLeader, Leader: 7, Epoch: before + 40, ISR: 1, MinISR: 1}))
			r, err := node.Replica(handTP, partition.TopicID{})
			require.NoError(t, err)
			require.Equal(t, partition.Offset(5), r.End(), "nothing is copied, nothing is lost")
			require.Equal(t, partition.Offset(5), r.HighWatermark(), "and all of it was acknowledged")
			h.appended = func(partition.TopicPartition) { r.SetHighWatermark(r.Promised()) }
			for i := range 5 {
				add(node, fmt.Sprint("node ", i))
			}
			_, err = node.CreateTopic(t.Context(), "elsewhere", partition.TopicConfig{})
			require.NoError(t, err)
			leave(node)

			config.Cluster = nil
			for i := range 3 {
				alone, err = partition.Open("/store", config)
				require.NoError(t, err)
				require.Equal(t, id, alone.ClusterID())
				require.Equal(t, []partition.Setting{{Key: "a/b/c", Value: []byte("v")}}, alone.Settings("a/"))
				topic, err = alone.Topic("orders")
				require.NoError(t, err)
				require.Greater(t, topic.LeaderEpoch(0), before+40)
				add(alone, fmt.Sprint("alone again ", i))
				e, end, err := alone.EpochEnd(t.Context(), handTP, before+40)
				require.NoError(t, err)
				require.Equal(t, before+40, e)
				require.Equal(t, partition.Offset(10), end)
				rs, err := alone.Fetch(t.Context(), partition.FetchRequest{Partitions: []partition.FetchPosition{{TopicPartition: handTP, LeaderEpoch: -1}}})
				require.NoError(t, err)
				records, err := partitiontest.Records(rs[0].Batches)
				require.NoError(t, err)
				var got []string
				for _, r := range records {
					got = append(got, string(r.Value))
				}
				rs[0].Lease.Release()
				require.Equal(t, values, got)
				latest, err := alone.ListOffsets(t.Context(), partition.TopicPartition{Topic: "elsewhere"}, partition.TimestampLatest)
				require.NoError(t, err)
				require.Zero(t, latest)
				leave(alone)
			}
		})
	}
}

// KIP-966: a node that may have lost a tail has to say so; one whose partitions are all synced before they acknowledge cannot have.
func TestAnOpenThatMayHaveLostATailSaysSo(t *testing.T) {
	for mode, want := range map[partition.SyncMode]bool{partition.SyncAlways: true, partition.SyncNever: false} {
		disk := partitiontest.NewDisk()
		open := func(d *partitiontest.Disk) *partition.Store {
			h := &byHand{}
			s, err := partition.Open("/store", partition.Config{FS: d, Sync: mode, Cluster: h, LowSpaceBytes: partition.Unlimited})
			require.NoError(t, err)
			h.store, h.index = s, s.AppliedShared()
			return s
		}
		s := open(disk)
		require.True(t, s.CleanOpen(), "a new one has lost nothing")
		_, err := s.CreateTopic(t.Context(), "orders", partition.TopicConfig{})
		require.NoError(t, err)
		r := role(t, s, partition.RoleFollower, 2, 0)
		_, err = r.Append(openOther(t))
		require.NoError(t, err)
		after := disk.Crash(1)
		require.NoError(t, s.Close())
		s = open(after)
		require.Equal(t, want, s.CleanOpen(), mode)
		require.NoError(t, s.Close())
		s = open(disk)
		require.True(t, s.CleanOpen(), "closed cleanly")
		require.NoError(t, s.Close())
		// Somebody removes the copy.
		require.NoError(t, disk.RemoveAll("/store/data/orders-0"))
		require.NoError(t, disk.SyncDir("/store/data"))
		s = open(disk)
		require.False(t, s.CleanOpen())
		require.NoError(t, s.Close())
	}
}
