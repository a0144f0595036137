package quorum

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/partlog/partlog/internal/vfs"
)

// openLog returns the log of a new quorum's only voter.
func openLog(t *testing.T, fs vfs.FS) *raftLog {
	require.NoError(t, fs.Mkdir("/n", 0o700))
	require.NoError(t, fs.SyncDir("/"))
	m := Member{Node: 1}
	config := Config{FS: fs, Dir: "/n/quorum"}
	require.NoError(t, Bootstrap(config, m, []Member{m}, []byte(first)))
	l, _, err := readLog(config.withDefaults(), false)
	require.NoError(t, err)
	l.present = func() *raftpb.ConfState { return l.snapshot.conf }
	return l
}

func entry(index, term uint64, data []byte) *raftpb.Entry {
	return &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Index: new(index), Term: new(term), Data: data}
}

// What is larger than a record of the journal is several; all of them are there after a restart, and what is committed is whole at each of them.
func TestALargeBatchIsWholeAfterARestart(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 70)
	c := newCluster(t, 1).bootstrap(1)
	p := c.elect()
	p.raft.log.record = 4 << 10
	var texts []string
	for i := range 14 {
		text := fmt.Sprint(i) + string(bytes.Repeat([]byte{'x'}, 1<<10))
		texts = append(texts, text)
		_, _, err := p.raft.Propose([]byte(text))
		require.NoError(t, err)
	}
	before := p.raft.log.journal.Stats().Appends
	p.drain()
	require.Greater(t, p.raft.log.journal.Stats().Appends, before+3)
	require.NoError(t, p.raft.Close())
	p.start(0)
	c.elect()
	require.Len(t, p.state, 2+len(texts)+1, "the state, a first entry of each term, and the batch")
	for i, text := range texts {
		require.Contains(t, p.state[2+i], text)
	}
}

// A crash between the records of a batch leaves a log without a hole, and nothing committed that is not there.
func TestACrashWithinALargeBatchLeavesNoHole(t *testing.T) {
	mem := vfs.NewCrashMem(vfs.Strict)
	fault := vfs.NewFault(mem)
	l := openLog(t, fault)
	l.record = 10 << 10
	batch := []*raftpb.Entry{}
	for i := range uint64(5) {
		batch = append(batch, entry(2+i, 2, make([]byte, 5<<10)))
	}
	lasts := map[uint64]bool{}
	fault.OnOp(func(vfs.Op) {
		mem.EachCrash(12, func(after *vfs.Mem, label string) bool {
			again, _, err := readLog(Config{FS: after, Dir: "/n/quorum"}.withDefaults(), true)
			require.NoError(t, err, label)
			lasts[again.last()] = true
			require.LessOrEqual(t, again.hard.commit, again.last(), label)
			return true
		})
	})
	require.NoError(t, l.append(hardState{term: 2, vote: 2, commit: 6}, batch))
	fault.OnOp(nil)
	require.NoError(t, l.close())
	require.True(t, lasts[1])
	require.Greater(t, len(lasts), 1)
	again, _, err := readLog(Config{FS: mem, Dir: "/n/quorum"}.withDefaults(), true)
	require.NoError(t, err)
	require.EqualValues(t, 6, again.last())
	require.EqualValues(t, 6, again.hard.commit)
}

// Entries that were overwritten do not stay in the journal for ever; a full disk then harms nothing.
func TestAJournalFullOfOverwrittenEntriesIsWrittenAnew(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMem())
	l := openLog(t, fault)
	l.dead = 8 << 10
	require.NoError(t, l.append(hardState{term: 2, commit: 1}, []*raftpb.Entry{entry(2, 2, []byte("stays"))}))
	for term := range uint64(12) {
		require.NoError(t, l.append(hardState{term: term + 3, commit: 1}, []*raftpb.Entry{entry(3, term+3, make([]byte, 1<<10))}))
	}
	require.Greater(t, l.journal.Size(), l.dead)
	armed := fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: "snapshot-*", Err: syscall.ENOSPC})
	require.ErrorIs(t, l.tidy(), syscall.ENOSPC)
	require.Equal(t, 1, armed.Hits())
	require.NoError(t, l.tidy(), "not tried again at once")
	require.Greater(t, l.journal.Size(), l.dead)
	for term := range uint64(16) {
		require.NoError(t, l.append(hardState{term: term + 20, commit: 1}, []*raftpb.Entry{entry(3, term+20, make([]byte, 1<<10))}))
	}
	require.NoError(t, l.tidy())
	require.Zero(t, l.journal.Size())
	require.NoError(t, l.append(hardState{term: 40, commit: 2}, []*raftpb.Entry{entry(3, 40, []byte("last"))}))
	require.NoError(t, l.close())
	again, _, err := readLog(Config{FS: fault, Dir: "/n/quorum"}.withDefaults(), true)
	require.NoError(t, err)
	require.EqualValues(t, 3, again.last())
	require.Equal(t, "stays", string(again.entries[0].GetData()))
	require.Equal(t, "last", string(again.entries[1].GetData()))
	require.Equal(t, hardState{term: 40, commit: 2}, again.hard)
}

// The storage answers as raft's interface asks, also where there is nothing.
func TestTheStorageAnswersOutsideItsBounds(t *testing.T) {
	l := openLog(t, vfs.NewMem())
	for i := range uint64(10) {
		require.NoError(t, l.append(hardState{term: 2, commit: 1}, []*raftpb.Entry{entry(2+i, 2, []byte("0123456789"))}))
	}
	require.NoError(t, l.compact(snapshot{place: place{6, 2}, conf: l.snapshot.conf, data: []byte("six")}, 2))
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	require.Equal(t, []uint64{5, 11}, []uint64{first, last})
	_, err := l.Term(3)
	require.ErrorIs(t, err, raft.ErrCompacted)
	term, err := l.Term(4)
	require.NoError(t, err)
	require.EqualValues(t, 2, term)
	_, err = l.Term(12)
	require.ErrorIs(t, err, raft.ErrUnavailable)
	_, err = l.Entries(4, 6, 1<<20)
	require.ErrorIs(t, err, raft.ErrCompacted)
	_, err = l.Entries(5, 13, 1<<20)
	require.ErrorIs(t, err, raft.ErrUnavailable)
	list, err := l.Entries(5, 12, 1)
	require.NoError(t, err)
	require.Len(t, list, 1, "one at least")
	list, err = l.Entries(5, 12, 1<<20)
	require.NoError(t, err)
	require.Len(t, list, 7)
	list, err = l.Entries(5, 7, 1<<20)
	require.NoError(t, err)
	_ = append(list, entry(99, 99, nil)) // the caller may
	require.EqualValues(t, 7, l.entries[2].GetIndex())
	s, err := l.Snapshot()
	require.NoError(t, err)
	require.EqualValues(t, 6, s.GetMetadata().GetIndex())
	l.present = func() *raftpb.ConfState {
		return &raftpb.ConfState{Voters: l.snapshot.conf.Voters, Learners: []uint64{77}}
	}
	_, err = l.Snapshot()
	require.ErrorIs(t, err, raft.ErrSnapshotTemporarilyUnavailable)
	require.True(t, l.wanted)
	require.Error(t, l.append(hardState{term: 2}, []*raftpb.Entry{entry(13, 2, nil)}), "a gap")
	require.NoError(t, l.close())
}
