package partition

import (
	"fmt"
	"strings"
)

// maxTopicName leaves room for the partition in the name of a directory.
const maxTopicName = 249

// validTopicName applies Kafka's rules for names: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', not "." or "..".
func validTopicName(name string) error {
	bad := func(why string) error { return fmt.Errorf("%w: name %q: %s", ErrInvalidTopic, name, why) }
	switch {
	case name == "":
		return bad("is empty")
	case name == "." || name == "..":
		return bad("is a directory's")
	case len(name) > maxTopicName:
		return fmt.Errorf("%w: name %.20q...: %d characters, at most %d are allowed", ErrInvalidTopic, name, len(name), maxTopicName)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return bad(fmt.Sprintf("character %d; allowed are a-z, A-Z, 0-9, '.', '_' and '-'", i+1))
		}
	}
	return nil
}

// internalTopic reports whether a name is reserved for the store's own records.
func internalTopic(name string) bool { return strings.HasPrefix(name, "__") }

// collidesAs is what Kafka compares names by: metrics replace '.' by '_', so two topics must differ in more.
func collidesAs(name string) string { return strings.ReplaceAll(name, ".", "_") }
