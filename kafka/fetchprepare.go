package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// prepare finds each item's topic and says what is wrong with it. It reports whether the answer is not to wait.
func (s *session) prepare(c *call, req *kmsg.FetchRequest) (now bool) {
	f := &s.fetch
	f.positions = f.positions[:0]
	moves := s.server.layout.moves.Load()
	for i := range f.items {
		it := &f.items[i]
		it.at, it.replica, it.diverging.LeaderEpoch, it.mark, it.start, it.result, it.early = -1, -1, -1, -1, -1, nil, true
		var err error
		if it.key.name == "" && c.version < 13 {
			err = partition.ErrUnknownTopicOrPartition
		} else if it.topic, err = s.server.store.FindTopic(it.key.name, it.key.id); err != nil && c.version < 13 && !s.authorize(opRead, resourceTopic, it.key.name) {
			it.code = codeTopicAuthorizationFailed
			continue
		}
		if err != nil {
			it.code = errorCode(err, c.key, c.version)
			continue
		}
		if !s.mayFetch(req, &it.topic) {
			it.code = codeTopicAuthorizationFailed
			continue
		}
		if it.key.partition < 0 || it.key.partition >= it.topic.Partitions() {
			it.code = codeUnknownTopicOrPartition
			continue
		}
		// From here on an error is one of the partition's, which ends the wait.
		it.early = false
		if err := s.prepareOne(c, req, it); err != nil {
			it.code, now = errorCode(err, c.key, c.version), true
			continue
		}
		if it.replica >= 0 || it.diverging.LeaderEpoch >= 0 {
			now = true
			continue
		}
		it.at = len(f.positions)
		f.positions = append(f.positions, partition.FetchPosition{
			TopicPartition: partition.TopicPartition{Topic: it.topic.Name(), Partition: it.key.partition}, TopicID: it.topic.ID(),
			Offset: partition.Offset(it.want.offset), LeaderEpoch: it.topic.LeaderEpoch(it.key.partition), MaxBytes: max(int(it.want.maxBytes), 1),
		})
	}
	// While leaders move, a wait could be one for the new epoch at the old leader, which nothing would end.
	return now || moves&1 == 1 || moves != s.server.layout.moves.Load()
}

// mayFetch reports whether the client may read a topic: a consumer by its right to read, a follower by that of the cluster.
func (s *session) mayFetch(req *kmsg.FetchRequest, t *partition.Topic) bool {
	if isFollower(req) {
		return s.authorizeCluster(opClusterAction)
	}
	return s.authorize(opRead, resourceTopic, t.Name())
}

// isFollower reports whether a broker fetches, to replicate.
func isFollower(req *kmsg.FetchRequest) bool { return req.ReplicaID >= 0 || req.ReplicaState.ID >= 0 }

// prepareOne checks leadership and epochs of one partition, finds a diverging epoch (KIP-320) and a nearer replica (KIP-392).
func (s *session) prepareOne(c *call, req *kmsg.FetchRequest, it *fetchItem) error {
	if isFollower(req) {
		// Nobody replicates this store by its listener.
		if err := s.serves(&it.topic, it.key.partition, it.want.leaderEpoch, false); err != nil || it.want.leaderEpoch < 0 {
			return errors.Join(err, errNotLeader)
		}
		return partition.ErrUnknownLeaderEpoch // what Kafka tells a broker that is no replica
	}
	at, _ := s.server.layout.at(&it.topic, it.key.partition)
	if err := s.serves(&it.topic, it.key.partition, it.want.leaderEpoch, c.version >= 11 && at.leader >= 0); err != nil {
		return err
	}
	tp := partition.TopicPartition{Topic: it.topic.Name(), Partition: it.key.partition}
	if it.want.fetchedEpoch >= 0 {
		epoch, end, err := s.replicaEpochEnd(c.ctx, tp, at, partition.LeaderEpoch(it.want.fetchedEpoch))
		if err != nil {
			return err
		}
		if epoch < 0 || end < 0 || it.want.offset < s.logStart(tp) {
			return partition.ErrOffsetOutOfRange
		}
		if int32(epoch) < it.want.fetchedEpoch || int64(end) < it.want.offset {
			it.diverging.LeaderEpoch, it.diverging.Offset = epoch, end
			return s.lookAt(tp, it)
		}
	}
	if at.leader == s.broker.id && req.Rack != "" {
		if id := s.nearerReplica(tp, at, req.Rack, it.want.offset); id >= 0 {
			it.replica = id
			return s.lookAt(tp, it)
		}
	}
	if it.want.maxBytes < 0 && it.want.offset >= s.logStart(tp) {
		end, err := s.server.store.LookUpOffset(c.ctx, tp, partition.TimestampLatest, partition.LeaderEpochUnknown, req.IsolationLevel == 1)
		if err == nil && it.want.offset < int64(end.Offset) { // Kafka trips over it when it reads
			err = errNegativeBytes
		}
		return err
	}
	return nil
}

var errNegativeBytes = &protocolError{codeUnknownServerError, "fewer bytes than none are asked for"}

// lookAt reads what an answer without records says of its partition.
func (s *session) lookAt(tp partition.TopicPartition, it *fetchItem) error {
	found, err := s.server.store.LookUpOffset(context.Background(), tp, partition.TimestampLatest, partition.LeaderEpochUnknown, false)
	it.mark, it.start = int64(found.Offset), s.logStart(tp)
	return err
}

// rackAware is the replica.selector.class that Kafka comes with.
const rackAware = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

// nearerReplica returns an in-sync replica in the client's rack, if the leader is in another and the selector of replicas is
// Kafka's for racks; -1 otherwise.
func (s *session) nearerReplica(tp partition.TopicPartition, at placed, rack string, offset int64) int32 {
	if s.settings().properties["replica.selector.class"] != rackAware || s.broker.Rack() == rack {
		return -1
	}
	isr := at.isr
	if v := s.server.node; v != nil { // who has the offset
		id, ok := v.node.PreferredReadReplica(tp, rack, partition.Offset(offset))
		if !ok {
			return -1
		}
		isr = []int32{id}
	}
	for _, id := range isr {
		if b := s.server.brokerByID(id); b != nil && b.running.Load() && b.Rack() == rack && b.endpoint(s.listener.name) != nil {
			return id
		}
	}
	return -1
}
