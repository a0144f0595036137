package kafka

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Errors of authentication: reasons for which a connection was closed (Events.ConnectionClosed). One about credentials
// wraps ErrAuthenticationFailed.
var (
	ErrAuthenticationFailed = errors.New("authentication failed")
	ErrIllegalSASLState     = errors.New("request out of the order of SASL")       // as any other API before authentication
	ErrSessionExpired       = errors.New("session expired without authentication") // KIP-368
)

// saslStage is where a connection stands:
//
//	          ┌──── ApiVersions ────┐
//	start ────┤                     ├── SaslHandshake ──→ tokens ──→ admitted ──→ (KIP-368) tokens ──→ admitted
//	          └──→ versioned ───────┘
type saslStage uint8

const (
	saslAdmitted  saslStage = iota // authenticated, or the listener asks for no SASL
	saslStart                      // nothing has been said
	saslVersioned                  // ApiVersions has been answered
	saslTokens                     // a mechanism has been chosen
)

// security is what a session knows of who speaks.
type security struct {
	name     string // of the principal, as rules have it
	stage    saslStage
	exchange wire.Exchange // of stage saslTokens
	raw      bool          // tokens come without request headers (SaslHandshake 0)

	mechanism string        // that was chosen first
	wrong     string        // another one that was chosen to authenticate again: it fails at the token, as in Kafka
	again     bool          // authenticates again
	expires   time.Duration // elapsed time at which the session ends; 0: never
	begun     time.Duration // when authentication was last begun again
	penalty   time.Duration // how much later a failure is answered, as others have failed before (LoginLimits)

	busy time.Duration // since when the request in hand keeps the broker busy; 0: nobody wants to know
}

// reauthInterval is how often a connection may begin to authenticate again, as in Kafka.
const reauthInterval = time.Second

// connected says who speaks when a connection begins: the owner of a client certificate, nobody known, or with SASL nobody
// yet. An error closes the connection.
func (s *session) connected() error {
	s.become(anonymous)
	if s.listener.config.Protocol.sasl() {
		s.sec.stage = saslStart
		s.conn.SetMaxFrame(s.settings().saslMaxReceiveBytes)
		return nil
	}
	if state := s.conn.TLS(); state != nil && len(state.PeerCertificates) > 0 {
		name, err := s.listener.security.principals.name(state.PeerCertificates[0].RawSubject)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrAuthenticationFailed, err)
		}
		s.become(Principal{principalUser, name})
	}
	s.conn.Admit()
	return nil
}

// become changes who speaks.
func (s *session) become(p Principal) {
	s.principal = p
	s.sec.name = p.String()
}

// admit says whether a request may be handled now, as authentication stands; an error closes the connection.
func (s *session) admit(key, version int16) error {
	s.clockIn()
	switch s.sec.stage {
	case saslStart:
		if key == keySASLHandshake || key == keyApiVersions {
			return nil
		}
	case saslVersioned:
		if key == keySASLHandshake {
			return nil
		}
	case saslTokens:
		if key == keySASLAuthenticate {
			return nil
		}
	default:
		if s.sec.expires == 0 || key == keySASLHandshake || s.elapsed() <= s.sec.expires {
			return nil
		}
		return ErrSessionExpired
	}
	return ErrIllegalSASLState
}

// versioned notes that ApiVersions has been answered with what the client asked for: before it authenticates, it may ask
// once.
func (s *session) versioned() {
	if s.sec.stage == saslStart {
		s.sec.stage = saslVersioned
	}
}

func (s *session) elapsed() time.Duration { return clock.Elapsed(s.server.clock) }

func handleSASLHandshake(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.SASLHandshakeRequest)
	resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
	if s.sec.stage == saslAdmitted && !s.mayAuthenticateAgain() {
		if s.sec.expires != 0 && s.elapsed() > s.sec.expires {
			return nil, ErrSessionExpired
		}
		resp.ErrorCode = codeIllegalSASLState
		return resp, nil
	}
	resp.SupportedMechanisms = slices.Clone(s.listener.security.names)
	m := s.listener.security.mechanisms[req.Mechanism]
	if m == nil {
		resp.ErrorCode = codeUnsupportedSASLMechanism
		s.fail(c, fmt.Errorf("%w: SASL mechanism %.32q is not enabled", ErrAuthenticationFailed, req.Mechanism))
		return resp, nil
	}
	s.sec.wrong, s.sec.again = "", s.sec.stage == saslAdmitted
	if s.sec.again && m.Name() != s.sec.mechanism {
		s.sec.wrong = m.Name()
	} else {
		s.sec.mechanism = m.Name()
	}
	s.sec.stage, s.sec.exchange, s.sec.raw = saslTokens, m.Start(), c.version == 0
	return resp, nil
}

// mayAuthenticateAgain reports whether an admitted connection may begin to authenticate again: one whose session ends, and
// not twice within a second.
func (s *session) mayAuthenticateAgain() bool {
	if s.sec.expires == 0 {
		return false
	}
	now := s.elapsed()
	if s.sec.begun != 0 && now-s.sec.begun < reauthInterval {
		return false
	}
	s.sec.begun = now
	return true
}

func handleSASLAuthenticate(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.SASLAuthenticateRequest)
	resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	resp.SASLAuthBytes = []byte{}
	if s.sec.stage != saslTokens {
		resp.ErrorCode = codeIllegalSASLState
		resp.ErrorMessage = kmsg.StringPtr("SaslAuthenticate request received after successful authentication")
		return resp, nil
	}
	answer, lifetime, err := s.token(req.SASLAuthBytes)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = codeSASLAuthenticationFailed, kmsg.StringPtr(textOfFailure(err))
		s.fail(c, err)
		return resp, nil
	}
	resp.ErrorMessage = new(string) // as Kafka: empty, not null
	if answer != nil {
		resp.SASLAuthBytes = answer
	}
	resp.SessionLifetimeMillis = lifetime.Milliseconds()
	return resp, nil
}

// rawToken answers a frame that is a token without header, as they follow SaslHandshake 0. There are no words for a failure
// then: the connection just ends, after the delay.
func (s *session) rawToken(frame []byte) (*wire.Reply, error) {
	answer, _, err := s.token(frame)
	if err != nil {
		r := s.reply()
		r.Buf, r.Raw, r.Delay = nil, true, s.failureDelay()
		return r, err
	}
	r := s.reply()
	r.Buf = append(r.Buf, answer...)
	return r, nil
}

// token takes a step of the exchange; at its end the connection is admitted. The error wraps ErrAuthenticationFailed.
func (s *session) token(token []byte) (answer []byte, lifetime time.Duration, err error) {
	limited := false
	answer, lifetime, err = s.step(token, &limited)
	if tell := s.server.config.Events.LoginFailed; tell != nil && err != nil {
		user := s.sec.exchange.Claimed()
		tell(s.broker.id, s.listener.name, s.info(), FailedLogin{Mechanism: s.sec.mechanism, User: user[:min(len(user), 255)], Limited: limited, Err: err})
	}
	return answer, lifetime, err
}

func (s *session) step(token []byte, limited *bool) (answer []byte, lifetime time.Duration, err error) {
	if s.sec.wrong != "" {
		return nil, 0, refused("SASL mechanism '%s' requested by client is not supported for re-authentication of mechanism '%s'", s.sec.wrong, s.sec.mechanism)
	}
	answer, done, err := s.sec.exchange.Step(token)
	if err == nil && !done {
		return answer, 0, nil
	}
	address, _ := netip.ParseAddr(s.host) // in memory there is none
	v := s.server.logins.judge(address, s.sec.exchange.Claimed(), err == nil, s.elapsed())
	if s.sec.penalty, *limited = v.wait, v.refused; v.refused && err == nil {
		err = s.sec.exchange.Refuse()
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrAuthenticationFailed, err)
	}
	p := Principal{principalUser, s.sec.exchange.User()}
	if s.sec.again && p != s.principal {
		return nil, 0, refused("Cannot change principals during re-authentication from %s.%s: %s.%s", s.principal.Type, s.principal.Name, p.Type, p.Name)
	}
	s.become(p)
	s.sec.stage, s.sec.exchange, s.sec.raw = saslAdmitted, nil, false
	s.sec.expires = 0
	set := s.settings()
	if lifetime = set.maxReauth(s.listener.name, s.sec.mechanism); lifetime > 0 {
		s.sec.expires = s.elapsed() + lifetime
	}
	if s.conn != nil {
		s.conn.Admit()
	}
	return answer, lifetime, nil
}

// maxReauth is how long a session of a mechanism lasts (connections.max.reauth.ms, which may be set for a listener and a
// mechanism); 0: for ever.
func (s *settings) maxReauth(listener, mechanism string) time.Duration {
	for _, name := range []string{
		"listener.name." + strings.ToLower(listener) + "." + strings.ToLower(mechanism) + ".connections.max.reauth.ms",
		"listener.name." + strings.ToLower(listener) + ".connections.max.reauth.ms",
	} {
		if v, ok := s.properties[name]; ok {
			if d, err := time.ParseDuration(v + "ms"); err == nil {
				return d
			}
		}
	}
	return s.connectionsMaxReauth
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrAuthenticationFailed, &wire.AuthenticationError{Message: fmt.Sprintf(format, args...)})
}

// textOfFailure is what the client is told: nothing that helps to guess.
func textOfFailure(err error) string {
	if e, ok := errors.AsType[*wire.AuthenticationError](err); ok {
		return e.Message
	}
	return "Authentication failed"
}

// fail has the connection closed after the answer, and both wait (connection.failed.authentication.delay.ms).
func (s *session) fail(c *call, err error) {
	c.delay += s.failureDelay()
	c.closing = err
}

// failureDelay is how long a failure waits for its answer.
func (s *session) failureDelay() time.Duration {
	return s.settings().failedAuthenticationDelay + s.sec.penalty
}
