package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

const (
	loadCommits    = 1_000_000
	loadPartitions = 1000
)

// loadCell measures how long a group's first request takes after an open, when a million commits lie in its partition of
// the offsets topic, one a batch, as a million requests leave them behind: of one group in a thousand partitions and, in
// extra, of a thousand groups, so that there are as many keys as commits. heap_MB is what the coordinator then holds.
func loadCell(name string) cell {
	return latency(cell{name: name, contenders: []contender{{"partlog", pageCache, func(e environment) (sample, error) {
		few, err := loadRun(filepath.Join(e.dir, "few"), 1)
		if err != nil {
			return sample{}, err
		}
		many, err := loadRun(filepath.Join(e.dir, "many"), loadCommits/loadPartitions)
		if err != nil {
			return sample{}, err
		}
		few.extra["seconds_1M_keys"], few.extra["heap_MB_1M_keys"] = many.extra["seconds"], many.extra["heap_MB"]
		return few, nil
	}}}})
}

// loadRun writes the commits of some groups, and loads them with a new coordinator.
func loadRun(dir string, groups int) (_ sample, err error) {
	st, err := partition.Open(filepath.Join(dir, "store"), partlogConfig(false))
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ctx := context.Background()
	if _, err := st.CreateTopic(ctx, commitTopic, partition.TopicConfig{Partitions: loadPartitions}); err != nil {
		return sample{}, err
	}
	metadata, err := st.Metadata(ctx, []string{commitTopic})
	if err != nil {
		return sample{}, err
	}
	at := partition.TopicPartition{Topic: group.OffsetsTopic}
	names := groupsOf(at.Partition, groups)
	var b batch.Builder
	for i := range loadCommits {
		k, v := offsetCommit(names[i/loadPartitions%groups], int32(i%loadPartitions), metadata[0].ID, int64(i))
		b.Reset(nil, batch.Options{})
		b.Append(1_700_000_000_000, k, v, nil)
		data, err := b.Finish()
		if err != nil {
			return sample{}, err
		}
		if _, err := st.Append(ctx, partition.AppendRequest{TopicPartition: at, Batch: data, Acks: partition.AcksLeader, Internal: true}); err != nil {
			return sample{}, err
		}
	}
	g, err := group.Open(st, names[groups-1], group.Config{})
	if err != nil {
		return sample{}, err
	}
	heap := heapBytes()
	last := partition.TopicPartition{Topic: commitTopic, Partition: loadPartitions - 1}
	s, err := timed(func() error {
		committed, err := g.Committed(ctx, last)
		if err == nil && committed[last].Offset != loadCommits-1 {
			err = fmt.Errorf("loaded offset %d, %d was committed", committed[last].Offset, loadCommits-1)
		}
		return err
	})
	if err != nil {
		return sample{}, err
	}
	s.extra["heap_MB"] = float64(heapBytes()-heap) / 1e6
	if n := g.Stats().Offsets; n != groups*loadPartitions {
		return sample{}, fmt.Errorf("%d offsets are loaded, of %d", n, groups*loadPartitions)
	}
	return s, nil
}

// groupsOf names groups that are in one partition of the offsets topic.
func groupsOf(index int32, n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprint("group-", i); group.PartitionFor(name, group.OffsetsPartitions) == index {
			names = append(names, name)
		}
	}
	return names
}

// offsetCommit is a record of the offsets topic.
func offsetCommit(name string, p int32, id partition.TopicID, offset int64) (key, value []byte) {
	k := kmsg.OffsetCommitKey{Version: 1, Group: name, Topic: commitTopic, Partition: p}
	v := kmsg.OffsetCommitValue{Version: 4, Offset: offset, LeaderEpoch: -1, CommitTimestamp: 1_700_000_000_000, TopicID: id}
	return k.AppendTo(nil), v.AppendTo(nil)
}

func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
