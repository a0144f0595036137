package kafka

import (
	"hash/maphash"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/partlog/partlog/partition"
)

// LoginLimits bound how fast passwords can be guessed by SASL. Kafka has no such limits. A login that fails takes a token from a bucket
// of its address and from one of the name that it gave, each of which gains so many a second and holds ten seconds' worth. While
// one is empty, whatever fails is answered so much later, in addition to connection.failed.authentication.delay.ms, and one that
// is ten seconds' worth in debt has every login refused, with the words for a wrong password, and right ones too: guesses from many
// connections at a time find out nothing. Only a user who has logged in from this address since a login of his last failed there
// is let in at any time.
//
// IPv6 addresses count by their first 64 bits. Memory is bounded: addresses, and names, share buckets by a seeded hash when
// there are many thousands.
type LoginLimits struct {
	FailuresPerAddress float64 // a second; default 10, negative for no limit
	FailuresPerUser    float64 // a second; default 5, negative for no limit
}

// check completes l and says what is wrong with it.
func (l *LoginLimits) check() error {
	for _, f := range []struct {
		rate   *float64
		normal float64
		key    string
	}{{&l.FailuresPerAddress, 10, "LoginLimits.FailuresPerAddress"}, {&l.FailuresPerUser, 5, "LoginLimits.FailuresPerUser"}} {
		switch {
		case *f.rate == 0:
			*f.rate = f.normal
		case !(*f.rate >= 0.1 || *f.rate < 0): // a bucket has room for one token
			return &partition.ConfigError{Key: f.key, Value: strconv.FormatFloat(*f.rate, 'g', -1, 64), Range: "0.1 or more; negative for no limit"}
		}
	}
	return nil
}

// FailedLogin is a login by SASL that failed, for who looks after the store (Events.LoginFailed).
type FailedLogin struct {
	Mechanism string
	// User is the name that was given, of which nothing is proved; empty if none could be read, at most 255 bytes.
	User string
	// Limited: too many have failed from this address or for this name (LoginLimits), so that the password did not matter.
	Limited bool
	Err     error // what was wrong; it wraps ErrAuthenticationFailed
}

const (
	// loginBurst is how many seconds' worth a bucket holds, and loginDebt of how many it may be overdrawn.
	loginBurst = 10 * time.Second
	loginDebt  = 10 * time.Second
	// loginBuckets are those of addresses, and of users; and how many pairs of them are remembered.
	loginBuckets = 8192
)

// logins are the buckets of failed logins. It reads no clock; times are elapsed ones that do not go back.
type logins struct {
	limits LoginLimits
	seed   maphash.Seed

	mu        sync.Mutex // guards all below
	addresses []debt     // by hash; nil before the first failure
	users     []debt
	known     []uint64 // hashes of a user and his address, at their place; nil before the first
}

func newLogins(l LoginLimits) *logins { return &logins{limits: l, seed: maphash.MakeSeed()} }

// debt is what a bucket lacks, as the time that it takes to fill it. The zero debt is a full bucket's.
type debt struct {
	owed time.Duration
	at   time.Duration
}

// now brings a debt up to date.
func (d *debt) now(elapsed time.Duration) time.Duration {
	d.owed, d.at = max(0, d.owed-(elapsed-d.at)), elapsed
	return d.owed
}

// verdict is what becomes of a login that was looked at.
type verdict struct {
	refused bool          // whatever the password
	wait    time.Duration // with the answer, if it has failed
}

// judge counts a login from an address as a user, and says whether it may count. Either may be unknown.
func (l *logins) judge(from netip.Addr, user string, right bool, elapsed time.Duration) verdict {
	if from.Is6() {
		from = netip.PrefixFrom(from.WithZone(""), 64).Masked().Addr()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	pair := maphash.Comparable(l.seed, [2]string{from.String(), user})
	known := l.known != nil && l.known[pair%loginBuckets] == pair
	var buckets [2]*debt
	var tokens [2]time.Duration // what one costs
	if rate := l.limits.FailuresPerAddress; rate > 0 && from.IsValid() {
		buckets[0], tokens[0] = bucketOf(&l.addresses, maphash.Comparable(l.seed, from)), time.Duration(float64(time.Second)/rate)
	}
	if rate := l.limits.FailuresPerUser; rate > 0 && user != "" {
		buckets[1], tokens[1] = bucketOf(&l.users, maphash.String(l.seed, user)), time.Duration(float64(time.Second)/rate)
	}
	for i, b := range buckets {
		if b != nil && b.now(elapsed)+tokens[i] > loginBurst+loginDebt && !known {
			return verdict{refused: true}
		}
	}
	if right {
		if l.known == nil {
			l.known = make([]uint64, loginBuckets)
		}
		l.known[pair%loginBuckets] = pair
		return verdict{}
	}
	if known {
		l.known[pair%loginBuckets] = 0
	}
	var v verdict
	for i, b := range buckets {
		if b != nil {
			b.owed = min(b.owed+tokens[i], loginBurst+loginDebt)
			v.wait = max(v.wait, b.owed-loginBurst)
		}
	}
	return v
}

func bucketOf(all *[]debt, hash uint64) *debt {
	if *all == nil {
		*all = make([]debt, loginBuckets)
	}
	return &(*all)[hash%loginBuckets]
}
