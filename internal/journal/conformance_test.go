package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func asCorrupt(err error) (*CorruptError, bool) { return errors.AsType[*CorruptError](err) }

func TestOpenOfAnEmptyDirectoryMakesAJournal(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, r := h.mustOpen(t)
		require.True(t, r.Created)
		require.Empty(t, r.Findings)
		require.Equal(t, uint64(0), r.Last)
		require.Equal(t, uint64(1), r.First)
		require.Empty(t, c.lines)
		require.NoError(t, j.Close())

		j, _, r = h.mustOpen(t)
		require.False(t, r.Created)
		require.Empty(t, r.Findings)
		require.NoError(t, j.Close())
	})
}

func TestEntriesAreReplayedOnceAndInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		want := &catalogue{}
		for range 5 {
			j, c, r := h.mustOpen(t)
			require.Equal(t, want.lines, c.lines)
			require.Empty(t, r.Findings)
			require.Equal(t, len(want.lines), r.Replayed)
			add(t, j, c, 7)
			want = c
			require.NoError(t, j.Close())
		}
	})
}

func TestAnEmptyPayloadIsAnEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, _, _ := h.mustOpen(t)
		for i := range 3 {
			index, err := j.Append(0, nil)
			require.NoError(t, err)
			require.Equal(t, uint64(i+1), index)
		}
		require.NoError(t, j.Close())
		_, c, _ := h.mustOpen(t)
		require.Equal(t, []string{"0:", "0:", "0:"}, c.lines)
	})
}

func TestLargePayloadsAreKeptAndTooLargeOnesRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		_, err := j.Append(1, make([]byte, MaxPayload+1))
		require.ErrorIs(t, err, ErrTooLarge)
		e := Entry{1, 9, []byte(strings.Repeat("large ", 50_000))}
		_, err = j.Append(e.Kind, e.Payload)
		require.NoError(t, err)
		require.NoError(t, c.apply(e))
		h.usable(t, j, c)
	})
}

func TestCompactKeepsTwoSnapshotsAndTheEntriesAfterTheOlder(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		for round := range 4 {
			add(t, j, c, 10)
			require.NoError(t, j.Compact(c.encode()))
			require.NoError(t, j.Compact(c.encode()), "nothing new: nothing to do")
			require.Zero(t, j.Size())
			require.Equal(t, uint64(max(1, round*10+1)), j.Stats().First)
		}
		add(t, j, c, 3)
		require.Positive(t, j.Size())
		require.NoError(t, j.Close())

		var snapshots []uint64
		for _, name := range h.names(t) {
			if kind, index := parseName(name); kind == snapshotFile {
				snapshots = append(snapshots, index)
			}
		}
		require.Equal(t, []uint64{30, 40}, snapshots)

		j, found, r := h.mustOpen(t)
		require.Equal(t, c.lines, found.lines)
		require.Equal(t, uint64(40), r.Snapshot)
		require.Equal(t, uint64(31), r.First)
		require.Equal(t, 3, r.Replayed)
		h.usable(t, j, found)
	})
}

func TestCompactBeforeTheFirstEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, _, _ := h.mustOpen(t)
		require.NoError(t, j.Compact(nil))
		require.NoError(t, j.Close())
		j, c, r := h.mustOpen(t)
		require.True(t, r.HasSnapshot)
		require.Empty(t, c.lines)
		add(t, j, c, 2)
		require.NoError(t, j.Compact(c.encode()))
		h.usable(t, j, c)
	})
}

func TestADamagedNewestSnapshotLosesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		for range 3 {
			add(t, j, c, 10)
			require.NoError(t, j.Compact(c.encode()))
		}
		add(t, j, c, 2)
		require.NoError(t, j.Close())
		b := h.read(t, snapshotName(30))
		b[40] ^= 1
		h.write(t, snapshotName(30), b)

		j, found, r := h.mustOpen(t)
		require.Equal(t, c.lines, found.lines)
		require.Equal(t, uint64(20), r.Snapshot)
		require.Equal(t, DamagedSnapshot, r.Findings[0].Kind)
		require.Equal(t, ActionSetAside, r.Findings[0].Action)
		h.usable(t, j, found)
	})
}

func TestASecondOpenerIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		_, _, _, err := h.open()
		require.ErrorIs(t, err, vfs.ErrLocked)
		h.usable(t, j, c)
	})
}

func TestAfterCloseEverythingIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, _, _ := h.mustOpen(t)
		require.NoError(t, j.Close())
		require.NoError(t, j.Close())
		_, err := j.Append(1, nil)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, j.Compact(nil), ErrClosed)
		_, err = j.Reopen(nil)
		require.ErrorIs(t, err, ErrClosed)
	})
}

func TestAnErrorOfTheOwnerEndsOpen(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		add(t, j, c, 2)
		require.NoError(t, j.Compact(c.encode()))
		add(t, j, c, 1)
		require.NoError(t, j.Close())
		mine := errors.New("mine")
		_, _, err := Open(Options{FS: h.fs, Dir: h.dir, Replay: func(Entry) error { return mine }})
		require.ErrorIs(t, err, mine)
		_, _, err = Open(Options{FS: h.fs, Dir: h.dir, Snapshot: func([]byte) error { return mine }})
		require.ErrorIs(t, err, mine)
		j, found, _ := h.mustOpen(t) // the lock was given back
		require.Equal(t, c.lines, found.lines)
		require.NoError(t, j.Close())
	})
}

func TestReadOnlyWritesNothingAndTakesNoLock(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		c := &catalogue{}
		o := h.options(c)
		o.ReadOnly = true
		_, _, err := Open(o)
		require.ErrorIs(t, err, fs.ErrNotExist)

		j, want, _ := h.mustOpen(t)
		add(t, j, want, 5)
		require.NoError(t, j.Compact(want.encode()))
		add(t, j, want, 5)
		tail := h.tail(t)
		h.write(t, tail, append(h.read(t, tail), "half an entry"...))
		before := h.image(t)

		beside, r, err := Open(o)
		require.NoError(t, err)
		require.Equal(t, want.lines, c.lines)
		require.Equal(t, TornTail, r.Findings[0].Kind)
		require.Equal(t, ActionNone, r.Findings[0].Action)
		require.False(t, r.Repaired())
		_, err = beside.Append(1, nil)
		require.ErrorIs(t, err, ErrReadOnly)
		require.ErrorIs(t, beside.Compact(nil), ErrReadOnly)
		require.NoError(t, beside.Close())
		h.requireImage(t, before, "")
		require.NoError(t, j.Close())
	})
}

func TestReadOnlyOfADirectoryWithoutAJournalIsNotExist(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		require.NoError(t, h.fs.MkdirAll(h.dir, directoryMode))
		_, _, err := Open(Options{FS: h.fs, Dir: h.dir, ReadOnly: true})
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Empty(t, h.names(t))
	})
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		add(t, j, c, 3)
		require.NoError(t, j.Close())
		h.write(t, "notes.txt", []byte("mine"))
		h.write(t, "00000000000000000000", []byte("mine"))
		j, found, r := h.mustOpen(t)
		require.Equal(t, c.lines, found.lines)
		require.Len(t, r.Findings, 2)
		require.Equal(t, Foreign, r.Findings[0].Kind)
		require.False(t, r.Repaired())
		require.NoError(t, j.Close())
		require.Equal(t, "mine", string(h.read(t, "notes.txt")))
	})
}

func TestDraftsOfInterruptedWritesAreRemoved(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		add(t, j, c, 3)
		require.NoError(t, j.Close())
		h.write(t, markName+draftSuffix, []byte("half"))
		h.write(t, snapshotName(3)+draftSuffix, []byte("half"))
		h.write(t, segmentName(2)+startSuffix+tempSuffix, []byte("half"))
		j, found, r := h.mustOpen(t)
		require.Equal(t, c.lines, found.lines)
		require.Len(t, r.Findings, 3)
		require.Equal(t, Draft, r.Findings[0].Kind)
		h.usable(t, j, found)
	})
}

func TestAnEndOfZerosIsCut(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		for _, zeros := range []int{1, 7, 4096} {
			j, c, _ := h.mustOpen(t)
			add(t, j, c, 3)
			require.NoError(t, j.Close())
			tail := h.tail(t)
			whole := h.read(t, tail)
			h.write(t, tail, append(whole[:len(whole):len(whole)], make([]byte, zeros)...))
			j, found, r := h.mustOpen(t)
			require.Equal(t, c.lines, found.lines)
			require.Len(t, r.Findings, 1)
			require.Equal(t, ZeroTail, r.Findings[0].Kind)
			require.Equal(t, int64(zeros), r.Findings[0].Bytes)
			require.Equal(t, int64(len(whole)), r.Findings[0].Position)
			h.usable(t, j, found)
		}
	})
}

func TestBytesThatAreCutAreKept(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		add(t, j, c, 2)
		require.NoError(t, j.Close())
		tail := h.tail(t)
		whole := h.read(t, tail)
		for i, torn := range []string{"first", "second", "first"} {
			h.write(t, tail, append(whole[:len(whole):len(whole)], torn...))
			j, _, r := h.mustOpen(t)
			require.NoError(t, j.Close())
			require.Len(t, r.Findings, 1)
			f := r.Findings[0]
			require.Equal(t, TornTail, f.Kind)
			require.Equal(t, uint64(3), f.Index)
			require.Equal(t, i == 1, strings.HasSuffix(f.SavedAs, ".2"), f.SavedAs)
			kept, err := readFile(h.fs, f.SavedAs, false)
			require.NoError(t, err)
			require.Equal(t, torn, string(kept))
		}
	})
}

func TestAMissingMarkIsReportedAndMadeAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		add(t, j, c, 4)
		require.NoError(t, j.Close())
		require.NoError(t, h.fs.Remove(join(h.dir, markName)))
		j, found, r := h.mustOpen(t)
		require.Equal(t, c.lines, found.lines)
		require.Equal(t, MissingMark, r.Findings[0].Kind)
		h.usable(t, j, found)
	})
}

func TestADirectoryThatIsNoJournalIsRefusedUntouched(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		name := segmentName(1)
		if _, ok := newStorage(h.fs, Options{}).(*fileStore); ok {
			name = entriesName
		}
		before := image{name: []byte("\x05hello\x05world")}
		h.reset(t, before)
		_, _, _, err := h.open()
		e, ok := asCorrupt(err)
		require.True(t, ok, "%v", err)
		require.ErrorIs(t, e, errNotJournal)
		h.requireImage(t, before, "")
	})
}

func TestTheOtherStoragesDirectoryIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		name := entriesName
		if _, ok := newStorage(h.fs, Options{}).(*fileStore); ok {
			name = segmentName(1)
		}
		h.reset(t, image{name: nil})
		_, _, _, err := h.open()
		require.ErrorIs(t, err, errOtherStorage)
	})
}

func TestStatsCount(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		add(t, j, c, 10)
		s := j.Stats()
		require.Equal(t, int64(10), s.Appends)
		require.Equal(t, uint64(10), s.Last)
		require.Equal(t, s.AppendedBytes, s.ReplayBytes)
		require.Positive(t, s.Rolls)
		require.NoError(t, j.Compact(c.encode()))
		require.Equal(t, int64(1), j.Stats().Compactions)
		require.NoError(t, j.Err())
		r, err := j.Reopen(nil)
		require.NoError(t, err)
		require.Equal(t, uint64(10), r.Last)
		require.NoError(t, j.Close())
		require.Equal(t, uint64(10), j.Stats().Last)
	})
}

func TestTheReportIsForMachines(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, c, _ := h.mustOpen(t)
		add(t, j, c, 2)
		require.NoError(t, j.Close())
		tail := h.tail(t)
		at := len(h.read(t, tail))
		h.write(t, tail, append(h.read(t, tail), "torn"...))
		j, _, r := h.mustOpen(t)
		require.NoError(t, j.Close())
		require.True(t, r.Repaired())
		b, err := json.Marshal(r)
		require.NoError(t, err)
		require.JSONEq(t, fmt.Sprintf(`{"created": false, "snapshot": 0, "hasSnapshot": false, "first": 1, "last": 2, "replayed": 2,
			"lossy": false, "findings": [{"kind": "torn-tail", "path": %q, "position": %d, "bytes": 4, "index": 3, "action": "cut",
			"savedAs": %q, "detail": "cut short"}]}`,
			join(h.dir, tail), at, join(h.dir, tornName(tail, int64(at)))), string(b))
	})
}
