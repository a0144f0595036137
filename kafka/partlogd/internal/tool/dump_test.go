package tool

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// run runs a command to its end.
func run(t testing.TB, name, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	for _, c := range Commands() {
		if c.Name == name {
			err = c.Run(context.Background(), args, Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs})
			return out.String(), errs.String(), err
		}
	}
	t.Fatalf("no command %s", name)
	return "", "", nil
}

const (
	batchData   = "../../../../internal/batch/testdata/kafka-4.1.2"
	segmentData = "../../../../internal/segment/testdata"
)

var dumpingLine = regexp.MustCompile(`\ADumping [^\n]*\n`)

// partitionOf copies one file into a directory of its own, under its name.
func partitionOf(t testing.TB, file, name string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	to := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(to, data, 0o600))
	return to
}

// What Apache Kafka's tool printed of logs that a real broker wrote, dump prints to the byte.
func TestDumpPrintsLogsAsKafkaDoes(t *testing.T) {
	files, err := filepath.Glob(batchData + "/*.log")
	require.NoError(t, err)
	require.Len(t, files, 17)
	for _, file := range files {
		want, err := os.ReadFile(file + ".txt")
		require.NoError(t, err)
		args := []string{"--deep-iteration"}
		if bytes.Contains(want, []byte(" payload: ")) {
			args = []string{"--print-data-log"}
		}
		parts := strings.Split(filepath.Base(file), ".")
		log := partitionOf(t, file, parts[1]+".log")
		got, _, err := run(t, "dump", "", append(args, "--files", log)...)
		require.NoError(t, err)
		require.Equal(t, dumpingLine.ReplaceAllString(string(want), ""), dumpingLine.ReplaceAllString(got, ""), file)
	}
}

// And what it printed of indexes and snapshots.
func TestDumpPrintsIndexesAndSnapshotsAsKafkaDoes(t *testing.T) {
	dumps, err := filepath.Glob(segmentData + "/dumps/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, dumps)
	for _, dump := range dumps {
		want, err := os.ReadFile(dump)
		require.NoError(t, err)
		// TOPIC-N.OFFSET.KIND.txt is of TOPIC-N/OFFSET.KIND
		parts := strings.Split(filepath.Base(dump), ".")
		file := filepath.Join(segmentData, parts[0], parts[1]+"."+parts[2])
		got, _, err := run(t, "dump", "", file)
		require.NoError(t, err)
		require.Equal(t, dumpingLine.ReplaceAllString(string(want), ""), dumpingLine.ReplaceAllString(got, ""), file)
	}
}

func TestDumpComparesIndexesWithTheLog(t *testing.T) {
	dir := filepath.Join(segmentData, "golden-none-0")
	out, _, err := run(t, "dump", "", "--index-sanity-check", filepath.Join(dir, "00000000000000000000.index"))
	require.NoError(t, err)
	require.NotContains(t, out, "Mismatches")

	copied := t.TempDir()
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	index := filepath.Join(copied, "00000000000000000000.index")
	data, err := os.ReadFile(index)
	require.NoError(t, err)
	data[3]++ // the first entry's offset
	require.NoError(t, os.WriteFile(index, data, 0o600))
	out, _, err = run(t, "dump", "", "--index-sanity-check", index)
	require.ErrorContains(t, err, "not as they should be")
	require.Contains(t, out, "Index offset: 20, log offset: 19")
}

func TestDumpTellsDamage(t *testing.T) {
	data, err := os.ReadFile(batchData + "/golden-none-0.00000000000000000000.log")
	require.NoError(t, err)
	write := func(b []byte) string {
		file := filepath.Join(t.TempDir(), "00000000000000000000.log")
		require.NoError(t, os.WriteFile(file, b, 0o600))
		return file
	}
	flipped := bytes.Clone(data)
	flipped[100] ^= 1
	out, _, err := run(t, "dump", "", "--print-data-log", write(flipped))
	require.ErrorContains(t, err, "1 things")
	require.Equal(t, 1, strings.Count(out, "isvalid: false"))

	out, _, err = run(t, "dump", "", write(data[:len(data)-3]))
	require.Error(t, err)
	require.Contains(t, out, "invalid bytes at the end of 00000000000000000000.log")

	out, _, err = run(t, "dump", "", write(append(bytes.Clone(data), make([]byte, 5000)...))) // allocated beforehand
	require.NoError(t, err)
	require.NotContains(t, out, "invalid")
}

func TestDumpOfADirectoryIsOfItsFiles(t *testing.T) {
	out, _, err := run(t, "dump", "", filepath.Join(segmentData, "golden-txn-0"))
	require.NoError(t, err)
	for _, name := range []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"} {
		require.Contains(t, out, name+"\n")
	}
	_, _, err = run(t, "dump", "", t.TempDir())
	require.ErrorContains(t, err, "not the directory of a partition")
}

// Whatever the bytes of a file are, dump ends, and tells.
func FuzzDump(f *testing.F) {
	for _, name := range []string{"golden-none-0.00000000000000000000.log", "golden-zstd-0.00000000000000000000.log", "golden-txn-0.00000000000000000009.log"} {
		data, err := os.ReadFile(filepath.Join(batchData, name))
		require.NoError(f, err)
		f.Add(data[:min(len(data), 4096)])
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"} {
			file := filepath.Join(dir, "00000000000000000000"+kind)
			require.NoError(t, os.WriteFile(file, data, 0o600))
			_ = dump(context.Background(), []string{"--print-data-log", file}, Streams{Out: io.Discard, Err: io.Discard})
		}
	})
}
