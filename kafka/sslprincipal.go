package kafka

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/partlog/partlog/partition"
)

// principalRules make the name of a principal of a client certificate's subject (ssl.principal.mapping.rules, KIP-371): the
// first rule that matches the whole distinguished name decides.
type principalRules struct{ rules []principalRule }

// principalRule is "RULE:pattern/replacement/[LU]", or DEFAULT, which takes the distinguished name as it is.
type principalRule struct {
	pattern     *regexp.Regexp // nil: DEFAULT
	whole       *regexp.Regexp
	replacement string
	change      byte // 'L' lower case, 'U' upper case
}

// parsePrincipalRules reads the property; empty is DEFAULT. Patterns are Go's regular expressions, which have no look-around
// and no back references. Errors are *partition.ConfigError.
func parsePrincipalRules(text string) (*principalRules, error) {
	bad := func(want string) (*principalRules, error) {
		return nil, &partition.ConfigError{Key: "ssl.principal.mapping.rules", Value: text, Range: want}
	}
	var r principalRules
	rest := strings.TrimSpace(text)
	for rest != "" {
		body, isRule := strings.CutPrefix(rest, "RULE:")
		if !isRule {
			name, after, _ := strings.Cut(rest, ",")
			if strings.TrimSpace(name) != "DEFAULT" {
				return bad("DEFAULT or RULE:pattern/replacement/[LU], with commas between")
			}
			r.rules = append(r.rules, principalRule{})
			rest = strings.TrimSpace(after)
			continue
		}
		pattern, body, ok := cutUnescaped(body)
		replacement, body, ok2 := cutUnescaped(body)
		if !ok || !ok2 {
			return bad("RULE:pattern/replacement/[LU]")
		}
		rule := principalRule{replacement: replacement}
		if body != "" && (body[0] == 'L' || body[0] == 'U') {
			rule.change, body = body[0], body[1:]
		}
		if body = strings.TrimSpace(body); body != "" && body[0] != ',' {
			return bad("a comma behind a rule")
		}
		var err error
		if rule.pattern, err = regexp.Compile(pattern); err != nil {
			return bad("a regular expression of Go: " + err.Error())
		}
		rule.whole = regexp.MustCompile("^(?:" + pattern + ")$")
		r.rules = append(r.rules, rule)
		rest = strings.TrimSpace(strings.TrimPrefix(body, ","))
	}
	if len(r.rules) == 0 {
		r.rules = []principalRule{{}}
	}
	return &r, nil
}

// cutUnescaped cuts at the first slash that has no backslash in front of it.
func cutUnescaped(s string) (before, after string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '/':
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// name returns the principal's name for a certificate's subject.
func (r *principalRules) name(rawSubject []byte) (string, error) {
	dn, err := distinguishedName(rawSubject)
	if err != nil {
		return "", fmt.Errorf("subject of the client certificate: %w", err)
	}
	for _, rule := range r.rules {
		if name, ok := rule.apply(dn); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("no rule of ssl.principal.mapping.rules applies to %q", dn)
}

func (r *principalRule) apply(dn string) (string, bool) {
	if r.pattern == nil {
		return dn, true
	}
	if !r.whole.MatchString(dn) {
		return "", false
	}
	var out strings.Builder
	at := 0
	for _, m := range r.pattern.FindAllStringSubmatchIndex(dn, -1) {
		out.WriteString(dn[at:m[0]])
		expandJava(&out, r.replacement, dn, m)
		at = m[1]
	}
	out.WriteString(dn[at:])
	switch r.change {
	case 'L':
		return strings.ToLower(out.String()), true
	case 'U':
		return strings.ToUpper(out.String()), true
	}
	return out.String(), true
}

// expandJava writes a replacement as Java's Matcher.replaceAll does: $n is a group, as many digits as there are groups for,
// and a backslash takes the next character as it is. A $n without a group is text.
func expandJava(out *strings.Builder, replacement, text string, match []int) {
	groups := len(match)/2 - 1
	for i := 0; i < len(replacement); i++ {
		c := replacement[i]
		switch {
		case c == '\\' && i+1 < len(replacement):
			i++
			out.WriteByte(replacement[i])
		case c == '$' && i+1 < len(replacement) && replacement[i+1] >= '0' && replacement[i+1] <= '9':
			n, end := int(replacement[i+1]-'0'), i+2
			for end < len(replacement) && replacement[end] >= '0' && replacement[end] <= '9' && n*10+int(replacement[end]-'0') <= groups {
				n, end = n*10+int(replacement[end]-'0'), end+1
			}
			if n > groups {
				out.WriteByte(c)
				continue
			}
			if match[2*n] >= 0 {
				out.WriteString(text[match[2*n]:match[2*n+1]])
			}
			i = end - 1
		default:
			out.WriteByte(c)
		}
	}
}

// attributeNames are the keywords of RFC 2253; other attributes are written as numbers and bytes.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

// distinguishedName returns a subject as Java's X500Principal.getName does (RFC 2253): the last part first.
func distinguishedName(raw []byte) (string, error) {
	type attributeSET []struct { // the name makes asn1 read a set
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	var sequence []attributeSET
	if rest, err := asn1.Unmarshal(raw, &sequence); err != nil {
		return "", err
	} else if len(rest) > 0 {
		return "", asn1.SyntaxError{Msg: "trailing bytes"}
	}
	var out strings.Builder
	for i := len(sequence) - 1; i >= 0; i-- {
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		for j, a := range sequence[i] {
			if j > 0 {
				out.WriteByte('+')
			}
			oid := a.Type.String()
			var text string
			_, err := asn1.Unmarshal(a.Value.FullBytes, &text)
			if name := attributeNames[oid]; name != "" && err == nil && utf8.ValidString(text) {
				out.WriteString(name + "=" + escapeRFC2253(text))
			} else {
				out.WriteString(oid + "=#" + hex.EncodeToString(a.Value.FullBytes))
			}
		}
	}
	return out.String(), nil
}

// escapeRFC2253 puts backslashes before what has a meaning in a distinguished name.
func escapeRFC2253(value string) string {
	var out strings.Builder
	trimmed := strings.TrimRight(value, " ")
	leading := len(trimmed) - len(strings.TrimLeft(trimmed, " "))
	for i := range len(value) {
		c := value[i]
		if strings.IndexByte(`,=+<>#;"\`, c) >= 0 || c == ' ' && (i < leading || i >= len(trimmed)) {
			out.WriteByte('\\')
		}
		out.WriteByte(c)
	}
	return out.String()
}
