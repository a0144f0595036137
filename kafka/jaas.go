package kafka

import (
	"fmt"
	"strings"

	"github.com/partlog/partlog/partition"
)

const plainLoginModule = "org.apache.kafka.common.security.plain.PlainLoginModule"

// plainUsersOfJAAS returns the users of a listener's plain.sasl.jaas.config:
//
//	org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="secret" user_bob="another";
//
// The options username and password, by which a broker logs in to others, are read and have no use here. Errors name the
// property, and nothing of its value.
func plainUsersOfJAAS(config string) (map[string]Password, error) {
	bad := func(want string) error {
		return &partition.ConfigError{Key: "plain.sasl.jaas.config", Value: hidden, Range: want}
	}
	words, ok := jaasWords(config)
	if !ok || len(words) < 3 || words[len(words)-1] != ";" {
		return nil, bad(`MODULE required OPTION="VALUE" ... ;`)
	}
	if words[0] != plainLoginModule {
		return nil, bad("the module " + plainLoginModule)
	}
	switch strings.ToLower(words[1]) {
	case "required", "requisite", "sufficient", "optional":
	default:
		return nil, bad("required behind the module")
	}
	users := map[string]Password{}
	for _, word := range words[2 : len(words)-1] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return nil, bad(`options of the form user_NAME="PASSWORD"`)
		}
		if name, ok := strings.CutPrefix(key, "user_"); ok {
			if name == "" || value == "" {
				return nil, bad(fmt.Sprintf("a name and a password for option %q", key))
			}
			users[name] = Password(value)
		}
	}
	return users, nil
}

// jaasWords divides a JAAS configuration at blanks and semicolons, outside of quotes, which are taken away; a backslash in
// quotes takes the next character as it is. Comments are left out. false: a quote is not closed.
func jaasWords(text string) (words []string, ok bool) {
	var word strings.Builder
	inWord := false
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\'':
			inWord = true
			for i++; ; i++ {
				if i >= len(text) {
					return nil, false
				}
				if text[i] == c {
					break
				}
				if text[i] == '\\' && i+1 < len(text) {
					i++
				}
				word.WriteByte(text[i])
			}
		case c == ';':
			end()
			words = append(words, ";")
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			end()
		case c == '#' && !inWord, strings.HasPrefix(text[i:], "//") && !inWord:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		default:
			inWord = true
			word.WriteByte(c)
		}
	}
	end()
	return words, true
}
