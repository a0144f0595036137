package kafkatest

import (
	"context"
	"maps"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// coordinators are those of a store, behind rules.
type coordinators struct {
	group.Coordinators
	backend *Backend
}

// Find is FindCoordinator.
func (c *coordinators) Find(ctx context.Context, id string) (group.Coordinator, error) {
	return call(ctx, c.backend, kmsg.FindCoordinator, groupItems(id), func() (group.Coordinator, error) {
		at, err := c.Coordinators.Find(ctx, id)
		if err != nil {
			return nil, err
		}
		return &coordinator{at, c.backend}, nil
	})
}

func groupItems(ids ...string) (all []item) {
	for _, id := range ids {
		all = append(all, item{group: id, hasGroup: true})
	}
	return all
}

// coordinator has what members call go by rules; what only tools call is the embedded one's.
type coordinator struct {
	group.Coordinator
	backend *Backend
}

// nothing is what calls answer that answer nothing.
type nothing = struct{}

func (c *coordinator) plain(ctx context.Context, key kmsg.Key, items []item, next func() error) error {
	_, err := call(ctx, c.backend, key, items, func() (nothing, error) { return nothing{}, next() })
	return err
}

func (c *coordinator) Join(ctx context.Context, r group.JoinRequest) (group.JoinResult, error) {
	return call(ctx, c.backend, kmsg.JoinGroup, groupItems(r.Group), func() (group.JoinResult, error) { return c.Coordinator.Join(ctx, r) })
}

func (c *coordinator) Sync(ctx context.Context, r group.SyncRequest) (group.SyncResult, error) {
	return call(ctx, c.backend, kmsg.SyncGroup, groupItems(r.Group), func() (group.SyncResult, error) { return c.Coordinator.Sync(ctx, r) })
}

func (c *coordinator) Heartbeat(ctx context.Context, m group.Membership) error {
	return c.plain(ctx, kmsg.Heartbeat, groupItems(m.Group), func() error { return c.Coordinator.Heartbeat(ctx, m) })
}

func (c *coordinator) Leave(ctx context.Context, id string, members ...group.LeavingMember) error {
	return c.plain(ctx, kmsg.LeaveGroup, groupItems(id), func() error { return c.Coordinator.Leave(ctx, id, members...) })
}

func (c *coordinator) ConsumerGroupHeartbeat(ctx context.Context, r group.ConsumerHeartbeatRequest) (group.ConsumerHeartbeatResult, error) {
	return call(ctx, c.backend, kmsg.ConsumerGroupHeartbeat, groupItems(r.Group), func() (group.ConsumerHeartbeatResult, error) {
		return c.Coordinator.ConsumerGroupHeartbeat(ctx, r)
	})
}

func (c *coordinator) Offsets(ctx context.Context, r group.OffsetsRequest) (map[partition.TopicPartition]group.CommittedOffset, error) {
	items := groupItems(r.Group)
	for i, tp := range r.Partitions {
		it := partitionItem(tp)
		it.group, it.hasGroup = r.Group, true
		if i == 0 {
			items = items[:0]
		}
		items = append(items, it)
	}
	return call(ctx, c.backend, kmsg.OffsetFetch, items, func() (map[partition.TopicPartition]group.CommittedOffset, error) {
		return c.Coordinator.Offsets(ctx, r)
	})
}

// Commit refuses those partitions that the rule is about, if it is about some, and commits the others.
func (c *coordinator) Commit(ctx context.Context, r group.CommitRequest) error {
	key := kmsg.OffsetCommit
	if r.Txn != nil {
		key = kmsg.TxnOffsetCommit
	}
	items := commitItems(r)
	rule, err := c.backend.decide(ctx, key, items...)
	if err != nil {
		return err
	}
	if rule == nil {
		return c.Coordinator.Commit(ctx, r)
	}
	if lost, applied := rule.lost(); lost {
		if applied {
			_ = c.Coordinator.Commit(ctx, r) // nobody hears of it
		}
		return ErrLost
	}
	refused := map[partition.TopicPartition]error{}
	served := r
	if rule.Error != 0 {
		for _, it := range items {
			if rule.picks(it) {
				refused[partition.TopicPartition{Topic: it.topic, Partition: it.partition}] = codeError(rule.Error)
			}
		}
		if !rule.Apply {
			served.Offsets = maps.Clone(r.Offsets)
			maps.DeleteFunc(served.Offsets, func(tp partition.TopicPartition, _ group.CommittedOffset) bool { return refused[tp] != nil })
		}
	}
	if len(served.Offsets) > 0 {
		err = c.Coordinator.Commit(ctx, served)
	}
	if werr := c.backend.after(ctx, rule, nil); werr != nil {
		return werr
	}
	switch {
	case err != nil || len(refused) == 0:
		return err
	case len(refused) == len(r.Offsets):
		return codeError(rule.Error)
	}
	return &group.CommitError{Partitions: refused}
}
