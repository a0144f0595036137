package segment

import (
	"encoding/base64"
	"fmt"
)

var uuidText = base64.RawURLEncoding.Strict()

// FormatUUID is the text form of a topic, cluster or directory id: 22
// characters of base64url, as KIP-516 writes it.
func FormatUUID(id [16]byte) string { return uuidText.EncodeToString(id[:]) }

// ParseUUID parses FormatUUID's text form, and only that: no padding, no stray
// bits in the last character.
func ParseUUID(s string) ([16]byte, error) {
	var id [16]byte
	// The length is checked first because the decoder skips line ends.
	if len(s) == 22 {
		if n, err := uuidText.Decode(id[:], []byte(s)); err == nil && n == 16 {
			return id, nil
		}
	}
	return [16]byte{}, fmt.Errorf("segment: %q is not a uuid in base64url", s)
}
