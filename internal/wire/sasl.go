package wire

import (
	"crypto/subtle"
	"fmt"
)

// Names of the mechanisms, as SaslHandshake has them.
const (
	MechanismPlain       = "PLAIN"
	MechanismScramSHA256 = "SCRAM-SHA-256"
	MechanismScramSHA512 = "SCRAM-SHA-512"
)

// Mechanism authenticates peers of a server. It is safe for concurrent use.
type Mechanism interface {
	Name() string
	// Start begins with a new peer.
	Start() Exchange
}

// Exchange is one authentication. It is not safe for concurrent use.
type Exchange interface {
	// Step takes a token of the peer and returns the one to answer, which may be empty. The peer is who User says when done is
	// true. After an error, which is an *AuthenticationError, the exchange is over.
	Step(token []byte) (answer []byte, done bool, err error)
	// User is the name that was authenticated; empty before Step is done.
	User() string
	// Claimed is the name that the peer has given, of which nothing is proved; empty before that.
	Claimed() string
	// Refuse ends the exchange, although Step may have succeeded, and returns the error of a wrong password.
	Refuse() error
}

// AuthenticationError is why a peer was not authenticated.
type AuthenticationError struct {
	Mechanism string
	// Message is for the peer, in the words of the Java broker, and tells it nothing about others' credentials.
	Message string
	// Err is for the server's own eyes; it may be nil.
	Err error
}

// Error has the message and the cause.
func (e *AuthenticationError) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return fmt.Sprintf("%s: %v", e.Message, e.Err)
}

// Unwrap returns Err.
func (e *AuthenticationError) Unwrap() error { return e.Err }

// invalid is the error of credentials that are wrong or cannot be read; the peer is not told which.
func invalid(mechanism string, err error) error {
	return &AuthenticationError{
		mechanism,
		"Authentication failed during authentication due to invalid credentials with SASL mechanism " + mechanism,
		err,
	}
}

// otherIdentity is the error of a peer that wants to act as somebody else.
func otherIdentity(mechanism string) error {
	return &AuthenticationError{
		Mechanism: mechanism,
		Message:   "Authentication failed: Client requested an authorization id that is different from username",
	}
}

// SamePassword compares without telling by its time where they differ.
func SamePassword(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// ClientMechanism is the peer's side of a Mechanism. It is safe for concurrent use.
type ClientMechanism interface {
	Name() string
	// Start begins with a server.
	Start() ClientExchange
}

// ClientExchange is one authentication, seen by the client. It is not safe for concurrent use.
type ClientExchange interface {
	// Step takes the server's token, none at first, and returns the one to send. When done is true, nothing is to be sent and
	// the server has proved what it can: with SCRAM, that it knows the credentials too.
	Step(challenge []byte) (token []byte, done bool, err error)
}
