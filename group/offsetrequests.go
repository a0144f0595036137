package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// Commit implements Coordinator.
func (c *coordinator) Commit(ctx context.Context, r CommitRequest) error {
	started := c.config.Clock.Now()
	tps := make([]partition.TopicPartition, 0, len(r.Offsets))
	for tp := range r.Offsets {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, compareTopicPartitions)
	metadata, err := c.topicsOf(ctx, tps)
	if err != nil {
		return fmt.Errorf("commit offsets of group %q: %w", r.Group, err)
	}
	if r.Txn != nil {
		if err := requireGroupID("commit offsets in a transaction", r.Group); err != nil {
			return err
		}
	}
	if r.Txn != nil && (r.Txn.TransactionalID == "" || r.Txn.Producer.ID < 0) {
		return fmt.Errorf("commit offsets of group %q: %w: a transaction has an id and a producer id", r.Group, ErrInvalidRequest)
	}
	// Offsets carry the id of the topic that has the name now, so that another of the name does not inherit them. If
	// it is deleted between here and the log, the offset is dropped when it is next asked for.
	e := commitEvent{Membership: r.Membership, txn: r.Txn, retention: r.Retention, negative: r.Negative, offsets: make([]offsetRecord, 0, len(tps))}
	for i, tp := range tps {
		o, t := r.Offsets[tp], metadata[i]
		var err error
		switch {
		case t == nil:
			err = partition.ErrUnknownTopicOrPartition
		case t.Err != nil:
			err = t.Err
		case tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions):
			err = partition.ErrUnknownTopicOrPartition
		case !o.TopicID.IsZero() && o.TopicID != t.ID:
			err = partition.ErrUnknownTopicID
		default:
			o.TopicID = t.ID
			e.offsets = append(e.offsets, offsetRecord{tp, storedOffset{CommittedOffset: o}})
			continue
		}
		if e.refused == nil {
			e.refused = make(map[partition.TopicPartition]error)
		}
		e.refused[tp] = err
	}
	_, err = c.request(ctx, r.Group, func(call callID) event { e.call = call; return e })
	took := c.config.Clock.Now().Sub(started)
	c.mu.Lock()
	c.stats.Commits++
	c.stats.CommitTime += took
	c.stats.MaxCommitTime = max(c.stats.MaxCommitTime, took)
	if err != nil {
		c.stats.FailedCommits++
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("commit offsets of group %q: %w", r.Group, err)
	}
	return nil
}

// topicsOf returns the metadata of each partition's topic, nil where there is none. The partitions are sorted.
func (c *coordinator) topicsOf(ctx context.Context, tps []partition.TopicPartition) ([]*partition.Metadata, error) {
	if len(tps) == 0 {
		return nil, nil // a nil list of names would mean all
	}
	names := make([]string, 0, 1)
	for i, tp := range tps {
		if i == 0 || tp.Topic != tps[i-1].Topic {
			names = append(names, tp.Topic)
		}
	}
	metadata, err := c.backend.Metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	out := make([]*partition.Metadata, len(tps))
	next := 0 // in the order of the names, as a store answers
	for i, tp := range tps {
		if i > 0 && tp.Topic == tps[i-1].Topic {
			out[i] = out[i-1]
		} else if next < len(metadata) && metadata[next].Topic == tp.Topic {
			out[i] = &metadata[next]
			next++
		} else if j := slices.IndexFunc(metadata, func(m partition.Metadata) bool { return m.Topic == tp.Topic }); j >= 0 {
			out[i] = &metadata[j]
		}
	}
	return out, nil
}

// topics returns the metadata of topics by name; Err is set where there is none.
func (c *coordinator) topics(ctx context.Context, names map[string]bool) (map[string]partition.Metadata, error) {
	out := make(map[string]partition.Metadata, len(names))
	if len(names) == 0 {
		return out, nil // a nil list would mean all
	}
	metadata, err := c.backend.Metadata(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return nil, err
	}
	for t := range names {
		out[t] = partition.Metadata{Topic: t, Err: partition.ErrUnknownTopicOrPartition}
	}
	for _, m := range metadata {
		out[m.Topic] = m
	}
	return out, nil
}

// Offsets implements Coordinator. It drops offsets whose topic is gone, or is another one of the same name.
func (c *coordinator) Offsets(ctx context.Context, r OffsetsRequest) (map[partition.TopicPartition]CommittedOffset, error) {
	out, err := c.offsets(ctx, r)
	if err != nil {
		return out, fmt.Errorf("committed offsets of group %q: %w", r.Group, err)
	}
	return out, nil
}

func (c *coordinator) offsets(ctx context.Context, r OffsetsRequest) (map[partition.TopicPartition]CommittedOffset, error) {
	p, err := c.partition(ctx, r.Group)
	if err != nil {
		return nil, err
	}
	out := make(map[partition.TopicPartition]CommittedOffset)
	topics := make(map[string]bool)
	var unstable map[partition.TopicPartition]error
	c.mu.Lock()
	if err := c.openLocked(p); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	if g := p.groups[r.Group]; g != nil && g.next != nil && r.MemberID != "" {
		if err := g.next.checkEpochOf(r.MemberID, r.MemberEpoch); err != nil {
			c.mu.Unlock()
			return nil, err
		}
	}
	if g := p.groups[r.Group]; g != nil && r.Partitions == nil {
		for tp, o := range g.machine.offsets {
			out[tp] = o.CommittedOffset
		}
	} else if g != nil {
		for _, tp := range r.Partitions {
			if o, ok := g.machine.offsets[tp]; ok {
				out[tp] = o.CommittedOffset
			}
		}
	}
	if g := p.groups[r.Group]; g != nil && r.RequireStable {
		unstable = g.allUnstable(r.Partitions)
	}
	c.mu.Unlock()
	for tp := range out {
		topics[tp.Topic] = true
	}
	metadata, err := c.topics(ctx, topics)
	if err != nil {
		return nil, err
	}
	for tp := range unstable {
		delete(out, tp)
	}
	var gone []partition.TopicPartition
	for tp, o := range out {
		if isGone(o, metadata[tp.Topic]) {
			gone = append(gone, tp)
		}
	}
	if len(gone) > 0 {
		c.forget(p, r.Group, gone, out)
	}
	if len(unstable) > 0 {
		return out, &OffsetsError{Partitions: unstable}
	}
	return out, nil
}

// forget takes offsets of topics that are gone out of the answer, and out of the group.
func (c *coordinator) forget(p *offsetsPartition, group string, gone []partition.TopicPartition, out map[partition.TopicPartition]CommittedOffset) {
	c.mu.Lock()
	defer c.unlock()
	g := p.groups[group]
	forget := forgetEvent{}
	for _, tp := range gone {
		if g != nil && g.machine.offsets[tp].CommittedOffset == out[tp] { // nobody has committed meanwhile
			forget.partitions = append(forget.partitions, tp)
		}
		delete(out, tp)
	}
	if len(forget.partitions) > 0 && !c.closing {
		c.stepLocked(g, forget)
	}
}

// isGone reports whether an offset is of another topic than the one that has the name now, or of one that is no more.
// A broker of an earlier version wrote no ids; the loader has filled them in where there was a topic. One that has
// appeared since then is a new one.
func isGone(o CommittedOffset, now partition.Metadata) bool {
	if now.Err != nil {
		return errors.Is(now.Err, partition.ErrUnknownTopicOrPartition) && !o.TopicID.IsZero()
	}
	return o.TopicID != now.ID
}
