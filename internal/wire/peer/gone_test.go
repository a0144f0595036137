package peer

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNobodyListensIsToldFromOtherFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.False(t, NobodyListens(err))
	require.NoError(t, l.Close())
	_, err = net.Dial("tcp", address)
	require.Error(t, err)
	require.True(t, NobodyListens(err), "%v", err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	require.Error(t, err)
	require.False(t, NobodyListens(err), "%v", err)
}
