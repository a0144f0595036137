package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func faulty(t *testing.T) (*vfs.Fault, home) {
	t.Helper()
	fault := vfs.NewFault(vfs.NewCrashMem(vfs.Strict))
	return fault, home{fault, "/journal"}
}

func TestAFailedSyncIsStickyAndReopenFindsTheTruth(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(fmt.Sprintf("lose=%v", lose), func(t *testing.T) {
			fault, h := faulty(t)
			j, c, _ := h.mustOpen(t)
			add(t, j, c, 3)
			rule := fault.Add(vfs.Rule{Op: vfs.OpSync, Path: entriesName, Lose: lose})
			e := nextEntry(c)
			_, err := j.Append(e.Kind, e.Payload)
			require.ErrorIs(t, err, ErrFailed)
			require.ErrorIs(t, err, syscall.EIO)
			require.Equal(t, 1, rule.Hits())
			// The disk works again, and still nothing is accepted.
			_, err = j.Append(e.Kind, e.Payload)
			require.ErrorIs(t, err, ErrFailed)
			require.ErrorIs(t, j.Compact(c.encode()), ErrFailed)
			require.ErrorIs(t, j.Err(), syscall.EIO)

			r, err := j.Reopen(c.apply)
			require.NoError(t, err)
			require.Equal(t, uint64(len(c.lines)), r.Last)
			require.Len(t, c.lines, map[bool]int{false: 4, true: 3}[lose])
			h.usable(t, j, c)
		})
	}
}

func TestCloseOfAFailedJournalReturnsTheFailureAndTheNextOpenRepairs(t *testing.T) {
	fault, h := faulty(t)
	j, c, _ := h.mustOpen(t)
	add(t, j, c, 3)
	fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: entriesName, Err: syscall.ENOSPC, Short: 10})
	_, err := j.Append(1, []byte("no room"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorIs(t, j.Close(), ErrFailed)
	require.NoError(t, j.Close())
	j, found, r := h.mustOpen(t)
	require.Equal(t, c.lines, found.lines)
	require.Equal(t, TornTail, r.Findings[0].Kind)
	require.Equal(t, int64(10), r.Findings[0].Bytes)
	h.usable(t, j, found)
}

func TestReopenThatFailsLeavesTheJournalFailed(t *testing.T) {
	fault, h := faulty(t)
	j, c, _ := h.mustOpen(t)
	add(t, j, c, 3)
	broken := fault.Add(vfs.Rule{Op: vfs.OpSync, Path: entriesName, Forever: true})
	_, err := j.Append(1, nil)
	require.ErrorIs(t, err, ErrFailed)
	for range 3 {
		_, err = j.Reopen(c.apply)
		require.ErrorIs(t, err, syscall.EIO)
		_, err = j.Append(1, nil)
		require.ErrorIs(t, err, ErrFailed)
	}
	broken.Lift()
	mine := errors.New("mine")
	_, err = j.Reopen(func(Entry) error { return mine })
	require.ErrorIs(t, err, mine, "the entry whose sync failed is there")
	require.ErrorIs(t, j.Err(), ErrFailed)
	_, err = j.Reopen(c.apply)
	require.NoError(t, err)
	require.Len(t, c.lines, 4)
	h.usable(t, j, c)
}

func TestReopenRefusesToLoseWhatItHasAcknowledged(t *testing.T) {
	fault, h := faulty(t)
	j, c, _ := h.mustOpen(t)
	add(t, j, c, 2)
	size := len(h.read(t, entriesName))
	add(t, j, c, 1)
	fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: entriesName})
	_, err := j.Append(1, nil)
	require.ErrorIs(t, err, ErrFailed)
	h.write(t, entriesName, h.read(t, entriesName)[:size])
	_, err = j.Reopen(c.apply)
	e, ok := asCorrupt(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, uint64(3), e.Index)
	require.ErrorIs(t, j.Close(), ErrFailed)
}

func TestASnapshotThatCannotBeWrittenChangesNothing(t *testing.T) {
	fault, h := faulty(t)
	j, c, _ := h.mustOpen(t)
	add(t, j, c, 5)
	size := j.Size()
	for _, rule := range []vfs.Rule{
		{Op: vfs.OpWrite, Path: snapshotPrefix + "*", Err: syscall.ENOSPC, Short: 7},
		{Op: vfs.OpSync, Path: snapshotPrefix + "*"},
		{Op: vfs.OpRename, Path: snapshotPrefix + "*"},
	} {
		fault.Add(rule)
		err := j.Compact(c.encode())
		require.Error(t, err)
		require.NotErrorIs(t, err, ErrFailed)
		require.NoError(t, j.Err())
		require.Equal(t, size, j.Size())
		add(t, j, c, 1)
		size = j.Size()
	}
	require.NoError(t, j.Compact(c.encode()))
	h.usable(t, j, c)
}

// Every single operation of a whole life fails once, and the owner that reopens the journal continues with a state that
// is the one on disk.
func TestAnyFailedOperationIsOverAfterReopen(t *testing.T) {
	for _, effect := range []bool{false, true} {
		for n := 1; ; n++ {
			fault, h := faulty(t)
			armed := fault.Add(vfs.Rule{Nth: n, Effect: effect})
			j, c, _, err := h.open()
			if err != nil {
				continue
			}
			for i := range 24 {
				for try := 0; ; try++ {
					require.Less(t, try, 3)
					e := nextEntry(c)
					if _, err := j.Append(e.Kind, e.Payload); err == nil {
						require.NoError(t, c.apply(e))
						break
					}
					before := len(c.lines)
					_, err = j.Reopen(c.apply)
					require.NoError(t, err, "operation %d", n)
					if len(c.lines) > before {
						break // it was there after all
					}
				}
				if i%7 == 6 {
					if err := j.Compact(c.encode()); err != nil && j.Err() != nil {
						_, err = j.Reopen(c.apply)
						require.NoError(t, err, "operation %d", n)
					}
				}
			}
			require.Len(t, c.lines, 24, "operation %d", n)
			armed.Lift()
			h.usable(t, j, c, "operation %d", n)
			if armed.Hits() == 0 {
				break
			}
		}
	}
}

// Every single operation of a whole life fails once, and then the next open finds everything acknowledged.
func TestAnyFailedOperationLosesNothing(t *testing.T) {
	for _, effect := range []bool{false, true} {
		for n := 1; ; n++ {
			fault, h := faulty(t)
			armed := fault.Add(vfs.Rule{Nth: n, Effect: effect})
			acked := &catalogue{}
			pending := ""
			life := func() error {
				j, c, _, err := h.open()
				if err != nil {
					return err
				}
				acked.lines = c.lines
				defer j.Close()
				for i := range 24 {
					e := nextEntry(acked)
					pending = fmt.Sprintf("%d:%s", e.Kind, e.Payload)
					if _, err := j.Append(e.Kind, e.Payload); err != nil {
						return err
					}
					require.NoError(t, acked.apply(e))
					pending = ""
					if i%7 == 6 {
						if err := j.Compact(acked.encode()); err != nil {
							return err
						}
					}
				}
				return j.Close()
			}
			err := life()
			if armed.Hits() == 0 {
				require.NoError(t, err)
				t.Logf("effect=%v: %d operations", effect, n-1)
				break
			}
			armed.Lift()
			j, c, _, err := h.open()
			require.NoError(t, err, "operation %d", n)
			if len(c.lines) > len(acked.lines) {
				require.Equal(t, append(acked.lines[:len(acked.lines):len(acked.lines)], pending), c.lines, "operation %d", n)
			} else {
				require.Equal(t, acked.lines, c.lines, "operation %d", n)
			}
			h.usable(t, j, c)
		}
	}
}

func TestAMissingParentIsNotExist(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		_, _, err := Open(Options{FS: h.fs, Dir: join(h.dir, "deeper")})
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}
