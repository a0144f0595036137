package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Commit implements group.Coordinator. CommitRequest.Retention is not looked at: brokers of today have none.
func (r *remoteCoordinator) Commit(ctx context.Context, q group.CommitRequest) error {
	if len(q.Offsets) == 0 && q.Txn == nil {
		return nil
	}
	refused, err := r.otherTopics(ctx, q.Offsets)
	var answered map[partition.TopicPartition]int16
	if err == nil && len(refused) < len(q.Offsets) {
		if q.Txn != nil {
			answered, err = r.commitTxn(ctx, &q, refused)
		} else {
			answered, err = r.commitPlain(ctx, &q, refused)
		}
	}
	for tp, code := range answered {
		one := brokerError("OffsetCommit", code, nil)
		if one == nil {
			continue
		}
		if !ofPartition(code) {
			err = one // of the member, and so of all
			break
		}
		if refused == nil {
			refused = make(map[partition.TopicPartition]error)
		}
		refused[tp] = one
	}
	if err == nil && len(refused) > 0 {
		err = &group.CommitError{Partitions: refused}
	}
	if err != nil {
		return fmt.Errorf("commit offsets of group %q: %w", q.Group, err)
	}
	return nil
}

// ofPartition reports whether a commit's error concerns its partition only.
func ofPartition(code int16) bool {
	switch code {
	case codeUnknownTopicOrPartition, codeUnknownTopicID, codeTopicAuthorizationFailed, codeOffsetMetadataTooLarge, codeInvalidTopic:
		return true
	}
	return false
}

// otherTopics returns the partitions whose commit is for another topic than the one that has the name now.
func (r *remoteCoordinator) otherTopics(ctx context.Context, offsets map[partition.TopicPartition]group.CommittedOffset) (map[partition.TopicPartition]error, error) {
	var refused map[partition.TopicPartition]error
	for tp, o := range offsets {
		if o.TopicID.IsZero() {
			continue
		}
		_, err := r.leader(ctx, tp, o.TopicID)
		if _, unreachable := errors.AsType[*UnreachableError](err); err == nil || unreachable {
			continue // the coordinator may be there all the same
		}
		if err := r.alive(ctx); err != nil {
			return nil, err
		}
		if refused == nil {
			refused = make(map[partition.TopicPartition]error)
		}
		refused[tp] = err
	}
	return refused, nil
}

// committing returns the partitions of a commit that are not refused already, in order.
func committing(q *group.CommitRequest, refused map[partition.TopicPartition]error) (names []string, partitions map[string][]int32) {
	tps := slices.DeleteFunc(slices.Collect(maps.Keys(q.Offsets)), func(tp partition.TopicPartition) bool { return refused[tp] != nil })
	slices.SortFunc(tps, func(a, b partition.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return partitionsByTopic(tps)
}

func (r *remoteCoordinator) commitPlain(ctx context.Context, q *group.CommitRequest, refused map[partition.TopicPartition]error) (map[partition.TopicPartition]int16, error) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = q.Group, q.MemberID, optional(q.InstanceID), int32(q.Generation)
	names, partitions := committing(q, refused)
	for _, name := range names {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = name
		for _, i := range partitions[name] {
			o := q.Offsets[partition.TopicPartition{Topic: name, Partition: i}]
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = i, int64(o.Offset), int32(o.LeaderEpoch), &o.Metadata
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.OffsetCommitResponse](ctx, r.Cluster, req)
	if err != nil {
		return nil, err
	}
	codes := make(map[partition.TopicPartition]int16, len(q.Offsets))
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes[partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.ErrorCode
		}
	}
	return codes, nil
}

func (r *remoteCoordinator) commitTxn(ctx context.Context, q *group.CommitRequest, refused map[partition.TopicPartition]error) (map[partition.TopicPartition]int16, error) {
	if err := r.enlistGroup(ctx, q.Txn.TransactionalID, q.Txn.Producer, q.Group); err != nil {
		return nil, err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = q.Txn.TransactionalID, q.Txn.Producer.ID, q.Txn.Producer.Epoch
	req.Group, req.MemberID, req.InstanceID, req.Generation = q.Group, q.MemberID, optional(q.InstanceID), int32(q.Generation)
	names, partitions := committing(q, refused)
	for _, name := range names {
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = name
		for _, i := range partitions[name] {
			o := q.Offsets[partition.TopicPartition{Topic: name, Partition: i}]
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = i, int64(o.Offset), int32(o.LeaderEpoch), &o.Metadata
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.TxnOffsetCommitResponse](ctx, r.Cluster, req)
	if err != nil {
		return nil, err
	}
	codes := make(map[partition.TopicPartition]int16, len(q.Offsets))
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			codes[partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.ErrorCode
		}
	}
	return codes, nil
}

// Offsets implements group.Coordinator. CommittedOffset.Time is not known; TopicID is that of the topic that has the name now, as
// brokers forget the offsets of deleted ones.
func (r *remoteCoordinator) Offsets(ctx context.Context, q group.OffsetsRequest) (map[partition.TopicPartition]group.CommittedOffset, error) {
	out, err := r.offsets(ctx, q)
	if err != nil {
		return out, fmt.Errorf("committed offsets of group %q: %w", q.Group, err)
	}
	return out, nil
}

func (r *remoteCoordinator) offsets(ctx context.Context, q group.OffsetsRequest) (map[partition.TopicPartition]group.CommittedOffset, error) {
	out := make(map[partition.TopicPartition]group.CommittedOffset)
	if q.Partitions != nil && len(q.Partitions) == 0 {
		return out, nil
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = q.Group
	if q.MemberID != "" {
		g.MemberID, g.MemberEpoch = &q.MemberID, int32(q.MemberEpoch)
	}
	names, partitions := partitionsByTopic(q.Partitions)
	for _, name := range names {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = name, partitions[name]
		g.Topics = append(g.Topics, t)
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable, req.Groups = q.RequireStable, append(req.Groups, g)
	resp, err := request[*kmsg.OffsetFetchResponse](ctx, r.Cluster, req)
	if err != nil {
		return nil, err
	}
	var unstable map[partition.TopicPartition]error
	topics := make(map[string]bool)
	for _, g := range resp.Groups {
		if err := brokerError("OffsetFetch", g.ErrorCode, nil); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				tp := partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}
				switch err := brokerError("OffsetFetch", p.ErrorCode, nil); {
				case p.ErrorCode == codeUnstableOffsetCommit:
					if unstable == nil {
						unstable = make(map[partition.TopicPartition]error)
					}
					unstable[tp] = err
				case p.ErrorCode == codeUnknownTopicOrPartition:
				case err != nil:
					return nil, err
				case p.Offset >= 0:
					out[tp] = group.CommittedOffset{Offset: partition.Offset(p.Offset), LeaderEpoch: partition.LeaderEpoch(p.LeaderEpoch), Metadata: text(p.Metadata)}
					topics[t.Topic] = true
				}
			}
		}
	}
	if len(topics) > 0 {
		metadata, err := r.refresh(ctx, slices.Sorted(maps.Keys(topics)))
		if err != nil {
			return nil, err
		}
		for _, m := range metadata {
			for tp, o := range out {
				if tp.Topic == m.Topic && m.Err == nil {
					o.TopicID = m.ID
					out[tp] = o
				} else if tp.Topic == m.Topic && errors.Is(m.Err, partition.ErrUnknownTopicOrPartition) {
					delete(out, tp)
				}
			}
		}
	}
	if unstable != nil {
		return out, &group.OffsetsError{Partitions: unstable}
	}
	return out, nil
}

// DeleteOffsets implements group.Coordinator.
func (r *remoteCoordinator) DeleteOffsets(ctx context.Context, id string, tps ...partition.TopicPartition) error {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = id
	names, partitions := partitionsByTopic(tps)
	for _, name := range names {
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = name
		for _, i := range partitions[name] {
			p := kmsg.NewOffsetDeleteRequestTopicPartition()
			p.Partition = i
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := request[*kmsg.OffsetDeleteResponse](ctx, r.Cluster, req)
	if err == nil {
		err = brokerError("OffsetDelete", resp.ErrorCode, nil)
	}
	if err != nil {
		return fmt.Errorf("delete offsets of group %q: %w", id, err)
	}
	failed := make(map[partition.TopicPartition]error)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != codeNone && p.ErrorCode != codeUnknownTopicOrPartition {
				failed[partition.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = brokerError("OffsetDelete", p.ErrorCode, nil)
			}
		}
	}
	if len(failed) > 0 {
		return &group.OffsetsError{Partitions: failed}
	}
	return nil
}
