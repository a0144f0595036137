package main

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/partlog/partlog/replication"
)

// leafOf reads the certificate of a node.
func leafOf(t *replication.TLS) (*x509.Certificate, error) {
	pair := t.Certificate
	if pair == nil {
		read, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		pair = &read
	}
	if pair.Leaf != nil {
		return pair.Leaf, nil
	}
	return x509.ParseCertificate(pair.Certificate[0])
}
