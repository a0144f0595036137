package wire

import (
	"errors"
	"fmt"
	"strings"
)

// Plain is SASL PLAIN (RFC 4616). check tells whether the password is the user's: it is called by many goroutines, and
// compares with SamePassword.
func Plain(check func(user, password string) bool) Mechanism { return plain(check) }

type plain func(user, password string) bool

func (plain) Name() string      { return MechanismPlain }
func (p plain) Start() Exchange { return &plainExchange{check: p} }

type plainExchange struct {
	check         plain
	claimed, user string
	over          bool
}

func (e *plainExchange) User() string    { return e.user }
func (e *plainExchange) Claimed() string { return e.claimed }

func (e *plainExchange) Refuse() error {
	e.user, e.over = "", true
	return e.refuse("Authentication failed: Invalid username or password")
}

func (e *plainExchange) Step(token []byte) ([]byte, bool, error) {
	if e.over {
		return nil, false, invalid(MechanismPlain, errors.New("there is one token only"))
	}
	e.over = true
	parts := strings.Split(string(token), "\x00")
	if len(parts) != 3 {
		return nil, false, e.refuse(fmt.Sprintf("Invalid SASL/PLAIN response: expected 3 tokens, got %d", len(parts)))
	}
	identity, user, password := parts[0], parts[1], parts[2]
	e.claimed = user
	switch {
	case user == "":
		return nil, false, e.refuse("Authentication failed: username not specified")
	case password == "":
		return nil, false, e.refuse("Authentication failed: password not specified")
	case !e.check(user, password):
		return nil, false, e.Refuse()
	case identity != "" && identity != user:
		return nil, false, otherIdentity(MechanismPlain)
	}
	e.user = user
	return nil, true, nil
}

// refuse has the words of the Java broker.
func (*plainExchange) refuse(message string) error {
	return &AuthenticationError{Mechanism: MechanismPlain, Message: message}
}

// PlainClient authenticates with SASL PLAIN. The password travels as it is: use TLS.
func PlainClient(user, password string) ClientMechanism {
	return plainClient("\x00" + user + "\x00" + password)
}

type plainClient string

func (plainClient) Name() string            { return MechanismPlain }
func (p plainClient) Start() ClientExchange { return &plainClientExchange{token: string(p)} }

type plainClientExchange struct {
	token string
	sent  bool
}

func (e *plainClientExchange) Step([]byte) ([]byte, bool, error) {
	if e.sent {
		return nil, true, nil
	}
	e.sent = true
	return []byte(e.token), false, nil
}
