package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/partlog/partlog/partition"
)

// Join implements Coordinator.
func (c *coordinator) Join(ctx context.Context, r JoinRequest) (JoinResult, error) {
	if r.Group == "" {
		return JoinResult{}, fmt.Errorf("join group: %w: it is empty", ErrInvalidGroupID)
	}
	id := ""
	if r.MemberID == "" {
		uuid, err := newUUID(c.random())
		if err != nil {
			return JoinResult{}, fmt.Errorf("join group %q: %w", r.Group, err)
		}
		id = cmp.Or(r.InstanceID, r.ClientID) + "-" + uuid
	}
	a, err := c.request(ctx, r.Group, func(call callID) event { return joinEvent{call, id, r} })
	var result JoinResult
	if a.join != nil {
		result = *a.join
	}
	if err != nil {
		return result, fmt.Errorf("join group %q: %w", r.Group, err)
	}
	return result, nil
}

// random serializes the source, which need not be safe for concurrent use.
func (c *coordinator) random() io.Reader { return lockedReader{c} }

type lockedReader struct{ *coordinator }

func (r lockedReader) Read(b []byte) (int, error) {
	r.randomMu.Lock()
	defer r.randomMu.Unlock()
	return r.config.Random.Read(b)
}

// Sync implements Coordinator.
func (c *coordinator) Sync(ctx context.Context, r SyncRequest) (SyncResult, error) {
	a, err := c.request(ctx, r.Group, func(call callID) event { return syncEvent{call, r} })
	if err != nil {
		return SyncResult{}, fmt.Errorf("sync group %q: %w", r.Group, err)
	}
	return *a.sync, nil
}

// Heartbeat implements Coordinator.
func (c *coordinator) Heartbeat(ctx context.Context, m Membership) error {
	if _, err := c.request(ctx, m.Group, func(call callID) event { return heartbeatEvent{call, m} }); err != nil {
		return fmt.Errorf("heartbeat in group %q: %w", m.Group, err)
	}
	return nil
}

// Leave implements Coordinator.
func (c *coordinator) Leave(ctx context.Context, group string, members ...LeavingMember) error {
	if _, err := c.request(ctx, group, func(call callID) event { return leaveEvent{call, members} }); err != nil {
		return fmt.Errorf("leave group %q: %w", group, err)
	}
	return nil
}

// Commit implements Coordinator.
func (c *coordinator) Commit(ctx context.Context, r CommitRequest) error {
	topics := make(map[string]bool)
	for tp := range r.Offsets {
		topics[tp.Topic] = true
	}
	metadata, err := c.topics(ctx, topics)
	if err != nil {
		return fmt.Errorf("commit offsets of group %q: %w", r.Group, err)
	}
	// Offsets carry the id of the topic that has the name now, so that another of the name does not inherit them. If
	// it is deleted between here and the log, the offset is dropped when it is next asked for.
	e := commitEvent{Membership: r.Membership, refused: make(map[partition.TopicPartition]error)}
	for _, tp := range sortedKeys(r.Offsets) {
		o, t := r.Offsets[tp], metadata[tp.Topic]
		switch {
		case t.Err != nil:
			e.refused[tp] = t.Err
		case tp.Partition < 0 || int(tp.Partition) >= len(t.Partitions):
			e.refused[tp] = partition.ErrUnknownTopicOrPartition
		case !o.TopicID.IsZero() && o.TopicID != t.ID:
			e.refused[tp] = partition.ErrUnknownTopicID
		default:
			o.TopicID = t.ID
			e.offsets = append(e.offsets, offsetRecord{tp, o})
		}
	}
	_, err = c.request(ctx, r.Group, func(call callID) event { e.call = call; return e })
	c.mu.Lock()
	c.stats.Commits++
	if err != nil {
		c.stats.FailedCommits++
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("commit offsets of group %q: %w", r.Group, err)
	}
	return nil
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
		return nil, fmt.Errorf("committed offsets of group %q: %w", r.Group, err)
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
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return nil, partition.ErrClosed
	}
	if g := p.groups[r.Group]; g != nil && r.Partitions == nil {
		maps.Copy(out, g.machine.offsets)
	} else if g != nil {
		for _, tp := range r.Partitions {
			if o, ok := g.machine.offsets[tp]; ok {
				out[tp] = o
			}
		}
	}
	c.mu.Unlock()
	for tp := range out {
		topics[tp.Topic] = true
	}
	metadata, err := c.topics(ctx, topics)
	if err != nil {
		return nil, err
	}
	var gone []partition.TopicPartition
	for tp, o := range out {
		if isGone(o, metadata[tp.Topic]) {
			gone = append(gone, tp)
		}
	}
	if len(gone) == 0 {
		return out, nil
	}
	c.mu.Lock()
	defer c.unlock()
	g := p.groups[r.Group]
	forget := forgetEvent{}
	for _, tp := range gone {
		if g != nil && g.machine.offsets[tp] == out[tp] { // nobody has committed meanwhile
			forget.partitions = append(forget.partitions, tp)
		}
		delete(out, tp)
	}
	if len(forget.partitions) > 0 && !c.closing {
		c.stepLocked(g, forget)
	}
	return out, nil
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

// Describe implements Coordinator.
func (c *coordinator) Describe(ctx context.Context, group string) (Description, error) {
	offsets, err := c.offsets(ctx, OffsetsRequest{Group: group})
	if err != nil {
		return Description{}, fmt.Errorf("describe group %q: %w", group, err)
	}
	p, err := c.partition(ctx, group)
	if err != nil {
		return Description{}, fmt.Errorf("describe group %q: %w", group, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := p.groups[group]
	if g == nil {
		return Description{Group: group, State: Dead}, nil
	}
	d := Description{
		Group: group, State: g.state, ProtocolType: g.protocolType, Protocol: g.protocol, Generation: g.generation,
		LeaderID: g.leader, Offsets: offsets, Unwritten: len(g.unwritten),
	}
	for _, m := range g.members {
		d.Members = append(d.Members, MemberDescription{
			MemberID: m.id, ClientID: m.clientID, ClientHost: m.clientHost, Local: m.local,
			Metadata: m.metadata(g.protocol), Assignment: m.assignment,
		})
	}
	return d, nil
}
