package replicationtest

import (
	"errors"
	"slices"
	"time"

	"github.com/partlog/partlog/group"
)

// join takes part in the next generation.
func (m *member) join() {
	if m.busy {
		return
	}
	m.busy = true
	had := m.parts()
	generation := group.Generation(m.epoch)
	if m.id == "" {
		generation = group.NoGeneration
	}
	m.commit()
	subscription := group.Subscription{Topics: []string{"data"}, Generation: generation}
	subscription.UserData = m.assignor.UserData(topicPartitions(had), generation)
	if m.assignor.Cooperative() {
		subscription.Owned = topicPartitions(had)
	} else {
		m.drop(nil)
	}
	r := group.JoinRequest{
		Group: m.group, MemberID: m.id, ClientID: m.name, ClientHost: "/" + m.name, RequireKnownMemberID: true,
		SessionTimeout: memberSession, RebalanceTimeout: memberRebalance, ProtocolType: group.ProtocolTypeConsumer,
		Protocols: []group.Protocol{{Name: m.assignor.Name(), Metadata: subscription.Append(nil)}},
	}
	m.ask(groupRequest{m.group, r}, memberRebalance+8*time.Second, func(a groupAnswer, ok bool) {
		m.busy = false
		result, _ := a.value.(group.JoinResult)
		switch {
		case errors.Is(a.err, group.ErrMemberIDRequired):
			m.id = result.MemberID
			m.join()
		case errors.Is(a.err, group.ErrUnknownMemberID):
			m.lost()
			m.join()
		case a.err != nil:
			m.again(300*time.Millisecond, m.join)
		default:
			m.id, m.epoch = result.MemberID, int32(result.Generation)
			m.c.seen.Add("joined a generation", 1)
			m.sync(result)
		}
	})
}

// lost has the member know that it is none.
func (m *member) lost() {
	m.id, m.epoch = "", 0
	m.drop(nil)
	m.c.seen.Add("member has lost its place", 1)
}

// sync asks for the part of this member, and brings all parts if it leads.
func (m *member) sync(j group.JoinResult) {
	if m.busy {
		return
	}
	m.busy = true
	r := group.SyncRequest{Membership: m.membership(), ProtocolType: j.ProtocolType, Protocol: j.Protocol}
	if j.IsLeader() {
		r.Assignments = m.assign(j)
	}
	m.ask(groupRequest{m.group, r}, memberRebalance+8*time.Second, func(a groupAnswer, ok bool) {
		m.busy = false
		switch {
		case errors.Is(a.err, group.ErrUnknownMemberID):
			m.lost()
			m.join()
		case errors.Is(a.err, group.ErrRebalanceInProgress), errors.Is(a.err, group.ErrIllegalGeneration):
			m.join()
		case a.err != nil:
			m.again(300*time.Millisecond, func() { m.sync(j) })
		default:
			given, err := group.DecodeAssignment(a.value.(group.SyncResult).Assignment)
			if err != nil {
				panic("BUG: " + err.Error())
			}
			var parts []int
			for _, tp := range given.Partitions {
				parts = append(parts, int(tp.Partition))
			}
			revoked := m.drop(parts)
			m.take(parts, m.epoch, true)
			if revoked {
				m.join() // the others wait for it
			}
		}
	})
}

// assign divides the partitions.
func (m *member) assign(j group.JoinResult) map[string][]byte {
	var members []group.AssignorMember
	for _, x := range j.Members {
		s, err := group.DecodeSubscription(x.Metadata)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		members = append(members, group.AssignorMember{MemberID: x.MemberID, InstanceID: x.InstanceID, Subscription: s})
	}
	out := map[string][]byte{}
	divided := m.assignor.Assign(group.Cluster{Partitions: map[string]int32{"data": int32(m.c.partitions)}}, members)
	for _, x := range members {
		a := group.Assignment{Partitions: slices.Clone(divided[x.MemberID])}
		out[x.MemberID] = a.Append(nil)
	}
	return out
}

// beat sends heartbeats as long as the member lives.
func (m *member) beat() {
	m.again(memberInterval, m.beat)
	if m.busy || m.id == "" || m.epoch == 0 {
		return
	}
	m.ask(groupRequest{m.group, m.membership()}, memberInterval+time.Second, func(a groupAnswer, ok bool) {
		switch {
		case m.busy: // it is joining already
		case errors.Is(a.err, group.ErrRebalanceInProgress):
			m.join()
		case errors.Is(a.err, group.ErrIllegalGeneration), errors.Is(a.err, group.ErrUnknownMemberID), errors.Is(a.err, group.ErrFencedInstanceID):
			m.lost()
			m.join()
		}
	})
}

// leave says that the member goes, and does not wait for an answer.
func (m *member) leave() {
	if m.modern {
		m.leave848()
	} else if m.id != "" {
		m.commit()
		m.ask(groupRequest{m.group, group.LeavingMember{MemberID: m.id}}, time.Second, func(groupAnswer, bool) {})
	}
	m.life++ // nothing of before counts
	m.id, m.epoch = "", 0
	m.drop(nil)
}
