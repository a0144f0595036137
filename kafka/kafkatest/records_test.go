package kafkatest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

func TestRecordsAreWrittenAndReadBesideTheClients(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	r := reader(t, c, "orders")
	got := make(chan []string)
	go func() { got <- consume(t, r, 2) }()
	offset, err := c.Produce(bound(t), "orders", 0, kafkatest.Record{Key: []byte("k"), Value: []byte("a")}, kafkatest.Record{Value: []byte("b")})
	require.NoError(t, err)
	require.Zero(t, offset)
	require.Equal(t, []string{"a", "b"}, <-got)
	produce(t, client(t, c), "orders", "c")
	records, err := c.Records("orders", 0)
	require.NoError(t, err)
	require.Len(t, records, 3)
	require.Equal(t, "k", string(records[0].Key))
	require.Nil(t, records[1].Key)
	require.NotZero(t, records[1].Timestamp)
	_, err = c.Produce(bound(t), "nowhere", 0, kafkatest.Record{})
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	_, err = c.Produce(bound(t), "orders", 0)
	require.Error(t, err)
}

func TestAbortedRecordsAreNotCommitted(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	k := client(t, c, kgo.TransactionalID("tx"))
	for i, v := range []string{"a", "b", "c"} {
		require.NoError(t, k.BeginTransaction())
		produce(t, k, "orders", v)
		require.NoError(t, k.EndTransaction(bound(t), kgo.TransactionEndTry(i != 1)))
	}
	require.NoError(t, k.BeginTransaction())
	produce(t, k, "orders", "open")
	all, err := c.Records("orders", 0)
	require.NoError(t, err)
	require.Len(t, all, 4)
	committed, err := c.Committed("orders", 0)
	require.NoError(t, err)
	require.Len(t, committed, 2)
	require.Equal(t, "ac", string(committed[0].Value)+string(committed[1].Value))
	require.NoError(t, k.EndTransaction(bound(t), kgo.TryAbort))
}

func TestTopicsAreLoadedFromLinesAndDumped(t *testing.T) {
	c := kafkatest.New(t)
	lines := `{"partition":1,"key":"k","value":"text","timestamp":1700000000000,"headers":[{"key":"h","value":"x"},{"key":"null"},{"key":"b","valueBase64":"/w=="}]}

{"value":{"cents": 1999}}
{"keyBase64":"/w==","value":""}`
	n, err := c.LoadJSON(bound(t), "orders", strings.NewReader(lines))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	records, err := c.Records("orders", 1)
	require.NoError(t, err)
	require.Len(t, records, 1)
	require.EqualValues(t, 1700000000000, records[0].Timestamp)
	require.Equal(t, []kafkatest.Header{{Key: "h", Value: []byte("x")}, {Key: "null"}, {Key: "b", Value: []byte{0xff}}}, records[0].Headers)
	require.Equal(t, []string{`{"cents": 1999}`, ""}, values(t, c, "orders", 0))

	var dump bytes.Buffer
	require.NoError(t, c.DumpJSON("orders", &dump))
	path := filepath.Join(t.TempDir(), "orders.jsonl")
	require.NoError(t, os.WriteFile(path, dump.Bytes(), 0o600))
	_, err = c.LoadFile(bound(t), "copy", path)
	require.NoError(t, err)
	var again bytes.Buffer
	require.NoError(t, c.DumpJSON("copy", &again))
	require.Equal(t, dump.String(), again.String())

	_, err = c.LoadJSON(bound(t), "orders", strings.NewReader("{}\nno json"))
	require.ErrorContains(t, err, "line 2")
	_, err = c.LoadFile(bound(t), "orders", path+".missing")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, c.DumpJSON("nowhere", &dump), partition.ErrUnknownTopicOrPartition)
}
