package peer

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/partlog/partlog/internal/clock"
)

// TLS is how a node proves who it is, and whom it trusts: files, or what was read from them. Files are read again for each
// handshake, so that new certificates need no restart.
type TLS struct {
	CertFile, KeyFile string // PEM: the node's certificate with what is between it and the authority, and its key
	CAFile            string // PEM: the authority of the cluster's peers, and of nothing else

	Certificate *tls.Certificate // instead of CertFile and KeyFile
	Roots       *x509.CertPool   // instead of CAFile
}

// CertificateName is the DNS name that a node's certificate must have: "node-7.<26 letters made of the cluster id>.partlog".
func CertificateName(clusterID string, node int32) string {
	sum := sha256.Sum256([]byte(clusterID))
	label := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16])
	return fmt.Sprintf("node-%d.%s.partlog", node, strings.ToLower(label))
}

func (t *TLS) certificate() (*tls.Certificate, error) {
	if t.Certificate != nil {
		return t.Certificate, nil
	}
	c, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate of this node: %w", err)
	}
	return &c, nil
}

func (t *TLS) roots() (*x509.CertPool, error) {
	if t.Roots != nil {
		return t.Roots, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority: no certificate in %s", t.CAFile)
	}
	return pool, nil
}

// config reads the files and returns what one handshake needs; server is whom the dialer wants, "" for an acceptor.
func (t *TLS) config(c clock.Clock, server string) (*tls.Config, error) {
	certificate, err := t.certificate()
	if err != nil {
		return nil, err
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{*certificate},
		RootCAs:                roots,
		ClientCAs:              roots,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ServerName:             server,
		NextProtos:             []string{"partlog-peer/1"},
		SessionTicketsDisabled: true, // every handshake shows the certificate
		Time:                   c.Now,
	}, nil
}

// ofAnyNode has a dialer take a certificate of the authority whatever its names are: checkNode compares them with what the other side says.
func ofAnyNode(config *tls.Config) {
	config.InsecureSkipVerify = true // of the name; the rest is verified here
	config.VerifyConnection = func(s tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, other := range s.PeerCertificates[1:] {
			between.AddCert(other)
		}
		if _, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: config.RootCAs, Intermediates: between, CurrentTime: config.Time()}); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
}

// checkNode compares what the other side says with its certificate, which has been verified.
func checkNode(c net.Conn, id Identity) error {
	t, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	leaf := t.ConnectionState().PeerCertificates[0]
	want := CertificateName(id.ClusterID, id.NodeID)
	if leaf.VerifyHostname(want) != nil {
		return fmt.Errorf("the certificate has the names %q, and not %q", leaf.DNSNames, want)
	}
	return nil
}

// aboutCertificates reports whether a TLS handshake failed because of a certificate, and on which side.
func aboutCertificates(err error) (is, byPeer bool) {
	if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && v != nil {
		return true, false
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return true, true
	}
	return err != nil && strings.Contains(err.Error(), "didn't provide a certificate"), false
}
