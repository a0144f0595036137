package group

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPartitionForIsJavasHash(t *testing.T) {
	for group, want := range map[string]int32{
		"my-group": 12, "console-consumer-1": 24, "été": 42, // of a broker
		"":                   0,
		"polygenelubricants": 0,  // String.hashCode is Integer.MIN_VALUE, whose absolute value Kafka takes as 0
		"\U0001F600":         49, // two UTF-16 units: (31*0xD83D + 0xDE00) % 50
	} {
		require.Equal(t, want, PartitionFor(group, 50), group)
	}
}
