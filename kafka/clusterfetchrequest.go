package kafka

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// fetched is what a request brought of one partition.
type fetched struct {
	partition.FetchResult
	soft bool // nothing, because the broker is not the one to ask
}

func (c *Cluster) nearest(tp partition.TopicPartition, leader int32) int32 {
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	if n, ok := c.near[tp]; ok && c.config.Clock.Now().Before(n.until) {
		return n.broker
	}
	return leader
}

// fetch makes one request.
func (c *Cluster) fetch(broker int32, positions []partition.FetchPosition, minBytes, maxBytes int, wait time.Duration, committed bool) ([]fetched, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, int32(wait.Milliseconds()), int32(minBytes), int32(maxBytes)
	req.SessionID, req.SessionEpoch, req.Rack = 0, -1, c.config.Rack
	if committed {
		req.IsolationLevel = 1
	}
	index := make(map[partition.TopicPartition]int, len(positions))
	names := make(map[partition.TopicID]string)
	topics := make(map[string]int)
	for i, p := range positions {
		index[p.TopicPartition] = i
		at, ok := topics[p.Topic]
		if !ok {
			at = len(req.Topics)
			topics[p.Topic] = at
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.Topic, p.TopicID
			if p.TopicID.IsZero() {
				if of, err := c.leader(c.life, p.TopicPartition, p.TopicID); err == nil {
					t.TopicID = of.topic
				}
			}
			names[t.TopicID] = p.Topic
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.CurrentLeaderEpoch = p.Partition, int64(p.Offset), int32(p.LeaderEpoch)
		rp.LastFetchedEpoch, rp.LogStartOffset, rp.PartitionMaxBytes = -1, -1, int32(p.MaxBytes)
		if p.MaxBytes <= 0 {
			rp.PartitionMaxBytes = 1 << 20
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, rp)
	}
	client, err := c.lanes.take()
	if err != nil {
		return nil, err
	}
	answer, err := client.Broker(int(broker)).Request(c.life, req)
	c.lanes.give(client, err == nil)
	if err != nil {
		err = c.failure(context.Background(), "Fetch", err)
	} else {
		err = brokerError("Fetch", answer.(*kmsg.FetchResponse).ErrorCode, nil)
	}
	if err != nil {
		for name := range topics {
			c.outdated(name)
		}
		c.forgetNear(positions)
		if partition.Retriable(err) {
			err = nil
		}
		return nil, err
	}
	out := make([]fetched, len(positions))
	for i, p := range positions {
		out[i].soft, out[i].TopicPartition = true, p.TopicPartition
	}
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for j := range t.Partitions {
			tp := partition.TopicPartition{Topic: name, Partition: t.Partitions[j].Partition}
			if i, ok := index[tp]; ok {
				out[i] = c.fetchedOf(positions[i], broker, &t.Partitions[j])
			}
		}
	}
	return out, nil
}

// fetchedOf is what an answer says of one partition.
func (c *Cluster) fetchedOf(p partition.FetchPosition, broker int32, a *kmsg.FetchResponseTopicPartition) fetched {
	f := fetched{FetchResult: partition.FetchResult{
		TopicPartition: p.TopicPartition, HighWatermark: partition.Offset(a.HighWatermark), LastStable: partition.Offset(a.LastStableOffset), LogStart: partition.Offset(a.LogStartOffset),
	}}
	of, err := c.leader(c.life, p.TopicPartition, p.TopicID)
	far := err == nil && of.broker != broker // it was asked as a replica
	switch {
	case a.ErrorCode == codeNone:
	case far:
		c.forgetNear([]partition.FetchPosition{p})
		f.soft = true
		return f
	case moved(a.ErrorCode):
		c.elected(p.TopicPartition, a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch)
		// Whether a topic is gone, and not just new, the next look at the cluster says.
		f.soft = true
		return f
	case a.ErrorCode == codeFencedLeaderEpoch || a.ErrorCode == codeUnknownLeaderEpoch:
		c.outdated(p.Topic)
		fallthrough
	default:
		f.Err = brokerError("Fetch", a.ErrorCode, nil)
		return f
	}
	for _, x := range a.AbortedTransactions {
		f.Aborted = append(f.Aborted, partition.AbortedTxn{ProducerID: x.ProducerID, FirstOffset: partition.Offset(x.FirstOffset)})
	}
	slices.SortFunc(f.Aborted, func(a, b partition.AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	f.Batches, f.CorruptNext, f.Err = whole(p, a.RecordBatches)
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	if a.PreferredReadReplica >= 0 {
		if c.near == nil {
			c.near = make(map[partition.TopicPartition]nearby)
		}
		c.near[p.TopicPartition] = nearby{a.PreferredReadReplica, c.config.Clock.Now().Add(c.config.MetadataMaxAge)}
		f.soft = len(f.Batches) == 0 && f.Err == nil // ask there
	}
	return f
}

func (c *Cluster) forgetNear(positions []partition.FetchPosition) {
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	for _, p := range positions {
		delete(c.near, p.TopicPartition)
	}
}

// whole returns the whole batches at the front of b, with right checksums (check.crcs). A broker may end its answer within
// a batch. What cannot be read is an error only if nothing comes before it.
func whole(p partition.FetchPosition, b []byte) (batches []byte, next partition.Offset, err error) {
	n := 0
	for n < len(b) {
		one, err := batch.Peek(b[n:])
		if errors.Is(err, batch.ErrShort) {
			break
		}
		if err == nil {
			err = one.CheckCRC()
		}
		if err == nil {
			n += len(one)
			continue
		}
		if n > 0 {
			break
		}
		if one == nil {
			return nil, 0, &log.CorruptionError{Path: p.TopicPartition.String(), Offset: p.Offset, NextOffset: p.Offset + 1, Err: err}
		}
		next := partition.Offset(one.NextOffset())
		return nil, next, &log.CorruptionError{Path: p.TopicPartition.String(), Offset: partition.Offset(one.BaseOffset()), NextOffset: next, Err: err}
	}
	return b[:n:n], 0, nil
}
