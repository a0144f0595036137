package wire_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
)

// certificates makes the two sides of TLS of one authority: a server's, and a client's that has a certificate too.
func certificates(t testing.TB) (serving, trusting *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "alice"},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Unix(1<<33, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"broker"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}
	serving = &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	return serving, &tls.Config{Certificates: own, RootCAs: pool, ServerName: "broker"}
}

// overTLS gives a server in memory TLS.
func overTLS(t testing.TB, config wire.Config, h wire.Handler, serving *tls.Config) *running {
	r := start(t, config, h)
	l, err := r.network.Listen("secure:9093")
	require.NoError(t, err)
	go r.Serve(tls.NewListener(l, serving), h)
	return r
}

func (r *running) dialSecure() net.Conn {
	c, err := r.network.DialContext(context.Background(), "tcp", "secure:9093")
	require.NoError(r.t, err)
	return c
}

func TestSessionsSeeTheClientsCertificate(t *testing.T) {
	serving, trusting := certificates(t)
	names := make(chan string, 1)
	h := handler{open: func(c *wire.Conn) error {
		names <- c.TLS().PeerCertificates[0].Subject.CommonName
		return nil
	}}
	r := overTLS(t, wire.Config{}, h, serving)
	defer r.stop()
	c := tls.Client(r.dialSecure(), trusting)
	defer c.Close()
	require.Equal(t, "x", ask(t, c, "x"))
	require.Equal(t, "alice", <-names)
}

func TestAHandshakeThatFailsEndsOnlyItsConnection(t *testing.T) {
	serving, trusting := certificates(t)
	opened := make(chan struct{}, 2)
	r := overTLS(t, wire.Config{}, handler{open: func(c *wire.Conn) error {
		opened <- struct{}{}
		return nil
	}}, serving)
	for _, greeting := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x08abcdefgh", "\x16\x03\x01\xff\xff"} {
		c := r.dialSecure()
		c.Write([]byte(greeting))
		c.(interface{ CloseWrite() error }).CloseWrite()
		ends(t, c)
	}
	stranger := trusting.Clone()
	stranger.Certificates = nil
	c := tls.Client(r.dialSecure(), stranger)
	c.Write(framed([]byte("x")))
	_, err := c.Read(make([]byte, 1))
	require.ErrorContains(t, err, "certificate required")
	c.Close()
	c = tls.Client(r.dialSecure(), trusting)
	require.Equal(t, "x", ask(t, c, "x"))
	c.Close()
	r.stop()
	require.Len(t, opened, 1)
	require.Len(t, r.reasons(), 5)
}

func TestAPeerThatDoesNotShakeHandsIsClosed(t *testing.T) {
	serving, _ := certificates(t)
	synctest.Test(t, func(t *testing.T) {
		r := overTLS(t, wire.Config{}, handler{}, serving)
		begin := time.Now()
		require.Empty(t, ends(t, r.dialSecure()))
		require.Equal(t, 30*time.Second, time.Since(begin))
		r.stop()
		require.Equal(t, []error{wire.ErrHandshake}, r.reasons())
	})
}
