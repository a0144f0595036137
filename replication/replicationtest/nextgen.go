package replicationtest

import (
	"errors"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// topicIDs are partitions of data as the protocol of KIP-848 names them.
func topicIDs(parts []int) []group.TopicIDPartitions {
	if len(parts) == 0 {
		return []group.TopicIDPartitions{}
	}
	t := group.TopicIDPartitions{TopicID: partition.TopicID(dataTopic)}
	for _, p := range parts {
		t.Partitions = append(t.Partitions, int32(p))
	}
	return []group.TopicIDPartitions{t}
}

// beat848 sends the heartbeats of the protocol of KIP-848 as long as the member lives.
func (m *member) beat848() {
	if m.busy {
		return
	}
	m.busy = true
	r := group.ConsumerHeartbeatRequest{Group: m.group, MemberID: m.id, MemberEpoch: group.MemberEpoch(m.epoch), ClientID: m.name, ClientHost: "/" + m.name, Owned: topicIDs(m.parts())}
	if m.epoch == 0 || m.doubt {
		r.RebalanceTimeout, r.Topics = memberRebalance, []string{"data"}
	}
	m.ask(groupRequest{m.group, r}, 3*time.Second, func(a groupAnswer, ok bool) {
		m.busy, m.doubt = false, a.err != nil
		switch {
		case errors.Is(a.err, group.ErrFencedMemberEpoch), errors.Is(a.err, group.ErrUnknownMemberID), errors.Is(a.err, group.ErrGroupIDNotFound):
			// The last: it was the last of its protocol, and the others have a group of theirs now. Apache Kafka's consumer gives up there, and begins anew.
			m.say("is fenced in epoch %d: %v", m.epoch, a.err)
			m.drop(nil)
			m.epoch = 0
			m.c.seen.Add("member has lost its place", 1)
			m.again(500*time.Millisecond, m.beat848)
			return
		case a.err != nil:
			m.again(500*time.Millisecond, m.beat848)
			return
		}
		result := a.value.(group.ConsumerHeartbeatResult)
		m.epoch = int32(result.MemberEpoch)
		if result.Assignment == nil {
			m.again(memberInterval, m.beat848)
			return
		}
		var parts []int
		for _, t := range result.Assignment {
			for _, p := range t.Partitions {
				parts = append(parts, int(p))
			}
		}
		m.commit()
		revoked := m.drop(parts)
		m.take(parts, m.epoch, false)
		if revoked { // the others wait for it
			m.beat848()
			return
		}
		m.again(memberInterval, m.beat848)
	})
}

// leave848 says that the member goes.
func (m *member) leave848() {
	r := group.ConsumerHeartbeatRequest{Group: m.group, MemberID: m.id, MemberEpoch: group.LeaveGroupEpoch}
	m.commit()
	m.ask(groupRequest{m.group, r}, time.Second, func(groupAnswer, bool) {})
}
