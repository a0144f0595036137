package segment

import (
	"encoding/binary"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// txnSampleBase is the base offset of the golden segment with aborted
// transactions.
const txnSampleBase = 9

func TestGoldenTransactionIndexRoundTrips(t *testing.T) {
	data := golden(t, "testdata/golden-txn-0/"+TxnIndexName(txnSampleBase))
	entries, err := ParseTxnIndex(data, txnSampleBase)
	require.NoError(t, err)
	require.Len(t, entries, 7)
	require.Equal(t, AbortedTxn{ProducerID: 15, FirstOffset: 22, LastOffset: 31, LastStableOffset: 23}, entries[2])
	require.Equal(t, data, AppendTxnIndex(nil, entries))
}

func TestWrongTransactionIndexesAreTypedErrors(t *testing.T) {
	good := []AbortedTxn{{7, 100, 110, 111}, {8, 90, 120, 121}}
	_, err := ParseTxnIndex(AppendTxnIndex(nil, good), 105)
	require.NoError(t, err)
	for name, change := range map[string]func(e []AbortedTxn){
		"no producer":                    func(e []AbortedTxn) { e[0].ProducerID = -1 },
		"marker below the segment":       func(e []AbortedTxn) { e[0] = AbortedTxn{7, 100, 104, 105} },
		"marker beyond any segment":      func(e []AbortedTxn) { e[1].LastOffset = 105 + MaxRelativeOffset + 1 },
		"markers out of order":           func(e []AbortedTxn) { e[0], e[1] = e[1], e[0] },
		"the same marker twice":          func(e []AbortedTxn) { e[1].LastOffset = 110 },
		"a transaction without a batch":  func(e []AbortedTxn) { e[0].FirstOffset = 110 },
		"a transaction before the log":   func(e []AbortedTxn) { e[0].FirstOffset = -1 },
		"stable beyond the marker":       func(e []AbortedTxn) { e[0].LastStableOffset = 112 },
		"no last stable offset":          func(e []AbortedTxn) { e[0].LastStableOffset = -1 },
		"all of them in the same places": func(e []AbortedTxn) { e[0], e[1] = AbortedTxn{}, AbortedTxn{} },
	} {
		t.Run(name, func(t *testing.T) {
			entries := append([]AbortedTxn(nil), good...)
			change(entries)
			_, err := ParseTxnIndex(AppendTxnIndex(nil, entries), 105)
			require.ErrorIs(t, err, ErrCorrupt)
		})
	}
	data := AppendTxnIndex(nil, good)
	for n := range data {
		_, err := ParseTxnIndex(data[:n], 105)
		if n%TxnEntrySize == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
	binary.BigEndian.PutUint16(data[TxnEntrySize:], 1)
	_, err = ParseTxnIndex(data, 105)
	require.ErrorIs(t, err, ErrNewerVersion)
}

func TestTransactionIndexWithoutEntriesIsNoFile(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("d", 0o700))
	require.NoError(t, WriteTxnIndex(mem, "d", 5, nil))
	data := AppendTxnIndex(nil, []AbortedTxn{{1, 2, 6, 7}})
	require.NoError(t, WriteTxnIndex(mem, "d", 5, data))
	got, err := ReadTxnIndex(mem, "d", 5)
	require.NoError(t, err)
	require.Equal(t, data, got)
	require.NoError(t, WriteTxnIndex(mem, "d", 5, nil))
	_, err = ReadTxnIndex(mem, "d", 5)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func FuzzParseTxnIndex(f *testing.F) { fuzzCodec(f, "transaction index", "") }
