// Package peer connects the nodes of a cluster: one listener apart from clients', mutual TLS with the node's id in its
// certificate, a handshake that refuses by name, and on each connection many calls and one-way messages at a time.
//
//	e, err := peer.Listen(peer.Config{Identity: me, Listener: l, TLS: &tls, Handler: h})
//	e.SetPeer(2, "two.example:9192")           // dials, and dials again for as long as it is not taken away
//	p := e.Peer(2)
//	err = p.Call(ctx, kind, body, func(reply []byte) error { ... })
//	p.Send(kind, body)                          // one way; may be lost
//	e.Close()
//
// Each node dials each other one. On a connection the dialer calls and sends, the acceptor answers: so two nodes have two
// connections, and the large answers of one never wait behind the requests of the other.
//
// # Who is who
//
// Under TLS both sides show a certificate of one private authority, with a DNS name made of cluster id and node id (see
// CertificateName); Go's verification decides, and the handshake's words must say the same. Without TLS (Config.Plaintext)
// only loopback addresses are listened at and dialled. The handshake carries cluster id, node id, incarnation (drawn by each
// process), directory id, broker epoch, protocol versions and feature levels. Whoever finds something wrong refuses with a reason, which
// the other side is told: both have the same *RefusedError in Events. Of two processes with one node id, the one that was
// there first and still answers keeps it.
//
// # Bounds
//
// A frame's size is looked at before memory is taken: 4 KiB at most in the handshake, Limits.MaxFrame after it. Each end tells
// the other how many calls, of how many bytes together, it takes at a time, and closes a connection that does not keep to it. Messages
// queue up to Limits.QueuedMessages; then the oldest is dropped, as raft wants it. Frames are numbered from a start that
// both ends draw anew, so that a frame out of place (garbage, one that was recorded) ends the connection with ErrSequence.
//
// Silence ends a connection after Limits.Silence, a peer that does not read after Limits.Stalled; both count ticks, not hours, so
// that a suspended process does not take its own pause for the other's death. All of it follows Config.Clock.
package peer
