package log

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

const testDir = "/data/topic-0"

// make1 builds a batch of n records with timestamps from ts on.
func make1(ts int64, n int, value string) []byte {
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	for i := range n {
		b.Append(ts+int64(i), nil, []byte(value), nil)
	}
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

// makeIdempotent builds a batch of n records of a producer.
func makeIdempotent(id int64, epoch int16, sequence int32, n int, value string) []byte {
	var b batch.Builder
	b.Reset(nil, batch.Options{Idempotent: true, ProducerID: id, Epoch: epoch, BaseSequence: sequence})
	for range n {
		b.Append(1000, nil, []byte(value), nil)
	}
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

func testConfig(fs vfs.FS) Config {
	return Config{FS: fs, Dir: testDir, Topic: "topic", TopicID: [16]byte{1, 2, 3}, LeaderEpoch: 1}
}

func open(t testing.TB, c Config) *Log {
	t.Helper()
	l, _, err := Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { l.Abandon() })
	return l
}

// appendN appends n batches of one record each, whose values say their number, and waits for each.
func appendN(t testing.TB, l *Log, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		r, err := l.Append(make1(int64(1000+i), 1, valueOf(i)), AppendOptions{Durable: true})
		require.NoError(t, err)
		require.Equal(t, Offset(i), r.Base)
	}
}

func valueOf(i int) string { return fmt.Sprintf("value-%06d", i) }

// values reads all records of [from, ...) with reads of maxBytes and returns their values; gaps are skipped if skip.
func values(t testing.TB, l *Log, from Offset, maxBytes int, skip bool) (out []string, offsets []Offset) {
	t.Helper()
	for {
		v, err := l.Read(from, 1<<62, maxBytes)
		if e := (*CorruptionError)(nil); skip && asCorruption(err, &e) {
			require.Greater(t, e.NextOffset, from)
			from = e.NextOffset
			continue
		}
		require.NoError(t, err)
		if len(v.Bytes) == 0 {
			require.Equal(t, from, v.Next)
			return out, offsets
		}
		eachRecord(t, v.Bytes, func(r *batch.Record) {
			if Offset(r.Offset) >= from {
				out = append(out, string(r.Value))
				offsets = append(offsets, Offset(r.Offset))
			}
		})
		require.Greater(t, v.Next, from)
		from = v.Next
		v.Release()
	}
}

func asCorruption(err error, e **CorruptionError) bool {
	c, ok := err.(*CorruptionError)
	if ok {
		*e = c
	}
	return ok
}

func eachRecord(t testing.TB, b []byte, f func(*batch.Record)) {
	t.Helper()
	var it batch.Iterator
	for len(b) > 0 {
		one, err := batch.Peek(b)
		require.NoError(t, err)
		require.NoError(t, one.CheckCRC())
		for one.Iterate(&it, batch.DefaultMaxBytes); it.Next(); {
			f(it.Record())
		}
		require.NoError(t, it.Err())
		b = b[len(one):]
	}
}

// requireDense checks that the log holds exactly the records that appendN wrote.
func requireDense(t testing.TB, l *Log, n int) {
	t.Helper()
	got, offsets := values(t, l, l.Start(), 4096, false)
	require.Len(t, got, n)
	for i := range got {
		require.Equal(t, valueOf(i), got[i])
		require.Equal(t, Offset(i), offsets[i])
	}
}
