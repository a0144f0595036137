package peer

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNobodyListensIsToldFromOtherFailures(t *testing.T) {
	var address string
	var err error
	for attempt := 0; err == nil; attempt++ { // somebody else may be given the port that has just been left
		require.Less(t, attempt, 100)
		l, e := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, e)
		address = l.Addr().String()
		require.NoError(t, l.Close())
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			require.NoError(t, conn.Close())
		}
	}
	require.True(t, NobodyListens(err), "%v", err)
	require.False(t, NobodyListens(nil))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	require.Error(t, err)
	require.False(t, NobodyListens(err), "%v", err)
}
