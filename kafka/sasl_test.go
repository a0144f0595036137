package kafka

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var aliceAndBob = ListenerConfig{Protocol: SASLPlaintext, Users: map[string]Password{"alice": "wonder", "bob": "builder"}}

func putUser(t testing.TB, s *Server, name, mechanism, password string) {
	require.NoError(t, s.PutScramUser(t.Context(), ScramUser{Name: name, Mechanism: mechanism, Password: Password(password), Iterations: 4096}))
}

func handshake(mechanism string) *kmsg.SASLHandshakeRequest {
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = mechanism
	return req
}

func authenticate(token string) *kmsg.SASLAuthenticateRequest {
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.SASLAuthBytes = []byte(token)
	return req
}

func versionsRequest() *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1"
	return req
}

const aliceToken = "\x00alice\x00wonder"

func TestBeforeAuthenticationOnlyTheOrderOfSASLIsServed(t *testing.T) {
	for what, c := range map[string]struct {
		before func(p *peer)
		last   func(p *peer)
	}{
		"metadata at once":             {func(p *peer) {}, func(p *peer) { p.send(12, topicRequest("t")) }},
		"a token without a mechanism":  {func(p *peer) {}, func(p *peer) { p.send(2, authenticate(aliceToken)) }},
		"metadata after the handshake": {func(p *peer) { p.ask(1, handshake("PLAIN")) }, func(p *peer) { p.send(12, topicRequest("t")) }},
		"a second handshake":           {func(p *peer) { p.ask(1, handshake("PLAIN")) }, func(p *peer) { p.send(1, handshake("PLAIN")) }},
		"versions after the handshake": {func(p *peer) { p.ask(1, handshake("PLAIN")) }, func(p *peer) { p.send(3, versionsRequest()) }},
		"versions twice":               {func(p *peer) { p.ask(3, versionsRequest()) }, func(p *peer) { p.send(3, versionsRequest()) }},
		"a token after versions":       {func(p *peer) { p.ask(3, versionsRequest()) }, func(p *peer) { p.send(2, authenticate(aliceToken)) }},
	} {
		f := newFortress(t, Config{}, aliceAndBob)
		p := f.dial()
		c.before(p)
		c.last(p)
		p.end()
		require.ErrorIs(t, f.reason(), ErrIllegalSASLState, what)
	}
}

func TestVersionsMayBeAskedForBeforeAuthenticationAgainAfterARefusal(t *testing.T) {
	f := newFortress(t, Config{}, aliceAndBob)
	p := f.dial()
	unknown := versionsRequest()
	p.send(0, unknown)
	p.token()
	p2 := f.dial()
	req := versionsRequest()
	req.SetVersion(4)
	frame := wire.AppendHeader(nil, wire.Header{Key: keyApiVersions, Version: 99, Correlation: 1}, true)
	p2.frame(req.AppendTo(frame))
	answer := kmsg.NewPtrApiVersionsResponse()
	require.NoError(t, answer.ReadFrom(p2.token()[4:]))
	require.Equal(t, codeUnsupportedVersion, answer.ErrorCode)
	require.Zero(t, p2.ask(3, versionsRequest()).(*kmsg.ApiVersionsResponse).ErrorCode)
	require.Zero(t, p2.login(wire.PlainClient("alice", "wonder")).ErrorCode)
}

func TestPlainAndScramAdmitWithTheRightPasswordOnly(t *testing.T) {
	f := newFortress(t, Config{}, aliceAndBob)
	putUser(t, f.server, "carol", wire.MechanismScramSHA256, "pencil")
	putUser(t, f.server, "carol", wire.MechanismScramSHA512, "crayon")
	for _, c := range []struct {
		m  wire.ClientMechanism
		ok bool
	}{
		{wire.PlainClient("alice", "wonder"), true},
		{wire.PlainClient("alice", "builder"), false},
		{wire.PlainClient("carol", "pencil"), false},
		{scramClient(t, wire.MechanismScramSHA256, "carol", "pencil"), true},
		{scramClient(t, wire.MechanismScramSHA512, "carol", "crayon"), true},
		{scramClient(t, wire.MechanismScramSHA512, "carol", "pencil"), false},
		{scramClient(t, wire.MechanismScramSHA256, "nobody", "pencil"), false},
		{scramClient(t, wire.MechanismScramSHA256, "alice", "wonder"), false},
	} {
		p := f.dial()
		resp := p.login(c.m)
		if c.ok {
			require.Zero(t, resp.ErrorCode)
			require.Zero(t, resp.SessionLifetimeMillis)
			require.Zero(t, p.ask(12, topicRequest("t")).(*kmsg.MetadataResponse).ErrorCode)
			p.Close()
			require.NotErrorIs(t, f.reason(), ErrAuthenticationFailed)
			continue
		}
		require.Equal(t, codeSASLAuthenticationFailed, resp.ErrorCode)
		require.Contains(t, *resp.ErrorMessage, "Authentication failed")
		require.NotNil(t, resp.SASLAuthBytes)
		p.end()
		reason := f.reason()
		require.ErrorIs(t, reason, ErrAuthenticationFailed)
		for _, secret := range []string{"wonder", "builder", "pencil", "crayon"} {
			require.NotContains(t, reason.Error(), secret)
			require.NotContains(t, *resp.ErrorMessage, secret)
		}
	}
}

func TestHandshakeTellsWhichMechanismsThereAreAndCloses(t *testing.T) {
	l := aliceAndBob
	l.Mechanisms = []string{wire.MechanismScramSHA512, wire.MechanismPlain}
	f := newFortress(t, Config{}, l)
	for version := range int16(2) {
		p := f.dial()
		resp := p.ask(version, handshake("GSSAPI")).(*kmsg.SASLHandshakeResponse)
		require.Equal(t, codeUnsupportedSASLMechanism, resp.ErrorCode)
		require.Equal(t, l.Mechanisms, resp.SupportedMechanisms)
		p.end()
		require.ErrorIs(t, f.reason(), ErrAuthenticationFailed)
	}
	p := f.dial()
	require.Equal(t, codeUnsupportedSASLMechanism, p.ask(1, handshake(wire.MechanismScramSHA256)).(*kmsg.SASLHandshakeResponse).ErrorCode)
	p.end()
}

func TestTokensAfterHandshakeZeroHaveNoHeaders(t *testing.T) {
	f := newFortress(t, Config{}, aliceAndBob)
	putUser(t, f.server, "carol", wire.MechanismScramSHA256, "pencil")
	p := f.dial()
	require.Zero(t, p.ask(0, handshake("PLAIN")).(*kmsg.SASLHandshakeResponse).ErrorCode)
	p.frame([]byte(aliceToken))
	require.Empty(t, p.token(), "an empty token is the end of PLAIN")
	require.Zero(t, p.ask(12, topicRequest("t")).(*kmsg.MetadataResponse).ErrorCode)
	p.Close()
	f.reason()

	p = f.dial()
	require.Zero(t, p.ask(0, handshake(wire.MechanismScramSHA256)).(*kmsg.SASLHandshakeResponse).ErrorCode)
	x := scramClient(t, wire.MechanismScramSHA256, "carol", "pencil").Start()
	var challenge []byte
	for range 2 {
		token, _, err := x.Step(challenge)
		require.NoError(t, err)
		p.frame(token)
		challenge = p.token()
	}
	_, done, err := x.Step(challenge)
	require.NoError(t, err)
	require.True(t, done)
	require.Zero(t, p.ask(12, topicRequest("t")).(*kmsg.MetadataResponse).ErrorCode)
	p.Close()
	f.reason()

	p = f.dial()
	require.Zero(t, p.ask(0, handshake("PLAIN")).(*kmsg.SASLHandshakeResponse).ErrorCode)
	p.frame([]byte("\x00alice\x00wrong"))
	p.end()
	require.ErrorIs(t, f.reason(), ErrAuthenticationFailed)
}

func TestFramesBeforeAuthenticationAreSmall(t *testing.T) {
	f := newFortress(t, Config{Properties: map[string]string{"sasl.server.max.receive.size": "1000"}}, aliceAndBob)
	p := f.dial()
	_, err := p.Write([]byte{0, 0, 4, 0}) // 1 KiB
	require.NoError(t, err)
	p.end()
	tooLarge, ok := errors.AsType[*wire.FrameSizeError](f.reason())
	require.True(t, ok)
	require.Equal(t, int32(1000), tooLarge.Max)

	p = f.dial()
	require.Zero(t, p.login(wire.PlainClient("alice", "wonder")).ErrorCode)
	require.Zero(t, p.ask(12, topicRequest(strings.Repeat("t", 2000))).(*kmsg.MetadataResponse).ErrorCode, "larger ones afterwards")
}

func TestListenerWithoutSASLAnswersItsRequestsWithIllegalState(t *testing.T) {
	f := newFortress(t, Config{}, ListenerConfig{})
	p := f.dial()
	require.Equal(t, codeIllegalSASLState, p.ask(1, handshake("PLAIN")).(*kmsg.SASLHandshakeResponse).ErrorCode)
	require.Equal(t, codeIllegalSASLState, p.ask(2, authenticate(aliceToken)).(*kmsg.SASLAuthenticateResponse).ErrorCode)
	require.Zero(t, p.ask(12, topicRequest("t")).(*kmsg.MetadataResponse).ErrorCode)
}

func TestFailureIsAnsweredAfterTheDelay(t *testing.T) {
	f := newFortress(t, Config{Properties: map[string]string{"connection.failed.authentication.delay.ms": "1234"}}, aliceAndBob)
	s := f.server.brokers()[0].listeners[0].newSession(1, nil)
	s.sec.stage = saslStart
	for _, mechanism := range []string{"PLAIN", "nothing"} {
		c := &call{ctx: t.Context(), key: keySASLHandshake, version: 1, req: handshake(mechanism)}
		_, err := handleSASLHandshake(s, c)
		require.NoError(t, err)
		if mechanism == "nothing" {
			require.Equal(t, 1234*time.Millisecond, c.delay)
			require.ErrorIs(t, c.closing, ErrAuthenticationFailed)
		}
	}
	c := &call{ctx: t.Context(), key: keySASLAuthenticate, version: 2, req: authenticate("\x00alice\x00x")}
	_, err := handleSASLAuthenticate(s, c)
	require.NoError(t, err)
	require.Equal(t, 1234*time.Millisecond, c.delay)
	require.ErrorIs(t, c.closing, ErrAuthenticationFailed)
	s.sec.raw = true
	r, err := s.rawToken([]byte("\x00alice\x00x"))
	require.ErrorIs(t, err, ErrAuthenticationFailed)
	require.Equal(t, 1234*time.Millisecond, r.Delay)
	require.Empty(t, r.Buf)
}

// KIP-368 by a clock that stands still.
func TestSessionsEndUnlessTheyAuthenticateAgain(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_700_000_000, 0))
	f := newFortress(t, Config{Clock: manual, Properties: map[string]string{"connections.max.reauth.ms": "10000"}}, aliceAndBob)
	putUser(t, f.server, "alice", wire.MechanismScramSHA256, "wonder")
	in := func() *peer {
		p := f.dial()
		require.Equal(t, int64(10_000), p.login(wire.PlainClient("alice", "wonder")).SessionLifetimeMillis)
		return p
	}
	works := func(p *peer) {
		require.Zero(t, p.ask(12, topicRequest("t")).(*kmsg.MetadataResponse).ErrorCode)
	}

	p := in()
	manual.Advance(9 * time.Second)
	works(p)
	require.Equal(t, int64(10_000), p.login(wire.PlainClient("alice", "wonder")).SessionLifetimeMillis)
	require.Equal(t, codeIllegalSASLState, p.ask(1, handshake("PLAIN")).(*kmsg.SASLHandshakeResponse).ErrorCode, "not twice a second")
	works(p)
	manual.Advance(10 * time.Second)
	works(p)
	manual.Advance(time.Millisecond)
	p.send(12, topicRequest("t"))
	p.end()
	require.ErrorIs(t, f.reason(), ErrSessionExpired)

	p = in()
	manual.Advance(time.Minute)
	require.Equal(t, int64(10_000), p.login(wire.PlainClient("alice", "wonder")).SessionLifetimeMillis, "late, and nothing else was sent")
	works(p)
	manual.Advance(2 * time.Second)
	p.send(1, handshake("PLAIN"))
	p.token()
	p.send(12, topicRequest("t"))
	p.end()
	require.ErrorIs(t, f.reason(), ErrIllegalSASLState, "nothing comes between the tokens")

	p = in()
	manual.Advance(2 * time.Second)
	resp := p.login(wire.PlainClient("bob", "builder"))
	require.Equal(t, codeSASLAuthenticationFailed, resp.ErrorCode)
	require.Equal(t, "Cannot change principals during re-authentication from User.alice: User.bob", *resp.ErrorMessage)
	p.end()
	require.ErrorIs(t, f.reason(), ErrAuthenticationFailed)

	p = in()
	manual.Advance(2 * time.Second)
	resp = p.login(scramClient(t, wire.MechanismScramSHA256, "alice", "wonder"))
	require.Equal(t, codeSASLAuthenticationFailed, resp.ErrorCode)
	require.Contains(t, *resp.ErrorMessage, "'SCRAM-SHA-256' requested by client is not supported for re-authentication of mechanism 'PLAIN'")
	p.end()
	require.ErrorIs(t, f.reason(), ErrAuthenticationFailed)
}

func TestPasswordsOfPlainComeFromThePropertyToo(t *testing.T) {
	f := newFortress(t, Config{Properties: map[string]string{
		"listener.name.sasl_plaintext.plain.sasl.jaas.config": plainLoginModule + ` required user_dave="cave";`,
		"sasl.enabled.mechanisms":                             "PLAIN",
	}}, ListenerConfig{Protocol: SASLPlaintext})
	require.Zero(t, f.dial().login(wire.PlainClient("dave", "cave")).ErrorCode)
	require.Equal(t, []string{"PLAIN"}, f.dial().ask(1, handshake("x")).(*kmsg.SASLHandshakeResponse).SupportedMechanisms)
	s, err := New(f.store, Config{})
	require.NoError(t, err)
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = s.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Listener: l, Protocol: SASLPlaintext, Mechanisms: []string{"GSSAPI"}}}})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
	_, err = s.AddBroker(BrokerConfig{Properties: map[string]string{"super.users": "root"}, Listeners: []ListenerConfig{{Listener: l}}})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
}

// franz-go logs in by each mechanism, over a plain and an encrypted listener, writes and reads.
func TestFranzGoLogsInByEveryMechanism(t *testing.T) {
	certificate, trusted := certificate(t, pkix.Name{CommonName: "broker"})
	for _, l := range []ListenerConfig{
		{Protocol: SASLPlaintext, Users: aliceAndBob.Users},
		{Protocol: SASLTLS, Users: aliceAndBob.Users, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}},
	} {
		f := newFortress(t, Config{Properties: map[string]string{"connections.max.reauth.ms": "3600000"}}, l)
		putUser(t, f.server, "alice", wire.MechanismScramSHA256, "wonder")
		putUser(t, f.server, "alice", wire.MechanismScramSHA512, "wonder")
		s := scram.Auth{User: "alice", Pass: "wonder"}
		for i, m := range []sasl.Mechanism{plain.Auth{User: "alice", Pass: "wonder"}.AsMechanism(), s.AsSha256Mechanism(), s.AsSha512Mechanism()} {
			options := []kgo.Opt{kgo.SeedBrokers(f.addr), kgo.SASL(m), kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.AllowAutoTopicCreation()}
			if l.TLS != nil {
				options = append(options, kgo.DialTLSConfig(&tls.Config{RootCAs: trusted}))
			}
			cl, err := kgo.NewClient(options...)
			require.NoError(t, err)
			require.NoError(t, cl.ProduceSync(t.Context(), kgo.StringRecord(m.Name())).FirstErr())
			var got []string
			for len(got) <= i {
				fetches := cl.PollFetches(t.Context())
				require.NoError(t, fetches.Err())
				fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
			}
			require.Equal(t, m.Name(), got[i])
			cl.Close()
		}
		wrong, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.SASL(plain.Auth{User: "alice", Pass: "x"}.AsMechanism()), kgo.RequestRetries(0))
		require.NoError(t, err)
		require.Error(t, wrong.Ping(t.Context()))
		wrong.Close()
	}
}

func TestOwnerOfAClientCertificateIsThePrincipal(t *testing.T) {
	server, trusted := certificate(t, pkix.Name{CommonName: "broker"})
	client, _ := certificate(t, pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"Dev"}})
	f := newFortress(t, Config{Properties: map[string]string{
		"authorizer.class.name": standardAuthorizer, "ssl.principal.mapping.rules": "RULE:^CN=(.*?),OU=Dev$/$1/U, RULE:^CN=b.*$/other/",
	}}, ListenerConfig{Protocol: TLS, TLS: &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert}})
	f.rules(acl{resourceTopic, patternLiteral, "t", "User:ALICE", "127.0.0.1", opDescribe, permissionAllow}, acl{resourceTopic, patternLiteral, "u", "User:ANONYMOUS", "*", opDescribe, permissionAllow})
	ask := func(topic string, certificates ...tls.Certificate) int16 {
		c, err := tls.Dial("tcp", f.addr, &tls.Config{RootCAs: trusted, Certificates: certificates})
		require.NoError(t, err)
		defer c.Close()
		p := &peer{Conn: c, t: t}
		return p.ask(12, topicRequest(topic)).(*kmsg.MetadataResponse).Topics[0].ErrorCode
	}
	require.NotEqual(t, codeTopicAuthorizationFailed, ask("t", client))
	require.Equal(t, codeTopicAuthorizationFailed, ask("u", client))
	require.NotEqual(t, codeTopicAuthorizationFailed, ask("u"))
	require.Equal(t, codeTopicAuthorizationFailed, ask("t"))

	stranger, _ := certificate(t, pkix.Name{CommonName: "stranger"})
	c, err := tls.Dial("tcp", f.addr, &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{stranger}})
	require.NoError(t, err)
	defer c.Close()
	(&peer{Conn: c, t: t}).end()
}

// A salted password as clients make it: PBKDF2, and no more.
func saltedPassword(t testing.TB, password string, salt []byte, iterations int) []byte {
	b, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	require.NoError(t, err)
	return b
}
