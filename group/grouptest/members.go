package grouptest

import (
	"errors"
	"time"

	"github.com/partlog/partlog/group"
)

// member is one that lives in another process, with a session.
type member struct {
	c *check
	group.JoinResult
	instance string
}

const session = 10 * time.Second

func (m *member) request() group.JoinRequest {
	return group.JoinRequest{
		Group: m.c.group, MemberID: m.MemberID, InstanceID: m.instance, ClientID: "conformance", ClientHost: "here", SessionTimeout: session,
		RebalanceTimeout: time.Minute, ProtocolType: group.ProtocolTypeConsumer, Protocols: []group.Protocol{{Name: "range", Metadata: subscription(m.c.group)}},
	}
}

// subscription is one to the check's topic, in Kafka's form of version 0.
func subscription(topic string) []byte {
	b := []byte{0, 0, 0, 0, 0, 1, byte(len(topic) >> 8), byte(len(topic))}
	return append(append(b, topic...), 0xff, 0xff, 0xff, 0xff)
}

// join enters the next generation; it returns when all members have.
func (m *member) join() error {
	joined, err := m.c.c.Join(m.c.Context(), m.request())
	if err == nil {
		m.JoinResult = joined
	}
	return err
}

// sync hands in the same bytes for every member, if it leads, and returns its own.
func (m *member) sync(assignment string) (string, error) {
	r := group.SyncRequest{Membership: m.Membership, ProtocolType: m.ProtocolType, Protocol: m.Protocol}
	if m.IsLeader() {
		r.Assignments = map[string][]byte{}
		for _, all := range m.Members {
			r.Assignments[all.MemberID] = []byte(assignment)
		}
	}
	result, err := m.c.c.Sync(m.c.Context(), r)
	return string(result.Assignment), err
}

func (m *member) heartbeat() error { return m.c.c.Heartbeat(m.c.Context(), m.Membership) }

// enter makes a group of one.
func (c *check) enter(instance string) *member {
	c.Helper()
	m := &member{c: c, instance: instance}
	c.ok(m.join(), "join")
	got, err := m.sync("alone")
	c.ok(err, "sync")
	equal(c, got, "alone", "assignment")
	return m
}

func assigned(c *check) {
	m := c.enter("")
	equal(c, m.Generation, 1, "generation")
	equal(c, m.IsLeader(), true, "that the only member leads")
	equal(c, m.Protocol, "range", "protocol")
	c.ok(m.heartbeat(), "heartbeat")
	c.ok(c.commit(m.Membership, 0, 5), "commit")
	c.ok(c.c.Leave(c.Context(), c.group, group.LeavingMember{MemberID: m.MemberID}), "leave")
	c.is(m.heartbeat(), group.ErrUnknownMemberID, "heartbeat of one that has left")
	c.is(c.commit(m.Membership, 0, 6), group.ErrUnknownMemberID, "commit of one that has left")
	equal(c, c.committed(), [3]Offset{5, -1, -1}, "offsets")
}

func memberIDRequired(c *check) {
	m := &member{c: c}
	r := m.request()
	r.RequireKnownMemberID = true
	joined, err := c.c.Join(c.Context(), r)
	c.is(err, group.ErrMemberIDRequired, "a first join")
	equal(c, joined.MemberID != "", true, "a member id")
	m.MemberID = joined.MemberID
	c.ok(m.join(), "join with it")
	equal(c, m.MemberID, joined.MemberID, "member id")
	m.MemberID = "nobody"
	c.is(m.join(), group.ErrUnknownMemberID, "join with an id that nobody gave")
	r.Group = ""
	_, err = c.c.Join(c.Context(), r)
	c.is(err, group.ErrInvalidGroupID, "join of no group")
	r.Group, r.SessionTimeout = c.group, time.Millisecond
	_, err = c.c.Join(c.Context(), r)
	c.is(err, group.ErrInvalidSessionTimeout, "a session of a millisecond")
}

// two makes a generation of two members, after one of one; old is the first one's place there.
func (c *check) two() (a, b *member, old group.Membership) {
	c.Helper()
	a, b = c.enter(""), &member{c: c}
	old = a.Membership
	joined := make(chan error, 1)
	go func() { joined <- b.join() }()
	c.soon("the first hears of the second", func() bool {
		err := a.heartbeat()
		if err != nil {
			c.is(err, group.ErrRebalanceInProgress, "heartbeat")
		}
		return err != nil
	})
	c.ok(a.join(), "join again")
	c.ok(<-joined, "join of the second")
	return a, b, old
}

func generations(c *check) {
	a, b, old := c.two()
	equal(c, a.Generation, old.Generation+1, "the next generation")
	equal(c, b.Generation, a.Generation, "the second one's generation")
	equal(c, a.LeaderID, b.LeaderID, "leader")
	equal(c, len(a.Members)+len(b.Members), 2, "members that the leader is told")
	leader, other := a, b
	if b.IsLeader() {
		leader, other = b, a
	}
	_, err := leader.sync("shared")
	c.ok(err, "sync of the leader")
	got, err := other.sync("")
	c.ok(err, "sync of the other")
	equal(c, got, "shared", "the other's assignment")
	c.ok(a.heartbeat(), "heartbeat")
	c.ok(b.heartbeat(), "heartbeat")
}

func oldGeneration(c *check) {
	a, b, old := c.two()
	for _, m := range []*member{a, b} {
		if m.IsLeader() {
			_, err := m.sync("shared")
			c.ok(err, "sync")
		}
	}
	c.is(c.commit(old, 0, 9), group.ErrIllegalGeneration, "commit")
	c.is(c.c.Heartbeat(c.Context(), old), group.ErrIllegalGeneration, "heartbeat")
	_, err := c.c.Sync(c.Context(), group.SyncRequest{Membership: old})
	c.is(err, group.ErrIllegalGeneration, "sync")
	c.is(c.commit(c.outside(), 0, 9), group.ErrUnknownMemberID, "commit from outside while there are members")
	equal(c, c.committed(), [3]Offset{-1, -1, -1}, "offsets")
	c.ok(c.commit(a.Membership, 0, 9), "commit of the new generation")
}

func silence(c *check) {
	m := c.enter("")
	c.on.Clock.Advance(session / 2)
	c.ok(m.heartbeat(), "heartbeat within the session")
	c.on.Clock.Advance(session / 2)
	c.ok(m.heartbeat(), "heartbeat within the next")
	c.soon("it is removed", func() bool {
		c.on.Clock.Advance(session)
		d, err := c.c.Describe(c.Context(), c.group)
		c.ok(err, "describe")
		return len(d.Members) == 0
	})
	c.is(m.heartbeat(), group.ErrUnknownMemberID, "heartbeat of one that was removed")
}

func staticMember(c *check) {
	m := c.enter("one")
	again := &member{c: c, instance: "one"}
	c.ok(again.join(), "join with the same name, after a restart")
	equal(c, again.MemberID != m.MemberID, true, "another member id")
	equal(c, again.Generation, m.Generation, "the same generation")
	got, err := again.sync("")
	c.ok(err, "sync")
	equal(c, got, "alone", "the same assignment")
	old := m.Membership
	old.InstanceID = "one"
	err = c.c.Heartbeat(c.Context(), old)
	c.is(err, group.ErrFencedInstanceID, "heartbeat of the one before")
	equal(c, errors.Is(err, group.ErrUnknownMemberID), false, "that it is unknown")
}
