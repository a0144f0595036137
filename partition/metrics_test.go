package partition

import (
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/stretchr/testify/require"
)

// metricsRig is a store of one topic with two partitions, on a disk whose free space and faults are to hand.
type metricsRig struct {
	*Store
	mem   *vfs.Mem
	disk  *vfs.Fault
	clock *clock.Manual
}

// append appends n batches of 1 record of 100 bytes to partition 0.
func (r metricsRig) append(t *testing.T, n int) {
	for range n {
		appendTo(t, r.Store, "t", 0, strings.Repeat("x", 100))
	}
}

// What users of Kafka watch has its figure here, and the figure moves with what it counts; the other partition's does not.
func TestEveryMetricOfAStoreMovesWithWhatItCounts(t *testing.T) {
	one := int64(len(records(strings.Repeat("x", 100))))
	p0 := func(f func(PartitionStats) int64) func(Stats) int64 {
		return func(st Stats) int64 { return f(st.ByPartition[0]) }
	}
	appends := func(n int) func(*testing.T, metricsRig) {
		return func(t *testing.T, r metricsRig) { r.append(t, n) }
	}
	refused := func(t *testing.T, r metricsRig) {
		_, err := r.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: records(strings.Repeat("x", 600))})
		require.ErrorIs(t, err, ErrMessageTooLarge)
	}
	reads := func(t *testing.T, r metricsRig) { require.Len(t, fetchAll(t, r.Store, "t", 0, 0), 1) }
	expires := func(t *testing.T, r metricsRig) {
		r.append(t, 30)
		require.NoError(t, r.AlterTopicConfig(t.Context(), "t", map[string]string{"retention.bytes": "1500"}))
		r.clock.Advance(5 * time.Minute)
	}
	fills := func(t *testing.T, r metricsRig) {
		r.mem.SetFree(1 << 20)
		r.append(t, 1)
		r.clock.Advance(time.Second)
	}
	breaks := func(t *testing.T, r metricsRig) {
		r.disk.Add(vfs.Rule{Op: vfs.OpSync, Path: "*.log"})
		_, err := r.Append(t.Context(), AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: records("x")})
		require.ErrorIs(t, err, ErrStorage)
	}
	slow := func(millis ...time.Duration) func(*testing.T, metricsRig) { // each sync takes so long
		return func(t *testing.T, r metricsRig) {
			for _, d := range millis {
				r.disk.OnOp(func(op vfs.Op) {
					if op.Kind == vfs.OpSync && strings.HasSuffix(op.Path, ".log") {
						r.clock.Advance(d * time.Millisecond)
					}
				})
				r.append(t, 1)
			}
			r.disk.OnOp(nil)
		}
	}
	const some = -1 // more than before
	for _, v := range []struct {
		metric string
		figure func(Stats) int64
		action func(*testing.T, metricsRig)
		by     int64
	}{
		{"MessagesInPerSec", func(st Stats) int64 { return st.Total.Records }, appends(3), 3},
		{"BytesInPerSec", func(st Stats) int64 { return st.Total.BytesIn }, appends(3), 3 * one},
		{"BytesOutPerSec", func(st Stats) int64 { return st.Total.BytesOut }, reads, one},
		{"BytesRejectedPerSec", func(st Stats) int64 { return st.Total.BytesRejected }, refused, int64(len(records(strings.Repeat("x", 600))))},
		{"appends", func(st Stats) int64 { return st.Total.Appends }, appends(3), 3},
		{"error rate", func(st Stats) int64 { return st.Total.FailedAppends }, refused, 1},
		{"fetches", func(st Stats) int64 { return st.Fetches }, reads, 2}, // the second finds the end

		{"message rate of a partition", p0(func(p PartitionStats) int64 { return p.Records }), appends(3), 3},
		{"byte rate of a partition", p0(func(p PartitionStats) int64 { return p.BytesIn }), appends(3), 3 * one},
		{"read rate of a partition", p0(func(p PartitionStats) int64 { return p.BytesOut }), reads, one},
		{"Size", p0(func(p PartitionStats) int64 { return p.Bytes }), appends(3), 3 * one},
		{"NumLogSegments", p0(func(p PartitionStats) int64 { return int64(p.Segments) }), appends(15), some},

		{"records-lag: high watermark", p0(func(p PartitionStats) int64 { return int64(p.HighWatermark) }), appends(3), 3},
		{"records-lag: end", p0(func(p PartitionStats) int64 { return int64(p.LogEnd) }), appends(3), 3},
		{"records-lead: start", p0(func(p PartitionStats) int64 { return int64(p.LogStart) }), func(t *testing.T, r metricsRig) {
			_, err := r.DeleteRecords(t.Context(), TopicPartition{"t", 0}, 1)
			require.NoError(t, err)
		}, 1},

		{"LogFlushRateAndTimeMs: count", func(st Stats) int64 { return st.Total.Syncs }, appends(3), 3},
		{"LogFlushRateAndTimeMs: sum", func(st Stats) int64 { return int64(st.Total.SyncTime) }, slow(1, 3, 2), int64(6 * time.Millisecond)},
		{"LogFlushRateAndTimeMs: largest", func(st Stats) int64 { return int64(st.Total.MaxSyncTime) }, slow(1, 3, 2), int64(3 * time.Millisecond)},
		{"disk writes", func(st Stats) int64 { return st.Total.Writes }, appends(3), some},

		{"free space", func(st Stats) int64 { return -st.FreeBytes }, fills, some},
		{"low space", func(st Stats) int64 { return int64(map[bool]int{true: 1}[st.LowSpace]) }, fills, 1},
		{"OfflineLogDirectoryCount", func(st Stats) int64 { return int64(st.OfflinePartitions) }, breaks, 1},

		{"retention: segments", func(st Stats) int64 { return st.Total.RetainedSegments }, expires, some},
		{"retention: bytes", func(st Stats) int64 { return st.Total.RetainedBytes }, expires, some},
		{"retention: start", p0(func(p PartitionStats) int64 { return int64(p.LogStart) }), expires, some},
	} {
		t.Run(v.metric, func(t *testing.T) {
			r := metricsRig{mem: vfs.NewMem(), clock: clock.NewManual(time.UnixMilli(900_000_000_000))}
			r.mem.SetFree(1 << 40)
			r.disk = vfs.NewFault(r.mem)
			var err error
			r.Store, err = Open("/store", Config{FS: r.disk, Clock: r.clock})
			require.NoError(t, err)
			create(t, r.Store, "t", TopicConfig{Partitions: 2, MaxMessageBytes: 500, Extra: map[string]string{keyInternalSegment: "1024"}})
			r.append(t, 1)
			appendTo(t, r.Store, "t", 1, "y")
			r.clock.Advance(time.Second)
			before := r.Stats()
			v.action(t, r)
			after := r.Stats()
			if moved := v.figure(after) - v.figure(before); v.by == some {
				require.Positive(t, moved)
			} else {
				require.Equal(t, v.by, moved)
			}
			require.Equal(t, before.ByPartition[1], after.ByPartition[1], "nothing was done to it")
			if err := r.Close(); after.OfflinePartitions == 0 {
				require.NoError(t, err)
			}
		})
	}
}
