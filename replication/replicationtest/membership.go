package replicationtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/simulate"
)

// groupSetup is one group of consumers in a cluster: what each of its members speaks.
type groupSetup struct {
	members []bool // whether each speaks the protocol of KIP-848
	sticky  bool   // classic ones keep their partitions while they join (KIP-429)
}

// drawGroups draws the groups of a cluster: three in four have one.
func drawGroups(seed uint64) (list []groupSetup) {
	rng := simulate.Stream(seed, "groups")
	if rng.IntN(4) == 0 {
		return nil
	}
	g := groupSetup{sticky: rng.IntN(2) == 0}
	kind := rng.IntN(5)
	for range 2 + rng.IntN(2) {
		// Two in five are classic, two of the new protocol, and one has members of both, which makes it one and then the other.
		g.members = append(g.members, kind > 2 || kind == 2 && rng.IntN(2) == 0)
	}
	if kind == 2 { // only cooperative ones can be together with members of the new protocol and keep what they have
		g.sticky = true
	}
	return append(list, g)
}

// mixed reports whether members of both protocols are in the group. A group that is empty becomes one of the other protocol by beginning anew, as in
// Apache Kafka: then generations say nothing of what came later, and who is fenced is known by member ids alone.
func (g groupSetup) mixed() bool {
	return slices.Contains(g.members, true) && slices.Contains(g.members, false)
}

func (c *cluster) newMembers() {
	for of, g := range c.groups {
		assignor := group.Range
		if g.sticky {
			assignor = group.CooperativeSticky
		}
		for _, modern := range g.members {
			c.members = append(c.members, newMember(c, len(c.members), of, modern, assignor))
		}
	}
}

// membersMenu is what may happen to so many members.
func membersMenu(members int) (menu []simulate.Menu) {
	if members == 0 {
		return nil
	}
	for _, m := range []simulate.Menu{
		{Kind: "member-dies", Every: 25 * time.Second, Chance: 0.4, Least: time.Second, Most: 30 * time.Second},
		{Kind: "member-leaves", Every: 20 * time.Second, Chance: 0.4, Least: time.Second, Most: 20 * time.Second},
		{Kind: "member-pauses", Every: 20 * time.Second, Chance: 0.4, Least: time.Second, Most: 40 * time.Second},
	} {
		m.A = members
		menu = append(menu, m)
	}
	return append(menu, simulate.Menu{Kind: "late-commit", Every: 10 * time.Second, Chance: 0.3, A: members})
}

// disturbMember takes a member away for a while.
func (c *cluster) disturbMember(a simulate.Action) {
	m := c.members[a.A%len(c.members)]
	if !m.process.Up() || m.process.Paused() || m.away {
		return
	}
	m.say("%s", a.Kind)
	if a.Kind == "member-pauses" { // it knows nothing of it, and goes on where it was
		m.process.Pause()
		c.sched.After(a.For, m.process.Resume)
	} else {
		if a.Kind == "member-leaves" {
			m.leave()
		} else {
			m.kill()
		}
		m.away = true
		life := m.life
		c.sched.After(a.For, func() {
			if m.life == life {
				m.comeBack()
			}
		})
	}
	c.counts.Add(a.Kind, 1)
	c.trace.Say("fault", "%s", a)
}

// lateCommit is a commit that is to arrive once more when its generation is over, over a connection that was slower than the one over which it was
// answered: it must be refused.
type lateCommit struct {
	request groupRequest
	offsets map[int]int64
	term    map[int]int32
	epoch   int32
}

// commitLate has the commit that was kept arrive, if the member is in another generation by now.
func (m *member) commitLate() {
	to, known := m.leader(m.c.partitions)
	if m.kept == nil || m.kept.epoch == m.epoch || !known {
		return
	}
	for _, part := range sortedKeys(m.kept.offsets) {
		m.c.offsets.Sent(m.number(), part, m.kept.offsets[part], m.kept.term[part]) // never answered: a coordinator that knows of no later generation may take it
	}
	m.c.net.Dial(m.caller.station, to).Send(m.caller.station, request{body: m.kept.request})
	m.kept = nil
	m.c.counts.Add("late-commit", 1)
}

// comeBack begins a new life where there is none.
func (m *member) comeBack() {
	m.process.Resume()
	if m.away {
		m.away = false
		m.process.Kill()
		m.start()
	}
}

// identity tells one life of a member from another.
func (m *member) identity() string { return fmt.Sprintf("%s (%s)", m.name, m.id) }
