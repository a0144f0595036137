package kafkatest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// RuleSet is rules in force. Where several match a request, each counts it; delays add up, and of those that decide about the
// answer the one that was added first does. It is safe for concurrent use.
type RuleSet struct {
	clock partition.Clock

	// What a cluster lends; each may be nil.
	topicName func(id [16]byte) string
	crash     func(kind CrashKind)
	conn      func(remote string) *conn
	fetched   func(broker, session int32) []item

	active atomic.Pointer[[]*Armed] // rules, for who only looks

	mu     sync.Mutex // guards all below
	rng    *rand.Rand
	rules  []*Armed // never changed, only replaced
	lastID int64
}

// NewRules returns an empty set, for use without a cluster: its Intercept is a kafka.Interceptor, and Apply decides for
// calls that are no requests.
func NewRules(seed uint64, k partition.Clock) *RuleSet {
	return &RuleSet{clock: k, rng: rand.New(rand.NewPCG(seed, 2))}
}

// Add puts a rule in force. The error says what is malformed in it.
func (s *RuleSet) Add(r Rule) (*Armed, error) {
	keys, err := r.check()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	a := &Armed{id: s.lastID, rule: r, keys: keys, set: s}
	s.rules = append(slices.Clip(s.rules), a)
	s.publishLocked()
	return a, nil
}

// All returns the rules in force, in the order in which they were added.
func (s *RuleSet) All() []*Armed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rules)
}

// Clear removes all rules.
func (s *RuleSet) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.rules {
		a.removed = true
	}
	s.rules = nil
	s.publishLocked()
}

func (s *RuleSet) publishLocked() {
	if len(s.rules) == 0 {
		s.active.Store(nil)
		return
	}
	all := s.rules
	s.active.Store(&all)
}

// item is a place that a request is about, with what is known of it.
type item struct {
	topic     string
	id        [16]byte // of the topic, if a fetch session has it
	partition int32
	group     string
	txn       string

	hasTopic, hasPartition, hasGroup, hasTxn bool
}

// picks reports whether the rule is about this place.
func (r *Rule) picks(it item) bool {
	return (r.Topic == "" || it.hasTopic && matches(r.Topic, it.topic)) &&
		(len(r.Partitions) == 0 || it.hasPartition && slices.Contains(r.Partitions, it.partition)) &&
		(r.Group == "" || it.hasGroup && matches(r.Group, it.group)) &&
		(r.TransactionalID == "" || it.hasTxn && matches(r.TransactionalID, it.txn))
}

// selective reports whether the rule may be about a part of a request.
func (r *Rule) selective() bool {
	return r.Topic != "" || len(r.Partitions) > 0 || r.Group != "" || r.TransactionalID != ""
}

// asked is picks for a place that a request names. Some name topics, and are answered for each partition.
func (r *Rule) asked(key int16) func(item) bool {
	if key != int16(kmsg.Metadata) && key != int16(kmsg.DescribeTopicPartitions) {
		return r.picks
	}
	topics := *r
	topics.Partitions = nil
	return topics.picks
}

// event is a request as rules see it.
type event struct {
	key, version int16
	clientID     string
	principal    string
	broker       int32
	listener     string
	call         *kafka.Call // nil if there is none
	items        func() []item
}

// match reports whether the rule is about the request.
func (a *Armed) match(e *event) bool {
	r := &a.rule
	switch {
	case len(a.keys) > 0 && !slices.Contains(a.keys, e.key),
		len(r.Versions) > 0 && !slices.Contains(r.Versions, e.version),
		!matches(r.ClientID, e.clientID), !matches(r.Principal, e.principal),
		len(r.Brokers) > 0 && !slices.Contains(r.Brokers, e.broker),
		r.Listener != "" && r.Listener != e.listener,
		r.selective() && !slices.ContainsFunc(e.items(), r.asked(e.key)):
		return false
	}
	return r.Match == nil || e.call != nil && r.Match(e.call)
}

// fire counts an event and returns the rules that act upon it: delays, and at the end the one that decides.
func (s *RuleSet) fire(e *event) (acting []*Armed) {
	active := s.active.Load()
	if active == nil {
		return nil
	}
	var matching []*Armed
	for _, a := range *active { // with no lock held: Match is the host's
		if a.match(e) {
			matching = append(matching, a)
		}
	}
	if len(matching) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	decided := false
	for _, a := range matching {
		if a.removed {
			continue
		}
		r := &a.rule
		a.seen++
		if r.ends() && decided || a.seen < max(r.Nth, 1) || r.Times > 0 && a.hits >= r.Times {
			continue
		}
		if r.Probability > 0 && s.rng.Float64() >= r.Probability {
			continue
		}
		a.hits++
		if a.changed != nil {
			close(a.changed)
			a.changed = nil
		}
		if r.acts() {
			acting = append(acting, a)
		}
		decided = decided || r.ends()
	}
	return acting
}

// random returns n different numbers below below.
func (s *RuleSet) random(n, below int) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Perm(below)[:min(n, below)]
}

func (s *RuleSet) bit() byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 1 << s.rng.IntN(8)
}

// Intercept is around a request: a kafka.Interceptor.
func (s *RuleSet) Intercept(call *kafka.Call, next func() kafka.Answer) kafka.Answer {
	answer, _ := s.intercept(call, next)
	return answer
}

// intercept returns the names of the rules that have acted, too.
func (s *RuleSet) intercept(call *kafka.Call, next func() kafka.Answer) (kafka.Answer, []string) {
	if s.active.Load() == nil {
		return next(), nil
	}
	var items []item
	looked := false
	acting := s.fire(&event{
		key: call.Key, version: call.Version, clientID: call.ClientID, principal: call.Conn.Principal, broker: call.Broker, listener: call.Listener,
		call: call,
		items: func() []item {
			if !looked {
				items, looked = s.items(call), true
			}
			return items
		},
	})
	var names []string
	for _, a := range acting {
		names = append(names, a.rule.String())
	}
	for _, a := range acting {
		if !wait(call.Context, s.clock, a.rule.Delay) {
			return kafka.Answer{Err: call.Context.Err()}, names
		}
	}
	for _, a := range acting {
		if a.rule.ends() {
			return s.act(&a.rule, call, next), names
		}
	}
	return next(), names
}

// act does what a rule says.
func (s *RuleSet) act(r *Rule, call *kafka.Call, next func() kafka.Answer) kafka.Answer {
	switch {
	case r.Do != nil:
		return r.Do(call, next)
	case r.Crash == TornWrite:
		if s.crash != nil {
			s.crash(r.Crash)
		}
		return next()
	case r.Crash != 0:
		if r.Apply {
			next()
		}
		if s.crash != nil {
			s.crash(r.Crash)
		}
		return kafka.Answer{Err: ErrCrashed}
	case r.Close:
		if r.Apply {
			next()
		}
		return kafka.Answer{Err: ErrRule}
	case r.Drop:
		if r.Apply {
			next()
		}
		return kafka.Answer{}
	}
	var answer kafka.Answer
	if r.Error != 0 {
		answer = s.fail(r, call, next)
	} else {
		answer = next()
	}
	if !wait(call.Context, s.clock, r.DelayAnswer) {
		return kafka.Answer{Err: call.Context.Err()}
	}
	if answer.Err != nil || answer.Response == nil {
		return answer
	}
	return s.spoil(r, call, answer)
}

// spoil has the answer's bytes damaged, cut, or slow.
func (s *RuleSet) spoil(r *Rule, call *kafka.Call, answer kafka.Answer) kafka.Answer {
	if r.Corrupt == 0 && r.Truncate == 0 && r.Slow == 0 {
		return answer
	}
	inner := answer.Raw
	answer.Raw = func(frame []byte) []byte {
		if inner != nil {
			frame = inner(frame)
		}
		const spared = 4 // the correlation id: who has asked is to read it
		if r.Corrupt > 0 && len(frame) > spared {
			for _, at := range s.random(r.Corrupt, len(frame)-spared) {
				frame[spared+at] ^= s.bit()
			}
		}
		if s.conn != nil {
			if c := s.conn(call.Conn.Remote); c != nil {
				if r.Slow > 0 {
					c.trickle(4+len(frame), r.Slow, s.clock)
				}
				if r.Truncate > 0 {
					c.cutAfter(r.Truncate)
				}
			}
		}
		return frame
	}
	if r.Truncate > 0 {
		answer.Close = true
	}
	return answer
}
