package kafka

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A broker that starts again waits for its address while somebody else has it for a moment; a Unix socket is one that no other
// process can come to want.
func TestABrokerThatStartsAgainWaitsForItsAddress(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // that of the test has too long a name for a socket
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	taken, err := net.Listen("unix", path)
	require.NoError(t, err)
	tries := 0
	l, err := listenAgain(taken.Addr(), func() {
		if tries++; tries == 3 {
			require.NoError(t, taken.Close())
		}
	})
	require.NoError(t, err)
	require.Equal(t, 3, tries)

	_, err = listenAgain(l.Addr(), func() { tries++ })
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.Equal(t, 103, tries, "not for ever")
	require.NoError(t, l.Close())

	_, err = listenAgain(&net.UnixAddr{Net: "unix", Name: filepath.Join(path, "nowhere")}, func() { t.Fatal("that will not pass by waiting") })
	require.Error(t, err)
}
