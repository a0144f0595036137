package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/partlog/partlog/partition"
)

// consumerMember is a member of a consumer group. It is never changed once it is in a consumerState: a change makes
// another one. Its two halves are records of their own: the first is its subscription, the second its assignment.
type consumerMember struct {
	id string

	instanceID, rackID   string // empty for none
	clientID, clientHost string
	rebalance            time.Duration
	topics               []string // sorted
	regex                string   // empty for none
	assignor             string   // empty for no preference
	classic              *classicMember

	epoch, previous MemberEpoch
	state           ReconciliationState
	assigned        partitionSet // may be used by the member
	revoking        partitionSet // are to be given up by the member
}

// classicMember is what the coordinator must know of a member that speaks the classic protocol.
type classicMember struct {
	session   time.Duration
	protocols []Protocol
}

// protocol is the name of the one that the member was told; empty if the log has none.
func (c *classicMember) protocol() string {
	if len(c.protocols) == 0 {
		return ""
	}
	return c.protocols[0].Name
}

func (c *classicMember) equal(o *classicMember) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.session == o.session && slices.EqualFunc(c.protocols, o.protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// sameSubscription compares the first halves.
func (m *consumerMember) sameSubscription(o *consumerMember) bool {
	return m.instanceID == o.instanceID && m.rackID == o.rackID && m.clientID == o.clientID && m.clientHost == o.clientHost &&
		m.rebalance == o.rebalance && slices.Equal(m.topics, o.topics) && m.regex == o.regex && m.assignor == o.assignor && m.classic.equal(o.classic)
}

// sameAssignment compares the second halves.
func (m *consumerMember) sameAssignment(o *consumerMember) bool {
	return m.epoch == o.epoch && m.previous == o.previous && m.state == o.state && m.assigned.equal(o.assigned) && m.revoking.equal(o.revoking)
}

func (m *consumerMember) isReconciledTo(epoch MemberEpoch) bool {
	return m.state == MemberStable && m.epoch == epoch
}

// resolvedRegex is what a regular expression stood for when it was last looked at.
type resolvedRegex struct {
	topics  []string // sorted
	version int64
	time    time.Time
}

// consumerState is what the log says of a consumer group, and nothing else: it is a function of the changes that have
// been applied to it.
type consumerState struct {
	epoch           MemberEpoch
	hash            int64 // of the metadata of the topics subscribed to
	assignmentEpoch MemberEpoch
	members         map[string]*consumerMember
	targets         map[string]partitionSet // by member id
	regexes         map[string]*resolvedRegex
	legacy          bool // a record of type 4 is in the log, which only older brokers write

	// Derived from the above.
	instances map[string]string // member ids by instance id
	// owners are the epochs of those whose assigned or revoking partition it is. Invariant: there is at most one. Nil
	// in a state that is only kept to be cloned.
	owners map[partition.TopicID]map[int32]MemberEpoch
}

func newConsumerState() *consumerState {
	return &consumerState{
		members: make(map[string]*consumerMember), targets: make(map[string]partitionSet), regexes: make(map[string]*resolvedRegex),
		instances: make(map[string]string), owners: make(map[partition.TopicID]map[int32]MemberEpoch),
	}
}

// clone returns an independent state; members and sets are shared, because nobody changes them.
func (s *consumerState) clone() *consumerState {
	c := newConsumerState()
	c.epoch, c.hash, c.assignmentEpoch, c.legacy = s.epoch, s.hash, s.assignmentEpoch, s.legacy
	maps.Copy(c.members, s.members)
	maps.Copy(c.targets, s.targets)
	maps.Copy(c.regexes, s.regexes)
	for _, m := range s.sorted() {
		if m.instanceID != "" {
			c.instances[m.instanceID] = m.id
		}
		c.own(m)
	}
	return c
}

// sorted returns the members by member id.
func (s *consumerState) sorted() []*consumerMember {
	return slices.SortedFunc(maps.Values(s.members), func(a, b *consumerMember) int { return cmp.Compare(a.id, b.id) })
}

// owner returns the epoch of the member that has a partition or has yet to give it up.
func (s *consumerState) owner(id partition.TopicID, p int32) (MemberEpoch, bool) {
	e, ok := s.owners[id][p]
	return e, ok
}

func (s *consumerState) own(m *consumerMember) {
	if s.owners == nil {
		return
	}
	for _, set := range []partitionSet{m.assigned, m.revoking} {
		for id, p := range eachPartition(set) {
			of := s.owners[id]
			if of == nil {
				of = make(map[int32]MemberEpoch)
				s.owners[id] = of
			}
			// A damaged log may have two owners: the later epoch is the right one.
			if e, taken := of[p]; !taken || e < m.epoch {
				of[p] = m.epoch
			}
		}
	}
}

func (s *consumerState) disown(m *consumerMember) {
	if m == nil {
		return
	}
	for _, set := range []partitionSet{m.assigned, m.revoking} {
		for id, p := range eachPartition(set) {
			if of := s.owners[id]; of != nil {
				if e, taken := of[p]; taken && e == m.epoch {
					delete(of, p)
				}
				if len(of) == 0 {
					delete(s.owners, id)
				}
			}
		}
	}
}

// put takes a member in, or takes its new version.
func (s *consumerState) put(m *consumerMember) {
	old := s.members[m.id]
	s.disown(old)
	if old != nil && old.instanceID != "" && s.instances[old.instanceID] == old.id {
		delete(s.instances, old.instanceID)
	}
	s.members[m.id] = m
	if m.instanceID != "" {
		s.instances[m.instanceID] = m.id
	}
	s.own(m)
}

func (s *consumerState) remove(id string) {
	m := s.members[id]
	if m == nil {
		return
	}
	s.disown(m)
	delete(s.members, id)
	if m.instanceID != "" && s.instances[m.instanceID] == id {
		delete(s.instances, m.instanceID)
	}
}

// static returns the member with an instance id, nil if there is none.
func (s *consumerState) static(instanceID string) *consumerMember {
	if instanceID == "" {
		return nil
	}
	return s.members[s.instances[instanceID]]
}

// sortedRegexes yields the regular expressions in order.
func (s *consumerState) sortedRegexes() []string { return slices.Sorted(maps.Keys(s.regexes)) }

// subscribers counts the members that subscribe by a regular expression.
func (s *consumerState) subscribers(regex string) (n int) {
	for _, m := range s.members {
		if m.regex == regex {
			n++
		}
	}
	return n
}

// subscription returns the topics that a member is subscribed to by name or by regular expression, sorted.
func (s *consumerState) subscription(m *consumerMember) []string {
	if m.regex == "" {
		return m.topics
	}
	r := s.regexes[m.regex]
	switch {
	case r == nil || len(r.topics) == 0:
		return m.topics
	case len(m.topics) == 0:
		return r.topics
	}
	return slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(m.topics), r.topics...))))
}

// subscribed are the topics that any member is subscribed to.
func (s *consumerState) subscribed() map[string]bool {
	all := make(map[string]bool)
	for _, m := range s.members {
		for _, t := range m.topics {
			all[t] = true
		}
	}
	for _, r := range s.regexes {
		for _, t := range r.topics {
			all[t] = true
		}
	}
	return all
}

// phase is the group's state in Kafka's words.
func (s *consumerState) phase() State {
	switch {
	case len(s.members) == 0:
		return Empty
	case s.epoch > s.assignmentEpoch:
		return Assigning
	}
	for _, m := range s.members {
		if !m.isReconciledTo(s.assignmentEpoch) {
			return Reconciling
		}
	}
	return Stable
}

// waiting reports whether a partition of the member's target is still somebody else's.
func (s *consumerState) waiting(m *consumerMember) bool {
	if m.state != MemberUnreleasedPartitions {
		return false
	}
	for id, p := range eachPartition(s.targets[m.id]) {
		if !m.assigned.has(id, p) {
			if _, owned := s.owner(id, p); owned {
				return true
			}
		}
	}
	return false
}
