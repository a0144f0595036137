package peer

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// handshake is a connection whose other end is not known yet.
type handshake struct {
	e       *Endpoint
	conn    net.Conn
	meter   *meter
	in      *bufio.Reader
	address string
	node    int32 // the other one, as far as it is known; else -1
}

// begin takes a new connection; end closes it when Limits.Handshake has passed, or the Endpoint closes, unless it is
// called before that.
func (e *Endpoint) begin(conn net.Conn, node int32) (h *handshake, end func() bool) {
	h = &handshake{e: e, address: conn.RemoteAddr().String(), node: node}
	h.over(conn)
	raw := conn
	stopTimer := e.config.Clock.AfterFunc(e.config.Limits.Handshake, func() { raw.Close() })
	stopContext := context.AfterFunc(e.ctx, func() { raw.Close() })
	return h, func() bool {
		inTime := stopTimer()
		return stopContext() && inTime
	}
}

func (h *handshake) over(conn net.Conn) {
	h.conn, h.meter = conn, &meter{conn: conn}
	h.in = bufio.NewReaderSize(h.meter, 16<<10)
}

// refuse makes the error of a handshake that we end.
func (h *handshake) refuse(reason error, detail string, args ...any) *RefusedError {
	return &RefusedError{h.node, h.address, false, fmt.Sprintf(detail, args...), reason}
}

// secure speaks TLS if that is configured. server is whom the dialer wants, "" for whoever is there.
func (h *handshake) secure(dialed bool, server string) error {
	c := &h.e.config
	if c.TLS == nil {
		if !loopback(h.conn.RemoteAddr()) {
			return h.refuse(ErrCertificate, "without TLS only loopback addresses are spoken to")
		}
		return nil
	}
	config, err := c.TLS.config(c.Clock, server)
	if err != nil {
		return h.refuse(ErrCertificate, "%v", err)
	}
	if dialed && server == "" {
		ofAnyNode(config)
	}
	var secured *tls.Conn
	if dialed {
		secured = tls.Client(h.conn, config)
	} else {
		secured = tls.Server(h.conn, config)
	}
	if err := secured.HandshakeContext(h.e.ctx); err != nil {
		return h.failed(err)
	}
	h.over(secured)
	return nil
}

// failed makes a refusal of what is one.
func (h *handshake) failed(err error) error {
	if is, byPeer := aboutCertificates(err); is {
		return &RefusedError{h.node, h.address, byPeer, err.Error(), ErrCertificate}
	}
	if errors.Is(err, ErrHandshake) || notTLS(err) {
		return h.refuse(ErrHandshake, "%v", err)
	}
	return err
}

func notTLS(err error) bool {
	_, is := errors.AsType[tls.RecordHeaderError](err)
	return is
}

// send writes a message of the handshake.
func (h *handshake) send(message []byte) error {
	_, err := h.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	return err
}

// receive reads one; a refusal is its error.
func (h *handshake) receive() (typ byte, from hello, err error) {
	var size [sizeBytes]byte
	if _, err = io.ReadFull(h.in, size[:]); err != nil {
		return 0, from, h.failed(err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > handshakeBytes {
		return 0, from, h.refuse(ErrHandshake, "message of %d bytes, where %d are taken", n, handshakeBytes)
	}
	message := make([]byte, n)
	if _, err = io.ReadFull(h.in, message); err != nil {
		return 0, from, h.failed(err)
	}
	typ, from, no, err := parseHandshake(message)
	if err != nil {
		return 0, from, h.failed(err)
	}
	if typ == handshakeNo {
		return 0, from, h.refused(no)
	}
	return typ, from, nil
}

// refused is the other side's no.
func (h *handshake) refused(no refusal) *RefusedError {
	r := &RefusedError{NodeID: no.node, Address: h.address, ByPeer: true, Detail: no.detail, Err: ErrHandshake}
	if int(no.code) < len(refusals) {
		r.Err = refusals[no.code]
	}
	return r
}

// decline tells the other side why it is refused, if it is we who refuse.
func (h *handshake) decline(err error) {
	r, ok := errors.AsType[*RefusedError](err)
	if ok && !r.ByPeer {
		id := &h.e.config.Identity
		h.send(appendRefusal(nil, refusal{refusalCode(r.Err), id.NodeID, id.ClusterID, r.Detail}))
	}
}

// mine is what this node says of itself.
func (h *handshake) mine(target int32) hello {
	c := &h.e.config
	m := hello{
		Identity: c.Identity, minVersion: minVersion, maxVersion: maxVersion, target: target,
		window: c.Limits.Window, maxFrame: int32(c.Limits.MaxFrame),
	}
	m.Epoch = c.Epoch()
	rand.Read(m.nonce[:])
	return m
}

// check looks at what the other side says of itself, in the order of how much is wrong.
func (h *handshake) check(them hello) error {
	c := &h.e.config
	h.node = them.NodeID
	switch version, ok := common(them); {
	case !ok:
		return h.refuse(ErrVersion, "it speaks versions %d to %d, we %d to %d", them.minVersion, them.maxVersion, minVersion, maxVersion)
	case them.version != 0 && them.version != version:
		return h.refuse(ErrVersion, "it chose version %d, where %d is the highest common one", them.version, version)
	case them.ClusterID != c.Identity.ClusterID:
		return h.refuse(ErrWrongCluster, "it is of cluster %q, we of %q", them.ClusterID, c.Identity.ClusterID)
	}
	if err := checkNode(h.conn, them.Identity); err != nil {
		return h.refuse(ErrCertificate, "%v", err)
	}
	if them.NodeID == c.Identity.NodeID {
		return h.refuse(ErrDuplicateNode, "this is node %d", c.Identity.NodeID)
	}
	if level := c.FeatureLevel(); them.MinFeature > them.MaxFeature || level > 0 && (level < them.MinFeature || level > them.MaxFeature) {
		return h.refuse(ErrFeatureLevel, "it knows levels %d to %d, the cluster is at %d", them.MinFeature, them.MaxFeature, level)
	}
	if err := h.e.claim(them.Identity); err != nil {
		return h.refuse(err, "node %d with epoch %d, incarnation %x", them.NodeID, them.Epoch, them.Incarnation[:4])
	}
	if err := c.Admit(them.Identity); err != nil {
		return h.refuse(ErrNotAdmitted, "%v", err)
	}
	return nil
}

// common returns the highest version that both speak.
func common(them hello) (int16, bool) {
	v := min(maxVersion, them.maxVersion)
	return v, v >= max(minVersion, them.minVersion)
}

// dial is the dialer's part. The link is registered and its first frame queued.
func (h *handshake) dial(target int32) (*link, error) {
	if err := h.secure(true, CertificateName(h.e.config.Identity.ClusterID, target)); err != nil {
		return nil, err
	}
	me := h.mine(target)
	if err := h.send(appendHello(nil, handshakeHello, me)); err != nil {
		return nil, h.failed(err)
	}
	typ, them, err := h.receive()
	switch {
	case err != nil:
	case typ != handshakeOK:
		err = h.refuse(ErrHandshake, "message of type %d where a welcome is due", typ)
	case them.NodeID != target:
		h.node = them.NodeID
		err = h.refuse(ErrWrongNode, "node %d was wanted, node %d answers", target, them.NodeID)
	default:
		err = h.check(them)
	}
	if err != nil {
		h.decline(err)
		return nil, err
	}
	l := h.e.newLink(h, them, true)
	l.first, l.next = sequences(me.nonce, them.nonce)
	l.urgent = append(l.urgent, frame{typ: frameReady}) // before any message
	return l, nil
}

// accept is the acceptor's part.
func (h *handshake) accept() (*link, error) {
	if err := h.secure(false, ""); err != nil {
		return nil, err
	}
	typ, them, err := h.receive()
	switch {
	case err != nil:
	case typ != handshakeHello:
		err = h.refuse(ErrHandshake, "message of type %d where a hello is due", typ)
	case them.target == anybody && them.Incarnation == h.e.config.Identity.Incarnation:
		h.decline(h.refuse(ErrDuplicateNode, "this is node %d", h.e.config.Identity.NodeID)) // it has called itself, and nobody else has to know
		return nil, errDiscovered
	case them.target != anybody && them.target != h.e.config.Identity.NodeID && them.ClusterID == h.e.config.Identity.ClusterID:
		h.node = them.NodeID
		err = h.refuse(ErrWrongNode, "node %d was wanted, this is node %d", them.target, h.e.config.Identity.NodeID)
	default:
		err = h.check(them)
	}
	if err != nil {
		h.decline(err)
		return nil, err
	}
	me := h.mine(them.NodeID)
	me.version, _ = common(them)
	if err := h.send(appendHello(nil, handshakeOK, me)); err != nil {
		return nil, h.failed(err)
	}
	if them.target == anybody {
		return nil, errDiscovered
	}
	l := h.e.newLink(h, them, false)
	l.next, l.first = sequences(them.nonce, me.nonce)
	return l, h.ready(l)
}

// ready waits until the dialer accepts the welcome, or refuses.
func (h *handshake) ready(l *link) error {
	if b, err := h.in.Peek(sizeBytes + len(magic)); err == nil && string(b[sizeBytes:]) == magic {
		_, _, err := h.receive()
		if err == nil {
			err = h.refuse(ErrHandshake, "a hello where the first frame is due")
		}
		return err
	}
	first, body, err := l.readFrame()
	if err != nil {
		if errors.Is(err, ErrSequence) || errors.Is(err, ErrFrame) {
			return h.refuse(ErrHandshake, "%v", err)
		}
		return h.failed(err)
	}
	defer body.give()
	if first.typ != frameReady || len(body.b) > 0 {
		return h.refuse(ErrHandshake, "frame of type %d where the first one is due", first.typ)
	}
	return nil
}
