package log

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/vfs"
)

const oracleRetention = 1000 // milliseconds

var oracleTimes = []int64{2_000_000, 2_000_500, 2_001_000, 2_003_000}

// Random logs, with producers, transactions, tombstones, codecs and records without a key, are cleaned several times by Kafka's own
// cleaner (PARTLOG_KAFKA_CLEANER, a command; .ci/compaction) and by ours. The same batches are left, with the same headers and
// records; ours has, besides, an empty one at the end of each segment that would end with a gap.
func TestCleaningLeavesWhatKafkasCleanerLeaves(t *testing.T) {
	command := strings.Fields(os.Getenv("PARTLOG_KAFKA_CLEANER"))
	if len(command) == 0 {
		t.Skip("no Kafka to ask")
	}
	logs, _ := strconv.Atoi(os.Getenv("PARTLOG_KAFKA_LOGS"))
	seed, _ := strconv.ParseUint(os.Getenv("PARTLOG_KAFKA_SEED"), 10, 64)
	root := t.TempDir()
	const segmentBytes = 1500
	var ours [][]string
	args := append(command[1:], strconv.Itoa(segmentBytes), strconv.Itoa(oracleRetention), oracleTimesText())
	for i := range logs {
		theirs := filepath.Join(root, fmt.Sprintf("log%d-0", i))
		m := vfs.NewMem()
		c := testConfig(m)
		c.Clock = clock.NewManual(time.UnixMilli(1_000_000))
		c.Settings = Settings{Compacted: true, Sync: SyncNever, SegmentBytes: segmentBytes, DeleteRetention: oracleRetention * time.Millisecond, ProducerExpiry: Unlimited}
		l := open(t, c)
		randomLog(t, l, rand.New(rand.NewPCG(seed, uint64(i))))
		require.NoError(t, l.Close())
		require.NoError(t, os.Mkdir(theirs, 0o700))
		for _, name := range names(t, m) {
			data, err := vfs.ReadFile(m, filepath.Join(c.Dir, name), 1<<30)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(theirs, name), data, 0o600))
		}
		args = append(args, theirs)
		c.Clean, c.CleanEnd = true, l.End()
		l = open(t, c)
		var lines []string
		for pass, now := range oracleTimes {
			list := l.segmentList()
			limit := list[max(segmentAt(list, l.LastStable()), 0)].base
			dirty := Offset(0)
			if pass%3 != 0 {
				dirty = max(min(l.End()*Offset(pass)/4, limit-1), 0)
			}
			l.cleaner.cleaned.Store(int64(dirty))
			r, err := l.Clean(CleanOptions{Now: time.UnixMilli(now)})
			require.NoError(t, err)
			lines = append(lines, fmt.Sprintf("pass %d cleaned %d", now, r.Cleaned))
			lines = append(lines, describe(t, l)...)
		}
		ours = append(ours, lines)
		l.Abandon()
	}
	out, err := exec.Command(command[0], args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	removed, batches := 0, 0
	for i, lines := range ours {
		data, err := os.ReadFile(filepath.Join(root, fmt.Sprintf("log%d-0.kafka", i)))
		require.NoError(t, err)
		theirs := strings.Split(strings.TrimSpace(string(data)), "\n")
		known := map[string]bool{}
		pass := ""
		for _, line := range theirs {
			if strings.HasPrefix(line, "pass") {
				pass = line
			}
			known[pass+line] = true
		}
		var same []string
		for _, line := range lines {
			if strings.HasPrefix(line, "pass") {
				pass = line
			}
			if known[pass+line] || !strings.HasSuffix(line, ":") {
				same = append(same, line)
			} else {
				removed++ // the empty batch at a segment's end
			}
		}
		require.Equal(t, theirs, same, "log %d of seed %d", i, seed)
		batches += len(theirs)
	}
	t.Logf("%d logs, %d passes, %d batches left as Kafka leaves them; %d empty ones at ends of segments are ours alone", logs, logs*len(oracleTimes), batches, removed)
}

func oracleTimesText() string {
	var texts []string
	for _, now := range oracleTimes {
		texts = append(texts, strconv.FormatInt(now, 10))
	}
	return strings.Join(texts, ",")
}

// randomLog appends some hundred records.
func randomLog(t *testing.T, l *Log, rng *rand.Rand) {
	codecs := []compress.Codec{compress.None, compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}
	records := func(prefix string) (out []keyed) {
		for range 1 + rng.IntN(4) {
			k := keyed{fmt.Sprintf("%s%d", prefix, rng.IntN(8)), fmt.Sprintf("v%d", rng.IntN(1000))}
			if rng.IntN(4) == 0 {
				k.value = ""
			}
			out = append(out, k)
		}
		return out
	}
	writers := []*txnWriter{{t: t, l: l, id: 1}, {t: t, l: l, id: 2}, {t: t, l: l, id: 3}}
	open := map[int64]bool{}
	sequence := int32(0)
	for range 40 + rng.IntN(120) {
		ts := int64(900_000 + rng.IntN(100_000))
		switch w := writers[rng.IntN(len(writers))]; rng.IntN(9) {
		case 0, 1, 2:
			_, err := l.Append(makeKeyed(codecs[rng.IntN(len(codecs))], ts, records("k")...), AppendOptions{})
			require.NoError(t, err)
		case 3:
			r := records("k")
			_, err := l.Append(makeKeyedAs(batch.Options{Idempotent: true, ProducerID: 9, BaseSequence: sequence, Codec: codecs[rng.IntN(len(codecs))]}, ts, r...), AppendOptions{})
			require.NoError(t, err)
			sequence += int32(len(r))
		case 4, 5:
			w.put(records([]string{"k", "t"}[rng.IntN(2)])...)
			open[w.id] = true
		case 6:
			if open[w.id] {
				w.end(rng.IntN(2) == 0)
				open[w.id] = false
			}
		case 7:
			_, err := l.Append(make1(ts, 1, "no key"), AppendOptions{})
			require.NoError(t, err)
		default:
			if rng.IntN(4) == 0 {
				roll(t, l)
			}
		}
	}
	for _, w := range writers {
		if open[w.id] && rng.IntN(3) > 0 {
			w.end(rng.IntN(2) == 0)
		}
	}
	if rng.IntN(2) == 0 {
		roll(t, l)
	}
}

// describe writes what is left as Cleaning.java does.
func describe(t *testing.T, l *Log) (out []string) {
	for at := l.Start(); ; {
		b, next, err := l.ReadInto(nil, at, 1<<62, 1<<20)
		require.NoError(t, err)
		if next == at {
			break
		}
		at = next
		for len(b) > 0 {
			one, err := batch.Peek(b)
			require.NoError(t, err)
			b = b[len(one):]
			out = append(out, describeBatch(t, one))
		}
	}
	return out
}

func describeBatch(t *testing.T, b batch.Batch) string {
	var s strings.Builder
	flags, horizon := "", int64(-1)
	if b.IsTransactional() {
		flags += "t"
	}
	if b.IsControl() {
		flags += "c"
	}
	if b.HasDeleteHorizon() {
		horizon = b.BaseTimestamp()
	}
	fmt.Fprintf(&s, "%d-%d epoch %d producer %d/%d/%d codec %s %s horizon %d max %d:", b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(),
		b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.Codec(), flags, horizon, b.MaxTimestamp())
	text := func(v []byte) string {
		switch {
		case v == nil:
			return "null"
		case b.IsControl():
			return hex.EncodeToString(v)
		}
		return string(v)
	}
	var it batch.Iterator
	for b.Iterate(&it, 0); it.Next(); {
		r := it.Record()
		fmt.Fprintf(&s, " %d@%d %s=%s", r.Offset, r.Timestamp, text(r.Key), text(r.Value))
	}
	require.NoError(t, it.Err())
	return s.String()
}
