package segment

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// The files under testdata were written by Apache Kafka 4.1.2; its dump tool
// said what is in testdata/dumps.

// goldenLogs are the log files, as directory and base offset.
func goldenLogs(t testing.TB) map[string]int64 {
	paths, err := filepath.Glob("testdata/*/*.log")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(paths), 12)
	logs := make(map[string]int64)
	for _, p := range paths {
		n := ParseName(filepath.Base(p))
		require.Equal(t, KindLog, n.Kind, p)
		logs[p] = n.Base
	}
	return logs
}

func TestGoldenLogsScanCleanAndTheirIndexesComeOutByteForByte(t *testing.T) {
	for path, base := range goldenLogs(t) {
		t.Run(path, func(t *testing.T) {
			data := golden(t, path)
			interval := 4096
			switch filepath.Base(filepath.Dir(path)) {
			case "golden-none-0", "golden-gzip-0", "golden-zstd-0", "golden-txn-0":
				interval = 512 // these topics' index.interval.bytes
			}
			compacted := strings.Contains(path, "compacted")
			index := NewIndex(base, IndexOptions{Interval: interval, MaxBytes: 10 << 20})
			result, err := Scan(bytes.NewReader(data), 0, int64(len(data)), base, ScanOptions{Compacted: compacted},
				func(position int64, b batch.Batch) error {
					require.NoError(t, b.CheckCRC())
					index.Add(position, b)
					return nil
				})
			require.NoError(t, err)
			require.True(t, result.Clean(), "%+v", result)
			require.Equal(t, CleanEnd, result.Kind)
			require.Equal(t, int64(len(data)), result.End)
			require.Equal(t, int64(len(data)), result.Bytes)
			index.Close()

			dir := filepath.Dir(path)
			require.Equal(t, golden(t, filepath.Join(dir, IndexName(base))), index.Offsets.AppendTo([]byte{}))
			require.Equal(t, golden(t, filepath.Join(dir, TimeIndexName(base))), index.Times.AppendTo([]byte{}))

			loaded := NewIndex(base, IndexOptions{Interval: interval, MaxBytes: 10 << 20})
			require.NoError(t, loaded.Load(osFS, dir, int64(len(data)), result.Next))
			require.Equal(t, index.Offsets.Len(), loaded.Offsets.Len())
			timestamp, offset := loaded.MaxTimestamp()
			wantTimestamp, wantOffset := index.MaxTimestamp()
			require.Equal(t, wantTimestamp, timestamp)
			require.Equal(t, wantOffset, offset)
		})
	}
}

func TestGoldenIndexesHoldWhatTheDumpToolSays(t *testing.T) {
	dumps, err := filepath.Glob("testdata/dumps/*index.txt")
	require.NoError(t, err)
	require.NotEmpty(t, dumps)
	for _, dump := range dumps {
		lines := strings.Split(strings.TrimSpace(string(golden(t, dump))), "\n")
		path := filepath.Join("testdata", strings.TrimPrefix(lines[0], "Dumping "))
		n := ParseName(filepath.Base(path))
		var got []string
		switch n.Kind {
		case KindIndex:
			x := NewOffsetIndex(n.Base, 10<<20)
			require.NoError(t, x.Decode(golden(t, path), 1<<30))
			for i := range x.Len() {
				offset, position := x.Entry(i)
				got = append(got, sprintf("offset: %d position: %d", offset, position))
			}
		case KindTimeIndex:
			x := NewTimeIndex(n.Base, 10<<20)
			require.NoError(t, x.Decode(golden(t, path), 1<<40))
			for i := range x.Len() {
				timestamp, offset := x.Entry(i)
				got = append(got, sprintf("timestamp: %d offset: %d", timestamp, offset))
			}
		case KindTxnIndex:
			entries, err := ParseTxnIndex(golden(t, path), n.Base)
			require.NoError(t, err)
			for _, e := range entries {
				got = append(got, sprintf("version: 0 producerId: %d firstOffset: %d lastOffset: %d lastStableOffset: %d",
					e.ProducerID, e.FirstOffset, e.LastOffset, e.LastStableOffset))
			}
		default:
			require.Fail(t, "no index", path)
		}
		require.Equal(t, lines[1:], got, dump)
	}
}

func TestEveryFileOfARealPartitionHasAKnownName(t *testing.T) {
	dirs, err := os.ReadDir("testdata")
	require.NoError(t, err)
	for _, dir := range dirs {
		if !dir.IsDir() || !strings.Contains(dir.Name(), "-") {
			continue
		}
		d, err := ParseDirName(dir.Name())
		require.NoError(t, err)
		require.Equal(t, dir.Name(), d.String())
		files, err := os.ReadDir(filepath.Join("testdata", dir.Name()))
		require.NoError(t, err)
		for _, f := range files {
			require.NotEqual(t, KindForeign, ParseName(f.Name()).Kind, f.Name())
		}
	}
}

func TestGoldenSnapshotsRoundTripAndSayWhatTheDumpToolSays(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.snapshot")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		entries, err := ReadSnapshot(osFS, filepath.Dir(path), ParseName(filepath.Base(path)).Base)
		require.NoError(t, err)
		require.Equal(t, golden(t, path), AppendSnapshot(nil, entries))

		dump, err := os.ReadFile(filepath.Join("testdata/dumps", filepath.Base(filepath.Dir(path))+"."+filepath.Base(path)+".txt"))
		if err != nil {
			continue // not all dumps were copied
		}
		var got []string
		for _, e := range entries {
			first := "OptionalLong.empty"
			if e.TxnFirstOffset >= 0 {
				first = sprintf("OptionalLong[%d]", e.TxnFirstOffset)
			}
			got = append(got, sprintf("producerId: %d producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %d",
				e.ProducerID, e.Epoch, e.CoordinatorEpoch, first, e.Timestamp))
		}
		lines := strings.Split(strings.TrimSpace(string(dump)), "\n")[1:]
		require.Len(t, got, len(lines))
		for i := range lines {
			require.True(t, strings.HasPrefix(lines[i], got[i]), "%s\n%s", lines[i], got[i])
			if strings.Contains(lines[i], "lastSequence") {
				require.Contains(t, lines[i], sprintf("lastSequence: %d lastOffset: %d offsetDelta: %d",
					entries[i].LastSequence, entries[i].LastOffset, entries[i].OffsetDelta))
			}
		}
	}
}

func TestGoldenCheckpointsAndMetadataParse(t *testing.T) {
	entries, err := ReadOffsetCheckpoint(osFS, "testdata/"+RecoveryPointName)
	require.NoError(t, err)
	require.Len(t, entries, 21)
	require.Contains(t, entries, OffsetEntry{"golden-txn", 0, 68})
	require.Equal(t, golden(t, "testdata/"+RecoveryPointName), AppendOffsetCheckpoint(nil, entries))
	for _, name := range []string{HighWatermarkName, LogStartOffsetName, CleanerOffsetName} {
		entries, err := ReadOffsetCheckpoint(osFS, "testdata/"+name)
		require.NoError(t, err)
		require.Equal(t, golden(t, "testdata/"+name), AppendOffsetCheckpoint(nil, entries))
	}

	epochs, err := ReadEpochs(osFS, "testdata/golden-txn-0")
	require.NoError(t, err)
	require.Equal(t, []EpochStart{{0, 0}}, epochs.Entries())
	require.Equal(t, golden(t, "testdata/golden-txn-0/"+EpochCheckpointName), epochs.AppendTo(nil))

	id, err := ReadPartitionMetadata(osFS, "testdata/golden-txn-0")
	require.NoError(t, err)
	require.Equal(t, "3IkvwdjzQLqE9cTQj7-m0w", FormatUUID(id))
	require.Equal(t, golden(t, "testdata/golden-txn-0/"+PartitionMetadataName), AppendPartitionMetadata(nil, id))

	meta, err := ReadMetaProperties(osFS, "testdata")
	require.NoError(t, err)
	require.Equal(t, MetaProperties{1, "47ljzAB5QnKgcRFeGp3OQw", 1, "5iz5EHF0qBCPtzbw96-N8Q"}, meta)
	again, err := ParseMetaProperties(AppendMetaProperties(nil, meta))
	require.NoError(t, err)
	require.Equal(t, meta, again)
}
