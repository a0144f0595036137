package kafka

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

// scramMechanism is one of the SCRAM mechanisms, with the protocol's numbers (KIP-554).
type scramMechanism int8

const (
	scramSHA256 scramMechanism = 1
	scramSHA512 scramMechanism = 2
)

// allMechanisms are the SASL mechanisms that can be enabled.
var allMechanisms = []string{wire.MechanismPlain, wire.MechanismScramSHA256, wire.MechanismScramSHA512}

// String returns the name that SASL has for it.
func (m scramMechanism) String() string {
	switch m {
	case scramSHA256:
		return wire.MechanismScramSHA256
	case scramSHA512:
		return wire.MechanismScramSHA512
	}
	return "UNKNOWN"
}

// keySize is the length of the mechanism's keys in bytes.
func (m scramMechanism) keySize() int {
	if m == scramSHA512 {
		return sha512.Size
	}
	return sha256.Size
}

func scramMechanismOf(name string) scramMechanism {
	switch name {
	case wire.MechanismScramSHA256:
		return scramSHA256
	case wire.MechanismScramSHA512:
		return scramSHA512
	}
	return 0
}

// maxUserName keeps the key of a credential within that of a setting.
const maxUserName = 900

// scramArea is the part of the store's settings where credentials are: by mechanism and user.
const scramArea = "kafka/scram/"

func scramKey(m scramMechanism, user string) string { return scramArea + m.String() + "/" + user }

// scramForm is a credential on the disk.
type scramForm struct {
	Salt       []byte `json:"salt"`
	StoredKey  []byte `json:"storedKey"`
	ServerKey  []byte `json:"serverKey"`
	Iterations int    `json:"iterations"`
}

func encodeCredential(c wire.ScramCredential) []byte {
	b, err := json.Marshal(scramForm{c.Salt, c.StoredKey, c.ServerKey, c.Iterations})
	if err != nil {
		panic("BUG: " + err.Error()) // bytes and numbers always marshal
	}
	return b
}

var errBadCredential = errors.New("SCRAM credential that this program cannot read")

// scramUsers are all credentials.
type scramUsers map[scramMechanism]map[string]wire.ScramCredential

func buildScramUsers(stored []partition.Setting) (*scramUsers, error) {
	users := scramUsers{scramSHA256: {}, scramSHA512: {}}
	for _, s := range stored {
		name, user, _ := strings.Cut(strings.TrimPrefix(s.Key, scramArea), "/")
		m := scramMechanismOf(name)
		var f scramForm
		if err := json.Unmarshal(s.Value, &f); err != nil || m == 0 || len(f.StoredKey) != m.keySize() || len(f.ServerKey) != len(f.StoredKey) || f.Iterations < 1 {
			return nil, fmt.Errorf("%w: of user %q", errBadCredential, user) // without err: it may quote the value
		}
		users[m][user] = wire.ScramCredential(f)
	}
	return &users, nil
}

// Password is a password in a configuration. It is not printed.
type Password string

const hidden = "[hidden]"

// Format writes [hidden], whatever the verb.
func (Password) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// MarshalText returns [hidden], for encoders such as JSON's.
func (Password) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// ScramUser is a user of a SCRAM mechanism, as a host gives it to PutScramUser.
type ScramUser struct {
	Name       string   // 1 to 900 bytes
	Mechanism  string   // SCRAM-SHA-256 or SCRAM-SHA-512; empty: the former
	Password   Password // not empty; it is not kept, and is in no error
	Iterations int      // 4096 to 16384; 0: 8192
}

// PutScramUser gives a user a password, in place of any that the mechanism has for that name: what clients do with
// AlterUserScramCredentials. It is durable when the call returns, and connections that are being authenticated may still
// use the old one. Errors: *partition.ConfigError, and those of partition.Store.PutSettings.
func (s *Server) PutScramUser(ctx context.Context, u ScramUser) error {
	if u.Mechanism == "" {
		u.Mechanism = wire.MechanismScramSHA256
	}
	if u.Iterations == 0 {
		u.Iterations = 8192
	}
	m := scramMechanismOf(u.Mechanism)
	switch {
	case m == 0:
		return &partition.ConfigError{Key: "mechanism", Value: u.Mechanism, Range: "SCRAM-SHA-256 or SCRAM-SHA-512"}
	case u.Name == "" || len(u.Name) > maxUserName:
		return &partition.ConfigError{Key: "user", Value: u.Name, Range: "1 to 900 bytes"}
	case u.Password == "":
		return &partition.ConfigError{Key: "password", Value: hidden, Range: "at least one byte"}
	case u.Iterations < wire.MinScramIterations || u.Iterations > wire.MaxScramIterations:
		return &partition.ConfigError{Key: "iterations", Value: fmt.Sprint(u.Iterations), Range: "4096 to 16384"}
	}
	c, err := wire.NewScramCredential(u.Mechanism, string(u.Password), nil, u.Iterations)
	if err != nil {
		return fmt.Errorf("credential of user %q: %w", u.Name, err)
	}
	s.guard.alter.Lock()
	defer s.guard.alter.Unlock()
	return s.guard.store.PutSettings(ctx, partition.Setting{Key: scramKey(m, u.Name), Value: encodeCredential(c)})
}

// randomBytes returns n bytes that nobody can guess.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, by its documentation
	return b
}

// randomID returns a name that nobody has drawn before.
func randomID() string { return hex.EncodeToString(randomBytes(16)) }
