package log

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// goldenDirs are partition directories that an Apache Kafka 4.1.2 broker wrote.
const goldenDirs = "../internal/segment/testdata"

// golden copies a broker's directory into memory.
func golden(t *testing.T, name string) (*vfs.Mem, Config) {
	m := vfs.NewMem()
	c := testConfig(m)
	c.TopicID = [16]byte{}
	c.Settings.Compacted = strings.Contains(name, "compacted")
	require.NoError(t, m.MkdirAll(c.Dir, 0o700))
	entries, err := os.ReadDir(filepath.Join(goldenDirs, name))
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(goldenDirs, name, e.Name()))
		require.NoError(t, err)
		require.NoError(t, vfs.WriteFileAtomic(m, filepath.Join(c.Dir, e.Name()), data))
	}
	return m, c
}

func eachGolden(t *testing.T, f func(t *testing.T, name string)) {
	dirs, err := filepath.Glob(filepath.Join(goldenDirs, "*-0"))
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, d := range dirs {
		t.Run(filepath.Base(d), func(t *testing.T) { f(t, filepath.Base(d)) })
	}
}

// logBytes returns the records of a directory as its .log files have them.
func logBytes(t *testing.T, m vfs.FS, dir string) (out []byte) {
	entries, err := m.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			data, err := vfs.ReadFile(m, filepath.Join(dir, e.Name()), 1<<30)
			require.NoError(t, err)
			out = append(out, data...)
		}
	}
	return out
}

func readAll(t *testing.T, l *Log) (out []byte) {
	for next := l.Start(); next < l.End(); {
		var err error
		out, next, err = l.ReadInto(out, next, l.End(), 1000)
		require.NoError(t, err)
	}
	return out
}

func TestDirectoriesOfABrokerAreReadAsTheyAre(t *testing.T) {
	eachGolden(t, func(t *testing.T, name string) {
		for _, clean := range []bool{true, false} {
			m, c := golden(t, name)
			want := logBytes(t, m, c.Dir)
			report, err := VerifyDir(t.Context(), m, c.Dir, VerifyOptions{Compacted: c.Settings.Compacted, Start: -1, End: -1})
			require.NoError(t, err)
			require.Empty(t, report.Findings)
			require.Equal(t, int64(len(want)), report.Bytes)

			c.Clean, c.CleanEnd = clean, -1
			l := open(t, c)
			require.Equal(t, want, readAll(t, l))
			require.Equal(t, report.End, l.End())
			r, err := l.Append(make1(1<<50, 1, "ours"), AppendOptions{Durable: true})
			if err != nil {
				require.ErrorIs(t, err, ErrInvalidTimestamp) // 1<<50 ms is far in the future
				r, err = l.Append(make1(1767323045000, 1, "ours"), AppendOptions{Durable: true})
			}
			require.NoError(t, err)
			require.Equal(t, report.End, r.Base)
			online, err := l.Verify(t.Context())
			require.NoError(t, err)
			require.False(t, online.Damaged, "%+v", online)
			require.NoError(t, l.Close())
			require.Empty(t, l.Report().Findings)
		}
	})
}

// The snapshot that the broker wrote at its shutdown is what replaying its batches gives.
func TestProducerStateOfABrokersBatchesIsItsSnapshot(t *testing.T) {
	eachGolden(t, func(t *testing.T, name string) {
		m, c := golden(t, name)
		c.Clean, c.CleanEnd = true, -1
		l := open(t, c)
		require.NoError(t, l.touch())
		want, err := segment.ReadSnapshot(m, c.Dir, int64(l.End()))
		require.NoError(t, err)
		state := &producers{}
		require.NoError(t, l.replay(0, l.End(), func(_ int64, b batch.Batch) error {
			state.apply(b, Offset(b.BaseOffset()))
			return nil
		}))
		require.ElementsMatch(t, want, state.entries())
	})
}

func TestFirstRecordOfATimestampIsFoundInABrokersDirectory(t *testing.T) {
	m, c := golden(t, "golden-segments-0")
	_ = m
	c.Clean, c.CleanEnd = true, -1
	l := open(t, c)
	var offsets []Offset
	var times []int64
	eachRecord(t, readAll(t, l), func(r *batch.Record) {
		offsets, times = append(offsets, Offset(r.Offset)), append(times, r.Timestamp)
	})
	for i := 0; i < len(times); i += 37 {
		want := 0
		for times[want] < times[i] {
			want++
		}
		got, ts, err := l.OffsetForTimestamp(times[i])
		require.NoError(t, err)
		require.Equal(t, offsets[want], got)
		require.Equal(t, times[want], ts)
	}
	got, ts, err := l.OffsetForTimestamp(1 << 60)
	require.NoError(t, err)
	require.Equal(t, l.End(), got)
	require.Equal(t, int64(-1), ts)
}
