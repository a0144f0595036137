package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// place makes a cursor for each partition that is new to the member: at its committed offset, where the host says, or where
// Config.Reset does.
func (m *member) place(ctx context.Context, tps []partition.TopicPartition) ([]*cursor, error) {
	if len(tps) == 0 {
		return nil, nil
	}
	at, err := m.places(ctx, tps)
	if err != nil {
		return nil, err
	}
	metadata, err := topicsOf(ctx, m.consumer.source, tps)
	if err != nil {
		return nil, err
	}
	topics := make(map[string][]partition.Metadata, len(metadata))
	for i := range metadata {
		topics[metadata[i].Topic] = metadata[i : i+1]
	}
	cursors := make([]*cursor, len(tps))
	starts := make(map[partition.TopicPartition]group.CommittedOffset)
	for i, tp := range tps {
		k, starting, err := m.cursor(ctx, topics[tp.Topic], at, tp)
		if errors.Is(err, partition.ErrUnknownTopicOrPartition) {
			// Deleted between the leader's look and ours: as if it had been there and were deleted now.
			k, err = newCursor(tp, partition.TopicID{}, 0, noBound), nil
			k.gone.Store(true)
		}
		if err != nil {
			return nil, err
		}
		if starting {
			starts[tp] = group.CommittedOffset{Offset: k.position, LeaderEpoch: partition.LeaderEpochUnknown, TopicID: k.id}
		}
		cursors[i] = k
	}
	return cursors, m.commitStarts(ctx, starts, cursors)
}

// places are the places that are known: committed, or the host's.
type places struct {
	committed map[partition.TopicPartition]group.CommittedOffset
	host      map[partition.TopicPartition]Position
}

func (m *member) places(ctx context.Context, tps []partition.TopicPartition) (p places, err error) {
	if start := m.consumer.config.Start; start != nil {
		event(func() { p.host, err = start(ctx, m.current().Membership, tps) })
		if err != nil {
			err = fmt.Errorf("start of %d partitions: %w", len(tps), err)
		}
		return p, err
	}
	for {
		p.committed, err = m.coordinator.Offsets(ctx, group.OffsetsRequest{Group: m.group.ID(), Partitions: tps, RequireStable: true})
		if !errors.Is(err, group.ErrUnstableOffsetCommit) {
			return p, err
		}
		// A transaction with offsets of these partitions is about to end (KIP-447).
		if err := m.consumer.rest(ctx, retryPause); err != nil {
			return p, err
		}
	}
}

// cursor makes one. starting says that where it is has just been decided by ResetLatest or ResetByDuration.
func (m *member) cursor(ctx context.Context, topic []partition.Metadata, at places, tp partition.TopicPartition) (k *cursor, starting bool, err error) {
	c := m.consumer
	t, err := topicOf(topic, tp)
	if err != nil {
		return nil, false, err
	}
	last, committed := at.committed[tp]
	committed = committed && last.TopicID == t.ID // another topic of the name has come between the two looks
	from, told := at.host[tp]
	switch {
	case told:
	case committed:
		from = AtOffset(last.Offset).Epoch(last.LeaderEpoch)
	case c.config.Reset == ResetNone:
		return nil, false, fmt.Errorf("%s: %w", tp, ErrNoOffset)
	case c.config.Start == nil && m.origin.knows(tp.Topic):
		from = Earliest() // it has come to a group that was there
	default:
		from = c.config.resetTo(c.clock.Now())
		starting = c.config.Start == nil && c.config.Reset != ResetEarliest
	}
	offset, err := from.resolve(ctx, c.source, tp, c.config.Isolation)
	if err != nil {
		return nil, false, err
	}
	k = newCursor(tp, t.ID, offset, noBound)
	k.leader = t.Partitions[tp.Partition].LeaderEpoch
	k.epoch, k.read = from.leaderEpoch(), from.leaderEpoch()
	if committed && !told {
		k.committed.Store(int64(last.Offset))
	}
	if m.ends != nil {
		k.until = 0 // a topic or partition that was not there at the Join has nothing before the bound
		if end := m.ends[tp]; end.topic == t.ID {
			k.until = end.offset
			if kind := c.config.Until.kind; kind == untilEnd || kind == untilTime {
				k.reached = end.offset
			}
		}
	}
	return k, starting, k.check(ctx, c.source, from.leaderEpoch())
}

// commitStarts commits where the group starts in partitions. If it cannot, the next commit tries again.
func (m *member) commitStarts(ctx context.Context, starts map[partition.TopicPartition]group.CommittedOffset, cursors []*cursor) error {
	if len(starts) == 0 {
		return nil
	}
	err := m.coordinator.Commit(ctx, group.CommitRequest{Membership: m.current().Membership, Offsets: starts})
	if generationOver(err) || ctx.Err() != nil {
		return err
	}
	for _, k := range cursors {
		start, ok := starts[k.tp]
		switch {
		case ok && err == nil:
			k.commit(start.Offset)
		case ok:
			k.finished.Store(int64(start.Offset))
		}
	}
	return nil
}
