package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

const (
	commitGroup = "benchmark"
	commitTopic = "records"
)

// committer commits an offset of one partition of commitTopic for commitGroup, and waits for the answer.
type committer interface {
	commit(partition int32, offset int64) error
	// committed returns what is committed afterwards, by partition.
	committed(partitions int32) ([]int64, error)
	close() error
}

// commitCell measures acknowledged commits of a group from outside: each committer commits the next offset of a partition
// of its own, one commit a request, all of them in one partition of the offsets topic. What is committed is read back.
func commitCell(name string, committers int, synced bool) cell {
	run := func(open func(dir string, partitions int32, synced bool) (committer, error)) func(environment) (sample, error) {
		return func(e environment) (sample, error) { return commitRun(e, int32(committers), synced, open) }
	}
	return cell{name: name, contenders: []contender{
		{"partlog", levelOf(synced), run(openPartlogCommits)},
		{"kfake", levelOf(synced), run(openKfakeCommits)},
	}}
}

func commitRun(e environment, committers int32, synced bool, open func(string, int32, bool) (committer, error)) (got sample, err error) {
	c, err := open(e.dir, committers, synced)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	last := make([]int64, committers)
	failed := make([]error, committers)
	work := func(deadline time.Time, h *histogram, total *atomic.Int64) {
		var wg sync.WaitGroup
		for p := range committers {
			wg.Go(func() {
				for begin := time.Now(); begin.Before(deadline); {
					if failed[p] = c.commit(p, last[p]+1); failed[p] != nil {
						return
					}
					last[p]++
					end := time.Now()
					h.add(end.Sub(begin))
					total.Add(1)
					begin = end
				}
			})
		}
		wg.Wait()
	}
	work(time.Now().Add(100*time.Millisecond), new(histogram), new(atomic.Int64)) // warm up
	got = sample{hist: new(histogram)}
	var total atomic.Int64
	before, started := mallocs(), time.Now()
	work(started.Add(e.duration), got.hist, &total)
	got.elapsed, got.mallocs, got.records = time.Since(started), mallocs()-before, total.Load()
	if err := errors.Join(failed...); err != nil {
		return sample{}, err
	}
	read, err := c.committed(committers)
	if err != nil {
		return sample{}, err
	}
	for p, o := range read {
		if o != last[p] {
			return sample{}, fmt.Errorf("partition %d: read back offset %d, %d was acknowledged", p, o, last[p])
		}
	}
	return got, nil
}

// partlogCommits commits through a group handle; it is opened again for reading back.
type partlogCommits struct {
	dir    string
	synced bool
	store  *partition.Store
	group  *group.ConsumerGroup
}

func openPartlogCommits(dir string, partitions int32, synced bool) (committer, error) {
	p := &partlogCommits{dir: filepath.Join(dir, "store"), synced: synced}
	if err := p.open(); err != nil {
		return nil, err
	}
	_, err := p.store.CreateTopic(context.Background(), commitTopic, partition.TopicConfig{Partitions: partitions})
	return p, err
}

func (p *partlogCommits) open() (err error) {
	if p.store, err = partition.Open(p.dir, partlogConfig(p.synced)); err != nil {
		return err
	}
	p.group, err = group.Open(p.store, commitGroup, group.Config{})
	return err
}

func (p *partlogCommits) commit(n int32, offset int64) error {
	return p.group.Commit(context.Background(), map[partition.TopicPartition]group.CommittedOffset{
		{Topic: commitTopic, Partition: n}: {Offset: partition.Offset(offset), LeaderEpoch: partition.LeaderEpochUnknown},
	})
}

func (p *partlogCommits) committed(partitions int32) ([]int64, error) {
	if err := errors.Join(p.store.Close(), p.open()); err != nil {
		return nil, err
	}
	all, err := p.group.Committed(context.Background())
	if err != nil {
		return nil, err
	}
	out := make([]int64, partitions)
	for n := range partitions {
		out[n] = int64(all[partition.TopicPartition{Topic: commitTopic, Partition: n}].Offset)
	}
	return out, nil
}

func (p *partlogCommits) close() error { return p.store.Close() }

// kfakeCommits sends OffsetCommit requests with franz-go's client, which pipelines those of several committers.
type kfakeCommits struct {
	*kfakeStore
	topic [16]byte // its id
}

func openKfakeCommits(dir string, partitions int32, synced bool) (committer, error) {
	k, err := startKfake(dir, synced)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if partitions > 1 {
		r := kmsg.NewPtrCreatePartitionsRequest()
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = commitTopic, partitions
		r.Topics, r.TimeoutMillis = append(r.Topics, t), 10_000
		resp, err := r.RequestWith(ctx, k.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		}
		if err != nil {
			return nil, errors.Join(err, k.close())
		}
	}
	m := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(commitTopic)
	m.Topics = append(m.Topics, t)
	resp, err := m.RequestWith(ctx, k.client)
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return kfakeCommits{k, resp.Topics[0].TopicID}, nil
}

func (k kfakeCommits) commit(n int32, offset int64) error {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group = commitGroup
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = n, offset
	t.Topic, t.TopicID, t.Partitions = commitTopic, k.topic, append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	resp, err := r.RequestWith(context.Background(), k.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func (k kfakeCommits) committed(partitions int32) ([]int64, error) {
	r := kmsg.NewPtrOffsetFetchRequest()
	g, t := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.TopicID = commitTopic, k.topic
	for n := range partitions {
		t.Partitions = append(t.Partitions, n)
	}
	g.Group, g.Topics = commitGroup, append(g.Topics, t)
	r.Groups = append(r.Groups, g)
	resp, err := r.RequestWith(context.Background(), k.client)
	if err != nil {
		return nil, err
	}
	out := make([]int64, partitions)
	for _, p := range resp.Groups[0].Topics[0].Partitions {
		out[p.Partition] = p.Offset
	}
	return out, nil
}
