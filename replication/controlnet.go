package replication

import "context"

// network is the way to other nodes (peer.Endpoint).
type network interface {
	set(node int32, address string)
	remove(node int32)
	send(node int32, kind uint8, body []byte)
	call(ctx context.Context, node int32, kind uint8, body []byte, reply func([]byte) error) error
	// discover asks who listens at an address.
	discover(ctx context.Context, address string) (node int32, err error)
}

// endpoint makes a network of a peer.Endpoint.
type endpoint struct{ n *Node }

func (e endpoint) set(node int32, address string) { e.n.peers.SetPeer(node, address) }
func (e endpoint) remove(node int32)              { e.n.peers.RemovePeer(node) }

func (e endpoint) send(node int32, kind uint8, body []byte) {
	if p := e.n.peers.Peer(node); p != nil {
		p.Send(kind, body)
	}
}

func (e endpoint) call(ctx context.Context, node int32, kind uint8, body []byte, reply func([]byte) error) error {
	return e.n.call(ctx, node, kind, body, reply)
}

func (e endpoint) discover(ctx context.Context, address string) (int32, error) {
	id, err := e.n.peers.Discover(ctx, address)
	return id.NodeID, err
}
