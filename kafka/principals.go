package kafka

import "strings"

// Principal is who speaks on a connection: a type, which is always User here, and a name.
type Principal struct{ Type, Name string }

// String returns "Type:name", as rules and super.users name principals.
func (p Principal) String() string { return p.Type + ":" + p.Name }

const principalUser = "User"

// anonymous is who has not been authenticated: every client of a listener without SASL and client certificates.
var anonymous = Principal{principalUser, "ANONYMOUS"}

// parsePrincipal reads "Type:name"; false if it has no colon.
func parsePrincipal(s string) (Principal, bool) {
	t, name, ok := strings.Cut(s, ":")
	return Principal{t, name}, ok
}
