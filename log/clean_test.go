package log

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/vfs"
)

// keyed is a record of a compacted log; no value is a tombstone.
type keyed struct{ key, value string }

func (k keyed) String() string { return k.key + "=" + k.value }

// makeKeyed builds a batch of records whose timestamps are ts.
func makeKeyed(codec compress.Codec, ts int64, records ...keyed) []byte {
	return makeKeyedAs(batch.Options{Codec: codec}, ts, records...)
}

func makeKeyedAs(o batch.Options, ts int64, records ...keyed) []byte {
	var b batch.Builder
	b.Reset(nil, o)
	for _, r := range records {
		var value []byte
		if r.value != "" {
			value = []byte(r.value)
		}
		b.Append(ts, []byte(r.key), value, nil)
	}
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

func compacted(fs vfs.FS) (Config, *clock.Manual) {
	c := testConfig(fs)
	m := clock.NewManual(time.UnixMilli(1_000_000))
	c.Clock = m
	c.Settings = Settings{Compacted: true, SegmentBytes: 1 << 20, DeleteRetention: time.Hour, IndexInterval: 1}
	return c, m
}

func put(t testing.TB, l *Log, records ...keyed) Offset {
	t.Helper()
	r, err := l.Append(makeKeyed(compress.None, l.clock.Now().UnixMilli(), records...), AppendOptions{Durable: true})
	require.NoError(t, err)
	return r.Base
}

func roll(t testing.TB, l *Log) {
	t.Helper()
	require.NoError(t, l.Roll())
}

func clean(t testing.TB, l *Log) CleanResult {
	t.Helper()
	r, err := l.Clean(CleanOptions{})
	require.NoError(t, err)
	return r
}

// contents returns what a reader sees, as "offset:key=value".
func contents(t testing.TB, l *Log) (out []string) {
	t.Helper()
	for at := l.Start(); ; {
		v, err := l.Read(at, 1<<62, 1<<20)
		require.NoError(t, err)
		if len(v.Bytes) == 0 {
			return out
		}
		eachRecord(t, v.Bytes, func(r *batch.Record) { out = append(out, fmt.Sprintf("%d:%s=%s", r.Offset, r.Key, r.Value)) })
		at = v.Next
		v.Release()
	}
}

// reopen closes l and opens it again.
func reopen(t testing.TB, l *Log, c Config, clean bool) *Log {
	t.Helper()
	c.Cleaned, c.RecoveryPoint = l.Cleaned(), l.RecoveryPoint()
	if clean {
		require.NoError(t, l.Close())
		c.Clean, c.CleanEnd = true, l.End()
	} else {
		l.Abandon()
	}
	n, report, err := Open(c)
	require.NoError(t, err)
	for _, f := range report.Findings {
		// After a restart a .txnindex lags until its segment is sealed.
		require.True(t, !clean && (f.Kind == ZeroTail || strings.HasSuffix(f.Path, ".txnindex")), "%+v", f)
	}
	t.Cleanup(n.Abandon)
	return n
}

func TestCleaningKeepsTheLastRecordOfEachKeyAtItsOffset(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			c, _ := compacted(vfs.NewMem())
			l := open(t, c)
			add := func(records ...keyed) {
				_, err := l.Append(makeKeyed(codec, 5000, records...), AppendOptions{})
				require.NoError(t, err)
			}
			add(keyed{"a", "1"}, keyed{"b", "1"}, keyed{"c", "1"})
			add(keyed{"a", "2"})
			roll(t, l)
			add(keyed{"c", "2"}, keyed{"d", "1"})
			roll(t, l)
			add(keyed{"a", "3"})
			want := []string{"1:b=1", "3:a=2", "4:c=2", "5:d=1", "6:a=3"}
			r := clean(t, l)
			require.Equal(t, want, contents(t, l))
			require.Equal(t, Offset(6), l.Cleaned())
			require.Equal(t, 1, r.Swapped)
			require.Equal(t, int64(4), r.KeptRecords)
			for _, closed := range []bool{true, false, true} {
				l = reopen(t, l, c, closed)
				require.Equal(t, want, contents(t, l))
				require.Equal(t, Offset(7), l.End())
			}
			report, err := l.Verify(t.Context())
			require.NoError(t, err)
			require.Empty(t, report.Findings)
			// What has been cleaned is not mapped again; it goes when something newer comes.
			put(t, l, keyed{"b", "2"})
			roll(t, l)
			clean(t, l)
			require.Equal(t, []string{"4:c=2", "5:d=1", "6:a=3", "7:b=2"}, contents(t, l))
		})
	}
}

// Directories that a broker wrote, one of them cleaned by it: the last committed record of each key stays at its offset.
func TestLogsOfABrokerAreCleaned(t *testing.T) {
	for _, name := range []string{"golden-compacted-0", "golden-txn-0", "__consumer_offsets-0", "__transaction_state-0", "golden-zstd-0"} {
		_, c := golden(t, name)
		c.Settings.Compacted = true
		l := open(t, c)
		roll(t, l)
		last := map[string]string{}
		for _, s := range committed(t, l) {
			_, record, _ := strings.Cut(s, ":")
			key, _, _ := strings.Cut(record, "=")
			last[key] = s
		}
		clean(t, l)
		require.Equal(t, l.End(), l.Cleaned(), name)
		got := committed(t, l)
		for range 2 {
			seen := map[string]bool{}
			for _, s := range got {
				_, record, _ := strings.Cut(s, ":")
				key, _, _ := strings.Cut(record, "=")
				require.Equal(t, last[key], s, name)
				require.False(t, seen[key], name)
				seen[key] = true
			}
			for key, s := range last {
				// Without a value it may be a tombstone whose horizon has passed; without a key it went.
				require.True(t, seen[key] || strings.HasSuffix(s, "=") || key == "", "%s: %s", name, s)
			}
			l = reopen(t, l, c, true)
			got = committed(t, l)
		}
		l.Abandon()
	}
}

func TestCleaningAllocatesNothingPerRecord(t *testing.T) {
	c, _ := compacted(vfs.NewMem())
	c.Settings.Sync, c.Settings.IndexInterval = SyncNever, 4096
	run := func(batches int) float64 {
		l := open(t, c)
		defer l.Abandon()
		var records []keyed
		for i := range 50 {
			records = append(records, keyed{fmt.Sprint("key", i), "value"})
		}
		for range batches {
			_, err := l.Append(makeKeyed(compress.None, 1, records...), AppendOptions{})
			require.NoError(t, err)
		}
		roll(t, l)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := clean(t, l)
		runtime.ReadMemStats(&after)
		require.Equal(t, int64(50*batches), r.Records)
		c.Dir += "x"
		return float64(after.Mallocs - before.Mallocs)
	}
	run(20)
	few, many := run(20), run(400)
	require.Less(t, many, few+1000, "19000 records more")
}
