package peer

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire/memnet"
)

func issue(t testing.TB, a *Authority, cluster string, node int32) *TLS {
	t.Helper()
	certificate, err := a.Issue(cluster, node)
	require.NoError(t, err)
	return certificate
}

func authority(t testing.TB) *Authority {
	t.Helper()
	a, err := NewAuthority(nil)
	require.NoError(t, err)
	return a
}

// secure is plain's config with a certificate.
func secure(t testing.TB, n *memnet.Network, node int32, a *Authority) Config {
	c := plain(t, n, node)
	c.Plaintext, c.TLS = false, issue(t, a, testCluster, node)
	return c
}

func TestPeersSpeakTLSAndKnowEachOtherByCertificate(t *testing.T) {
	n, a := memnet.New(), authority(t)
	listen(t, secure(t, n, 2, a))
	e := listen(t, secure(t, n, 1, a))
	e.SetPeer(2, "node-2:1")
	big := make([]byte, 3<<20)
	got, err := ask(t.Context(), e.Peer(2), 1, string(big))
	require.NoError(t, err)
	require.Len(t, got, len(big)+len("1/1:"))
}

func TestCertificatesOfOthersAreRefusedOnBothSides(t *testing.T) {
	a := authority(t)
	for _, c := range []struct {
		name   string
		change func(one, two *Config)
	}{
		{"another authority, dialer", func(one, _ *Config) {
			one.TLS = &TLS{Certificate: issue(t, authority(t), testCluster, 1).Certificate, Roots: one.TLS.Roots}
		}},
		{"another authority, dialled", func(_, two *Config) {
			two.TLS = &TLS{Certificate: issue(t, authority(t), testCluster, 2).Certificate, Roots: two.TLS.Roots}
		}},
		{"another node's, dialer", func(one, _ *Config) { one.TLS = issue(t, a, testCluster, 7) }},
		{"another node's, dialled", func(_, two *Config) { two.TLS = issue(t, a, testCluster, 7) }},
		{"another cluster's, dialer", func(one, _ *Config) { one.TLS = issue(t, a, "another", 1) }},
		{"another cluster's, dialled", func(_, two *Config) { two.TLS = issue(t, a, "another", 2) }},
		{"none, dialer", func(one, _ *Config) { one.TLS = &TLS{Certificate: &tls.Certificate{}, Roots: one.TLS.Roots} }},
		{"expired, dialer", func(one, two *Config) { two.Clock = clock.NewManual(time.Now().AddDate(11, 0, 0)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := memnet.New()
			one, two := secure(t, n, 1, a), secure(t, n, 2, a)
			first, second := make(chan *RefusedError, 100), make(chan *RefusedError, 100)
			one.Events.Refused = func(r *RefusedError) { first <- r }
			two.Events.Refused = func(r *RefusedError) { second <- r }
			c.change(&one, &two)
			listen(t, two)
			e := listen(t, one)
			e.SetPeer(2, "node-2:1")
			dialer, dialled := <-first, <-second
			require.ErrorIs(t, dialer, ErrCertificate, "%v", dialer)
			require.ErrorIs(t, dialled, ErrCertificate, "%v", dialled)
			require.NotEqual(t, dialer.ByPeer, dialled.ByPeer)
			require.EqualValues(t, 2, dialer.NodeID)
		})
	}
}

func TestPlaintextAndTLSDoNotMix(t *testing.T) {
	for _, plaintextDials := range []bool{true, false} {
		n, a := memnet.New(), authority(t)
		one, two := plain(t, n, 1), plain(t, n, 2)
		secured, node := &one, int32(1)
		if plaintextDials {
			secured, node = &two, 2
		}
		secured.Plaintext, secured.TLS = false, issue(t, a, testCluster, node)
		told := make(chan *RefusedError, 100)
		two.Events.Refused = func(r *RefusedError) { told <- r }
		listen(t, two)
		e := listen(t, one)
		e.SetPeer(2, "node-2:1")
		require.ErrorIs(t, <-told, ErrHandshake)
	}
}

func TestPlaintextIsForLoopbackOnly(t *testing.T) {
	l := fakeListener{addr: &net.TCPAddr{IP: net.IPv4(0, 0, 0, 0), Port: 1}}
	_, err := Listen(Config{Identity: identity(1), Listener: l, Plaintext: true})
	require.ErrorContains(t, err, "not a loopback address")
	_, err = Listen(Config{Identity: identity(1)})
	require.ErrorContains(t, err, "neither TLS nor Plaintext")
	refused := make(chan *RefusedError, 100)
	e := listen(t, Config{
		Identity: identity(1), Plaintext: true, Events: Events{Refused: func(r *RefusedError) { refused <- r }},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			c, _ := memnet.Pipe()
			return farConn{c}, nil
		},
	})
	e.SetPeer(2, "far:1")
	require.ErrorIs(t, <-refused, ErrCertificate)
}

type fakeListener struct{ addr net.Addr }

func (l fakeListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (l fakeListener) Close() error              { return nil }
func (l fakeListener) Addr() net.Addr            { return l.addr }

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func TestADevelopmentAuthorityIsMadeOnceAndItsFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	one, err := DevelopmentCA(dir, testCluster, 1)
	require.NoError(t, err)
	two, err := DevelopmentCA(dir, testCluster, 2)
	require.NoError(t, err)
	again, err := DevelopmentCA(dir, testCluster, 1)
	require.NoError(t, err)
	require.Equal(t, one, again)
	_, err = DevelopmentCA(dir, "another", 1)
	require.ErrorContains(t, err, "and not for")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 6)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	n := memnet.New()
	a, b := plain(t, n, 1), plain(t, n, 2)
	a.Plaintext, a.TLS = false, one
	b.Plaintext, b.TLS = false, two
	listen(t, b)
	e := listen(t, a)
	e.SetPeer(2, "node-2:1")
	_, err = ask(t.Context(), e.Peer(2), 0, "")
	require.NoError(t, err)
}

func TestNewCertificatesNeedNoRestart(t *testing.T) {
	dir := t.TempDir()
	one, err := DevelopmentCA(dir, testCluster, 1)
	require.NoError(t, err)
	two, err := DevelopmentCA(dir, testCluster, 2)
	require.NoError(t, err)
	n := memnet.New()
	a, b := plain(t, n, 1), plain(t, n, 2)
	a.Plaintext, a.TLS = false, one
	b.Plaintext, b.TLS = false, two
	listen(t, b)
	first := listen(t, a)
	first.SetPeer(2, "node-2:1")
	_, err = ask(t.Context(), first.Peer(2), 0, "")
	require.NoError(t, err)
	for _, name := range []string{"ca.pem", "ca.key", "node-1.pem", "node-1.key", "node-2.pem", "node-2.key"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	_, err = DevelopmentCA(dir, testCluster, 1)
	require.NoError(t, err)
	_, err = DevelopmentCA(dir, testCluster, 2)
	require.NoError(t, err)
	first.RemovePeer(2) // the connection lives by the old ones
	first.SetPeer(2, "node-2:1")
	_, err = ask(t.Context(), first.Peer(2), 0, "")
	require.NoError(t, err)
}
