package journal

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// truncation is a Compact of the tidwall storage, in its parts: the segments that it removes, the one that it puts in
// their place, and everything else as it is just before or after.
type truncation struct {
	rest    image // with the new snapshot
	removed image
	first   uint64
	content []byte // of the segment that begins with first
}

// truncate makes a journal, compacts it twice so that the second one truncates, and takes that apart.
func truncate(t *testing.T, segmentBytes int64) (home, truncation, *catalogue) {
	t.Helper()
	h := home{vfs.OS, filepath.Join(fastDir(t), "journal")}
	c := &catalogue{}
	o := h.options(c)
	o.SegmentBytes = segmentBytes
	j, _, err := Open(o)
	require.NoError(t, err)
	add(t, j, c, 7)
	require.NoError(t, j.Compact(c.encode()))
	add(t, j, c, 8)
	before := h.image(t)
	require.NoError(t, j.Compact(c.encode()))
	after := h.image(t)
	require.NoError(t, j.Close())

	cut := truncation{rest: after, removed: image{}, first: 8, content: after[segmentName(8)]}
	require.NotEmpty(t, cut.content)
	cut.rest = after.with(segmentName(8), nil)
	for name, b := range before {
		if _, kept := after[name]; !kept {
			cut.removed[name] = b
		}
	}
	require.NotEmpty(t, cut.removed)
	return h, cut, c
}

// wal creates one file, removes some and renames the one, without a directory sync between. So after a power loss any part
// of this may have happened.
func TestAnInterruptedTruncationIsFinished(t *testing.T) {
	for _, segmentBytes := range []int64{300, DefaultSegmentBytes} {
		h, cut, want := truncate(t, segmentBytes)
		var removed []string
		for name := range cut.removed {
			removed = append(removed, name)
		}
		finished := 0
		for _, start := range []string{"", startSuffix + tempSuffix, startSuffix, "renamed"} {
			for kept := range 1 << len(removed) {
				m := cut.rest
				for i, name := range removed {
					if kept&(1<<i) != 0 {
						m = m.with(name, cut.removed[name])
					}
				}
				switch start {
				case "":
				case "renamed":
					m = m.with(segmentName(cut.first), cut.content)
				case startSuffix + tempSuffix:
					m = m.with(segmentName(cut.first)+start, cut.content[:len(cut.content)/2])
				default:
					m = m.with(segmentName(cut.first)+start, cut.content)
				}
				label := fmt.Sprintf("segments of %d bytes, %q, kept %b of %v", segmentBytes, start, kept, removed)
				h.reset(t, m)
				// Read-only first: the same state, and nothing touched.
				seen := &catalogue{}
				o := h.options(seen)
				o.ReadOnly = true
				_, _, err := Open(o)
				require.NoError(t, err, label)
				require.Equal(t, want.lines, seen.lines, label)
				h.requireImage(t, m, label)

				j, c, r, err := h.open()
				require.NoError(t, err, label)
				require.Equal(t, want.lines, c.lines, label)
				for _, f := range r.Findings {
					if f.Kind == InterruptedTruncation {
						require.Equal(t, ActionFinished, f.Action)
						finished++
					}
				}
				for _, name := range h.names(t) {
					kind, _ := parseName(name)
					require.NotContains(t, []fileKind{startFile, endFile, draftFile}, kind, label)
				}
				h.usable(t, j, c, label)
			}
		}
		require.Equal(t, 1<<len(removed), finished)
	}
}

// A START or END file would make wal delete other files. It may do so only if nothing is lost by it.
func TestATruncationThatWouldLoseEntriesIsRefusedUntouched(t *testing.T) {
	h, cut, want := truncate(t, 300)
	m := cut.rest.with(segmentName(8), cut.content)
	whole := m[segmentName(11)]
	require.NotEmpty(t, whole)
	for label, damaged := range map[string]image{
		"garbage START":          m.with(segmentName(11)+startSuffix, []byte("garbage")),
		"empty START in between": m.with(segmentName(11)+startSuffix, []byte{}),
		"START above everything": m.with(segmentName(99)+startSuffix, []byte{}),
		"END below the end":      m.with(segmentName(8)+endSuffix, cut.content),
		"both":                   m.with(segmentName(11)+startSuffix, whole).with(segmentName(11)+endSuffix, whole),
	} {
		t.Run(label, func(t *testing.T) {
			// Without snapshots, so that all of this is needed. The first entries are then missing too; give them back.
			for name := range damaged {
				if kind, _ := parseName(name); kind == snapshotFile && name != snapshotName(7) {
					damaged = damaged.with(name, nil)
				}
			}
			checked := checkDamaged(t, h, label, damaged, want, 0)
			require.False(t, checked)
		})
	}
	t.Run("harmless END", func(t *testing.T) {
		last := tailOf(m)
		h.reset(t, m.with(last+endSuffix, m[last]))
		j, c, r := h.mustOpen(t)
		require.Equal(t, want.lines, c.lines)
		require.Equal(t, InterruptedTruncation, r.Findings[0].Kind)
		h.usable(t, j, c)
	})
}

func TestATornTailBesideAnInterruptedTruncationIsRepairedToo(t *testing.T) {
	h, cut, want := truncate(t, DefaultSegmentBytes)
	h.reset(t, cut.rest.with(segmentName(8)+startSuffix, append(cut.content[:len(cut.content):len(cut.content)], "torn"...)))
	j, c, r := h.mustOpen(t)
	require.Equal(t, want.lines, c.lines)
	require.Equal(t, TornTail, r.Findings[0].Kind)
	require.Equal(t, InterruptedTruncation, r.Findings[1].Kind)
	h.usable(t, j, c)
}
