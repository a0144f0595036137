package group

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// goldenStickyUserData is what Kafka's StickyAssignor writes of t1-0, t1-2 and t2-1 in generation 3.
const goldenStickyUserData = "00000002 00027431 00000002 00000000 00000002 00027432 00000001 00000001 00000003"

func TestStickyUserDataIsKafkas(t *testing.T) {
	owned := []partition.TopicPartition{{Topic: "t2", Partition: 1}, {Topic: "t1", Partition: 2}, {Topic: "t1", Partition: 0}}
	b := Sticky.UserData(owned, 3)
	require.Equal(t, fromHex(t, goldenStickyUserData), b)
	topics, g := readStickyUserData(b)
	require.ElementsMatch(t, owned, claimsOf(topics))
	require.EqualValues(t, 3, g)

	topics, g = readStickyUserData(b[:len(b)-4])
	require.ElementsMatch(t, owned, claimsOf(topics), "version 0 has no generation")
	require.Equal(t, NoGeneration, g)
	for n := range len(b) - 4 {
		topics, g = readStickyUserData(b[:n])
		require.Empty(t, claimsOf(topics), "%d bytes", n)
		require.Equal(t, NoGeneration, g)
	}
	require.Nil(t, Sticky.UserData(nil, NoGeneration), "a new member has nothing to tell")
	require.NotNil(t, Sticky.UserData(nil, 3))
	require.Equal(t, fromHex(t, "ffffffff"), CooperativeSticky.UserData(owned, NoGeneration))
	require.EqualValues(t, 3, cooperativeGeneration(CooperativeSticky.UserData(owned, 3)))
	require.Equal(t, NoGeneration, cooperativeGeneration([]byte{0, 0, 1}))
}

// Whatever members send, sticky assignors keep their promises.
func FuzzStickyUserData(f *testing.F) {
	f.Add(fromHex(f, goldenStickyUserData), fromHex(f, "00000001 00027431 00000001 00000002 00000003"))
	f.Add([]byte{}, fromHex(f, "00000001 8000"))
	f.Add(fromHex(f, "7fffffff 00027431"), fromHex(f, "00000001 00027431 40000000"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		topics, g := readStickyUserData(a)
		again, once := readStickyUserData(appendStickyUserData(nil, claimsOf(topics), g))
		require.ElementsMatch(t, claimsOf(topics), claimsOf(again))
		require.Equal(t, g, once)

		s := assignScenario{Assignor: "sticky", Partitions: map[string]int32{"t1": 3, "t2": 2}}
		for i, data := range [][]byte{a, b, a} {
			m := Subscription{Topics: []string{"t1", "t2"}[:1+len(b)%2], UserData: data, Generation: NoGeneration}
			s.Members = append(s.Members, scenarioMember{ID: string(rune('a' + i)), Subscription: toHex(m.Append(nil))})
		}
		s.check(t, s.ask(t))
	})
}
