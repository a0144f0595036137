package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// certificate writes NAME.pem, key and certificate of a name signed by parent, or by itself.
func certificate(t testing.TB, dir, name string, parent *tls.Certificate) (path string, c *tls.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, issuer := any(key), template
	if parent != nil {
		signer, issuer = parent.PrivateKey, parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	path = filepath.Join(dir, name+".pem")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	pair, err := tls.X509KeyPair(text, text)
	require.NoError(t, err)
	return path, &pair
}

func TestTLSComesFromPEMProperties(t *testing.T) {
	dir := t.TempDir()
	caFile, ca := certificate(t, dir, "ca", nil)
	brokerFile, _ := certificate(t, dir, "broker", ca)
	clientFile, client := certificate(t, dir, "client", ca)
	file := write(t, "tls.properties", fmt.Sprintf(`listeners=SSL://127.0.0.1:0,SASL_SSL://127.0.0.1:0
ssl.keystore.type=PEM
ssl.keystore.location=%s
ssl.truststore.type=PEM
ssl.truststore.location=%s
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="secret";
`, brokerFile, caFile))
	p := start(t, file, "--memory", "--topics", "t:1")
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	produceTo(t, p.client(kgo.DialTLSConfig(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{*client}})), "t", "over TLS")

	// Without a certificate it gets in at the other listener only.
	anonymous := p.client(kgo.DialTLSConfig(&tls.Config{RootCAs: roots}), kgo.RequestRetries(0))
	require.Error(t, anonymous.Ping(t.Context()))
	sasl := portOf(p, "SASL_SSL")
	c, err := kgo.NewClient(kgo.SeedBrokers(sasl), kgo.DialTLSConfig(&tls.Config{RootCAs: roots}), kgo.SASL(plain.Auth{User: "alice", Pass: "secret"}.AsMechanism()))
	require.NoError(t, err)
	defer c.Close()
	produceTo(t, c, "t", "with a password")

	// The commands read the same properties as a Java client.
	config := write(t, "client.properties", fmt.Sprintf("security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=%s\nssl.keystore.type=PEM\nssl.keystore.location=%s\n", caFile, clientFile))
	code, out, stderr := runProcess(t, "", "consume", "--bootstrap-server", p.facts["bootstrap.servers"], "--command-config", config, "--topic", "t", "--from-beginning", "--max-messages", "2")
	require.Equal(t, exitOK, code, stderr)
	require.Equal(t, "over TLS\nwith a password\n", out)
	require.Equal(t, exitOK, p.end(sigterm))
}

// portOf waits until partlogd has told where a listener is: what it writes comes to us a little later.
func portOf(p *process, listener string) string {
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		told := p.err.String()
		for line := range strings.SplitAfterSeq(told, "\n") {
			var address string
			if _, err := fmt.Sscanf(line, "partlogd: broker 1: "+listener+", clients are told %s", &address); err == nil && strings.HasSuffix(line, "\n") {
				return address
			}
		}
		if time.Since(begun) > 20*time.Minute {
			p.t.Fatalf("no %s in %s", listener, told)
		}
	}
}
