package main

import (
	"context"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfakeStore is franz-go's test double with its own client, over loopback TCP, with a data directory; synced means
// SyncWrites.
type kfakeStore struct {
	cluster *kfake.Cluster
	client  *kgo.Client
}

const kfakeTopic = "records"

func startKfake(dir string, sync bool, opts ...kgo.Opt) (*kfakeStore, error) {
	o := []kfake.Opt{kfake.NumBrokers(1), kfake.DataDir(filepath.Join(dir, "kfake")), kfake.SeedTopics(1, kfakeTopic)}
	if sync {
		o = append(o, kfake.SyncWrites())
	}
	c, err := kfake.NewCluster(o...)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(kfakeTopic),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &kfakeStore{cluster: c, client: client}, nil
}

func openKfake(dir string, s shape) (store, error) { return startKfake(dir, s.sync) }

func (k *kfakeStore) append(_ int, records [][]byte) error {
	rs := make([]*kgo.Record, len(records))
	for i, r := range records {
		rs[i] = &kgo.Record{Value: r}
	}
	return k.client.ProduceSync(context.Background(), rs...).FirstErr()
}

func (k *kfakeStore) close() error {
	k.client.Close()
	k.cluster.Close()
	return nil
}

// endOffset asks the broker for the end of the only partition.
func (k *kfakeStore) endOffset() (int64, error) {
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = kfakeTopic, append(t.Partitions, p)
	req := kmsg.NewPtrListOffsetsRequest()
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(context.Background(), k.client)
	if err != nil {
		return 0, err
	}
	answer := resp.Topics[0].Partitions[0]
	return answer.Offset, kerr.ErrorForCode(answer.ErrorCode)
}
