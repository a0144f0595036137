package wire

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/xdg-go/scram"
)

// Bounds of ScramCredential.Iterations (KIP-554).
const (
	MinScramIterations = 4096
	MaxScramIterations = 16384
)

// ScramCredential is what a server stores for a user of SCRAM: enough to verify who knows the password, not enough to
// log in elsewhere.
type ScramCredential struct {
	Salt, StoredKey, ServerKey []byte
	Iterations                 int
}

// NewScramCredential makes the credential of a password for a SCRAM mechanism, with a salt of its own if salt is nil. The
// password is taken as it is, as Kafka does (no SASLprep).
func NewScramCredential(mechanism, password string, salt []byte, iterations int) (ScramCredential, error) {
	hash, err := scramHash(mechanism)
	if err != nil {
		return ScramCredential{}, err
	}
	if salt == nil {
		salt = make([]byte, 20)
		rand.Read(salt)
	}
	if iterations < MinScramIterations || iterations > MaxScramIterations {
		return ScramCredential{}, fmt.Errorf("%d iterations, where %d to %d are possible", iterations, MinScramIterations, MaxScramIterations)
	}
	salted, err := pbkdf2.Key(hash, password, salt, iterations, hash().Size())
	if err != nil {
		return ScramCredential{}, err
	}
	return SaltedScramCredential(mechanism, salted, salt, iterations)
}

// SaltedScramCredential makes the credential of a password that somebody else has salted, as AlterUserScramCredentials
// brings it.
func SaltedScramCredential(mechanism string, saltedPassword, salt []byte, iterations int) (ScramCredential, error) {
	hash, err := scramHash(mechanism)
	if err != nil {
		return ScramCredential{}, err
	}
	sign := func(text string) []byte {
		mac := hmac.New(hash, saltedPassword)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := hash()
	stored.Write(sign("Client Key"))
	return ScramCredential{salt, stored.Sum(nil), sign("Server Key"), iterations}, nil
}

func scramHash(mechanism string) (scram.HashGeneratorFcn, error) {
	switch mechanism {
	case MechanismScramSHA256:
		return scram.SHA256, nil
	case MechanismScramSHA512:
		return scram.SHA512, nil
	}
	return nil, fmt.Errorf("%q is no mechanism of SCRAM", mechanism)
}

// Scram is SASL SCRAM (RFC 5802, 7677) without channel binding. lookup finds a user's credential, and is called by many
// goroutines. An unknown user is let go through the exchange and fails at its end, so that nobody learns who exists.
func Scram(mechanism string, lookup func(user string) (ScramCredential, bool)) (Mechanism, error) {
	hash, err := scramHash(mechanism)
	if err != nil {
		return nil, err
	}
	m := &scramMechanism{name: mechanism, hash: hash, lookup: lookup, secret: make([]byte, 32)}
	rand.Read(m.secret)
	m.server, err = hash.NewServer(m.credential)
	return m, err
}

type scramMechanism struct {
	name   string
	hash   scram.HashGeneratorFcn
	lookup func(user string) (ScramCredential, bool)
	secret []byte
	server *scram.Server
}

func (m *scramMechanism) Name() string    { return m.name }
func (m *scramMechanism) Start() Exchange { return &scramExchange{m: m, c: m.server.NewConversation()} }

func (m *scramMechanism) credential(user string) (scram.StoredCredentials, error) {
	c, known := m.lookup(user)
	if !known {
		// The same salt each time that somebody asks, and keys that no password has.
		c = ScramCredential{m.derive("salt", user)[:20], m.derive("stored", user), m.derive("server", user), MinScramIterations}
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations},
		StoredKey:  c.StoredKey,
		ServerKey:  c.ServerKey,
	}, nil
}

func (m *scramMechanism) derive(what, user string) []byte {
	mac := hmac.New(m.hash, m.secret)
	mac.Write([]byte(what + "\x00" + user))
	return mac.Sum(nil)
}

type scramExchange struct {
	m    *scramMechanism
	c    *scram.ServerConversation
	over bool // it has failed
}

func (e *scramExchange) User() string {
	if e.over || !e.c.Valid() {
		return ""
	}
	return e.c.Username()
}

func (e *scramExchange) Claimed() string { return e.c.Username() }

func (e *scramExchange) Refuse() error {
	e.over = true
	return invalid(e.m.name, nil)
}

func (e *scramExchange) Step(token []byte) (answer []byte, done bool, err error) {
	if e.over {
		return nil, false, invalid(e.m.name, errors.New("the exchange has failed before"))
	}
	text, err := e.c.Step(string(token))
	switch {
	case err != nil:
		err = invalid(e.m.name, err)
	case e.c.Username() == "":
		err = invalid(e.m.name, errors.New("username not specified"))
	case e.c.AuthzID() != "" && e.c.AuthzID() != e.c.Username():
		err = otherIdentity(e.m.name)
	}
	if err != nil {
		e.over = true
		return nil, false, err
	}
	return []byte(text), e.c.Valid(), nil
}

// ScramClient authenticates with a SCRAM mechanism, and has the server prove that it knows the credential.
func ScramClient(mechanism, user, password string) (ClientMechanism, error) {
	hash, err := scramHash(mechanism)
	if err != nil {
		return nil, err
	}
	c, err := hash.NewClientUnprepped(user, password, "")
	return &scramClient{mechanism, c}, err
}

type scramClient struct {
	name string
	c    *scram.Client
}

func (c *scramClient) Name() string { return c.name }
func (c *scramClient) Start() ClientExchange {
	return &scramClientExchange{c.c.NewConversation()}
}

type scramClientExchange struct{ c *scram.ClientConversation }

func (e *scramClientExchange) Step(challenge []byte) ([]byte, bool, error) {
	token, err := e.c.Step(string(challenge))
	return []byte(token), e.c.Valid(), err
}
