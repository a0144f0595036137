package group

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// exampleChanges are one of every kind of record, with all fields and with none.
func exampleChanges() []change {
	a, b := numberedTopic(1), numberedTopic(1<<40)
	member := &consumerMember{
		instanceID: "i", rackID: "r", clientID: "client", clientHost: "/127.0.0.1", topics: []string{"t1", "t2"}, regex: "t.*",
		rebalance: time.Minute, assignor: "range",
		classic: &classicMember{session: 45 * time.Second, protocols: []Protocol{{"range", []byte{1, 2}}, {"sticky", []byte{}}}},
		epoch:   7, previous: 6, state: MemberUnrevokedPartitions,
		assigned: partitionSet{{a, []int32{0, 2}}, {b, []int32{300}}}, revoking: partitionSet{{a, []int32{1}}},
	}
	plain := &consumerMember{clientID: "client", clientHost: "/127.0.0.1", rebalance: time.Minute}
	return []change{
		epochChange(5, 1<<60+1), epochChange(5, 0), goneChange(keyConsumerGroup, ""),
		goneChange(keyConsumerTopics, ""),
		subscriptionChange(named(member, "m1")), subscriptionChange(named(plain, "m2")), goneChange(keyConsumerMember, "m1"),
		assignmentEpochChange(5), goneChange(keyConsumerTarget, ""),
		targetChange("m1", member.assigned), targetChange("m1", nil), goneChange(keyConsumerTargetMember, "m1"),
		assignmentChange(named(member, "m1")), assignmentChange(named(plain, "m2")), goneChange(keyConsumerAssignment, "m1"),
		regexChange("t.*", &resolvedRegex{topics: []string{"t1", "t2"}, version: 3, time: time.UnixMilli(1_700_000_000_000)}),
		regexChange("", &resolvedRegex{time: time.UnixMilli(0)}), goneChange(keyConsumerRegex, "t.*"),
	}
}

func named(m *consumerMember, id string) *consumerMember {
	c := *m
	c.id = id
	return &c
}

// goldenChanges are keys and values of these records as Kafka 4.1.2 writes them (GroupCoordinatorRecordSerde;
// TestRecordsOfConsumerGroupsAreKafkas asks it).
var goldenChanges = []string{
	"000300026731 0000000000050100081000000000000001",
	"000300026731 00000000000500",
	"000300026731",
	"000400026731",
	"00050002673100026d31 00000269027207636c69656e740b2f3132372e302e302e310303743103743204742e2a0000ea600672616e676501001a010000afc8030672616e67650301020007737469636b79010000",
	"00050002673100026d32 0000000007636c69656e740b2f3132372e302e302e3101010000ea600001000100",
	"00050002673100026d31",
	"000600026731 00000000000500",
	"000600026731",
	"00070002673100026d31 000003000000000000000000000000000000010300000000000000020000000000000000000000010000000000020000012c0000",
	"00070002673100026d31 00000100",
	"00070002673100026d31",
	"00080002673100026d31 000000000007000000060103000000000000000000000000000000010300000000000000020000000000000000000000010000000000020000012c00020000000000000000000000000000000102000000010000",
	"00080002673100026d32 0000000000000000000000010100",
	"00080002673100026d31",
	"0010000267310003742e2a 00000303743103743200000000000000030000018bcfe5680000",
	"0010000267310000 0000010000000000000000000000000000000000",
	"0010000267310003742e2a",
}

func TestRecordsOfConsumerGroupsAreTheGoldenOnes(t *testing.T) {
	for i, c := range exampleChanges() {
		key, value, isValue := strings.Cut(goldenChanges[i], " ")
		r := c.record("g1")
		require.Equal(t, key, hex.EncodeToString(r.key))
		require.Equal(t, value, hex.EncodeToString(r.value))
		require.Equal(t, isValue, r.value != nil)
	}
}

func TestRecordsOfConsumerGroupsComeBack(t *testing.T) {
	for _, c := range exampleChanges() {
		r := c.record("g1")
		v, ok, err := decodeRecord(r.key, r.value)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "g1", v.group)
		again := v.change.record("g1")
		require.Equal(t, r, again, "%x", r.value)
		require.Equal(t, c.kind, v.change.kind)
		require.Equal(t, c.gone, v.change.gone)
		// No byte may be missing, and none may be too many.
		for i := range r.key {
			_, _, err := decodeRecord(r.key[:i], r.value)
			require.True(t, err != nil || i < 2)
		}
		for i := range r.value {
			_, _, err := decodeRecord(r.key, r.value[:i])
			require.ErrorIs(t, err, ErrCorruptRecord, "%x", r.value[:i])
		}
		if r.value != nil {
			_, _, err = decodeRecord(r.key, append(r.value[:len(r.value):len(r.value)], 0))
			require.ErrorIs(t, err, ErrCorruptRecord)
		}
	}
}

func TestRecordsOfConsumerGroupsWithUnknownFieldsAreRead(t *testing.T) {
	// A later version has put tag 9 with two bytes behind the epoch, and tag 0 (a timestamp) behind the target's.
	v, ok, err := decodeRecord(fromHex(t, "00030002 6731"), fromHex(t, "0000 00000005 02 00 08 0000000000000001 09 02 ffff"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, epochChange(5, 1), *v.change)
	v, ok, err = decodeRecord(fromHex(t, "00060002 6731"), fromHex(t, "0000 00000005 01 00 08 0000018bcfe56800"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, assignmentEpochChange(5), *v.change)
	// Records of a later version of the schema are skipped; whatever type 4 holds is not looked at.
	_, ok, err = decodeRecord(fromHex(t, "00030002 6731"), fromHex(t, "0001 00000005"))
	require.NoError(t, err)
	require.False(t, ok)
	v, ok, err = decodeRecord(fromHex(t, "00040002 6731"), fromHex(t, "0000 ffffff"))
	require.NoError(t, err)
	require.True(t, ok)
	require.False(t, v.change.gone)
}

// Kafka reads our records, and writes the same bytes.
func TestRecordsOfConsumerGroupsAreKafkas(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	all := exampleChanges()
	for range 500 {
		m := &consumerMember{id: fmt.Sprint("m", random.IntN(10)), topics: []string{}, rebalance: time.Duration(random.IntN(1e6)) * time.Millisecond,
			epoch: MemberEpoch(random.Int32()), previous: MemberEpoch(random.Int32N(9) - 2), state: ReconciliationState(random.IntN(3))}
		for i := range random.IntN(4) {
			m.topics = append(m.topics, fmt.Sprint("t", i))
		}
		byTopic := make(map[partition.TopicID][]int32)
		for range random.IntN(20) {
			id := numberedTopic(random.IntN(4))
			byTopic[id] = append(byTopic[id], random.Int32N(1000))
		}
		m.assigned = partitionSetOf(byTopic)
		all = append(all, subscriptionChange(m), assignmentChange(m), targetChange(m.id, m.assigned), epochChange(m.epoch, random.Int64()))
	}
	var questions []any
	for _, c := range all {
		r := c.record("g1")
		q := map[string]string{"key": hex.EncodeToString(r.key)}
		if r.value != nil {
			q["value"] = hex.EncodeToString(r.value)
		}
		questions = append(questions, q)
	}
	for i, line := range askKafka(t, "PARTLOG_KAFKA_SERVER_ASSIGNORS", questions) {
		var got map[string]string
		require.NoError(t, json.Unmarshal(line, &got))
		require.Equal(t, questions[i], got)
	}
}

func FuzzDecodeConsumerGroupRecord(f *testing.F) {
	for _, c := range exampleChanges() {
		r := c.record("g1")
		f.Add(r.key, r.value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		v, ok, err := decodeRecord(key, value)
		if err != nil || !ok || v.change == nil {
			return
		}
		r := v.change.record(v.group)
		again, ok, err := decodeRecord(r.key, r.value)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, v, again)
		s := newConsumerState()
		s.apply(*v.change)
		s.apply(*v.change)
		require.Equal(t, s, s.clone())
	})
}
