package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"
	"strings"
)

// tlsOf makes the configuration of a TLS listener from ssl.* properties, those with the listener's prefix first. Key and
// certificates are PEM, in files or in the properties themselves.
func tlsOf(set map[string]string, prefix string) (*tls.Config, error) {
	r := propertyReader(set)
	name := func(key string) string {
		if _, ok := set[prefix+key]; ok {
			return prefix + key
		}
		return key
	}
	text := func(key string) string {
		if v, ok := set[prefix+key]; ok {
			return v
		}
		return r.text(key)
	}
	bad := func(key, why string) error {
		return &PropertyError{Name: name(key), Value: "[hidden]", Reason: why}
	}
	read := func(inline, location, typ string) ([]byte, string, error) {
		if v := text(inline); v != "" {
			return []byte(v), inline, nil
		}
		file := text(location)
		if file == "" {
			return nil, "", nil
		}
		if !strings.EqualFold(text(typ), "PEM") {
			return nil, "", &PropertyError{Name: name(typ), Value: text(typ), Reason: "only PEM is read; openssl pkcs12 -in STORE -nodes makes it"}
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, "", &PropertyError{Name: name(location), Value: file, Reason: err.Error()}
		}
		return b, location, nil
	}

	chain, from, err := read("ssl.keystore.certificate.chain", "ssl.keystore.location", "ssl.keystore.type")
	if err != nil {
		return nil, err
	}
	if chain == nil {
		return nil, bad("ssl.keystore.location", "a TLS listener needs a key and a certificate")
	}
	key := chain
	if from == "ssl.keystore.certificate.chain" {
		key = []byte(text("ssl.keystore.key"))
	}
	if strings.Contains(string(key), "ENCRYPTED PRIVATE KEY") {
		return nil, bad("ssl.keystore.key", "an encrypted key is not read; openssl pkey -in KEY decrypts it")
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, bad(from, err.Error())
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}}
	c.MinVersion, c.MaxVersion = tlsVersions(splitList(text("ssl.enabled.protocols")))
	if c.MinVersion == 0 {
		return nil, &PropertyError{Name: name("ssl.enabled.protocols"), Value: text("ssl.enabled.protocols"), Reason: "want TLSv1.2, TLSv1.3"}
	}
	if c.CipherSuites, err = cipherSuites(splitList(text("ssl.cipher.suites"))); err != nil {
		return nil, err
	}
	c.ClientAuth = map[string]tls.ClientAuthType{"requested": tls.VerifyClientCertIfGiven, "required": tls.RequireAndVerifyClientCert}[text("ssl.client.auth")]
	if c.ClientAuth == tls.NoClientCert {
		return c, nil
	}
	roots, from, err := read("ssl.truststore.certificates", "ssl.truststore.location", "ssl.truststore.type")
	if err != nil || roots == nil {
		return c, err // without a store, those of the system
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(withoutOthers(roots)) {
		return nil, bad(from, "there is no certificate in it")
	}
	return c, nil
}

// withoutOthers returns the certificates of a PEM text.
func withoutOthers(text []byte) (out []byte) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return out
		}
		if b.Type == "CERTIFICATE" {
			out = append(out, pem.EncodeToMemory(b)...)
		}
	}
}

func tlsVersions(names []string) (least, most uint16) {
	for _, n := range names {
		v := map[string]uint16{"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}[n]
		if v == 0 {
			return 0, 0 // older ones are not safe
		}
		if least == 0 || v < least {
			least = v
		}
		most = max(most, v)
	}
	return least, most
}

// cipherSuites finds suites of TLS 1.2 by their names; those of TLS 1.3 are not for choosing.
func cipherSuites(names []string) (ids []uint16, err error) {
	for _, n := range names {
		all := tls.CipherSuites()
		i := slices.IndexFunc(all, func(s *tls.CipherSuite) bool { return s.Name == n })
		if i < 0 {
			return nil, &PropertyError{Name: "ssl.cipher.suites", Value: n, Reason: "is not one of the suites that are safe to use"}
		}
		ids = append(ids, all[i].ID)
	}
	return ids, nil
}
