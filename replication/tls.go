package replication

import "github.com/partlog/partlog/internal/wire/peer"

// DevelopmentCA returns the files of a node's TLS in dir, and makes what is missing: a private authority, and the node's certificate and key. It is for
// development: in production the authority's key is nowhere near the nodes, and certificates have CertificateName as DNS name.
func DevelopmentCA(dir, clusterID string, node int32) (*TLS, error) {
	return peer.DevelopmentCA(dir, clusterID, node)
}

// CertificateName is the DNS name that the certificate of a node must have.
func CertificateName(clusterID string, node int32) string {
	return peer.CertificateName(clusterID, node)
}
