package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/wal"

	"github.com/partlog/partlog/internal/vfs"
)

// What an audit of tidwall/wal v1.2.1 reproduced, one test each. Bare wal loses or invents data, or panics; behind the
// journal each ends in a repair that loses nothing acknowledged, or in a typed error.

// auditedVersion is the version that the audit was made of. Before raising it, repeat the audit.
const auditedVersion = "v1.2.1"

func TestWalIsTheAuditedVersion(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	require.True(t, ok)
	found := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "github.com/tidwall/wal" })
	if found < 0 {
		// Test binaries of some build modes carry no list; go.mod says the same.
		mod, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
		require.NoError(t, err)
		require.Contains(t, string(mod), "github.com/tidwall/wal "+auditedVersion)
		return
	}
	require.Equal(t, auditedVersion, info.Deps[found].Version)
}

// filled makes a journal of n entries over several segments and returns its files as a kill leaves them, and as Close does.
func filled(t *testing.T, n int) (h home, killed, closed image, c *catalogue) {
	t.Helper()
	h = home{vfs.OS, filepath.Join(fastDir(t), "journal")}
	j, c, _ := h.mustOpen(t)
	add(t, j, c, n)
	killed = h.image(t)
	require.NoError(t, j.Close())
	return h, killed, h.image(t), c
}

func TestWalCutBytesOffTheLastSegment(t *testing.T) {
	h, killed, closed, c := filled(t, 13)
	tail := tailOf(killed)
	short := killed[tail][:len(killed[tail])-5]

	h.reset(t, killed.with(tail, short))
	_, err := wal.Open(h.dir, nil)
	require.ErrorIs(t, err, wal.ErrCorrupt, "bare wal has no way back")

	h.reset(t, killed.with(tail, short))
	j, found, r := h.mustOpen(t)
	require.Equal(t, c.lines[:12], found.lines)
	require.Equal(t, TornTail, r.Findings[0].Kind)
	kept, err := os.ReadFile(r.Findings[0].SavedAs)
	require.NoError(t, err)
	require.True(t, bytes.HasSuffix(short, kept))
	h.usable(t, j, found)

	h.reset(t, closed.with(tail, short))
	_, _, _, err = h.open()
	require.ErrorIs(t, err, errLost, "after Close nothing is torn")
}

func TestWalZerosAfterPowerLossAreNoEntries(t *testing.T) {
	h, killed, _, c := filled(t, 10)
	tail := tailOf(killed)
	zeros := killed.with(tail, append(slices.Clone(killed[tail]), make([]byte, 4096)...))

	h.reset(t, zeros)
	bare, err := wal.Open(h.dir, nil)
	require.NoError(t, err)
	last, err := bare.LastIndex()
	require.NoError(t, err)
	require.Equal(t, uint64(10+4096), last, "bare wal takes each zero for an entry")
	require.NoError(t, bare.Close())

	h.reset(t, zeros)
	j, found, r := h.mustOpen(t)
	require.Equal(t, c.lines, found.lines)
	require.Equal(t, ZeroTail, r.Findings[0].Kind)
	h.usable(t, j, found)
}

func TestWalFlippedPayloadIsNotGoodData(t *testing.T) {
	h, _, closed, c := filled(t, 13)
	for name, b := range closed {
		if kind, _ := parseName(name); kind != segmentFile || len(b) == 0 {
			continue
		}
		b = slices.Clone(b)
		b[1+envelopeSize] ^= 0x40
		require.False(t, checkDamaged(t, h, name, closed.with(name, b), c, 0))
	}
}

func TestWalFlippedLengthInventsNoEntries(t *testing.T) {
	h, _, closed, c := filled(t, 13)
	for name, b := range closed {
		if kind, _ := parseName(name); kind != segmentFile || len(b) == 0 {
			continue
		}
		for bit := range 8 {
			d := slices.Clone(b)
			d[0] ^= 1 << bit
			require.False(t, checkDamaged(t, h, name, closed.with(name, d), c, 0))
		}
	}
}

func TestWalMissingOrShortMiddleSegmentIsRefused(t *testing.T) {
	h, killed, closed, c := filled(t, 20)
	for _, m := range []image{killed, closed} {
		for name, b := range m {
			kind, _ := parseName(name)
			if kind != segmentFile || name == tailOf(m) {
				continue
			}
			for _, d := range [][]byte{nil, {}, b[:len(b)/2], b[:len(b)-1]} {
				require.False(t, checkDamaged(t, h, name, m.with(name, d), c, 0))
			}
			// At the boundary of an entry, where wal cannot tell.
			n, size := binary.Uvarint(b)
			require.False(t, checkDamaged(t, h, name, m.with(name, b[:size+int(n)]), c, 0))
		}
	}
}

// wal.Read of several goroutines panics; the journal has no Read, and everything it has may be called at once.
func TestWalConcurrentCallers(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		j, _, _ := h.mustOpen(t)
		var wg sync.WaitGroup
		const writers, each = 8, 40
		var mu sync.Mutex
		got := map[uint64]string{}
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					payload := fmt.Sprintf("writer %d, %d", w, i)
					index, err := j.Append(uint8(w), []byte(payload))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					got[index] = fmt.Sprintf("%d:%s", w, payload)
					mu.Unlock()
					_, _ = j.Stats(), j.Size()
				}
			})
		}
		wg.Wait()
		require.NoError(t, j.Close())
		j, c, _ := h.mustOpen(t)
		require.Len(t, c.lines, writers*each)
		for i, line := range c.lines {
			require.Equal(t, got[uint64(i+1)], line)
		}
		require.NoError(t, j.Close())
	})
}

// A batch of wal is torn at any record. One change is one entry here, however much is in it.
func TestWalAChangeIsAtomic(t *testing.T) {
	h, _, _, _ := filled(t, 0)
	j, c, _ := h.mustOpen(t)
	add(t, j, c, 1)
	before := h.image(t)
	parts := []byte(strings.Repeat("part;", 2000))
	_, err := j.Append(1, parts)
	require.NoError(t, err)
	whole := h.read(t, tailOf(before))
	require.NoError(t, j.Close())
	for n := len(before[tailOf(before)]); n < len(whole); n += 97 {
		h.reset(t, before.with(tailOf(before), slices.Clone(whole[:n])))
		j, found, _ := h.mustOpen(t)
		require.Equal(t, c.lines, found.lines)
		require.NoError(t, j.Close())
	}
}

// wal keeps the last segment in memory and rewrites one to truncate it: 36 ms with 19 MB. So segments are small.
func TestWalSegmentsStaySmall(t *testing.T) {
	h := home{vfs.OS, filepath.Join(fastDir(t), "journal")}
	j, _, err := Open(Options{Dir: h.dir})
	require.NoError(t, err)
	const payload = 5000
	for range 300 {
		_, err := j.Append(1, make([]byte, payload))
		require.NoError(t, err)
	}
	segments := 0
	for name, b := range h.image(t) {
		if kind, _ := parseName(name); kind == segmentFile {
			segments++
			require.LessOrEqual(t, len(b), DefaultSegmentBytes+payload+envelopeSize+2)
		}
	}
	require.Equal(t, int(j.Stats().Rolls)+1, segments, "our count of bytes must roll when wal does")
	require.Greater(t, segments, 4)
	require.NoError(t, j.Close())
}

// With a smaller limit than before, wal rolls before a write rather than after it.
func TestWalRollsAreCountedWhenTheLimitShrinks(t *testing.T) {
	h := home{vfs.OS, filepath.Join(fastDir(t), "journal")}
	c := &catalogue{}
	o := h.options(c)
	for _, limit := range []int64{10_000, 300, 700, 100} {
		o.SegmentBytes = limit
		c.lines = nil
		j, _, err := Open(o)
		require.NoError(t, err)
		before := countSegments(h.image(t))
		add(t, j, c, 23)
		require.Equal(t, before+int(j.Stats().Rolls), countSegments(h.image(t)), "limit %d", limit)
		require.NoError(t, j.Close())
	}
}

func countSegments(m image) int {
	n := 0
	for name := range m {
		if kind, _ := parseName(name); kind == segmentFile {
			n++
		}
	}
	return n
}

// A failed sync moves wal's last index on, although the entry may not be on disk. The next segment is made to be
// a device here that has no room and no sync.
func TestWalAFailedSyncIsSticky(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	h, _, _, _ := filled(t, 0)
	j, c, _ := h.mustOpen(t)
	add(t, j, c, 3)
	var err error
	for err == nil {
		e := nextEntry(c)
		link := join(h.dir, segmentName(e.Index+1))
		require.NoError(t, os.Symlink("/dev/full", link))
		if _, err = j.Append(e.Kind, e.Payload); err == nil {
			require.NoError(t, c.apply(e))
			require.NoError(t, os.Remove(link))
		} else {
			require.NoError(t, os.Remove(link))
		}
	}
	require.ErrorIs(t, err, ErrFailed)
	_, again := j.Append(1, nil)
	require.ErrorIs(t, again, ErrFailed)
	require.ErrorIs(t, j.Compact(nil), ErrFailed)
	before := len(c.lines)
	_, err = j.Reopen(c.apply)
	require.NoError(t, err)
	require.LessOrEqual(t, len(c.lines), before+1)
	h.usable(t, j, c)
}

// TruncateFront indexes a segment that somebody has shortened, and panics.
func TestWalAPanicIsAFailure(t *testing.T) {
	h, _, _, _ := filled(t, 0)
	j, c, _ := h.mustOpen(t)
	add(t, j, c, 7)
	require.NoError(t, j.Compact(c.encode()))
	add(t, j, c, 20)
	first := segmentName(6)
	whole := h.read(t, first)
	n, size := binary.Uvarint(whole)
	h.write(t, first, whole[:size+int(n)]) // only the first entry is left of it
	err := j.Compact(c.encode())
	require.ErrorIs(t, err, ErrFailed)
	require.ErrorContains(t, err, "panicked")
	_, err = j.Reopen(c.apply)
	require.NoError(t, err, "the new snapshot covers what is damaged")
	h.usable(t, j, c)
}
