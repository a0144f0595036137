package segment

import (
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// codecs are the parsers of the small files, as one signature: they return the
// content again as it would be written.
var codecs = map[string]func([]byte) ([]byte, error){
	"snapshot": func(data []byte) ([]byte, error) {
		v, err := ParseSnapshot(data)
		return AppendSnapshot(nil, v), err
	},
	"transaction index": func(data []byte) ([]byte, error) {
		entries, err := ParseTxnIndex(data, txnSampleBase)
		if err != nil {
			return nil, err
		}
		return AppendTxnIndex(nil, entries), nil
	},
	"epochs": func(data []byte) ([]byte, error) {
		v, err := ParseEpochs(data)
		return v.AppendTo(nil), err
	},
	"offsets": func(data []byte) ([]byte, error) {
		v, err := ParseOffsetCheckpoint(data)
		return AppendOffsetCheckpoint(nil, v), err
	},
	"partition metadata": func(data []byte) ([]byte, error) {
		v, err := ParsePartitionMetadata(data)
		return AppendPartitionMetadata(nil, v), err
	},
	"meta properties": func(data []byte) ([]byte, error) {
		v, err := ParseMetaProperties(data)
		if err == nil && v.Version == 0 {
			return data, nil // read, but never written
		}
		return AppendMetaProperties(nil, v), err
	},
	"clean shutdown": func(data []byte) ([]byte, error) {
		v, err := ParseCleanShutdown(data)
		return AppendCleanShutdown(nil, v), err
	},
	"sum": func(data []byte) ([]byte, error) {
		v, err := ParseSum(data)
		if err != nil {
			return nil, err
		}
		return v.AppendTo(nil), nil
	},
}

// samples are one good file for each of codecs.
func samples(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"snapshot":           golden(t, "testdata/golden-txn-0/00000000000000000068.snapshot"),
		"transaction index":  golden(t, "testdata/golden-txn-0/"+TxnIndexName(txnSampleBase)),
		"epochs":             []byte("0\n2\n0 0\n3 17\n"),
		"offsets":            golden(t, "testdata/"+HighWatermarkName),
		"partition metadata": golden(t, "testdata/golden-txn-0/"+PartitionMetadataName),
		"meta properties":    golden(t, "testdata/"+MetaPropertiesName),
		"clean shutdown":     []byte(`{"version":0,"brokerEpoch":4711}`),
		"sum": (&Sum{ID: SumID{[16]byte{1, 2}, 3, 4}, Files: []FileSum{
			{"00000000000000000004.log", SumBlockSize + 5, []uint64{6, 7}}, {"00000000000000000004.index", 0, nil}}}).AppendTo(nil),
	}
}

func TestEveryCutOfASmallFileIsATypedError(t *testing.T) {
	for name, data := range samples(t) {
		_, err := codecs[name](data)
		require.NoError(t, err, name)
		for n := range data {
			again, err := codecs[name](data[:n])
			corruptOrNewer(t, err)
			switch {
			case n == 0 && (name == "epochs" || name == "offsets"):
				require.NoError(t, err, "Kafka creates it empty")
				require.Equal(t, "0\n0\n", string(again))
			case name == "transaction index" && n%TxnEntrySize == 0:
				require.NoError(t, err, "it has no count")
			case name == "meta properties" && err == nil:
				// A properties file cannot say that it is whole. In a store's own,
				// cluster.id is in front of node.id; the longest prefix lacks only
				// a line end or characters of the cluster id, which has no length.
				require.Greater(t, n, strings.Index(string(data), "cluster.id"))
			default:
				require.Error(t, err, "%s cut to %d bytes", name, n)
			}
		}
	}
}

// Every flip is detected, or harmless: the file then says the same, or another
// value that its format, which has no checksum, allows.
func TestEveryFlipInASmallFileIsDetectedOrReadsBackTheSame(t *testing.T) {
	for name, data := range samples(t) {
		for i := range data {
			for bit := range 8 {
				flipped := append([]byte(nil), data...)
				flipped[i] ^= 1 << bit
				again, err := codecs[name](flipped)
				if err != nil {
					corruptOrNewer(t, err)
					continue
				}
				require.False(t, name == "snapshot" || name == "sum", "%s: byte %d bit %d unnoticed", name, i, bit)
				third, err := codecs[name](again)
				require.NoError(t, err, "%s: byte %d bit %d: %q", name, i, bit, flipped)
				require.Equal(t, again, third)
			}
		}
	}
}

func TestNewerVersionsAreToldFromCorruption(t *testing.T) {
	snapshot := AppendSnapshot(nil, nil)
	snapshot[1] = 2
	sum := (&Sum{}).AppendTo(nil)
	sum[9] = 2
	for name, data := range map[string][]byte{
		"snapshot":           snapshot,
		"epochs":             []byte("1\nwhatever comes then\n"),
		"offsets":            []byte("7\n0\n"),
		"partition metadata": []byte("version: 1\ntopic_id: x\nmore: y"),
		"meta properties":    []byte("version=2\n"),
		"clean shutdown":     []byte(`{"version":1,"epochs":[1,2]}`),
		"sum":                sum,
	} {
		_, err := codecs[name](data)
		require.ErrorIs(t, err, ErrNewerVersion, name)
		require.NotErrorIs(t, err, ErrCorrupt, name)
	}
}

func TestMalformedSmallFilesAreCorrupt(t *testing.T) {
	for name, files := range map[string][]string{
		"epochs": {"\n", "0", "0\n", "0\n0", "x\n0\n", "0\nx\n", "0\n-1\n", "-1\n0\n", "0\n1\n", "0\n1\n1\n", "0\n1\n1 2 3\n", "0\n1\n1 2",
			"0\n1\n-1 0\n", "0\n1\n0 -1\n", "0\n1\n0 0\n1 1\n", "0\n2\n1 0\n1 1\n", "0\n2\n1 1\n2 1\n", "0\n2\n2 0\n1 1\n", "0\n1\n0 9223372036854775808\n",
			"0\n99999999\n0 0\n", "0\r\n0\r\n"},
		"offsets": {"0\n1\nt 0\n", "0\n1\nt 0 x\n", "0\n1\nt -1 0\n", "0\n1\nt 2147483648 0\n", "0\n1\nt 0 -5\n", "0\n2\nt 0 1\nt 0 1\n", "0\n1\nt 0 1\nt 1 1\n"},
		"partition metadata": {"version: 0", "version: 0\n", "version: x\ntopic_id: 3IkvwdjzQLqE9cTQj7-m0w", "topic_id: 3IkvwdjzQLqE9cTQj7-m0w\nversion: 0",
			"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", "version: 0\ntopic_id: 3IkvwdjzQLqE9cTQj7-m0", "version: 0\ntopic_id: 3IkvwdjzQLqE9cTQj7-m0x",
			"version: 0\ntopic_id: 3IkvwdjzQLqE9cTQj7-m0w==", "version: 0\n3IkvwdjzQLqE9cTQj7-m0w"},
		"meta properties": {"#\n", "version=1\n", "version=1\ncluster.id=x\n", "version=1\nnode.id=1\n", "version=one\n", "version=1\ncluster.id=x\nnode.id=-1\n",
			"version=1\ncluster.id=x\nnode.id=1\ndirectory.id=y\n", "version=1\ncluster.id=\\u00g0\nnode.id=1\n", "\xff\xfe"},
		"clean shutdown": {"", "{}", "null", "[]", "0", `{"version":0}`, `{"brokerEpoch":1}`, `{"version":"0","brokerEpoch":1}`, `{"version":0,"brokerEpoch":1`},
		"sum":            {"", "plog.sum", strings.Repeat("\x00", 100), "plog.sum\x00\x00" + strings.Repeat("\x00", 100)},
		"snapshot":       {"", "half a snapshot of something", "\x00", "\x00\x01", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", strings.Repeat("\x00", 56)},
	} {
		for _, data := range files {
			_, err := codecs[name]([]byte(data))
			require.ErrorIs(t, err, ErrCorrupt, "%s %q", name, data)
		}
	}
}

func TestSnapshotHasTheSpecifiedBytes(t *testing.T) {
	data := unhex(t, `0001 544dc681 00000002
		0000000000001092 0007 00000009 000000000000006d 00000009 0000018bcfe56800 0000000c 0000000000000064
		0000000000001388 0000 ffffffff ffffffffffffffff 00000000 0000018bcfe569f4 ffffffff ffffffffffffffff`)
	entries := []ProducerEntry{
		{4242, 7, 9, 109, 9, 1700000000000, 12, 100},
		{5000, 0, -1, -1, 0, 1700000000500, -1, -1},
	}
	require.Equal(t, data, AppendSnapshot(nil, entries))
	got, err := ParseSnapshot(data)
	require.NoError(t, err)
	require.Equal(t, entries, got)
}

func TestSnapshotWithAWrongCountIsCorruptEvenIfItsChecksumIsRight(t *testing.T) {
	for _, count := range []uint32{1, 3, 0xffffffff, 0x80000000} {
		data := AppendSnapshot(nil, make([]ProducerEntry, 2))
		binary.BigEndian.PutUint32(data[6:], count)
		binary.BigEndian.PutUint32(data[2:], crc32.Checksum(data[6:], castagnoli))
		_, err := ParseSnapshot(data)
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

func TestPropertiesAreReadAsJavaReadsThem(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"a=b\n":                                {"a": "b"},
		"a:b\r\nc d\re = f":                    {"a": "b", "c": "d", "e": "f"},
		"# no\n ! neither\n\n\ta\t=\tb ":       {"a": "b "},
		"a=one, \\\n   two\nb=\\\\\nc=x":       {"a": "one, two", "b": `\`, "c": "x"},
		`k\ e\=y=v\:\u0041\u00e4\t`:            {"k e=y": "v:A\u00e4\t"},
		"a=1\na=2":                             {"a": "2"},
		"only":                                 {"only": ""},
		"=v":                                   {"": "v"},
		`smile=\ud83d\ude00`:                   {"smile": "\U0001f600"},
		"a=b\\":                                {"a": "b"},
		"long=" + strings.Repeat("x", 5) + "#": {"long": "xxxxx#"},
	} {
		got, err := parseProperties(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, "%q", text)
	}
	for _, value := range []string{"", " lead", "a=b:c#d!e", "tab\tnl\ncr\rff\f", `back\slash`, "ümläut", "\U0001f600", "trail "} {
		got, err := parseProperties("k=" + string(appendProperty(nil, value)))
		require.NoError(t, err)
		require.Equal(t, value, got["k"])
	}
}

func TestMetaPropertiesOfZooKeeperTimesAreRead(t *testing.T) {
	m, err := ParseMetaProperties([]byte("#Tue Jan 01\nversion=0\nbroker.id=7\ncluster.id=abc\n"))
	require.NoError(t, err)
	require.Equal(t, MetaProperties{Version: 0, ClusterID: "abc", NodeID: 7}, m)
	m, err = ParseMetaProperties([]byte("version=0\n"))
	require.NoError(t, err)
	require.Equal(t, MetaProperties{NodeID: -1}, m)
}

func TestUUIDTextIsKafkas(t *testing.T) {
	id := [16]byte(unhex(t, "0123456789abcdef fedcba9876543210"))
	require.Equal(t, "ASNFZ4mrze_-3LqYdlQyEA", FormatUUID(id))
	got, err := ParseUUID("ASNFZ4mrze_-3LqYdlQyEA")
	require.NoError(t, err)
	require.Equal(t, id, got)
	for _, text := range []string{"", "ASNFZ4mrze_-3LqYdlQyE", "ASNFZ4mrze_-3LqYdlQyEAA", "ASNFZ4mrze_-3LqYdlQyEB", "ASNFZ4mrze/+3LqYdlQyEA", "ASNFZ4mrze_-3LqYdlQy\nA"} {
		_, err := ParseUUID(text)
		require.Error(t, err, text)
	}
}

func TestSmallFilesAreReadAsWritten(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("d", 0o700))

	_, err := ReadCleanShutdown(mem, "d")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, WriteCleanShutdown(mem, "d", 42))
	epoch, err := ReadCleanShutdown(mem, "d")
	require.NoError(t, err)
	require.Equal(t, int64(42), epoch)
	require.NoError(t, RemoveCleanShutdown(mem, "d"))
	require.ErrorIs(t, RemoveCleanShutdown(mem, "d"), fs.ErrNotExist)

	id := [16]byte{15: 1}
	require.NoError(t, WritePartitionMetadata(mem, "d", id))
	got, err := ReadPartitionMetadata(mem, "d")
	require.NoError(t, err)
	require.Equal(t, id, got)

	meta := MetaProperties{1, "c l=u#ster", 3, FormatUUID(id)}
	require.NoError(t, WriteMetaProperties(mem, "d", meta))
	gotMeta, err := ReadMetaProperties(mem, "d")
	require.NoError(t, err)
	require.Equal(t, meta, gotMeta)

	offsets := []OffsetEntry{{"a.b-c", 0, 0}, {"a", 1, 1 << 62}}
	require.NoError(t, WriteOffsetCheckpoint(mem, "d/"+RecoveryPointName, offsets))
	gotOffsets, err := ReadOffsetCheckpoint(mem, "d/"+RecoveryPointName)
	require.NoError(t, err)
	require.Equal(t, offsets, gotOffsets)

	producers := []ProducerEntry{{ProducerID: 1, TxnFirstOffset: -1}}
	require.NoError(t, WriteSnapshot(mem, "d", 17, producers))
	gotProducers, err := ReadSnapshot(mem, "d", 17)
	require.NoError(t, err)
	require.Equal(t, producers, gotProducers)

	require.NoError(t, vfs.WriteFileAtomic(mem, "d/"+SnapshotName(18), []byte("\x00\x01torn")))
	_, err = ReadSnapshot(mem, "d", 18)
	e, ok := asError[*CorruptError](err)
	require.True(t, ok)
	require.Equal(t, "d/00000000000000000018.snapshot", e.Path)
	require.ErrorContains(t, err, "00000000000000000018.snapshot")
}

func TestAFileTooLargeToBeTrueIsCorrupt(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, vfs.WriteFileAtomic(mem, PartitionMetadataName, make([]byte, maxMetadataBytes+1)))
	_, err := ReadPartitionMetadata(mem, ".")
	require.ErrorIs(t, err, ErrCorrupt)
}

func fuzzCodec(f *testing.F, name string, seeds ...string) {
	f.Add(samples(f)[name])
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again, err := codecs[name](data)
		if err != nil {
			corruptOrNewer(t, err)
			return
		}
		third, err := codecs[name](again)
		require.NoError(t, err)
		require.Equal(t, again, third)
	})
}

func FuzzParseSnapshot(f *testing.F) {
	fuzzCodec(f, "snapshot", string(AppendSnapshot(nil, nil)))
}
func FuzzParseEpochs(f *testing.F)            { fuzzCodec(f, "epochs", "", "0\n0\n", "0\n1\n5 5\n") }
func FuzzParseOffsetCheckpoint(f *testing.F)  { fuzzCodec(f, "offsets", "", "0\n1\na 0 5\n") }
func FuzzParsePartitionMetadata(f *testing.F) { fuzzCodec(f, "partition metadata") }
func FuzzParseMetaProperties(f *testing.F) {
	fuzzCodec(f, "meta properties", "version=0", "version=1\ncluster.id=\\u0041\\\n b\nnode.id : 4")
}
func FuzzParseCleanShutdown(f *testing.F) { fuzzCodec(f, "clean shutdown", "{}", "null") }
func FuzzParseSum(f *testing.F)           { fuzzCodec(f, "sum") }
