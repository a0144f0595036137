package batch

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestControlRecordsOfEveryKindAreRead(t *testing.T) {
	for typ, name := range map[ControlType]string{
		ControlAbort: "ABORT", ControlCommit: "COMMIT", ControlLeaderChange: "LEADER_CHANGE",
		ControlSnapshotHeader: "SNAPSHOT_HEADER", ControlSnapshotFooter: "SNAPSHOT_FOOTER",
		ControlKRaftVersion: "KRAFT_VERSION", ControlKRaftVoters: "KRAFT_VOTERS", 77: "CONTROL(77)", -3: "CONTROL(-3)",
	} {
		require.Equal(t, name, typ.String())
		// A version from the future is read as the one we know.
		r := Record{Key: []byte{0, 9, byte(typ >> 8), byte(typ), 42}, Value: []byte{0, 9, 0, 0, 1, 0, 42}}
		c, err := ParseControl(&r)
		require.NoError(t, err)
		require.Equal(t, typ, c.Type)
		require.Equal(t, int16(9), c.Version)
		if c.IsMarker() {
			require.Equal(t, int32(256), c.CoordinatorEpoch)
		}
	}
}

func TestDamagedControlRecordsAreRefused(t *testing.T) {
	for _, r := range []Record{
		{},
		{Key: []byte{0, 0, 0}},
		{Key: []byte{0xff, 0xff, 0, 0}, Value: make([]byte, 6)},
		{Key: []byte{0, 0, 0, 1}},
		{Key: []byte{0, 0, 0, 0}, Value: make([]byte, 5)},
	} {
		_, err := ParseControl(&r)
		require.ErrorIs(t, err, ErrCorrupt)
		require.NotEmpty(t, err.Error())
	}
}
