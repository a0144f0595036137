package kafka

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

// securityOf is what a listener needs to authenticate clients.
type securityOf struct {
	names      []string // of the enabled mechanisms
	mechanisms map[string]wire.Mechanism
	principals *principalRules
}

// secure prepares a listener's authentication.
func (l *listener) secure(set *settings) (err error) {
	g := l.broker.server.guard
	for _, name := range set.superUsers {
		if _, ok := parsePrincipal(name); !ok {
			return &partition.ConfigError{Key: "super.users", Value: name, Range: "User:NAME, with semicolons between"}
		}
	}
	if l.security.principals, err = parsePrincipalRules(set.sslPrincipalRules); err != nil {
		return fmt.Errorf("listener %s: %w", l.name, err)
	}
	if !l.config.Protocol.sasl() {
		return nil
	}
	prefix := "listener.name." + strings.ToLower(l.name) + "."
	names := l.config.Mechanisms
	for _, key := range []string{prefix + "sasl.enabled.mechanisms", "sasl.enabled.mechanisms"} {
		if v, ok := set.properties[key]; ok && len(names) == 0 {
			names = splitList(v)
		}
	}
	if len(names) == 0 {
		names = allMechanisms
	}
	users := map[string]Password{}
	if config, ok := set.properties[prefix+"plain.sasl.jaas.config"]; ok {
		if users, err = plainUsersOfJAAS(config); err != nil {
			return fmt.Errorf("listener %s: %w", l.name, err)
		}
	}
	for name, password := range l.config.Users {
		users[name] = password
	}
	l.security.mechanisms = map[string]wire.Mechanism{}
	for _, name := range names {
		if slices.Contains(l.security.names, name) {
			continue
		}
		var m wire.Mechanism
		switch {
		case name == wire.MechanismPlain:
			m = wire.Plain(plainCheck(users))
		case scramMechanismOf(name) != 0:
			if m, err = g.scram(scramMechanismOf(name)); err != nil {
				return fmt.Errorf("listener %s: %w", l.name, err)
			}
		default:
			return fmt.Errorf("listener %s: %w", l.name, &partition.ConfigError{Key: "sasl.enabled.mechanisms", Value: name, Range: strings.Join(allMechanisms, ", ")})
		}
		l.security.names = append(l.security.names, name)
		l.security.mechanisms[name] = m
	}
	return nil
}

// plainCheck returns the check of PLAIN's passwords. It takes the same time for a wrong one as for an unknown user, and keeps
// digests only.
func plainCheck(users map[string]Password) func(user, password string) bool {
	digests := make(map[string][sha256.Size]byte, len(users))
	for name, password := range users {
		digests[name] = sha256.Sum256([]byte(password))
	}
	var nobody [sha256.Size]byte
	_, _ = rand.Read(nobody[:]) // never fails, by its documentation
	return func(user, password string) bool {
		want, known := digests[user]
		if !known {
			want = nobody
		}
		have := sha256.Sum256([]byte(password))
		return subtle.ConstantTimeCompare(want[:], have[:]) == 1 && known
	}
}

// scram is a mechanism over the credentials of the catalogue.
func (g *guard) scram(m scramMechanism) (wire.Mechanism, error) {
	return wire.Scram(m.String(), func(user string) (wire.ScramCredential, bool) {
		users, err := g.credentials.get(g.store)
		if err != nil {
			return wire.ScramCredential{}, false
		}
		c, ok := (*users)[m][user]
		return c, ok
	})
}
