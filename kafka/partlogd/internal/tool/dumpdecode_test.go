package tool

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// Logs of the coordinators of a real broker, which has had groups of both protocols and transactions of every version: what
// Apache Kafka's tool printed of them with its decoders, dump prints to the byte.
func TestDecodersPrintLogsOfCoordinatorsAsKafkaDoes(t *testing.T) {
	for name, flag := range map[string]string{"offsets": "--offsets-decoder", "transactions": "--transaction-log-decoder"} {
		file := filepath.Join("testdata", "decoders", name+".00000000000000000000.log")
		want, err := os.ReadFile(file + ".txt")
		require.NoError(t, err)
		got, _, err := run(t, "dump", "", flag, "--files", partitionOf(t, file, "00000000000000000000.log"))
		require.NoError(t, err)
		require.Equal(t, dumpingLine.ReplaceAllString(string(want), ""), dumpingLine.ReplaceAllString(got, ""), name)
	}
}

func TestDecodersAreOfOneTopicEach(t *testing.T) {
	_, _, err := run(t, "dump", "", "--offsets-decoder", "--transaction-log-decoder", "0.log")
	require.ErrorContains(t, err, "different topics")
}

// Records that are nothing known, or that end too early, are named, and the dump goes on.
func TestRecordsThatCannotBeDecodedAreNamed(t *testing.T) {
	key := func(kind uint16, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, kind), rest...)
	}
	for _, c := range []struct {
		key, value []byte
		want       string
	}{
		{nil, nil, "Error at offset 7, skipping. the record ends too early"},
		{key(99), nil, "Unknown record type 99 at offset 7, skipping."},
		{key(2, 0, 9, 'g'), nil, "Error at offset 7, skipping. the record ends too early"},
		{key(2, 0, 1, 'g'), key(9), "Error at offset 7, skipping. unknown version 9 of the value of record type 2"},
		{key(2, 0, 1, 'g'), key(3, 0), "Error at offset 7, skipping. the record ends too early"},
	} {
		got, payload := decoded(decodeOffsets, &batch.Record{Offset: 7, Key: c.key, Value: c.value})
		require.Equal(t, c.want, got)
		require.Empty(t, payload)
	}
	member := key(0, 0, 0, 2, 'c', 2, 'h', 1, 0, 0, 0, 0, 9, 0, 1, 0, 13, 1, 0, 0, 0, 5, 2, 2, 'r', 3, 0, 1, 0, 0)
	_, payload := decoded(decodeOffsets, &batch.Record{Key: key(5, 0, 1, 'g', 0, 1, 'm'), Value: member})
	require.Equal(t, `{"version":"0","data":{"instanceId":null,"rackId":null,"clientId":"c","clientHost":"h","subscribedTopicNames":[],"subscribedTopicRegex":null,`+
		`"rebalanceTimeoutMs":9,"serverAssignor":null,"classicMemberMetadata":{"sessionTimeoutMs":5,"supportedProtocols":[{"name":"r","metadata":"AAE="}]}}}`, payload)
	got, payload := decoded(decodeOffsets, &batch.Record{Key: key(3, 0, 2, '"', 1)})
	require.Equal(t, `{"type":"3","data":{"groupId":"\"\u0001"}}`, got)
	require.Equal(t, "<DELETE>", payload)
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{0, 2, 0, 1, 'g'}, []byte{0, 3, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 5, 0, 1, 'g', 0, 1, 'm'}, []byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		for _, log := range []string{decodeOffsets, decodeTransactions} {
			got, _ := decoded(log, &batch.Record{Key: key, Value: value})
			require.NotEmpty(t, got)
		}
	})
}
