package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/partlog/partlog/partition"
)

// List returns the groups of a backend, by name. It reads what was not read yet of the offsets topic.
func List(ctx context.Context, b Backend, r ListGroupsRequest) ([]Listing, error) {
	c, err := coordinatorOf(ctx, b, "")
	if err != nil {
		return nil, err
	}
	return c.ListGroups(ctx, r)
}

// Delete removes groups with all their offsets. Groups with members stay: *DeleteGroupsError names them, with
// ErrGroupNotEmpty, and those that are not there, with ErrGroupIDNotFound; the others are gone when it returns.
func Delete(ctx context.Context, b Backend, groups ...string) error {
	var failed DeleteGroupsError
	for _, id := range groups {
		c, err := coordinatorOf(ctx, b, id)
		if err != nil {
			return err
		}
		err = c.DeleteGroups(ctx, id)
		if several, ok := errors.AsType[*DeleteGroupsError](err); ok {
			err = several.Groups[id]
		}
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

func coordinatorOf(ctx context.Context, b Backend, group string) (Coordinator, error) {
	coordinators, err := Start(b, CoordinatorConfig{})
	if err != nil {
		return nil, err
	}
	return coordinators.Find(ctx, group)
}

// DeleteOffsets forgets what the group has committed of these partitions. *OffsetsError names those whose topic a member
// is subscribed to (ErrGroupSubscribedToTopic); the others are forgotten. ErrGroupIDNotFound if there is no group.
func (g *ConsumerGroup) DeleteOffsets(ctx context.Context, tps ...partition.TopicPartition) error {
	c, err := g.Coordinator(ctx)
	if err != nil {
		return err
	}
	return c.DeleteOffsets(ctx, g.id, tps...)
}

// Remove takes members out of the group, as a tool does with static ones that will not come back
// (LeavingMember.InstanceID is enough). *LeaveError names those that were not there.
func (g *ConsumerGroup) Remove(ctx context.Context, members ...LeavingMember) error {
	c, err := g.Coordinator(ctx)
	if err != nil {
		return err
	}
	return c.Leave(ctx, g.id, members...)
}

// Standing is how a group stands with one partition: a line of kafka-consumer-groups --describe.
type Standing struct {
	partition.TopicPartition
	// Committed is nil if nothing is committed.
	Committed *CommittedOffset
	// LogStart and End bound what can be read; End is the high watermark.
	LogStart, End partition.Offset
	// Lag is how many offsets lie between Committed and End, −1 if nothing is committed. In a compacted topic that
	// may be more than the number of records.
	Lag int64
	// Owner is the member that the partition is assigned to, nil if there is none.
	Owner *MemberDescription
}

// Standings returns how the group stands with every partition that has a committed offset or an owner, by topic and
// number, and what the group is. Partitions that do not exist any more are left out.
func (g *ConsumerGroup) Standings(ctx context.Context) ([]Standing, Description, error) {
	d, err := g.Describe(ctx)
	if err != nil {
		return nil, d, err
	}
	all := make(map[partition.TopicPartition]*Standing)
	standing := func(tp partition.TopicPartition) *Standing {
		if all[tp] == nil {
			all[tp] = &Standing{TopicPartition: tp, Lag: -1}
		}
		return all[tp]
	}
	for tp, o := range d.Offsets {
		if o.Offset < 0 {
			continue // CommitRequest.Negative
		}
		standing(tp).Committed = &o
	}
	for i := range d.Members {
		owned, err := d.Members[i].Assigned()
		if err != nil {
			continue // not a consumer's
		}
		for _, tp := range owned {
			standing(tp).Owner = &d.Members[i]
		}
	}
	var out []Standing
	for tp, s := range all {
		s.LogStart, err = g.backend.ListOffsets(ctx, tp, partition.TimestampEarliest)
		if err == nil {
			s.End, err = g.backend.ListOffsets(ctx, tp, partition.TimestampLatest)
		}
		if errors.Is(err, partition.ErrUnknownTopicOrPartition) {
			continue
		}
		if err != nil {
			return nil, d, fmt.Errorf("standings of group %q: %w", g.id, err)
		}
		if s.Committed != nil {
			s.Lag = max(0, int64(s.End-s.Committed.Offset)) // a log that lost its tail counts as read
		}
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out, d, nil
}

// Assigned returns the partitions that a consumer has in the present generation. The error is ErrCorruptRecord, also
// for members that are no consumers.
func (m *MemberDescription) Assigned() ([]partition.TopicPartition, error) {
	a, err := DecodeAssignment(m.Assignment)
	return a.Partitions, err
}
