package group

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// Bytes that Kafka's own classes made: offset 42, metadata "m", 1700000000000, leader epoch 5 where there is one.
var goldenOffsets = []string{
	"0000 000000000000002a 0001 6d 0000018bcfe56800",
	"0001 000000000000002a 0001 6d 0000018bcfe56800 ffffffffffffffff",
	"0002 000000000000002a 0001 6d 0000018bcfe56800",
	"0003 000000000000002a 00000005 0001 6d 0000018bcfe56800",
	"0004 000000000000002a 00000005 02 6d 0000018bcfe56800 00",
}

const (
	goldenOffsetKey = "0001 0002 6731 0002 7431 00000003"
	goldenGroupKey  = "0002 0002 6731"
	goldenGroup     = "0003 0008 636f6e73756d6572 00000001 0005 72616e6765 0003 6d2d31 0000018bcfe56800 00000001 0003 6d2d31 ffff " +
		"0001 63 000a 2f3132372e302e302e31 0000ea60 0000afc8 00000001 01 00000001 02"
)

func TestOffsetRecordsAreKafkasInEveryVersion(t *testing.T) {
	for version, want := range goldenOffsets {
		c := storedOffset{CommittedOffset: CommittedOffset{Offset: 42, LeaderEpoch: 5, Metadata: "m", Time: time.UnixMilli(1_700_000_000_000)}}
		require.Equal(t, fromHex(t, want), appendOffsetCommit(nil, &c, int16(version)))

		r, ok, err := decodeRecord(fromHex(t, goldenOffsetKey), fromHex(t, want))
		require.NoError(t, err)
		require.True(t, ok)
		if version < 3 {
			c.LeaderEpoch = partition.LeaderEpochUnknown
		}
		tp := partition.TopicPartition{Topic: "t1", Partition: 3}
		require.Equal(t, groupRecord{group: "g1", isOffset: true, tp: tp, offset: &c}, r, "version %d", version)

		// Keys had version 0 once.
		old := fromHex(t, goldenOffsetKey)
		old[1] = 0
		r, ok, err = decodeRecord(old, fromHex(t, want))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, tp, r.tp)
	}
	c := storedOffset{CommittedOffset: CommittedOffset{Offset: 42, LeaderEpoch: 5, Metadata: "m", Time: time.UnixMilli(1_700_000_000_000)}}
	r := offsetCommitRecord("g1", partition.TopicPartition{Topic: "t1", Partition: 3}, &c)
	require.Equal(t, fromHex(t, goldenOffsetKey), r.key)
	require.Equal(t, fromHex(t, goldenOffsets[4]), r.value, "version 4, as Kafka 4.1 writes it")
}

func TestOffsetRecordCarriesTheTopicsID(t *testing.T) {
	c := storedOffset{CommittedOffset: CommittedOffset{Offset: 42, LeaderEpoch: 5, Time: time.UnixMilli(1), TopicID: partition.TopicID{1, 2, 15: 9}}}
	r := offsetCommitRecord("g1", partition.TopicPartition{Topic: "t1"}, &c)
	require.Equal(t, fromHex(t, "01 00 10 01020000000000000000000000000009"), r.value[len(r.value)-19:])
	got, _, err := decodeRecord(r.key, r.value)
	require.NoError(t, err)
	require.Equal(t, c, *got.offset)
	var k kmsg.OffsetCommitValue
	require.NoError(t, k.ReadFrom(r.value))
	require.EqualValues(t, c.TopicID, k.TopicID)
}

func TestGroupRecordsAreKafkas(t *testing.T) {
	want := groupMetadata{
		protocolType: "consumer", generation: 1, protocol: "range", leader: "m-1", since: time.UnixMilli(1_700_000_000_000),
		members: []groupMember{{
			id: "m-1", clientID: "c", clientHost: "/127.0.0.1", rebalance: time.Minute, session: 45 * time.Second,
			subscription: []byte{1}, assignment: []byte{2},
		}},
	}
	require.Equal(t, fromHex(t, goldenGroup), want.append(nil, groupMetadataVersion))
	r, ok, err := decodeRecord(fromHex(t, goldenGroupKey), fromHex(t, goldenGroup))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, groupRecord{group: "g1", metadata: &want}, r)

	want.members[0].instanceID = "static-1"
	for version := range int16(5) {
		r, ok, err := decodeRecord(fromHex(t, goldenGroupKey), want.append(nil, version))
		require.NoError(t, err, "version %d", version)
		require.True(t, ok)
		read := want
		read.members = []groupMember{want.members[0]}
		if version < 1 {
			read.members[0].rebalance = read.members[0].session
		}
		if version < 2 {
			read.since = time.UnixMilli(-1)
		}
		if version < 3 {
			read.members[0].instanceID = ""
		}
		require.Equal(t, &read, r.metadata, "version %d", version)
	}
}

func TestRecordsOfUnknownTypesAndVersionsAreSkipped(t *testing.T) {
	for kind := int16(3); kind < 30; kind++ {
		if isConsumerKey(kind) {
			continue
		}
		_, ok, err := decodeRecord([]byte{byte(kind >> 8), byte(kind), 1, 2, 3}, []byte{1})
		require.NoError(t, err)
		require.False(t, ok)
	}
	_, ok, err := decodeRecord(fromHex(t, goldenOffsetKey), []byte{0, 5, 1})
	require.NoError(t, err)
	require.False(t, ok)
}

func TestTombstonesSayWhatTheyDelete(t *testing.T) {
	r, ok, err := decodeRecord(fromHex(t, goldenOffsetKey), nil)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, r.isOffset)
	require.Nil(t, r.offset)
	r, ok, err = decodeRecord(fromHex(t, goldenGroupKey), nil)
	require.NoError(t, err)
	require.True(t, ok)
	require.Nil(t, r.metadata)
}

func TestEveryCutOfARecordIsAnError(t *testing.T) {
	values := map[string][]string{goldenOffsetKey: goldenOffsets, goldenGroupKey: {goldenGroup}}
	for k, all := range values {
		key := fromHex(t, k)
		for _, v := range all {
			value := fromHex(t, v)
			for n := range len(value) {
				_, ok, err := decodeRecord(key, value[:n])
				require.False(t, ok)
				require.ErrorIs(t, err, ErrCorruptRecord)
			}
			_, _, err := decodeRecord(key, append(value, 0))
			require.ErrorIs(t, err, ErrCorruptRecord)
		}
		for n := range len(key) {
			_, _, err := decodeRecord(key[:n], nil)
			require.ErrorIs(t, err, ErrCorruptRecord)
		}
	}
}

// A count of tagged fields that the bytes cannot hold must not be believed.
func TestHugeCountOfTaggedFieldsEndsAtOnce(t *testing.T) {
	value := fromHex(t, goldenOffsets[4])
	value = append(value[:len(value)-1], 0xff, 0xff, 0xff, 0xff, 0x07)
	_, _, err := decodeRecord(fromHex(t, goldenOffsetKey), value)
	require.ErrorIs(t, err, ErrCorruptRecord)
}

// TestGoldenPartitionSaysWhatKafkasDumpSays reads a partition that a broker wrote, record by record, against the
// output of kafka-dump-log --offsets-decoder.
func TestGoldenPartitionSaysWhatKafkasDumpSays(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka-4.1.2/__consumer_offsets-0/00000000000000000000.log")
	require.NoError(t, err)
	dump, err := os.ReadFile("testdata/kafka-4.1.2/decoded.__consumer_offsets-0.txt")
	require.NoError(t, err)
	var want []string
	for line := range strings.Lines(string(dump)) {
		if _, rest, ok := strings.Cut(line, " key: "); ok && strings.HasPrefix(line, "| offset:") {
			want = append(want, strings.TrimSpace(rest))
		}
	}
	var it batch.Iterator
	for len(data) > 0 {
		b, err := batch.Peek(data)
		require.NoError(t, err)
		data = data[len(b):]
		b.Iterate(&it, 1<<20)
		for it.Next() {
			r := it.Record()
			require.NotEmpty(t, want)
			key, payload, _ := strings.Cut(want[0], " payload: ")
			want = want[1:]
			checkAgainstDump(t, r, key, payload)
		}
		require.NoError(t, it.Err())
	}
	require.Empty(t, want)
}

func checkAgainstDump(t *testing.T, r *batch.Record, key, payload string) {
	var k struct {
		Type string
		Data struct {
			Group, Topic string
			Partition    int32
		}
	}
	var v struct {
		Version string
		Data    struct {
			// of offsets
			Offset, CommitTimestamp int64
			LeaderEpoch             int32
			Metadata                string
			// of groups
			ProtocolType, Protocol, Leader string
			Generation                     int32
			CurrentStateTimestamp          int64
			Members                        []struct {
				MemberID, ClientID, ClientHost   string
				RebalanceTimeout, SessionTimeout int64
				Subscription                     struct{ Topics []string }
				Assignment                       struct {
					AssignedPartitions []struct {
						Topic      string
						Partitions []int32
					}
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(key), &k))
	require.NoError(t, json.Unmarshal([]byte(payload), &v))
	got, ok, err := decodeRecord(r.Key, r.Value)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, k.Data.Group, got.group)
	if k.Type == "1" {
		require.Equal(t, partition.TopicPartition{Topic: k.Data.Topic, Partition: k.Data.Partition}, got.tp)
		require.Equal(t, CommittedOffset{
			Offset: partition.Offset(v.Data.Offset), LeaderEpoch: partition.LeaderEpoch(v.Data.LeaderEpoch),
			Metadata: v.Data.Metadata, Time: time.UnixMilli(v.Data.CommitTimestamp),
		}, got.offset.CommittedOffset)
		require.Equal(t, r.Value, appendOffsetCommit(nil, got.offset, 4), "what we write is what Kafka writes")
		return
	}
	g := got.metadata
	require.Equal(t, []any{v.Data.ProtocolType, v.Data.Protocol, v.Data.Leader, v.Data.Generation, v.Data.CurrentStateTimestamp},
		[]any{g.protocolType, g.protocol, g.leader, int32(g.generation), g.since.UnixMilli()})
	require.Len(t, g.members, len(v.Data.Members))
	for i, m := range v.Data.Members {
		require.Equal(t, fmt.Sprint(m.MemberID, m.ClientID, m.ClientHost, m.RebalanceTimeout, m.SessionTimeout),
			fmt.Sprint(g.members[i].id, g.members[i].clientID, g.members[i].clientHost, g.members[i].rebalance.Milliseconds(), g.members[i].session.Milliseconds()))
		s, err := DecodeSubscription(g.members[i].subscription)
		require.NoError(t, err)
		require.Equal(t, m.Subscription.Topics, s.Topics)
		a, err := DecodeAssignment(g.members[i].assignment)
		require.NoError(t, err)
		var assigned []partition.TopicPartition
		for _, topic := range m.Assignment.AssignedPartitions {
			for _, p := range topic.Partitions {
				assigned = append(assigned, partition.TopicPartition{Topic: topic.Topic, Partition: p})
			}
		}
		require.Equal(t, assigned, a.Partitions)
	}
	require.Equal(t, r.Value, g.append(nil, groupMetadataVersion), "what we write is what Kafka writes")
}
