package log

import (
	"bytes"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// What Apache Kafka's dump tool says of golden-txn-0, and the last stable offsets that its index has, come out of recovery and of a
// clean open; also without the index, and with a snapshot in which transactions are open.
func TestTransactionsOfABrokersDirectoryAreWhatItsDumpsSay(t *testing.T) {
	want := []AbortedTxn{{16, 1, 10, 11}, {16, 12, 21, 22}, {15, 22, 31, 23}, {16, 34, 43, 44}, {16, 45, 54, 55}, {15, 55, 64, 56}, {15, 66, 67, 68}}
	for _, clean := range []bool{true, false} {
		for _, gone := range []string{"", ".txnindex", ".snapshot", ".index", "index .snapshot"} {
			m, c := golden(t, "golden-txn-0")
			index, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(9)), 1<<20)
			require.NoError(t, err)
			entries, err := m.ReadDir(c.Dir)
			require.NoError(t, err)
			for _, e := range entries {
				for _, suffix := range strings.Fields(gone) {
					if strings.HasSuffix(e.Name(), suffix) {
						require.NoError(t, m.Remove(filepath.Join(c.Dir, e.Name())))
					}
				}
			}
			c.Clean, c.CleanEnd = clean, -1
			l := open(t, c)
			require.Equal(t, Offset(68), l.LastStable())
			got, err := l.Aborted(nil, 0, 68)
			require.NoError(t, err)
			require.Equal(t, want, got)
			states, err := l.Producers()
			require.NoError(t, err)
			require.Len(t, states, 3)
			require.Equal(t, ProducerState{ProducerID: 15, Epoch: 7, CoordinatorEpoch: 0, LastSequence: -1, LastOffset: -1, LastTimestamp: 1795251095496, TxnStart: -1}, states[1])
			requireTxns(t, l)
			report, err := l.Verify(t.Context())
			require.NoError(t, err)
			require.False(t, report.Damaged)
			require.NoError(t, l.Close())
			again, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(9)), 1<<20)
			require.NoError(t, err)
			require.Equal(t, index, again, "%v %q", clean, gone)
		}
	}

	// The broker's snapshot at 9 has both transactions open.
	m, c := golden(t, "golden-txn-0")
	for _, name := range []string{segment.LogName(9), segment.IndexName(9), segment.TimeIndexName(9), segment.TxnIndexName(9), segment.SnapshotName(68)} {
		require.NoError(t, m.Remove(filepath.Join(c.Dir, name)))
	}
	c.Clean, c.CleanEnd = true, 9
	l := open(t, c)
	require.Equal(t, Offset(0), l.LastStable())
	m2 := requireTxns(t, l)
	require.Equal(t, map[int64]Offset{15: 0, 16: 1}, m2.open)
}

func TestVerifyComparesTheTransactionIndexWithTheBatches(t *testing.T) {
	for _, damage := range []func(data []byte) []byte{
		func(data []byte) []byte { return data[:len(data)-segment.TxnEntrySize] },
		func(data []byte) []byte { return data[:len(data)-1] },
		func(data []byte) []byte { data[3]++; return data },
		func(data []byte) []byte { return append(data, data...) },
	} {
		m, c := golden(t, "golden-txn-0")
		path := filepath.Join(c.Dir, segment.TxnIndexName(9))
		data, err := vfs.ReadFile(m, path, 1<<20)
		require.NoError(t, err)
		require.NoError(t, vfs.WriteFileAtomic(m, path, damage(data)))
		report, err := VerifyDir(t.Context(), m, c.Dir, VerifyOptions{Start: -1, End: -1})
		require.NoError(t, err)
		require.False(t, report.Damaged)
		require.Len(t, report.Findings, 1)
		require.Equal(t, WrongIndex, report.Findings[0].Kind)
		require.Equal(t, path, report.Findings[0].Path)
	}
}

// Every byte of a .txnindex flipped, every length it can be cut to, the file of another segment in its place: what is aborted is still
// known, and nothing else is, whether a sum knows the file or not.
func TestDamageToATransactionIndexChangesNothing(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		m, l, c := memLog(t, nil)
		client := &txnClient{log: l}
		for i := range 6 {
			require.NoError(t, client.send(1, 2, "v", true))
			require.NoError(t, client.send(2, 1, "v", true))
			require.NoError(t, client.end(1, i%2 == 0, true))
			require.NoError(t, client.end(2, true, true))
			if i == 2 {
				require.NoError(t, l.Roll())
			}
		}
		end := l.End()
		if sealed {
			require.NoError(t, l.Roll())
			for done := false; !done; {
				var err error
				done, err = l.Seal()
				require.NoError(t, err)
			}
		}
		want, err := l.Aborted(nil, 0, end)
		require.NoError(t, err)
		require.NoError(t, l.Close())
		path := filepath.Join(c.Dir, segment.TxnIndexName(0))
		data, err := vfs.ReadFile(m, path, 1<<20)
		require.NoError(t, err)
		other, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(int64(l.segmentList()[1].base))), 1<<20)
		require.NoError(t, err)
		check := func(label string, damaged []byte) {
			one := m.KillClone()
			if damaged == nil {
				require.NoError(t, one.Remove(path))
			} else {
				require.NoError(t, vfs.WriteFileAtomic(one, path, damaged))
			}
			c := c
			c.FS, c.Clean, c.CleanEnd = one, true, end
			l, _, err := Open(c)
			require.NoError(t, err)
			got, err := l.Aborted(nil, 0, end)
			require.NoError(t, err)
			require.Equal(t, want, got, label)
			require.NoError(t, l.Close())
			again, err := vfs.ReadFile(one, path, 1<<20)
			require.NoError(t, err)
			require.Equal(t, data, again, label)
			report, err := VerifyDir(t.Context(), one, c.Dir, VerifyOptions{TopicID: c.TopicID, Start: 0, End: end})
			require.NoError(t, err)
			require.Empty(t, report.Findings, label)
		}
		check("missing", nil)
		check("another's", other)
		for n := range data {
			check("cut", data[:n])
			flipped := bytes.Clone(data)
			flipped[n] ^= 1 << (n % 8)
			check("flipped", flipped)
		}
	}
}

// The marker's own damage does not bring back what it aborted, as long as the index knows of it.
func TestLostMarkerIsStillInTheTransactionIndex(t *testing.T) {
	m, l, c := memLog(t, nil)
	client := &txnClient{log: l}
	require.NoError(t, client.send(1, 2, "v", true))
	require.NoError(t, client.end(1, true, true))
	appendPlain(t, l)
	_, position := l.segmentList()[0].writtenEnd()
	require.NoError(t, l.Close())
	path := filepath.Join(c.Dir, segment.LogName(0))
	data, err := vfs.ReadFile(m, path, 1<<20)
	require.NoError(t, err)
	plain := int64(len(make1(1000, 1, "plain")))
	data[position-plain-10] ^= 1 // in the marker
	require.NoError(t, vfs.WriteFileAtomic(m, path, data))
	c.Clean, c.CleanEnd = true, l.End()
	l = open(t, c)
	got, err := l.Aborted(nil, 0, l.LastStable())
	require.NoError(t, err)
	require.Equal(t, []AbortedTxn{{1, 0, 2, 3}}, got)
}

// A .txnindex that cannot be written costs nothing but the file: the marker is appended, and Close writes it.
func TestTransactionIndexThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	for _, op := range []vfs.OpKind{vfs.OpCreate, vfs.OpWrite} {
		m, f, c := faulty(t, SyncAlways)
		l := open(t, c)
		client := &txnClient{log: l}
		full := f.Add(vfs.Rule{Op: op, Path: "*.txnindex", Err: syscall.ENOSPC, Forever: true})
		for range 3 {
			require.NoError(t, client.send(1, 1, "v", true))
			require.NoError(t, client.end(1, true, true))
		}
		requireTxns(t, l)
		full.Lift()
		require.NoError(t, l.Close())
		data, err := vfs.ReadFile(m, filepath.Join(c.Dir, segment.TxnIndexName(0)), 1<<20)
		require.NoError(t, err)
		entries, err := segment.ParseTxnIndex(data, 0)
		require.NoError(t, err)
		require.Len(t, entries, 3)
	}
}

func TestFilesOfALogWithoutAbortedTransactionsAreAsBefore(t *testing.T) {
	m, l, c := memLog(t, nil)
	client := &txnClient{log: l}
	for range 3 {
		require.NoError(t, client.send(1, 1, "v", true))
		require.NoError(t, client.end(1, false, true))
		require.NoError(t, l.Roll())
	}
	requireTxns(t, l)
	require.NoError(t, l.Close())
	entries, err := m.ReadDir(c.Dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.NotContains(t, e.Name(), "txnindex")
	}
}

// A crash may bring back the zeros behind a finished segment, and a sum is made of the file as it is: what looks at all of the segment
// later must compare all of it.
func TestZerosBehindAFinishedSegmentAreNoDamage(t *testing.T) {
	m, l, c := memLog(t, nil)
	client := &txnClient{log: l}
	require.NoError(t, client.send(1, 1, "v", true))
	require.NoError(t, client.end(1, true, true))
	require.NoError(t, l.Roll())
	appendPlain(t, l)
	require.NoError(t, l.Close())
	path := filepath.Join(c.Dir, segment.LogName(0))
	data, err := vfs.ReadFile(m, path, 1<<20)
	require.NoError(t, err)
	require.NoError(t, vfs.WriteFileAtomic(m, path, append(data, make([]byte, 100)...)))
	c.Clean, c.CleanEnd = true, 3
	l = open(t, c)
	for done := false; !done; {
		done, err = l.Seal()
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	require.NoError(t, m.Remove(filepath.Join(c.Dir, segment.TxnIndexName(0))))
	l = open(t, c)
	requireTxns(t, l)
	s := l.segmentList()[0]
	require.True(t, s.hasSum.Load())
	require.NoError(t, l.examine(s))
	require.False(t, s.damaged.Load())
	requireTxns(t, l)
}
