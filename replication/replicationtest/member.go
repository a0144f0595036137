package replicationtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/partition"
)

// The times of members. A process that is paused for long is a member no more.
const (
	memberSession   = 8 * time.Second
	memberRebalance = 12 * time.Second
	memberInterval  = 2 * time.Second
)

// member is a member of a group that shares all partitions of data between its members: it reads what it is given, and commits how far it has come. classic.go
// and nextgen.go have how it comes by its partitions.
type member struct {
	*client
	index    int // of all members
	of       int // number of its group
	group    string
	modern   bool           // it speaks the protocol of KIP-848
	assignor group.Assignor // of a classic one

	life  int    // raised when it begins anew: what comes of before is void
	id    string // "" before the coordinator has given one
	epoch int32  // generation, or member epoch
	owned []*share
	busy  bool   // a join, a sync or a heartbeat is on its way
	doubt bool   // KIP-848: the last answer did not come, so all is to be told again
	away  bool   // it has left or died, and comes back later
	last  string // error

	late bool        // the next commit is to be kept
	kept *lateCommit // see there
}

// share is a partition that a member has.
type share struct {
	m         *member
	part      int
	term      int32 // in which it was given
	next      int64 // -1: what is committed is not known yet
	committed int64
	over      bool // it has been given up, or taken away
}

func newMember(c *cluster, index, of int, modern bool, a group.Assignor) *member {
	m := &member{client: newClient(c, clientName("member", index)), index: index, of: of, group: fmt.Sprintf("group-%d", of), modern: modern, assignor: a}
	return m
}

// number is the group in the checkers' books, where the readers who are alone come first.
func (m *member) number() int { return 100 + m.of }

// start begins a life.
func (m *member) start() {
	m.process.Start()
	m.caller = newCaller(m.caller.station, m.c.net, m.clock)
	m.asking, m.busy = false, false
	m.life++
	m.id, m.epoch, m.kept = "", 0, nil
	m.drop(nil)
	if m.modern {
		m.id = fmt.Sprintf("%s-%d", m.name, m.life)
		m.beat848()
	} else {
		m.join()
		m.beat()
	}
	m.commitEvery()
}

// kill ends its process without a word to anybody.
func (m *member) kill() {
	m.process.Kill()
	m.drop(nil)
}

func (m *member) has(part int) bool {
	return slices.ContainsFunc(m.owned, func(s *share) bool { return s.part == part })
}

func (m *member) parts() (out []int) {
	for _, s := range m.owned {
		out = append(out, s.part)
	}
	slices.Sort(out)
	return out
}

// drop gives up all partitions but these, and reports whether there were any.
func (m *member) drop(keep []int) (some bool) {
	m.owned = slices.DeleteFunc(m.owned, func(s *share) bool {
		if slices.Contains(keep, s.part) {
			return false
		}
		s.over, some = true, true
		return true
	})
	return some
}

// take has what it was given in a term: what is new to it is begun where the group has committed. renewed says that what it had is given anew.
func (m *member) take(parts []int, term int32, renewed bool) {
	for _, s := range m.owned {
		if renewed {
			s.term = term
			m.owns(s)
		}
	}
	for _, part := range parts {
		if m.has(part) {
			continue
		}
		s := &share{m: m, part: part, term: term, next: -1, committed: -1}
		m.owned = append(m.owned, s)
		m.owns(s)
		m.c.history.Rewind(m.reader(), part)
		s.load()
	}
	m.commitLate()
	m.c.seen.Add("assignment taken", 1)
	m.say("has partitions %v in generation %d", m.parts(), term)
}

// owns tells the checkers.
func (m *member) owns(s *share) {
	if !m.c.groups[m.of].mixed() {
		m.c.ownership.Owns(m.number(), s.part, s.term, m.identity())
	}
}

func (m *member) reader() int { return 100 + m.index }

// ask sends the coordinator a request, and has done called with the answer if the member is still in the same life.
func (m *member) ask(body any, timeout time.Duration, done func(a groupAnswer, ok bool)) {
	coordinator := m.c.partitions
	life := m.life
	to, known := m.leader(coordinator)
	if !known {
		m.clock.AfterFunc(300*time.Millisecond, func() {
			if m.life == life {
				done(groupAnswer{err: group.ErrCoordinatorNotAvailable}, false)
			}
		})
		return
	}
	m.call(to, laneClient, body, timeout, func(answer any) {
		if m.life != life {
			return
		}
		a, ok := answer.(groupAnswer)
		if !ok {
			a.err = group.ErrCoordinatorNotAvailable
			m.refresh()
		} else {
			m.heard(coordinator, a.hint)
		}
		if elsewhere(a.err) {
			m.refresh()
		}
		if a.err != nil {
			m.last = a.err.Error()
		}
		done(a, ok)
	})
}

// again calls f after a while, in this life.
func (m *member) again(d time.Duration, f func()) {
	life := m.life
	m.clock.AfterFunc(d, func() {
		if m.life == life {
			f()
		}
	})
}

func (m *member) membership() group.Membership {
	return group.Membership{Group: m.group, MemberID: m.id, Generation: group.Generation(m.epoch)}
}

// commitEvery commits how far the member has come.
func (m *member) commitEvery() {
	m.commit()
	m.again(time.Duration(2000+m.rng.IntN(1500))*time.Millisecond, m.commitEvery)
}

// commit commits what has been read and not committed yet.
func (m *member) commit() {
	type sent struct {
		s        *share
		answered func()
		offset   int64
		term     int32
		outdated bool
	}
	offsets := map[int]int64{}
	var list []sent
	for _, s := range m.owned {
		if s.next > s.committed {
			offsets[s.part] = s.next
			list = append(list, sent{s, m.c.offsets.Sent(m.number(), s.part, s.next, s.term), s.next, s.term, m.c.ownership.Outdated(m.number(), s.part, s.term)})
		}
	}
	if len(list) == 0 {
		return
	}
	if m.late && m.kept == nil {
		m.late, m.kept = false, &lateCommit{request: commitOf(m.membership(), offsets), offsets: offsets, term: map[int]int32{}, epoch: m.epoch}
		for _, x := range list {
			m.kept.term[x.s.part] = x.term
		}
	}
	identity := m.identity()
	m.ask(commitOf(m.membership(), offsets), 4*time.Second, func(a groupAnswer, ok bool) {
		if ok {
			for _, x := range list {
				x.answered()
			}
		}
		if !ok || a.err != nil {
			if errors.Is(a.err, group.ErrIllegalGeneration) || errors.Is(a.err, group.ErrUnknownMemberID) || errors.Is(a.err, group.ErrStaleMemberEpoch) {
				m.c.seen.Add("commit of an old generation refused", 1)
			}
			return
		}
		m.c.seen.Add("member has committed", 1)
		for _, x := range list {
			m.c.ownership.Committed(m.number(), x.s.part, x.term, identity, x.outdated)
			m.c.offsets.Ack(m.number(), x.s.part, x.offset, x.term)
			x.s.committed = max(x.s.committed, x.offset)
		}
	})
}

// load asks for the committed offset until somebody knows.
func (s *share) load() {
	m := s.m
	if s.over {
		return
	}
	request := committedRequest{group: m.group, part: s.part}
	if m.modern {
		request.member, request.epoch = m.id, m.epoch
	}
	before := m.c.offsets.Acked(m.number(), s.part)
	m.ask(request, 2*time.Second, func(a groupAnswer, ok bool) {
		if s.over {
			return
		}
		if !ok || a.err != nil {
			m.again(300*time.Millisecond, s.load)
			return
		}
		m.c.offsets.Fetched(m.number(), s.part, a.offset, before)
		s.next, s.committed = max(a.offset, 0), a.offset
		s.poll()
	})
}

func (s *share) poll() {
	m := s.m
	again := func(d time.Duration) { m.again(d, s.poll) }
	if s.over {
		return
	}
	to, known := m.leader(s.part)
	if !known {
		again(500 * time.Millisecond)
		return
	}
	life := m.life
	m.call(to, laneClient, consumeRequest{part: s.part, offset: s.next, epoch: m.leaders[s.part].epoch}, 2*time.Second, func(answer any) {
		if s.over || m.life != life {
			return
		}
		a, ok := answer.(consumeAnswer)
		if !ok || a.code != control.OK {
			if ok {
				m.heard(s.part, a.hint)
			}
			if !ok || moved(a.code) {
				m.refresh()
			}
			if ok && a.code == replica.OffsetOutOfRange {
				s.next = m.outOfRange(s.part, s.next, a)
			}
			again(500 * time.Millisecond)
			return
		}
		some := false
		s.next, some = m.read(m.reader(), s.part, s.next, a)
		if some {
			again(100 * time.Millisecond)
			return
		}
		again(time.Second)
	})
}

// unwell says what is missing once all is well.
func (c *cluster) unwellMembers() string {
	for of := range c.groups {
		owners := map[int]*member{}
		for _, m := range c.members {
			if m.of != of {
				continue
			}
			for _, s := range m.owned {
				if other := owners[s.part]; other != nil {
					return fmt.Sprintf("%s and %s both have partition %d of %s", other.name, m.name, s.part, m.group)
				}
				owners[s.part] = m
				if high := int64(c.leaderLog(s.part).LastStable()); s.next != high || s.committed != high {
					return fmt.Sprintf("%s has read partition %d up to %d, and committed %d, of %d: %s", m.name, s.part, s.next, s.committed, high, m.last)
				}
			}
		}
		for part := range c.partitions {
			if owners[part] == nil {
				return fmt.Sprintf("nobody in group %d has partition %d: %v", of, part, c.membersOf(of))
			}
		}
	}
	return ""
}

func (c *cluster) membersOf(of int) (out []string) {
	for _, m := range c.members {
		if m.of == of {
			out = append(out, fmt.Sprintf("%s has %v in %d: %s", m.identity(), m.parts(), m.epoch, m.last))
		}
	}
	return out
}

func topicPartitions(parts []int) (out []partition.TopicPartition) {
	for _, p := range parts {
		out = append(out, partition.TopicPartition{Topic: "data", Partition: int32(p)})
	}
	return out
}
