package kafka

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/wire"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fortress is a server with security, on loopback, over a store in memory; no failed authentication makes it wait.
type fortress struct {
	*ground
	addr string // of the first listener

	mu     sync.Mutex
	closed map[uint64]error // reasons, by connection
	ended  *sync.Cond
}

func newFortress(t testing.TB, c Config, l ListenerConfig) *fortress {
	f := &fortress{closed: map[uint64]error{}}
	f.ended = sync.NewCond(&f.mu)
	f.ground = newGround(t, terms{server: f.config(c), listener: l})
	f.addr = f.ground.addr()
	return f
}

// config is c with what a fortress has.
func (f *fortress) config(c Config) Config {
	if c.Properties == nil {
		c.Properties = map[string]string{}
	}
	if _, ok := c.Properties["connection.failed.authentication.delay.ms"]; !ok {
		c.Properties["connection.failed.authentication.delay.ms"] = "0"
	}
	c.Events.ConnectionClosed = func(_ int32, _ string, info ConnInfo, reason error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.closed[info.ID] = reason
		f.ended.Broadcast()
	}
	return c
}

// serve puts another server over the store in place of the first.
func (f *fortress) serve(c Config, l ListenerConfig) {
	var err error
	f.server, err = f.newServer(f.config(c))
	require.NoError(f.t, err)
	server := f.server
	f.t.Cleanup(func() { server.Close() })
	l.Listener = listen(f.t)
	f.addr = l.Listener.Addr().String()
	_, err = f.server.AddBroker(BrokerConfig{Listeners: []ListenerConfig{l}})
	require.NoError(f.t, err)
}

// reason waits for the end of the only connection so far, and forgets it.
func (f *fortress) reason() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.closed) == 0 {
		f.ended.Wait()
	}
	require.Len(f.t, f.closed, 1)
	for id, reason := range f.closed {
		delete(f.closed, id)
		return reason
	}
	return nil
}

// rules puts access rules into the catalogue.
func (f *fortress) rules(rules ...acl) {
	results := make([]error, len(rules))
	require.NoError(f.t, f.server.guard.createACLs(&call{ctx: context.Background()}, rules, results))
	for _, err := range results {
		require.NoError(f.t, err)
	}
}

// peer is a connection that sends what it is told to.
type peer struct {
	net.Conn
	t    testing.TB
	next int32
	id   string // client id
}

func (f *fortress) dial() *peer {
	c, err := net.Dial("tcp", f.addr)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { c.Close() })
	return &peer{Conn: c, t: f.t, id: "peer"}
}

// send writes a request of a version.
func (p *peer) send(version int16, req kmsg.Request) {
	p.next++
	req.SetVersion(version)
	header := wire.Header{Key: req.Key(), Version: version, Correlation: p.next, ClientID: []byte(p.id)}
	frame := wire.AppendHeader(make([]byte, 4), header, req.IsFlexible())
	frame = req.AppendTo(frame)
	p.frame(frame[4:])
}

// frame writes bytes with their size.
func (p *peer) frame(b []byte) {
	_, err := p.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	require.NoError(p.t, err)
}

// token reads a frame.
func (p *peer) token() []byte {
	var size [4]byte
	_, err := io.ReadFull(p, size[:])
	require.NoError(p.t, err)
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(p, b)
	require.NoError(p.t, err)
	return b
}

// ask sends a request and reads its answer.
func (p *peer) ask(version int16, req kmsg.Request) kmsg.Response {
	p.send(version, req)
	b := p.token()
	require.Equal(p.t, p.next, int32(binary.BigEndian.Uint32(b)))
	b = b[4:]
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != keyApiVersions {
		require.Zero(p.t, b[0], "no tags in the header")
		b = b[1:]
	}
	require.NoError(p.t, resp.ReadFrom(b))
	again := resp.AppendTo(nil)
	require.True(p.t, bytes.Equal(again, b), "the answer is what kmsg would write")
	return resp
}

// end requires that the connection is closed without another byte.
func (p *peer) end() {
	_, err := io.ReadFull(p, make([]byte, 1))
	require.Error(p.t, err)
	p.Close()
}

// login goes through SaslHandshake 1 and SaslAuthenticate 2.
func (p *peer) login(m wire.ClientMechanism) *kmsg.SASLAuthenticateResponse {
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = m.Name()
	require.Zero(p.t, p.ask(1, req).(*kmsg.SASLHandshakeResponse).ErrorCode)
	return p.tokens(m)
}

// tokens goes through SaslAuthenticate 2.
func (p *peer) tokens(m wire.ClientMechanism) *kmsg.SASLAuthenticateResponse {
	x := m.Start()
	var challenge []byte
	var last *kmsg.SASLAuthenticateResponse
	for {
		token, done, err := x.Step(challenge)
		require.NoError(p.t, err)
		if done && last != nil {
			return last
		}
		auth := kmsg.NewPtrSASLAuthenticateRequest()
		auth.SASLAuthBytes = token
		last = p.ask(2, auth).(*kmsg.SASLAuthenticateResponse)
		if last.ErrorCode != 0 {
			return last
		}
		challenge = last.SASLAuthBytes
	}
}

func scramClient(t testing.TB, mechanism, user, password string) wire.ClientMechanism {
	m, err := wire.ScramClient(mechanism, user, password)
	require.NoError(t, err)
	return m
}

// certificate returns a self-signed certificate of a name, and a pool that trusts it.
func certificate(t testing.TB, subject pkix.Name) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: subject, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// topicRequest asks for the metadata of one topic: what any authenticated client may send.
func topicRequest(topic string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, one)
	return req
}
