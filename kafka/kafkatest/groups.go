package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
)

// RemoveMember takes a member out of its group at once, as if its session had expired, while all others live on. The member
// learns it with its next request (UNKNOWN_MEMBER_ID), and joins again. memberID is its id, or the group.instance.id of a
// static member.
func (c *Cluster) RemoveMember(ctx context.Context, groupID, memberID string) error {
	at, err := c.coordinator(ctx, groupID)
	if err != nil {
		return err
	}
	if d, err := at.ConsumerGroupDescribe(ctx, groupID); err == nil {
		r := group.ConsumerHeartbeatRequest{Group: groupID, MemberID: memberID, MemberEpoch: group.LeaveGroupEpoch}
		for _, m := range d.Members {
			if m.InstanceID == memberID && memberID != "" {
				r.MemberID, r.InstanceID = m.MemberID, m.InstanceID
			}
		}
		_, err = at.ConsumerGroupHeartbeat(ctx, r)
		return err
	}
	d, err := at.Describe(ctx, groupID)
	if err != nil {
		return err
	}
	for _, m := range d.Members {
		if m.MemberID == memberID || m.InstanceID == memberID {
			return at.Leave(ctx, groupID, group.LeavingMember{MemberID: m.MemberID, InstanceID: m.InstanceID, Reason: "removed by the test"})
		}
	}
	return fmt.Errorf("group %q: %w: %q", groupID, group.ErrUnknownMemberID, memberID)
}

// ForceRebalance has a member join the group that wants nothing, and leave again: all others join twice, in generations of
// their own. It returns when they have joined once and the second time has begun, or with ctx's error when that ends before;
// the group rebalances even then. In a group of the new protocol (KIP-848) the member takes partitions and gives them up,
// and it does not wait for the others.
func (c *Cluster) ForceRebalance(ctx context.Context, groupID string) error {
	at, err := c.coordinator(ctx, groupID)
	if err != nil {
		return err
	}
	if d, err := at.ConsumerGroupDescribe(ctx, groupID); err == nil {
		return rebalanceNextgen(ctx, at, d)
	}
	d, err := at.Describe(ctx, groupID)
	if err != nil {
		return err
	}
	if len(d.Members) == 0 {
		return fmt.Errorf("group %q has no members to rebalance: %w", groupID, group.ErrGroupIDNotFound)
	}
	nothing := kmsg.NewConsumerMemberMetadata()
	r, err := at.Join(ctx, group.JoinRequest{
		Group: groupID, Local: true, ClientID: "kafkatest", SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute,
		ProtocolType: d.ProtocolType, Protocols: []group.Protocol{{Name: d.Protocol, Metadata: nothing.AppendTo(nil)}}, Reason: "forced by the test",
	})
	if err != nil {
		return err
	}
	return at.Leave(ctx, groupID, group.LeavingMember{MemberID: r.MemberID, Reason: "forced by the test"})
}

func rebalanceNextgen(ctx context.Context, at group.Coordinator, d group.ConsumerGroupDescription) error {
	var topics []string
	for _, m := range d.Members {
		for _, name := range m.Topics {
			if !slices.Contains(topics, name) {
				topics = append(topics, name)
			}
		}
	}
	if len(topics) == 0 {
		return fmt.Errorf("group %q has no members that name topics: %w", d.Group, group.ErrGroupIDNotFound)
	}
	r, err := at.ConsumerGroupHeartbeat(ctx, group.ConsumerHeartbeatRequest{
		Group: d.Group, MemberEpoch: group.JoinGroupEpoch, ClientID: "kafkatest", RebalanceTimeout: time.Minute, Topics: topics, Owned: []group.TopicIDPartitions{},
	})
	if err != nil {
		return err
	}
	_, err = at.ConsumerGroupHeartbeat(ctx, group.ConsumerHeartbeatRequest{Group: d.Group, MemberID: r.MemberID, MemberEpoch: group.LeaveGroupEpoch})
	if errors.Is(err, group.ErrUnknownMemberID) {
		return nil
	}
	return err
}
