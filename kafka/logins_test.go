package kafka

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

var here, there = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func testLogins(t testing.TB, l LoginLimits) *logins {
	require.NoError(t, l.check())
	return newLogins(l)
}

// With ten an address and five a user, of which one user of one address uses up his own first: fifty fail without a wait, the next
// ones wait longer and longer, and at a hundred nothing he says counts, until time has passed.
func TestFailedLoginsWaitLongerAndThenAreNotHeard(t *testing.T) {
	l := testLogins(t, LoginLimits{})
	for i := range 100 {
		want := verdict{wait: max(0, time.Duration(i-49)*200*time.Millisecond)}
		require.Equal(t, want, l.judge(here, "alice", false, 0), i)
	}
	require.Equal(t, verdict{refused: true}, l.judge(here, "alice", false, 0))
	require.Equal(t, verdict{refused: true}, l.judge(here, "alice", true, 0), "the right password is not found out")
	require.Equal(t, verdict{refused: true}, l.judge(there, "alice", true, 0), "from nowhere")
	require.Equal(t, verdict{}, l.judge(there, "bob", true, 0))
	require.Equal(t, verdict{wait: 10 * time.Second}, l.judge(here, "alice", false, 200*time.Millisecond), "one token later one is heard")
	require.Equal(t, verdict{refused: true}, l.judge(here, "alice", true, 200*time.Millisecond))
	require.Equal(t, verdict{}, l.judge(here, "alice", true, 400*time.Millisecond))
}

func TestFailedLoginsOfManyUsersCountForTheirAddress(t *testing.T) {
	l := testLogins(t, LoginLimits{FailuresPerUser: -1})
	for i := range 200 {
		require.Equal(t, max(0, time.Duration(i-99)*100*time.Millisecond), l.judge(here, fmt.Sprint("user", i), false, 0).wait, i)
	}
	require.True(t, l.judge(here, "somebody", true, 0).refused)
	require.True(t, l.judge(here, "", false, 0).refused, "nor is a token without a name heard")
	require.False(t, l.judge(there, "somebody", true, 0).refused)
	require.False(t, l.judge(netip.Addr{}, "somebody", true, 0).refused, "connections in memory have no address")
}

// Whom others keep out by failing in his name gets in from where he has been in before, but not more than once with a wrong password.
func TestNobodyIsKeptOutOfWhereHeHasBeen(t *testing.T) {
	l := testLogins(t, LoginLimits{})
	require.False(t, l.judge(here, "alice", true, 0).refused)
	for range 100 {
		require.False(t, l.judge(there, "alice", false, 0).refused)
	}
	require.True(t, l.judge(there, "alice", true, 0).refused)
	for range 3 {
		require.Equal(t, verdict{}, l.judge(here, "alice", true, 0))
	}
	require.Equal(t, verdict{wait: 10 * time.Second}, l.judge(here, "alice", false, 0))
	require.True(t, l.judge(here, "alice", true, 0).refused)
}

func TestAddressesOfOneNetworkOfIPv6AreOne(t *testing.T) {
	l := testLogins(t, LoginLimits{FailuresPerUser: -1})
	for i := range 200 {
		l.judge(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x%%eth0", i+1)), "a", false, 0)
	}
	require.True(t, l.judge(netip.MustParseAddr("2001:db8::ffff:1"), "a", true, 0).refused)
	require.False(t, l.judge(netip.MustParseAddr("2001:db8:0:1::1"), "a", true, 0).refused)
}

func TestWhatIsKnownOfFailedLoginsIsBounded(t *testing.T) {
	l := testLogins(t, LoginLimits{})
	require.Nil(t, l.users, "nothing before the first")
	for i := range 3 * loginBuckets {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		l.judge(a, fmt.Sprint(i), i%2 == 0, 0)
	}
	require.Equal(t, []int{loginBuckets, loginBuckets, loginBuckets}, []int{len(l.addresses), len(l.users), len(l.known)})
}

func TestLimitsOfLoginsMayBeTurnedOff(t *testing.T) {
	l := testLogins(t, LoginLimits{FailuresPerAddress: -1, FailuresPerUser: -1})
	for range 10_000 {
		require.Equal(t, verdict{}, l.judge(here, "alice", false, 0))
	}
	for _, bad := range []LoginLimits{{FailuresPerAddress: 0.05}, {FailuresPerUser: 0.01}} {
		_, err := New(new(partition.Store), Config{LoginLimits: bad, ClusterID: "x", Clock: clock.NewManual(time.Unix(0, 0))})
		var refused *partition.ConfigError
		require.ErrorAs(t, err, &refused)
	}
}

// Whoever guesses, from however many addresses and connections and however cleverly in time: of one user no more passwords are
// looked at than the bucket holds, may be overdrawn by, and has gained.
func TestGuessesThatAreHeardAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]float64{0.1, 1, 5, 333}).Draw(t, "rate")
		l := newLogins(LoginLimits{FailuresPerAddress: -1, FailuresPerUser: rate})
		var now time.Duration
		heard := 0
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond
			for i := range rapid.IntRange(0, 200).Draw(t, "guesses") {
				if v := l.judge(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "alice", false, now); !v.refused {
					heard++
					require.LessOrEqual(t, v.wait, loginDebt)
				}
			}
			require.LessOrEqual(t, float64(heard), rate*(loginBurst+loginDebt+now).Seconds()+0.001)
		}
	})
}

// The limit holds for every mechanism, tells the peer nothing, and tells the host everything but the password.
func TestLoginsBeyondTheLimitFailWhateverThePassword(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_700_000_000, 0))
	type told struct {
		FailedLogin
		message string
	}
	var events []told
	f := newFortress(t, Config{Clock: manual, LoginLimits: LoginLimits{FailuresPerAddress: -1, FailuresPerUser: 0.1},
		Properties: map[string]string{"connection.failed.authentication.delay.ms": "100"},
		Events: Events{LoginFailed: func(broker int32, listener string, c ConnInfo, l FailedLogin) {
			require.Equal(t, []any{int32(1), "SASL_PLAINTEXT", "192.0.2.7:5"}, []any{broker, listener, c.Remote})
			events = append(events, told{l, textOfFailure(l.Err)})
		}}}, aliceAndBob)
	for _, mechanism := range scramMechanismNames {
		putUser(t, f.server, "alice-"+mechanism, mechanism, "wonder")
	}
	login := func(mechanism, user, password string) *call {
		s := f.server.brokers()[0].listeners[0].newSession(1, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 5})
		s.sec.stage = saslStart
		_, err := handleSASLHandshake(s, &call{ctx: t.Context(), key: keySASLHandshake, version: 1, req: handshake(mechanism)})
		require.NoError(t, err)
		client := wire.PlainClient(user, password).Start()
		if mechanism != wire.MechanismPlain {
			client = scramClient(t, mechanism, user, password).Start()
		}
		var challenge []byte
		for {
			token, done, err := client.Step(challenge)
			require.NoError(t, err)
			require.False(t, done)
			c := &call{ctx: t.Context(), key: keySASLAuthenticate, version: 2, req: authenticate(string(token))}
			resp, err := handleSASLAuthenticate(s, c)
			require.NoError(t, err)
			answer := resp.(*kmsg.SASLAuthenticateResponse)
			if answer.ErrorCode != 0 || s.sec.stage == saslAdmitted {
				require.Equal(t, answer.ErrorCode != 0, c.closing != nil)
				return c
			}
			challenge = answer.SASLAuthBytes
		}
	}
	for _, mechanism := range append([]string{wire.MechanismPlain}, scramMechanismNames...) {
		user := map[bool]string{true: "alice", false: "alice-" + mechanism}[mechanism == wire.MechanismPlain]
		events = nil
		require.Equal(t, 100*time.Millisecond, login(mechanism, user, "wrong").delay)
		require.Equal(t, 10100*time.Millisecond, login(mechanism, user, "wrong").delay, "it has a token in ten seconds")
		c := login(mechanism, user, "wonder")
		require.ErrorIs(t, c.closing, ErrAuthenticationFailed)
		require.Equal(t, 100*time.Millisecond, c.delay)
		require.Len(t, events, 3)
		for i, e := range events {
			require.Equal(t, []any{mechanism, user, i == 2}, []any{e.Mechanism, e.User, e.Limited})
			require.Equal(t, events[0].message, e.message, "the peer cannot tell")
			require.ErrorIs(t, e.Err, ErrAuthenticationFailed)
		}
		manual.Advance(10 * time.Second)
		require.NoError(t, login(mechanism, user, "wonder").closing)
		require.Len(t, events, 3)
	}
}

var scramMechanismNames = []string{wire.MechanismScramSHA256, wire.MechanismScramSHA512}
