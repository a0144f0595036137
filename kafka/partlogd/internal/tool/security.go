package tool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// jaas writes the login of a user as a Java client has it.
func jaas(name, password string) string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	return `LoginModule required username="` + quote.Replace(name) + `" password="` + quote.Replace(password) + `";`
}

// securityOptions reads security.protocol and what belongs to it.
func securityOptions(props pairs) (opts []kgo.Opt, err error) {
	protocol := strings.ToUpper(props["security.protocol"])
	switch protocol {
	case "", "PLAINTEXT":
		return nil, nil
	case "SSL", "SASL_SSL", "SASL_PLAINTEXT":
	default:
		return nil, fmt.Errorf("security.protocol=%s: want PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", protocol)
	}
	if strings.HasSuffix(protocol, "SSL") {
		config, err := tlsConfig(props)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	if strings.HasPrefix(protocol, "SASL_") {
		name, password, err := login(props["sasl.jaas.config"])
		if err != nil {
			return nil, err
		}
		switch m := strings.ToUpper(props["sasl.mechanism"]); m {
		case "PLAIN":
			opts = append(opts, kgo.SASL(plain.Auth{User: name, Pass: password}.AsMechanism()))
		case "SCRAM-SHA-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: name, Pass: password}.AsSha256Mechanism()))
		case "SCRAM-SHA-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: name, Pass: password}.AsSha512Mechanism()))
		default:
			return nil, fmt.Errorf("sasl.mechanism=%s: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", m)
		}
	}
	return opts, nil
}

// login reads username and password of a JAAS configuration. Errors do not repeat it.
func login(config string) (name, password string, err error) {
	for option, into := range map[string]*string{"username": &name, "password": &password} {
		_, rest, ok := strings.Cut(config, option+"=")
		if !ok || rest == "" {
			return "", "", fmt.Errorf(`sasl.jaas.config: want MODULE required username="NAME" password="PASSWORD";`)
		}
		quote := rest[0]
		if quote != '"' && quote != '\'' {
			*into = strings.TrimRight(strings.Fields(rest)[0], ";")
			continue
		}
		closed := false
		for i := 1; i < len(rest) && !closed; i++ {
			switch {
			case rest[i] == quote:
				closed = true
			case rest[i] == '\\' && i+1 < len(rest):
				i++
				*into += rest[i : i+1]
			default:
				*into += rest[i : i+1]
			}
		}
		if !closed {
			return "", "", errors.New("sasl.jaas.config: a quote is not closed")
		}
	}
	return name, password, nil
}

// tlsConfig reads ssl.* of type PEM.
func tlsConfig(props pairs) (*tls.Config, error) {
	pem := func(store, inline string) ([]byte, error) {
		if v := props["ssl."+store+"."+inline]; v != "" {
			return []byte(v), nil
		}
		location := props["ssl."+store+".location"]
		if location == "" {
			return nil, nil
		}
		if typ := props["ssl."+store+".type"]; typ != "" && !strings.EqualFold(typ, "PEM") {
			return nil, fmt.Errorf("ssl.%s.type=%s: only PEM is read; openssl pkcs12 -in STORE -nodes makes it", store, typ)
		}
		return os.ReadFile(location)
	}
	config := &tls.Config{}
	roots, err := pem("truststore", "certificates")
	if err != nil {
		return nil, err
	}
	if roots != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(roots) {
			return nil, errors.New("ssl.truststore: there is no certificate in it; only PEM is read")
		}
	}
	chain, err := pem("keystore", "certificate.chain")
	if err != nil {
		return nil, err
	}
	if chain != nil {
		key := chain
		if k := props["ssl.keystore.key"]; k != "" {
			key = []byte(k)
		}
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil {
			return nil, fmt.Errorf("ssl.keystore: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if v, ok := props["ssl.endpoint.identification.algorithm"]; ok && v == "" { // the name is not looked at, the chain is
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(cs tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range cs.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: config.RootCAs, Intermediates: between})
			return err
		}
	}
	return config, nil
}
