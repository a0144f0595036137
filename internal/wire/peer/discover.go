package peer

import (
	"context"
	"errors"
)

// anybody is the target of a hello whose sender knows an address, and not whose it is.
const anybody int32 = -1

// errDiscovered ends a connection that was made to learn who is there.
var errDiscovered = errors.New("the other side wanted to know who this is")

// Discover asks who listens at an address (a bootstrap server, of which the id is not known): the node has to prove that it is who it says, and of
// this cluster, as one that SetPeer names. The connection is closed again. Errors: a *RefusedError, ErrDuplicateNode for this node itself; the network's;
// ctx's.
func (e *Endpoint) Discover(ctx context.Context, address string) (Identity, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer e.config.Clock.AfterFunc(e.config.Limits.Handshake, cancel)()
	defer context.AfterFunc(e.ctx, cancel)()
	conn, err := e.config.Dial(ctx, "tcp", address)
	if err != nil {
		return Identity{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	h := &handshake{e: e, address: conn.RemoteAddr().String(), node: -1}
	h.over(conn)
	return h.discover()
}

// discover is the part of a dialer who does not know whom it dials.
func (h *handshake) discover() (Identity, error) {
	if err := h.secure(true, ""); err != nil {
		return Identity{}, err
	}
	if err := h.send(appendHello(nil, handshakeHello, h.mine(anybody))); err != nil {
		return Identity{}, h.failed(err)
	}
	typ, them, err := h.receive()
	switch {
	case err != nil:
	case typ != handshakeOK:
		err = h.refuse(ErrHandshake, "message of type %d where a welcome is due", typ)
	default:
		err = h.check(them)
	}
	if err != nil {
		return Identity{}, err
	}
	return them.Identity, nil
}
