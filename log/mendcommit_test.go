package log

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// fed is a mending that has all that it needs, of a segment in the middle.
func (r *mendRig) fed(compacted bool) *Mending {
	r.change(r.segments()[1], func(b []byte) []byte {
		first, err := batch.Peek(b)
		require.NoError(r.t, err)
		b[len(first)+batch.HeaderSize] ^= 1
		return b
	})
	r.open(true)
	_, damaged := r.read(r.log)
	require.True(r.t, damaged)
	settings := *r.log.settings.Load()
	settings.Compacted = compacted
	r.log.settings.Store(&settings)
	m, err := r.log.BeginMending()
	require.NoError(r.t, err)
	require.NoError(r.t, r.feed(m))
	return m
}

// Between the exchange of the segments and the end of the log somebody else may have work for it: what the log knows is the damaged segment's.
func TestALogThatHasBeenMendedWritesNothingAnyMore(t *testing.T) {
	r := newMendRig(t, 1, SyncAlways)
	m := r.fed(false)
	require.NoError(t, m.out.finish())
	require.NoError(t, m.proofread())
	require.NoError(t, m.commit())
	before := r.mem.Hash()
	done, err := r.log.Seal()
	require.ErrorIs(t, err, ErrClosed)
	require.True(t, done)
	require.ErrorIs(t, r.log.Close(), ErrClosed)
	require.Equal(t, before, r.mem.Hash())
	m.Close()
	r.log.Abandon()
	r.point = min(r.point, m.Base())
	r.open(false)
	r.same("mended")
	r.log.Abandon()
}

// Where compaction leaves gaps, a segment may end before the next one begins; it never goes beyond that, and the last one ends where the log does.
func TestAMendedSegmentEndsWithinItsBounds(t *testing.T) {
	for what, wrong := range map[string]func(m *Mending){
		"beyond the next one's base": func(m *Mending) { m.bound-- },
		"not where it was written":   func(m *Mending) { m.out.next-- },
		"before the log's end":       func(m *Mending) { m.bound, m.last = m.bound+1, true },
	} {
		t.Run(what, func(t *testing.T) {
			r := newMendRig(t, 1, SyncAlways)
			m := r.fed(true)
			wrong(m)
			require.ErrorIs(t, m.Commit(), ErrUnproven)
			m.Close()
			require.NoError(t, r.mend(), "as it is, it is mended")
			r.log.Abandon()
		})
	}
	r := newMendRig(t, 1, SyncAlways)
	m := r.fed(true)
	m.bound++ // the end has been removed
	require.NoError(t, m.Commit())
	files, err := r.mem.ReadDir(r.config(nil).Dir)
	require.NoError(t, err)
	swapped := false
	for _, f := range files {
		swapped = swapped || f.Name() == segment.LogName(int64(m.Base()))+segment.SwapSuffix
	}
	require.True(t, swapped)
}
