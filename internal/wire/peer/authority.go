package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/partlog/partlog/internal/clock"
)

// Authority is a private certificate authority for development and tests: whoever has its key can be any node.
type Authority struct {
	clock       clock.Clock
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	roots       *x509.CertPool
}

// Certificates of an Authority are valid from 30 days ago, for clocks that are off, and for ten years.
const (
	backdated = 30 * 24 * time.Hour
	lifetime  = 10 * 365 * 24 * time.Hour
)

// NewAuthority makes an authority that is in memory only. A nil clock is the system's.
func NewAuthority(c clock.Clock) (*Authority, error) {
	if c == nil {
		c = clock.System
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template(c, "partlog development authority")
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return newAuthority(c, der, key)
}

func newAuthority(c clock.Clock, der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if !certificate.IsCA || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("the certificate is not that of an authority with this key")
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &Authority{c, certificate, key, roots}, nil
}

func template(c clock.Clock, name string) *x509.Certificate {
	now := c.Now()
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdated),
		NotAfter:     now.Add(lifetime),
	}
}

// Issue makes the certificate of a node.
func (a *Authority) Issue(clusterID string, node int32) (*TLS, error) {
	der, key, err := a.issue(clusterID, node)
	if err != nil {
		return nil, err
	}
	return &TLS{Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, Roots: a.roots}, nil
}

func (a *Authority) issue(clusterID string, node int32) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := template(a.clock, fmt.Sprintf("partlog node %d", node))
	template.DNSNames = []string{CertificateName(clusterID, node)}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	return der, key, err
}

// DevelopmentCA returns the files of a node's TLS in dir, and makes what is missing: the authority (ca.pem, ca.key) and the node's
// certificate and key (node-7.pem, node-7.key). What is there is kept. The directory has mode 0700, files have 0600. It is for development: in
// production the authority's key is nowhere near the nodes.
func DevelopmentCA(dir, clusterID string, node int32) (*TLS, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	caFile, caKey := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	a, err := loadAuthority(caFile, caKey)
	if errors.Is(err, fs.ErrNotExist) {
		if a, err = NewAuthority(nil); err == nil {
			err = writePair(caFile, caKey, a.certificate.Raw, a.key)
		}
		if errors.Is(err, fs.ErrExist) { // another process was faster
			a, err = loadAuthority(caFile, caKey)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("development authority in %s: %w", dir, err)
	}
	t := &TLS{CAFile: caFile, CertFile: filepath.Join(dir, fmt.Sprintf("node-%d.pem", node)), KeyFile: filepath.Join(dir, fmt.Sprintf("node-%d.key", node))}
	if _, err := os.Stat(t.CertFile); err == nil {
		c, err := t.certificate()
		if err != nil {
			return nil, err
		}
		if want := CertificateName(clusterID, node); c.Leaf.VerifyHostname(want) != nil {
			return nil, fmt.Errorf("%s is for %q, and not for %q", t.CertFile, c.Leaf.DNSNames, want)
		}
		return t, nil
	}
	der, key, err := a.issue(clusterID, node)
	if err != nil {
		return nil, err
	}
	if err := writePair(t.CertFile, t.KeyFile, der, key); err != nil {
		return nil, err
	}
	return t, nil
}

func loadAuthority(certFile, keyFile string) (*Authority, error) {
	if _, err := os.Stat(certFile); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an ECDSA key", keyFile)
	}
	return newAuthority(clock.System, pair.Certificate[0], key)
}

// writePair writes a key, then its certificate: who sees the certificate finds the key. The key's name is taken by one process.
func writePair(certFile, keyFile string, der []byte, key *ecdsa.PrivateKey) error {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", secret); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", der)
}

func writePEM(name, kind string, der []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
