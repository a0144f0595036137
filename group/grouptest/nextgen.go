package grouptest

import (
	"time"

	"github.com/partlog/partlog/group"
)

// consumer is a member of the new protocol (KIP-848).
type consumer struct {
	c *check
	r group.ConsumerHeartbeatRequest
}

func (c *check) consumer(id string) *consumer {
	return &consumer{c, group.ConsumerHeartbeatRequest{
		Group: c.group, MemberID: id, MemberEpoch: group.JoinGroupEpoch, ClientID: "conformance", ClientHost: "here", RebalanceTimeout: time.Minute,
		Topics: []string{c.group}, Owned: []group.TopicIDPartitions{},
	}}
}

func (m *consumer) heartbeat() (group.ConsumerHeartbeatResult, error) {
	result, err := m.c.c.ConsumerGroupHeartbeat(m.c.Context(), m.r)
	if err == nil {
		m.r.MemberEpoch, m.r.Owned = result.MemberEpoch, nil
		if result.Assignment != nil {
			m.r.Owned = result.Assignment
		}
	}
	return result, err
}

// join heartbeats until the member has its partitions, and returns how many.
func (m *consumer) join() (partitions int) {
	m.c.Helper()
	m.c.soon("the member has partitions", func() bool {
		result, err := m.heartbeat()
		m.c.ok(err, "heartbeat")
		for _, t := range result.Assignment {
			partitions += len(t.Partitions)
		}
		return partitions > 0
	})
	return partitions
}

func consumerGroup(c *check) {
	m := c.consumer("m")
	equal(c, m.join(), 3, "partitions of the only member")
	d, err := c.c.ConsumerGroupDescribe(c.Context(), c.group)
	c.ok(err, "describe")
	equal(c, len(d.Members), 1, "members")
	at := group.Membership{Group: c.group, MemberID: "m", Generation: group.Generation(m.r.MemberEpoch)}
	c.ok(c.commit(at, 0, 5), "commit")
	m.r.MemberEpoch = group.LeaveGroupEpoch
	_, err = m.heartbeat()
	c.ok(err, "leave")
	c.is(c.commit(at, 0, 6), group.ErrUnknownMemberID, "commit of one that has left")
	equal(c, c.committed(), [3]Offset{5, -1, -1}, "offsets")
}

func memberEpoch(c *check) {
	m := c.consumer("m")
	m.join()
	now := m.r.MemberEpoch
	m.r.MemberEpoch = now + 5
	_, err := m.heartbeat()
	c.is(err, group.ErrFencedMemberEpoch, "heartbeat of an epoch that nobody gave")
	c.is(c.commit(group.Membership{Group: c.group, MemberID: "m", Generation: group.Generation(now + 5)}, 0, 5), group.ErrStaleMemberEpoch, "commit of that epoch")
	stranger := c.consumer("stranger")
	stranger.r.MemberEpoch = now
	_, err = stranger.heartbeat()
	c.is(err, group.ErrUnknownMemberID, "heartbeat of nobody")
	m.r.MemberEpoch = now
	_, err = m.heartbeat()
	c.ok(err, "the member goes on")
}
