package txn

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

var golden = Meta{
	ID: "tx", ProducerID: 4242, Previous: None, Next: None, Epoch: 7, LastEpoch: None, Timeout: 60_000, State: Ongoing,
	Partitions: []Partition{{"t1", 0}, {"t1", 2}}, Start: 1_700_000_000_000, Updated: 1_700_000_000_005, Version: 2,
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func TestRecordsAreKafkasBytes(t *testing.T) {
	require.Equal(t, unhex(t, "0000 0002 7478"), AppendKey(nil, "tx"))
	v1 := unhex(t, "0001000000000000109200070000ea600102037431030000000000000002000000018bcfe568050000018bcfe568000102020002")
	require.Equal(t, v1, AppendValue(nil, &golden))
	m, ok, err := ParseValue("tx", v1)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, golden, m)

	v0 := unhex(t, "0000000000000000109200070000ea600100000001000274310000000200000000000000020000018bcfe568050000018bcfe56800")
	old := golden
	old.Version = 0
	require.Equal(t, v0, appendValue0(nil, &old))
	m, ok, err = ParseValue("tx", v0)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, old, m)
}

func TestRecordsSurviveWritingAndReading(t *testing.T) {
	next := golden
	next.Next, next.Previous, next.State, next.Epoch = 5000, 17, PrepareCommit, 32767
	none := golden
	none.State, none.Partitions, none.Start, none.Version = Empty, nil, None, 0
	for _, want := range []Meta{golden, next, none} {
		got, ok, err := ParseValue("tx", AppendValue(nil, &want))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
}

func TestKeysAndValuesOfOtherVersionsAreSkipped(t *testing.T) {
	_, ok, err := ParseKey([]byte{0, 1, 9, 9})
	require.False(t, ok)
	require.NoError(t, err)
	_, ok, err = ParseValue("x", []byte{0, 2, 9})
	require.False(t, ok)
	require.NoError(t, err)
	for _, bad := range [][]byte{nil, {0}, {0, 0, 0, 5, 'a'}, {0, 0, 0, 1, 'a', 'b'}, {0, 0, 0xff, 0xff}} {
		_, _, err := ParseKey(bad)
		require.ErrorIs(t, err, ErrCorruptRecord, "%x", bad)
	}
	value := AppendValue(nil, &golden)
	for n := range value {
		_, _, err := ParseValue("tx", value[:n])
		require.ErrorIs(t, err, ErrCorruptRecord, "%d bytes", n)
	}
	_, _, err = ParseValue("tx", append(value, 0))
	require.ErrorIs(t, err, ErrCorruptRecord)
	_, _, err = ParseValue("tx", []byte{0xff, 0xff})
	require.ErrorIs(t, err, ErrCorruptRecord)
}

// What a real broker wrote is read as its own tool reads it, and written with the same bytes.
func TestGoldenTransactionState(t *testing.T) {
	log, err := os.ReadFile("testdata/kafka-4.1.2/__transaction_state-0.log")
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/kafka-4.1.2/__transaction_state-0.decoded.txt")
	require.NoError(t, err)
	want := bufio.NewScanner(bytes.NewReader(text))
	states := map[State]int{}
	var it batch.Iterator
	for len(log) > 0 {
		b, err := batch.Peek(log)
		require.NoError(t, err)
		log = log[len(b):]
		b.Iterate(&it, 1<<20)
		for it.Next() {
			r := it.Record()
			require.True(t, want.Scan())
			keyText, valueText, ok := strings.Cut(want.Text(), " payload: ")
			require.True(t, ok)
			var key struct {
				Data struct{ TransactionalID string }
			}
			require.NoError(t, json.Unmarshal([]byte(keyText), &key))
			id, ok, err := ParseKey(r.Key)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, key.Data.TransactionalID, id)
			require.Equal(t, r.Key, AppendKey(nil, id))

			var value struct {
				Data struct {
					ProducerID            int64
					ProducerEpoch         int16
					TransactionTimeoutMs  int32
					TransactionStatus     int8
					TransactionPartitions []struct {
						Topic        string
						PartitionIDs []int32
					}
					TransactionLastUpdateTimestampMs int64
					TransactionStartTimestampMs      int64
					ClientTransactionVersion         int16
				}
			}
			require.NoError(t, json.Unmarshal([]byte(valueText), &value))
			m, ok, err := ParseValue(id, r.Value)
			require.NoError(t, err)
			require.True(t, ok)
			v := value.Data
			wantMeta := Meta{ID: id, ProducerID: v.ProducerID, Previous: None, Next: None, Epoch: v.ProducerEpoch, LastEpoch: None,
				Timeout: v.TransactionTimeoutMs, State: State(v.TransactionStatus), Updated: v.TransactionLastUpdateTimestampMs,
				Start: v.TransactionStartTimestampMs, Version: v.ClientTransactionVersion}
			for _, topic := range v.TransactionPartitions {
				for _, p := range topic.PartitionIDs {
					wantMeta.Partitions = append(wantMeta.Partitions, Partition{topic.Topic, p})
				}
			}
			require.Equal(t, wantMeta, m)
			require.Equal(t, r.Value, AppendValue(nil, &m))
			states[m.State]++
		}
		require.NoError(t, it.Err())
	}
	require.False(t, want.Scan())
	require.Subset(t, states, map[State]int{Empty: 2})
	require.NotZero(t, states[CompleteCommit])
	require.NotZero(t, states[CompleteAbort])
}

func TestPartitionOfAnIDIsKafkas(t *testing.T) {
	for id, want := range map[string]int32{"": 0, "a": 47, "polygenelubricants": 0, "golden-a": PartitionFor("golden-a", 50)} {
		require.Equal(t, want, PartitionFor(id, 50), "%q", id)
	}
	require.EqualValues(t, 0, PartitionFor("\U0001F600", 1))
}

func FuzzParseRecord(f *testing.F) {
	f.Add(AppendKey(nil, "tx"), AppendValue(nil, &golden))
	f.Add([]byte{0, 0, 0, 0}, appendValue0(nil, &golden))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		id, ok, err := ParseKey(key)
		if err != nil {
			require.ErrorIs(t, err, ErrCorruptRecord)
		} else if ok {
			require.Equal(t, key, AppendKey(nil, id))
		}
		m, ok, err := ParseValue("tx", value)
		if err != nil {
			require.ErrorIs(t, err, ErrCorruptRecord)
			return
		}
		if !ok {
			return
		}
		again, ok, err := ParseValue("tx", AppendValue(nil, &m))
		require.NoError(t, err)
		require.True(t, ok)
		if m.State == Empty {
			m.Partitions = nil // are not written
		}
		if m.Previous == m.ProducerID {
			m.Previous = None
		}
		require.Equal(t, m, again)
	})
}
