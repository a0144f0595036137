package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/partition"
)

// Describe implements Coordinator.
func (c *coordinator) Describe(ctx context.Context, group string) (Description, error) {
	if err := c.lookAtTopics(ctx, group, nil); err != nil {
		return Description{}, fmt.Errorf("describe group %q: %w", group, err)
	}
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
	if p.gone {
		return Description{}, fmt.Errorf("describe group %q: %w", group, ErrNotCoordinator)
	}
	g := p.groups[group]
	if g == nil {
		return Description{Group: group, State: Dead}, nil
	}
	d := Description{
		Group: group, State: g.state, ProtocolType: g.protocolType, Protocol: g.protocol, Generation: g.generation,
		LeaderID: g.leader, Offsets: offsets, Unwritten: len(g.unwritten),
	}
	if n := g.next; n != nil {
		d.ProtocolType, d.Protocol, d.Generation = ProtocolTypeConsumer, n.assignor().Name(), Generation(n.live.epoch)
		d.Members = n.describeClassic()
	}
	for _, m := range g.members {
		d.Members = append(d.Members, MemberDescription{
			MemberID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost, Local: m.local,
			Metadata: m.metadata(g.protocol), Assignment: m.assignment,
		})
	}
	return d, nil
}

// ListGroups implements Coordinator.
func (c *coordinator) ListGroups(ctx context.Context, r ListGroupsRequest) ([]Listing, error) {
	partitions, err := c.allPartitions(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	var out []Listing
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range partitions {
		for _, g := range p.groups {
			l := g.listing()
			if len(r.States) > 0 && !slices.Contains(r.States, l.State) || len(r.Types) > 0 && !slices.Contains(r.Types, l.Type) {
				continue
			}
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b Listing) int { return cmp.Compare(a.Group, b.Group) })
	return out, nil
}

func (m *machine) listing() Listing {
	l := Listing{Group: m.id, State: m.state, Type: ClassicGroup, ProtocolType: m.protocolType}
	if m.next != nil {
		l.Type, l.ProtocolType = ConsumerProtocolGroup, ProtocolTypeConsumer
	}
	return l
}

// DeleteGroups implements Coordinator.
func (c *coordinator) DeleteGroups(ctx context.Context, groups ...string) error {
	var failed DeleteGroupsError
	for _, id := range groups {
		_, err := c.request(ctx, id, func(call callID) event { return deleteGroupEvent{call} })
		if err != nil {
			if failed.Groups == nil {
				failed.Groups = make(map[string]error)
			}
			failed.Groups[id] = err
		}
	}
	if failed.Groups != nil {
		return &failed
	}
	return nil
}

// allPartitions returns all partitions of OffsetsTopic that are coordinated here, loaded.
func (c *coordinator) allPartitions(ctx context.Context) ([]*offsetsPartition, error) {
	n, err := c.countPartitions(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]*offsetsPartition, 0, n)
	for i := range n {
		p, err := c.partitionAt(ctx, i)
		switch {
		case err == nil:
			out = append(out, p)
		case !errors.Is(err, ErrNotCoordinator): // those are somebody else's
			return nil, err
		}
	}
	return out, nil
}

// DeleteOffsets implements Coordinator.
func (c *coordinator) DeleteOffsets(ctx context.Context, group string, tps ...partition.TopicPartition) error {
	if err := requireGroupID("delete offsets", group); err != nil {
		return err
	}
	_, err := c.request(ctx, group, func(call callID) event { return deleteOffsetsEvent{call, tps} })
	if _, ok := errors.AsType[*OffsetsError](err); ok || err == nil {
		return err
	}
	return fmt.Errorf("delete offsets of group %q: %w", group, err)
}
