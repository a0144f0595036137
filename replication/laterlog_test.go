package replication

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
)

// The cluster's log has a command of a later program. At a level that the cluster has not, everybody refuses it; at the cluster's own this program must not go on
// without what it says: the node stops, says why, and stops again when it is started.
func TestANodeStopsAtAnEntryOfALaterVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a := ps.start(0)
		ps.until("it leads", func() bool { return ps.active() == 1 })
		r, err := a.propose(t.Context(), control.Unknown{Kind: 200, Level: control.MaxLevel + 1, Body: []byte("later")})
		require.NoError(t, err)
		require.Equal(t, control.UnsupportedVersion, r.Code)
		_, err = a.tell("it goes on")
		require.NoError(t, err)
		for _, again := range []bool{false, true} {
			if again {
				a.kill()
				a = ps.start(0)
			}
			_, err = a.propose(t.Context(), control.Unknown{Kind: 200, Level: control.MaxLevel})
			require.ErrorIs(t, err, ErrClosed)
			require.ErrorContains(t, a.controller.failure(), "must be upgraded")
		}
		require.Len(t, a.shared.list(), 1)
	})
}
