package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

func TestFilesOfPropertiesAreReadAsJavaReadsThem(t *testing.T) {
	props, err := ReadProperties(strings.NewReader("# comment\n! comment\n\n  a=1\nb : 2\nc 3\nd=\ne\nf\\ g=x\\ty\\u00e9\\\\\n" +
		"long=one,\\\n    two,\\\n  three\na=last\nslashes=c\\:\\\\dir\nnot.continued=x\\\\\nnext=y\nequals=a=b:c\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"a": "last", "b": "2", "c": "3", "d": "", "e": "", "f g": "x\ty\u00e9\\", "long": "one,two,three",
		"slashes": `c:\dir`, "not.continued": `x\`, "next": "y", "equals": "a=b:c",
	}, props)
	_, err = ReadProperties(strings.NewReader("a=1\nb=\\u00zz\n"))
	require.EqualError(t, err, `line 2: malformed \uXXXX in "\\u00zz"`)
	_, err = ReadProperties(strings.NewReader("b=\\u00"))
	require.Error(t, err)
}

func FuzzFilesOfProperties(f *testing.F) {
	f.Add("a=1\\\n2\nb\\u0041:c")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = ReadProperties(strings.NewReader(text))
	})
}

// The file is what Kafka's own quick start has, shortened.
const quickStart = `
process.roles=broker,controller
node.id=3
controller.quorum.voters=3@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093,EXTERNAL://0.0.0.0:9094
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,EXTERNAL://kafka.example:19094
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,EXTERNAL:SASL_PLAINTEXT
listener.name.external.sasl.enabled.mechanisms=PLAIN
num.network.threads=3
log.dirs=/var/lib/log
broker.rack=r1
`

func TestANodeIsWhatItsPropertiesSay(t *testing.T) {
	props, err := ReadProperties(strings.NewReader(quickStart))
	require.NoError(t, err)
	n, err := ParseNode(props)
	require.NoError(t, err)
	require.Equal(t, int32(3), n.ID)
	require.Equal(t, "r1", n.Rack)
	require.Equal(t, "/var/lib/log", n.Dir)
	require.False(t, n.Flushes())
	require.Equal(t, []NodeListener{
		{Name: "PLAINTEXT", Protocol: Plaintext, Bind: ":9092", Advertised: "localhost:9092"},
		{Name: "EXTERNAL", Protocol: SASLPlaintext, Bind: "0.0.0.0:9094", Advertised: "kafka.example:19094", Mechanisms: []string{"PLAIN"}},
	}, n.Listeners)
	var named []string
	for _, w := range n.Warnings {
		require.False(t, w.Unknown, w.Property)
		named = append(named, w.Property)
	}
	require.Equal(t, []string{"controller.listener.names", "controller.quorum.voters", "listeners"}, named)
	require.Equal(t, partition.SyncNever, n.StoreConfig(partition.SyncNever).Sync)

	n, err = ParseNode(map[string]string{"log.flush.interval.ms": "5"})
	require.NoError(t, err)
	require.True(t, n.Flushes())
	require.Equal(t, "5", n.StoreConfig(partition.SyncAlways).Topics.Extra["flush.ms"])
	require.Equal(t, []NodeListener{{Name: "PLAINTEXT", Bind: ":9092"}}, n.Listeners, "Kafka's default")
}

func TestListenersThatCannotBeAreRefused(t *testing.T) {
	for want, props := range map[string]map[string]string{
		"want NAME://HOST:PORT":               {"listeners": "localhost:9092"},
		"is no number from 0 to 65535":        {"listeners": "PLAINTEXT://h:99999"},
		"each listener must have a different": {"listeners": "PLAINTEXT://a:1,plaintext://b:2"},
		"no security protocol is defined":     {"listeners": "MINE://a:1"},
		"there is none for clients":           {"listeners": "CONTROLLER://a:1", "controller.listener.names": "CONTROLLER"},
		"there is no listener OTHER":          {"listeners": "PLAINTEXT://a:1", "advertised.listeners": "OTHER://b:1"},
		"want NAME:PROTOCOL":                  {"listener.security.protocol.map": "A:FTP"},
		"a TLS listener needs a key":          {"listeners": "SSL://a:1"},
		"only PEM is read":                    {"listeners": "SSL://a:1", "ssl.keystore.location": "/x.jks"},
		"no such file":                        {"listeners": "SSL://a:1", "ssl.keystore.location": "/nonexistent/x.pem", "ssl.keystore.type": "PEM"},
		"an encrypted key is not read":        {"listeners": "SSL://a:1", "ssl.keystore.certificate.chain": "x", "ssl.keystore.key": "-----BEGIN ENCRYPTED PRIVATE KEY-----", "ssl.keystore.type": "PEM"},
		"failed to find any PEM data":         {"listeners": "SSL://a:1", "ssl.keystore.certificate.chain": "x", "ssl.keystore.key": "y", "ssl.keystore.type": "PEM"},
	} {
		_, err := ParseNode(props)
		require.ErrorContains(t, err, want)
	}
}

func TestTLSOfAListenerIsReadFromPEM(t *testing.T) {
	chain, key := selfSigned(t)
	file := filepath.Join(t.TempDir(), "store.pem")
	require.NoError(t, os.WriteFile(file, append(append([]byte{}, key...), chain...), 0o600))
	n, err := ParseNode(map[string]string{
		"listeners": "SSL://localhost:0,IN://localhost:0", "listener.security.protocol.map": "IN:SSL",
		"ssl.keystore.type": "PEM", "ssl.keystore.location": file, "ssl.truststore.type": "PEM", "ssl.truststore.location": file,
		"ssl.client.auth": "required", "listener.name.in.ssl.client.auth": "none", "ssl.enabled.protocols": "TLSv1.3",
	})
	require.NoError(t, err)
	out := n.Listeners[0].TLS
	require.Len(t, out.Certificates, 1)
	require.NotNil(t, out.ClientCAs)
	require.Equal(t, "RequireAndVerifyClientCert", out.ClientAuth.String())
	require.Equal(t, []uint16{0x304, 0x304}, []uint16{out.MinVersion, out.MaxVersion})
	require.Equal(t, "NoClientCert", n.Listeners[1].TLS.ClientAuth.String())

	n, err = ParseNode(map[string]string{
		"listeners": "SSL://localhost:0", "ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": string(chain), "ssl.keystore.key": string(key),
		"ssl.cipher.suites": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	})
	require.NoError(t, err)
	require.Len(t, n.Listeners[0].TLS.CipherSuites, 1)
	for key, value := range map[string]string{"ssl.enabled.protocols": "TLSv1.1", "ssl.cipher.suites": "TLS_RSA_WITH_RC4_128_SHA"} {
		_, err = ParseNode(map[string]string{"listeners": "SSL://localhost:0", "ssl.keystore.type": "PEM", "ssl.keystore.location": file, key: value})
		require.ErrorContains(t, err, key)
	}
}

// selfSigned makes a certificate and its key, as PEM.
func selfSigned(t testing.TB) (chain, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
