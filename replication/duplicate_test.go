package replication

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
)

// A node is refused with what is wrong with it: an operator who looks for a second process, where a directory has been copied, looks for ever.
func TestARefusedNodeIsToldWhatItDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a := ps.start(0)
		ps.until("it leads", func() bool { return ps.active() == 1 })
		register := func(id control.NodeID, process, directory byte) control.Result {
			t.Helper()
			r, err := a.propose(t.Context(), control.Register{
				ID: id, Incarnation: [16]byte{process}, DirectoryID: [16]byte{directory}, Addr: "elsewhere", MinFeature: control.MinLevel, MaxFeature: control.MaxLevel,
				PreviousEpoch: control.NoEpoch,
			})
			require.NoError(t, err)
			return r
		}
		require.Equal(t, control.OK, register(7, 70, 7).Code)
		r := register(7, 71, 7)
		require.Equal(t, control.DuplicateBrokerRegistration, r.Code)
		require.Equal(t, "another process of node 7 has a session", r.Detail)
		r = register(8, 80, 7)
		require.Equal(t, control.DuplicateBrokerRegistration, r.Code)
		require.Equal(t, "directory 07000000000000000000000000000000 is node 7's: node 8 has a copy of it", r.Detail)
		require.Equal(t, control.OK, register(8, 80, 8).Code)
	})
}
