package kafka

import (
	"bytes"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// Random requests in random order, with time passing between them: whoever is served anything but the order of SASL has sent
// the right password, in the session that it opened, and nothing wrong before.
func TestNoOrderOfRequestsLeadsPastAuthentication(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_700_000_000, 0))
	f := newFortress(t, Config{
		Clock: manual, LoginLimits: LoginLimits{FailuresPerAddress: -1, FailuresPerUser: -1},
		Properties: map[string]string{"connections.max.reauth.ms": "10000", "connections.max.idle.ms": "-1"},
	}, aliceAndBob)
	putUser(t, f.server, "alice", wire.MechanismScramSHA256, "wonder")
	listener := f.server.brokers()[0].listeners[0]
	rapid.Check(t, func(t *rapid.T) {
		s := listener.newSession(1, nil)
		s.sec.stage = saslStart // as connected does; there is no connection here
		var (
			right     bool          // the right password was the last thing that a handshake with PLAIN led to
			chosen    string        // the mechanism of the handshake that waits for its token
			mechanism string        // the one of the first
			until     time.Duration // when the session ends
		)
		var first []string // most begin as they should, or nobody would get in
		if rapid.IntRange(0, 3).Draw(t, "as it should be") > 0 {
			first = []string{"handshake", "right token", "metadata"}
		}
		served := 0
		for i := range rapid.IntRange(3, 15).Draw(t, "requests") {
			var req kmsg.Request
			version := int16(1)
			what := rapid.SampledFrom([]string{"versions", "handshake", "handshake", "other handshake", "right token", "right token", "wrong token", "bob's token", "metadata", "metadata", "wait", "raw handshake"}).Draw(t, "what")
			if i < len(first) {
				what = first[i]
			}
			require.False(t, i == len(first) && i > 0 && served == 0, "the right password gets in")
			switch what {
			case "wait":
				manual.Advance(time.Duration(rapid.IntRange(1, 8).Draw(t, "seconds")) * time.Second)
				continue
			case "versions":
				req, version = versionsRequest(), 3
			case "handshake":
				req = handshake("PLAIN")
			case "raw handshake":
				req, version = handshake("PLAIN"), 0
			case "other handshake":
				req = handshake(wire.MechanismScramSHA256)
			case "right token":
				req = authenticate(aliceToken)
			case "wrong token":
				req = authenticate("\x00alice\x00x")
			case "bob's token":
				req = authenticate("\x00bob\x00builder")
			case "metadata":
				req, version = topicRequest("t"), 12
			}
			resp, err := try(t.Context(), s, version, req)
			if err != nil {
				require.False(t, i < len(first), "as it should be: %v", err)
				return // the connection is closed
			}
			switch resp := resp.(type) {
			case *kmsg.SASLHandshakeResponse:
				if resp.ErrorCode == 0 {
					if chosen = req.(*kmsg.SASLHandshakeRequest).Mechanism; mechanism == "" {
						mechanism = chosen
					}
				}
				if version == 0 && resp.ErrorCode == 0 {
					return // tokens have no headers from here on
				}
			case *kmsg.SASLAuthenticateResponse:
				if resp.ErrorCode == codeIllegalSASLState {
					require.True(t, right, "an answer to a token out of the order is for those who are in")
					continue
				}
				mine := what == "right token" || what == "bob's token" && s.principal.Name == "bob"
				if resp.ErrorCode != 0 {
					require.Error(t, s.call.closing, "a failure closes the connection")
					return
				}
				if chosen == "PLAIN" {
					require.True(t, mine)
					require.Equal(t, "PLAIN", mechanism, "nobody changes the mechanism")
					right, until = true, clock.Elapsed(manual)+10*time.Second
				}
			case *kmsg.MetadataResponse:
				served++
				require.True(t, right)
				require.LessOrEqual(t, clock.Elapsed(manual), until)
				require.Contains(t, []string{"alice", "bob"}, s.principal.Name)
			}
		}
	})
}

// Whatever a stranger sends, he stays one.
func FuzzStranger(f *testing.F) {
	frame := func(version int16, req kmsg.Request) []byte {
		req.SetVersion(version)
		return kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)[4:]
	}
	f.Add(frame(1, handshake("PLAIN")), frame(2, authenticate("\x00alice\x00x")), []byte{0, 36, 0, 2})
	f.Add(frame(0, handshake(wire.MechanismScramSHA256)), []byte("n,,n=alice,r=abc"), []byte("c=biws,r=abc,p=AAAA"))
	f.Add(frame(3, versionsRequest()), frame(12, topicRequest("t")), []byte{})
	fortress := newFortress(f, Config{}, aliceAndBob)
	putUser(f, fortress.server, "alice", wire.MechanismScramSHA256, "wonder")
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		s := fortress.server.brokers()[0].listeners[0].newSession(1, nil)
		s.sec.stage = saslStart
		for _, frame := range [][]byte{a, b, c} {
			if bytes.Contains(frame, []byte("wonder")) || bytes.Contains(frame, []byte("builder")) {
				return // it has guessed right
			}
			if _, err := s.Frame(t.Context(), frame); err != nil || s.call.closing != nil {
				break
			}
		}
		require.NotEqual(t, saslAdmitted, s.sec.stage)
		require.Equal(t, anonymous, s.principal)
	})
}
