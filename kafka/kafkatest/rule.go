package kafkatest

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

// Rule says which requests fail, and how. It matches a request if every field of the first part that is set does; with none
// every request. It does what the fields of the second part say; with none it observes: it counts, and can be waited for.
//
// Where a rule is for some of a request's topics, partitions, groups or transactional ids, an Error is for these, and the
// others are served.
//
//	c.Inject(kafkatest.Rule{API: "Produce", Topic: "orders", Times: 2, Error: kerr.NotLeaderForPartition.Code})
//	c.Inject(kafkatest.Rule{API: "OffsetCommit", Group: "billing", Apply: true, Close: true}) // done, but the client never knows
type Rule struct {
	Name string // for the transcript; default what it does

	// Which requests.

	API             string  // names or keys, separated by commas: "Produce", "JoinGroup,SyncGroup", "18"
	Versions        []int16 // any of these
	ClientID        string  // a glob (path.Match), as all that follow
	Principal       string  // as "User:alice"
	Brokers         []int32 // ids, any of these
	Listener        string  // the name of one
	Topic           string  // requests that name such a topic, by name or id, or whose fetch session has it
	Partitions      []int32 // any of these
	Group           string
	TransactionalID string
	Match           func(*kafka.Call) bool `json:"-"` // anything else; asked last

	Nth         int     // the matching request that it begins to act upon, counted from 1; default the first
	Times       int     // how many it acts upon; default 0, all
	Probability float64 // of acting, 0 to 1, drawn from the cluster's seed; default 0, always

	// What is done to them.

	Delay    time.Duration // they wait for so long, by the cluster's clock, before anything else
	Error    int16         // Kafka's code, which is answered
	Apply    bool          // they take effect all the same, and only the answer is another one, or lost; with DelayAnswer and the three below it is not needed
	Drop     bool          // they are not answered, and the connection stays
	Close    bool          // the connection is closed instead of an answer
	Truncate int           // the connection ends after so many bytes of the answer
	Corrupt  int           // so many bytes of the answer, drawn from the seed, are others; its correlation id is spared
	Slow     int           // the answer comes with so many bytes a second, by the cluster's clock
	// DelayAnswer holds the answer back, after the request has taken effect.
	DelayAnswer time.Duration
	Crash       CrashKind // the whole cluster crashes: before the request takes effect or, with Apply, before it is answered

	// Do, if not nil, is called in place of all that. next serves the request.
	Do func(call *kafka.Call, next func() kafka.Answer) kafka.Answer `json:"-"`
}

// acts reports whether the rule does more than count.
func (r *Rule) acts() bool {
	return r.Delay > 0 || r.ends()
}

// ends reports whether the rule decides about the answer; else later rules are asked.
func (r *Rule) ends() bool {
	return r.Error != 0 || r.Apply || r.Drop || r.Close || r.Truncate > 0 || r.Corrupt > 0 || r.Slow > 0 || r.DelayAnswer > 0 || r.Crash != 0 || r.Do != nil
}

// String says what the rule does, for transcripts.
func (r *Rule) String() string {
	if r.Name != "" {
		return r.Name
	}
	var what []string
	add := func(is bool, format string, args ...any) {
		if is {
			what = append(what, fmt.Sprintf(format, args...))
		}
	}
	add(r.Delay > 0, "delay %s", r.Delay)
	add(r.Apply, "apply")
	add(r.Error != 0, "error %s", ErrorName(r.Error))
	add(r.Drop, "drop")
	add(r.Close, "close")
	add(r.Truncate > 0, "truncate at %d", r.Truncate)
	add(r.Corrupt > 0, "corrupt %d bytes", r.Corrupt)
	add(r.Slow > 0, "%d bytes/s", r.Slow)
	add(r.DelayAnswer > 0, "answer after %s", r.DelayAnswer)
	add(r.Crash != 0, "%s", r.Crash)
	add(r.Do != nil, "function")
	if len(what) == 0 {
		return "observe"
	}
	return strings.Join(what, ", ")
}

// check compiles the names in the rule.
func (r *Rule) check() (keys []int16, err error) {
	for _, name := range strings.FieldsFunc(r.API, func(c rune) bool { return c == ',' || c == ' ' }) {
		key, ok := APIKey(name)
		if !ok {
			return nil, fmt.Errorf("rule %s: Kafka has no API %q", r, name)
		}
		keys = append(keys, key)
	}
	for _, glob := range []string{r.ClientID, r.Principal, r.Topic, r.Group, r.TransactionalID} {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, fmt.Errorf("rule %s: %q: %w", r, glob, err)
		}
	}
	if r.Probability < 0 || r.Probability > 1 {
		return nil, fmt.Errorf("rule %s: probability %g is not between 0 and 1", r, r.Probability)
	}
	return keys, nil
}

func matches(glob, name string) bool {
	if glob == "" {
		return true
	}
	ok, _ := path.Match(glob, name) // check has seen to it
	return ok
}

var apiKeys = sync.OnceValue(func() map[string]int16 {
	keys := map[string]int16{}
	for k := range int16(100) {
		if kmsg.RequestForKey(k) != nil {
			keys[strings.ToLower(kmsg.NameForKey(k))] = k
		}
	}
	return keys
})

// APIKey returns the key of an API by its name in Kafka's protocol, such as "Produce", in any case, or by its number.
func APIKey(name string) (int16, bool) {
	if n, err := strconv.ParseInt(name, 10, 16); err == nil {
		return int16(n), kmsg.RequestForKey(int16(n)) != nil
	}
	k, ok := apiKeys()[strings.ToLower(name)]
	return k, ok
}

// ErrorName returns the name of an error code, such as NOT_LEADER_OR_FOLLOWER, and its number where it has none.
func ErrorName(code int16) string {
	switch code {
	case 0:
		return "NONE"
	case 6:
		return "NOT_LEADER_OR_FOLLOWER" // kerr has the old name
	}
	if e := kerr.TypedErrorForCode(code); e != nil && e.Code == code {
		return e.Message
	}
	return strconv.Itoa(int(code))
}

// ErrorCode returns the code of an error by its name in Kafka's protocol, in any case, or by its number.
func ErrorCode(name string) (int16, bool) {
	if n, err := strconv.ParseInt(name, 10, 16); err == nil {
		return int16(n), true
	}
	for code := int16(-1); code < 200; code++ {
		if strings.EqualFold(ErrorName(code), name) {
			return code, true
		}
	}
	if strings.EqualFold(name, kerr.NotLeaderForPartition.Message) {
		return 6, true
	}
	return 0, false
}

// ruleJSON is a Rule as JSON has it: durations as "1.5s", the error by its name.
type ruleJSON struct {
	Name            string   `json:"name,omitempty"`
	API             string   `json:"api,omitempty"`
	Versions        []int16  `json:"versions,omitempty"`
	ClientID        string   `json:"clientId,omitempty"`
	Principal       string   `json:"principal,omitempty"`
	Brokers         []int32  `json:"brokers,omitempty"`
	Listener        string   `json:"listener,omitempty"`
	Topic           string   `json:"topic,omitempty"`
	Partitions      []int32  `json:"partitions,omitempty"`
	Group           string   `json:"group,omitempty"`
	TransactionalID string   `json:"transactionalId,omitempty"`
	Nth             int      `json:"nth,omitempty"`
	Times           int      `json:"times,omitempty"`
	Probability     float64  `json:"probability,omitempty"`
	Delay           duration `json:"delay,omitempty"`
	Error           string   `json:"error,omitempty"`
	Apply           bool     `json:"apply,omitempty"`
	Drop            bool     `json:"drop,omitempty"`
	Close           bool     `json:"close,omitempty"`
	Truncate        int      `json:"truncate,omitempty"`
	Corrupt         int      `json:"corrupt,omitempty"`
	Slow            int      `json:"slow,omitempty"`
	DelayAnswer     duration `json:"delayAnswer,omitempty"`
	Crash           string   `json:"crash,omitempty"`
}

type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(b []byte) error {
	x, err := time.ParseDuration(string(b))
	*d = duration(x)
	return err
}

// MarshalJSON writes the rule without its functions, durations as "1.5s" and the error by its name.
func (r Rule) MarshalJSON() ([]byte, error) {
	j := ruleJSON{
		r.Name, r.API, r.Versions, r.ClientID, r.Principal, r.Brokers, r.Listener, r.Topic, r.Partitions, r.Group, r.TransactionalID, r.Nth, r.Times,
		r.Probability, duration(r.Delay), "", r.Apply, r.Drop, r.Close, r.Truncate, r.Corrupt, r.Slow, duration(r.DelayAnswer), "",
	}
	if r.Error != 0 {
		j.Error = ErrorName(r.Error)
	}
	if r.Crash != 0 {
		j.Crash = r.Crash.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes. A field that a Rule does not have is an error.
func (r *Rule) UnmarshalJSON(b []byte) error {
	var j ruleJSON
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return err
	}
	*r = Rule{
		Name: j.Name, API: j.API, Versions: j.Versions, ClientID: j.ClientID, Principal: j.Principal, Brokers: j.Brokers, Listener: j.Listener,
		Topic: j.Topic, Partitions: j.Partitions, Group: j.Group, TransactionalID: j.TransactionalID, Nth: j.Nth, Times: j.Times,
		Probability: j.Probability, Delay: time.Duration(j.Delay), Apply: j.Apply, Drop: j.Drop, Close: j.Close, Truncate: j.Truncate,
		Corrupt: j.Corrupt, Slow: j.Slow, DelayAnswer: time.Duration(j.DelayAnswer),
	}
	if j.Error != "" {
		code, ok := ErrorCode(j.Error)
		if !ok {
			return fmt.Errorf("no error of Kafka is called %q", j.Error)
		}
		r.Error = code
	}
	if j.Crash != "" {
		k, ok := crashKind(j.Crash)
		if !ok {
			return fmt.Errorf("there is no crash %q: kill, power-loss or torn-write", j.Crash)
		}
		r.Crash = k
	}
	return nil
}

// Armed is a rule in force. It is safe for concurrent use.
type Armed struct {
	id   int64
	rule Rule
	keys []int16
	set  *RuleSet

	// Guarded by set.mu.
	seen    int
	hits    int
	removed bool
	changed chan struct{} // closed, and replaced, at each hit, if somebody waits; nil otherwise
}

// ID tells the rules of a RuleSet apart.
func (a *Armed) ID() int64 { return a.id }

// Rule returns what the rule says.
func (a *Armed) Rule() Rule { return a.rule }

// Seen returns how many requests have matched.
func (a *Armed) Seen() int {
	a.set.mu.Lock()
	defer a.set.mu.Unlock()
	return a.seen
}

// Hits returns how many requests the rule has acted upon; of a rule that observes, how many it has counted from Nth on.
func (a *Armed) Hits() int {
	a.set.mu.Lock()
	defer a.set.mu.Unlock()
	return a.hits
}

// Wait waits until the rule has n hits, in all since it was put in force: then their requests have arrived, and need not have
// been answered yet. It returns ctx's error if ctx ends first.
func (a *Armed) Wait(ctx context.Context, n int) error {
	for {
		a.set.mu.Lock()
		if a.hits >= n {
			a.set.mu.Unlock()
			return nil
		}
		if a.changed == nil {
			a.changed = make(chan struct{})
		}
		changed, hits := a.changed, a.hits
		a.set.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("rule %s: %d of %d hits: %w", &a.rule, hits, n, ctx.Err())
		}
	}
}

// Remove ends the rule. Requests that it delays at this moment go on waiting.
func (a *Armed) Remove() {
	a.set.mu.Lock()
	defer a.set.mu.Unlock()
	a.removed = true
	a.set.rules = slices.DeleteFunc(slices.Clone(a.set.rules), func(x *Armed) bool { return x == a })
	a.set.publishLocked()
}
