package group

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func fromHex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// golden is the subscription of which Kafka's own classes made these bytes.
var golden = Subscription{
	Topics: []string{"t1", "t2"}, Generation: 3,
	Owned: []partition.TopicPartition{{Topic: "t1", Partition: 0}, {Topic: "t1", Partition: 2}},
}

const (
	goldenV0 = "0000 00000002 00027431 00027432 ffffffff"
	goldenV1 = "0001 00000002 00027431 00027432 ffffffff 00000001 00027431 00000002 00000000 00000002"
	goldenV2 = "0002 00000002 00027431 00027432 ffffffff 00000001 00027431 00000002 00000000 00000002 00000003"
	goldenV3 = "0003 00000002 00027431 00027432 ffffffff 00000001 00027431 00000002 00000000 00000002 00000003 ffff"

	goldenAssignment = "0000 00000001 00027431 00000002 00000000 00000002 ffffffff"
)

func TestSubscriptionBytesAreKafkas(t *testing.T) {
	for version, want := range []string{goldenV0, goldenV1, goldenV2, goldenV3} {
		s := golden
		s.Topics = []string{"t2", "t1"} // sorted on the way
		require.Equal(t, fromHex(t, want), s.appendVersion(nil, int16(version)))

		got, err := DecodeSubscription(fromHex(t, want))
		require.NoError(t, err)
		read := golden
		if version < 1 {
			read.Owned = nil
		}
		if version < 2 {
			read.Generation = NoGeneration
		}
		require.Equal(t, read, got, "version %d", version)
	}
	s := golden
	require.Equal(t, fromHex(t, goldenV3), s.Append(nil))
}

func TestSubscriptionOfAFutureVersionIsReadAsTheNewestKnown(t *testing.T) {
	b := fromHex(t, goldenV3)
	b[1] = 9
	got, err := DecodeSubscription(b)
	require.NoError(t, err)
	require.Equal(t, golden, got)
	require.EqualValues(t, 9, b[1], "the caller's bytes are left alone")
}

func TestSubscriptionKeepsRackAndUserData(t *testing.T) {
	s := Subscription{Topics: []string{"t"}, UserData: []byte{1, 2}, Generation: NoGeneration, RackID: "r1"}
	got, err := DecodeSubscription(s.Append(nil))
	require.NoError(t, err)
	require.Equal(t, s, got)
}

func TestAssignmentBytesAreKafkas(t *testing.T) {
	a := Assignment{Partitions: []partition.TopicPartition{{Topic: "t1", Partition: 2}, {Topic: "t1", Partition: 0}}}
	require.Equal(t, fromHex(t, goldenAssignment), a.Append(nil))
	got, err := DecodeAssignment(fromHex(t, goldenAssignment))
	require.NoError(t, err)
	require.Equal(t, golden.Owned, got.Partitions)
	got, err = DecodeAssignment(nil)
	require.NoError(t, err)
	require.Empty(t, got.Partitions)
}

func TestCutSubscriptionsAndAssignmentsAreErrors(t *testing.T) {
	for _, s := range []string{goldenV0, goldenV3} {
		b := fromHex(t, s)
		for n := range len(b) {
			_, err := DecodeSubscription(b[:n])
			require.ErrorIs(t, err, ErrCorruptRecord, "%d bytes of %s", n, s)
		}
	}
	b := fromHex(t, goldenAssignment)
	for n := 1; n < len(b); n++ {
		_, err := DecodeAssignment(b[:n])
		require.ErrorIs(t, err, ErrCorruptRecord)
	}
	_, err := DecodeSubscription([]byte{0xff, 0xff})
	require.ErrorIs(t, err, ErrCorruptRecord)
}
